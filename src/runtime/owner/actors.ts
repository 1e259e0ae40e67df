/** Actors as this process calls them: creating, calling, and following their lives by what the head says. */

import type { MethodOptions } from "../../api/types.ts";
import { setTimeout } from "../../base/clock.ts";
import {
  ActorAlreadyExistsError,
  type ActorDeathReason,
  ActorDiedError,
  ActorNotFoundError,
  PendingCallsLimitExceededError,
} from "../../base/errors.ts";
import { type ActorId, newActorId, type WorkerId } from "../../base/ids.ts";
import {
  type ActorClientEffect,
  type ActorClientEvent,
  type ActorClientState,
  pendingCalls,
  requeueFront,
  step as stepClient,
} from "../../core/actor-client.ts";
import { step as stepOwnership } from "../../core/ownership.ts";
import { newOwned } from "../../core/ownership-state.ts";
import { isRecord, type LocalDefinition, type TaskRecord } from "../../core/task-record.ts";
import { Kind } from "../../wire/index.ts";
import type { ActorSpec, ActorView } from "../../wire/messages.ts";
import type { MethodResult } from "../daemon/methods.ts";
import type { ActorClassSpec } from "./actor-class.ts";
import { type Client, deadView, deathError, newClient, startsNoMore, unavailableError, waitsFor } from "./actor-client-record.ts";
import { ActorHandleInternals, type HandleSpec, type MethodKind } from "./actor-handle.ts";
import { captureArgs, wireArgs } from "./arguments.ts";
import { lastWordsMs } from "./departures.ts";
import { carryOutAll } from "./effects.ts";
import { ObjectRef } from "./object-ref.ts";
import { resourcesOf, schedulingSpec } from "./options.ts";
import { retryNames } from "./remote-function.ts";
import type { Runtime } from "./runtime.ts";
import { currentTask } from "./task-context.ts";

/** Milliseconds from a broken connection to the next, within which the end of a process is reported. */
const brokenMs = 2_000;

const isAttached = ({ state }: ActorClientState): boolean => state === "connected" || state === "ending";
const isBroken = ({ state }: Client, peer: WorkerId): boolean => state.state === "broken" && state.view?.workerId === peer;

export class Actors {
  private readonly runtime: Runtime;
  private readonly clients = new Map<ActorId, Client>();
  private readonly byRemoteId = new Map<ActorId, Set<Client>>();
  private readonly active = new Set<Client>();
  /** Questions to the head for an actor that are not answered yet, and what it has told of actors meanwhile: it may come before the answer. */
  private asked = 0;
  private readonly toldMeanwhile = new Map<ActorId, ActorView>();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  get quiet(): boolean {
    return this.active.size === 0;
  }

  // -------------------------------------------------------------- creating

  create(spec: ActorClassSpec, given: readonly unknown[]): any {
    const { runtime } = this;
    runtime.assertOpen();
    const captured = spec.Class === null ? null : runtime.functions.capture(spec.Class);
    const { options } = spec;
    const handleSpec: HandleSpec = {
      className: spec.name,
      methods: (spec.methods ?? captured?.methods ?? {}) as Record<string, MethodKind>,
      maxTaskRetries: options.maxTaskRetries ?? 0,
      maxPendingCalls: options.maxPendingCalls ?? -1,
      concurrencyGroups: Object.keys(options.concurrencyGroups ?? {}),
    };
    const { args, holds } = captureArgs(runtime, given);
    const actorId = newActorId();
    const detached = options.lifetime === "detached";
    const counter = detached ? null : this.newHandleCounter(actorId);
    const client = this.addClient(actorId, spec.name);
    const pins = spec.Class === null ? [] : runtime.functions.holdsOf(spec.Class);
    client.startHolds = [...pins, ...(holds ?? []), ...args.filter(isRecord)];
    for (const record of client.startHolds) record.localRefs++;
    const hasAsync = spec.hasAsync ?? captured?.hasAsyncMethod ?? false;
    const start = {
      classKey: spec.key ?? captured?.key,
      className: spec.name,
      args: null as unknown,
      maxConcurrency: options.maxConcurrency ?? (hasAsync ? 1000 : 1),
      concurrencyGroups: options.concurrencyGroups ?? {},
    };
    const placement = schedulingSpec(
      options,
      resourcesOf(options, 1),
      spec.name,
      { runtimeEnv: runtime.config.runtimeEnv, strategy: currentTask()?.childStrategy ?? null },
      (options.maxRestarts ?? 0) !== 0,
    );
    const actor: ActorSpec = {
      actorId,
      className: spec.name,
      name: options.name ?? null,
      namespace: options.namespace ?? runtime.namespace,
      getIfExists: options.getIfExists ?? false,
      detached,
      maxRestarts: options.maxRestarts ?? 0,
      jobId: runtime.jobId,
      ownerId: runtime.selfId,
      handleIndex: counter?.index ?? null,
      handleSpec,
      placement,
      lifetimeResources: resourcesOf(options, 0),
      start,
    };
    const ref = counter === null ? null : new ObjectRef(counter, runtime);
    const byName = actor.getIfExists && actor.name !== null ? { name: actor.name, namespace: actor.namespace } : null;
    const handle = new ActorHandleInternals(actorId, handleSpec, ref, runtime, byName).makeHandle();
    client.asks = placement;
    this.register(client, actor, start, args).catch((error) => this.refused(client, error));
    return handle;
  }

  private newHandleCounter(actorId: ActorId) {
    const counter = newOwned(this.runtime.ownership);
    counter.actorId = actorId;
    counter.localRefs = 1;
    stepOwnership(this.runtime.ownership, { kind: "put", record: counter, value: undefined, location: null, contains: null });
    return counter;
  }

  /** Tells the head, once the constructor's arguments are there. */
  private async register(client: Client, actor: ActorSpec, start: { args: unknown }, args: TaskRecord["args"]): Promise<void> {
    // One that was there may be lost while another is waited for.
    for (let wire: unknown = null; wire === null; start.args = wire) {
      for (const arg of args) {
        if (!isRecord(arg)) continue;
        await this.runtime.objects.settledOnce(arg);
        if (arg.state === "failed") throw await this.runtime.values.decode(arg.value);
      }
      if (client.refusal !== null) return; // killed meanwhile
      wire = wireArgs(this.runtime, args);
    }
    const asked = { ...actor, jobId: this.runtime.jobId, namespace: actor.namespace || this.runtime.namespace };
    await this.introduce(client, "createActor", asked, (view) => {
      if (view.actorId !== actor.actorId && view.handleIndex !== null && !client.abandoned)
        client.found = this.runtime.refFromWire([view.ownerId, view.handleIndex, ""]);
      this.answered(client, view);
    });
  }

  /** Asks the head to create the actor, or where it is. */
  private introduce<M extends "createActor" | "subscribeActor">(
    client: Client,
    method: M,
    params: unknown,
    take: (view: MethodResult<M>) => void,
  ): Promise<void> {
    const answer = this.ask(method, params, take);
    client.introduced = answer.catch(() => {});
    return answer;
  }

  /** `take` is called before what the head has told meanwhile is forgotten. */
  private async ask<M extends "createActor" | "subscribeActor" | "getActor", T>(
    method: M,
    params: unknown,
    take: (view: MethodResult<M>) => T,
  ): Promise<T> {
    this.asked++;
    try {
      return take(await this.runtime.daemon.request(method, params));
    } finally {
      if (--this.asked === 0) this.toldMeanwhile.clear();
    }
  }

  /** The head has said where the actor is. What it has told since then may have come first. */
  private answered(client: Client, view: ActorView): void {
    client.introduced ??= Promise.resolve();
    this.follow(client, view.actorId);
    this.apply(client, { kind: "view", view });
    const newer = this.toldMeanwhile.get(view.actorId);
    if (newer !== undefined) this.apply(client, { kind: "view", view: newer });
    this.runtime.drain();
  }

  private refused(client: Client, error: unknown): void {
    if (error instanceof ActorAlreadyExistsError) return this.refuse(client, error);
    const fields = {
      actorId: client.remoteId,
      actorClass: client.className,
      reason: "constructor failed",
      cause: error,
    } as const;
    const text = `Cannot create actor ${client.className}: ${(error as Error)?.message ?? error}`;
    this.refuse(client, new ActorDiedError(text, fields));
  }

  /** There is no such actor and there will be none. */
  private refuse(client: Client, error: Error): void {
    if (client.refusal !== null || this.runtime.ended !== null) return;
    client.refusal = error;
    this.apply(client, { kind: "view", view: deadView(client) });
    this.runtime.drain();
  }

  /** It ends before the head has heard of it. */
  private endUnborn(client: Client, reason: ActorDeathReason, why: string): void {
    const fields = { actorId: client.remoteId, actorClass: client.className, reason };
    this.refuse(client, new ActorDiedError(`Cannot call actor ${client.className} (${client.remoteId}): ${why}`, fields));
  }

  private addClient(actorId: ActorId, className: string): Client {
    const client = newClient(actorId, className);
    this.clients.set(actorId, client);
    this.follow(client, actorId);
    return client;
  }

  private follow(client: Client, remoteId: ActorId): void {
    this.byRemoteId.get(client.remoteId)?.delete(client);
    client.remoteId = remoteId;
    let followers = this.byRemoteId.get(remoteId);
    if (followers === undefined) {
      followers = new Set();
      this.byRemoteId.set(remoteId, followers);
    }
    followers.add(client);
  }

  /** The client for a handle; a handle that came from elsewhere asks the head where its actor is. */
  private clientOf(handle: ActorHandleInternals): Client {
    const known = this.clients.get(handle.actorId);
    if (known !== undefined) return known;
    const client = this.addClient(handle.actorId, handle.spec.className);
    this.locate(client, handle).catch((error) => this.refused(client, error));
    return client;
  }

  private locate(client: Client, handle: ActorHandleInternals): Promise<void> {
    const { actorId, spec, byName } = handle;
    return this.introduce(client, "subscribeActor", { actorId, ...(byName === null ? {} : { byName }) }, (view) => {
      if (view === null)
        throw new ActorNotFoundError(`Cannot find actor ${spec.className} (${actorId}): the cluster does not know it`, {
          actorId,
          actorClass: spec.className,
        });
      this.answered(client, view);
    });
  }

  getByName(name: string, namespace: string | undefined): Promise<any> {
    const wanted = namespace ?? this.runtime.namespace;
    return this.ask("getActor", { name, namespace: wanted }, (view) => {
      if (view === null)
        throw new ActorNotFoundError(`Cannot find an actor named '${name}' in namespace '${wanted}'`, {
          actorName: name,
          namespace: wanted,
        });
      const handle = ActorHandleInternals.fromView(view, this.runtime);
      if (!this.clients.has(view.actorId)) this.answered(this.addClient(view.actorId, view.className), view);
      return handle;
    });
  }

  // -------------------------------------------------------------- calling

  call(handle: ActorHandleInternals, method: string, options: MethodOptions, given: readonly unknown[]): unknown {
    const { runtime } = this;
    runtime.assertOpen();
    const client = this.clientOf(handle);
    const limit = handle.spec.maxPendingCalls;
    if (limit > 0 && pendingCalls(client.state) >= limit) {
      throw new PendingCallsLimitExceededError(
        `Cannot call ${handle.spec.className}.${method}: ${limit} calls are pending, as many as maxPendingCalls allows`,
        {
          actorId: client.remoteId,
          actorClass: handle.spec.className,
          maxPendingCalls: limit,
        },
      );
    }
    const definition = this.definitionOf(client, handle.spec, method, options);
    const { args, holds } = captureArgs(runtime, given);
    const counter = handle.handleRecord;
    const task = runtime.tasks.newTask(
      definition,
      args,
      counter === null ? holds : [counter, ...(holds ?? [])],
      definition.maxRetries,
    );
    const call: TaskRecord = Object.assign(task, { actorId: handle.actorId });
    this.apply(client, { kind: "called", task: call });
    return runtime.tasks.begin(call);
  }

  private definitionOf(client: Client, spec: HandleSpec, method: string, options: MethodOptions): LocalDefinition {
    const key = `${method} ${options.name ?? ""} ${options.numReturns ?? ""} ${options.concurrencyGroup ?? ""} ${options.maxTaskRetries ?? ""} ${JSON.stringify(retryNames(options.retryExceptions))} ${options.generatorBackpressure ?? ""}`;
    let definition = client.definitions.get(key);
    if (definition !== undefined) return definition;
    const kind = spec.methods[method];
    const isGenerator = kind === "generator" || kind === "async generator";
    if (options.concurrencyGroup !== undefined && !spec.concurrencyGroups.includes(options.concurrencyGroup)) {
      throw new TypeError(
        `Cannot call ${spec.className}.${method} in concurrency group '${options.concurrencyGroup}': the groups are ${spec.concurrencyGroups.join(", ") || "none"}`,
      );
    }
    definition = this.runtime.tasks.define(
      {
        functionKey: "",
        name: options.name ?? `${spec.className}.${method}`,
        numReturns: options.numReturns === "streaming" ? -1 : (options.numReturns ?? (isGenerator ? -1 : 1)),
        maxCalls: 0,
        generatorBackpressure: options.generatorBackpressure ?? -1,
        retryExceptions: retryNames(options.retryExceptions),
        method,
        concurrencyGroup: options.concurrencyGroup ?? null,
        group: null,
        resources: {},
      },
      null,
      options.maxTaskRetries ?? spec.maxTaskRetries,
    );
    client.definitions.set(key, definition);
    return definition;
  }

  // -------------------------------------------------------------- the machine

  private apply(client: Client, event: ActorClientEvent): void {
    stepClient(client.state, event);
    if (client.state.effects.length > 0) this.active.add(client);
    if (event.kind !== "view") return;
    if (client.startHolds.length > 0 && startsNoMore(event.view)) {
      for (const record of client.startHolds) this.runtime.dropRef(record);
      client.startHolds = [];
    }
    if (client.abandoned && client.state.state === "dead") this.forget(client);
  }

  /** Nobody can call the actor any more, and it is dead. */
  private forget(client: Client): void {
    this.clients.delete(client.state.actorId);
    for (const id of [client.state.actorId, client.remoteId]) {
      const followers = this.byRemoteId.get(id);
      if (followers?.delete(client) && followers.size === 0) this.byRemoteId.delete(id);
    }
  }

  drainClients(): void {
    for (const client of this.active) {
      carryOutAll(client.state.effects, (effect) => this.carryOut(client, effect));
      if (client.retrying.length > 0) this.retry(client);
      if (client.state.effects.length === 0) this.active.delete(client);
    }
  }

  private carryOut(client: Client, effect: ActorClientEffect): void {
    switch (effect.kind) {
      case "connect":
        return this.connect(client, effect.view);
      case "send":
        return this.send(client, effect.task);
      case "interrupted":
        return this.interrupted(client, effect.task);
      case "refuse":
        return this.fail(effect.task, effect.why === "dead" ? this.deathError(client) : unavailableError(client, effect.task));
    }
  }

  private connect(client: Client, view: ActorView): void {
    this.runtime.peers.to(view.workerId as WorkerId, view.address as string);
    client.sentTo = view.workerId;
    this.apply(client, { kind: "connected", workerId: view.workerId as WorkerId });
  }

  private send(client: Client, task: TaskRecord): void {
    const { runtime } = this;
    stepOwnership(runtime.ownership, { kind: "pushed", task, runner: client });
    const args = wireArgs(runtime, task.args);
    if (args === null) {
      this.apply(client, { kind: "done", task });
      return stepOwnership(runtime.ownership, { kind: "crashed", task, cause: "bystander" }); // waits for it again, or fails as it did
    }
    const view = client.state.view as ActorView;
    const link = runtime.peers.to(view.workerId as WorkerId, view.address as string);
    runtime.tasks.sendDefinition(link, task.definition);
    link.send([Kind.Push, -1, task.definition.id, task.index, task.attempt, args, task.parent]);
  }

  /** All arguments of a call are there, or it is to run again. */
  ready(task: TaskRecord): void {
    const client = this.clients.get(task.actorId as ActorId);
    if (client === undefined) {
      const fields = { actorId: task.actorId as ActorId, reason: "out of scope" } as const;
      return this.fail(
        task,
        new ActorDiedError(`Cannot call ${task.definition.wire.name}: the actor's last handle is gone`, fields),
      );
    }
    if (task.attempt > 0) {
      client.retrying.push(task);
      this.active.add(client);
    } else this.apply(client, { kind: "ready", task });
  }

  private retry(client: Client): void {
    const tasks = client.retrying.sort((a, b) => a.index - b.index);
    client.retrying = [];
    requeueFront(client.state, tasks);
    this.apply(client, { kind: "settled" });
  }

  unqueued(task: TaskRecord): void {
    const client = this.clients.get(task.actorId as ActorId);
    if (client !== undefined) this.apply(client, { kind: "settled" });
  }

  finished(task: TaskRecord): void {
    const client = this.clients.get(task.actorId as ActorId);
    if (client !== undefined) this.apply(client, { kind: "done", task });
  }

  private interrupted(client: Client, task: TaskRecord): void {
    if (client.sentTo !== null) this.runtime.freeUnseen(task, client.sentTo);
    if (client.state.state === "dead") this.fail(task, this.deathError(client));
    else stepOwnership(this.runtime.ownership, { kind: "crashed", task, cause: "crash" });
  }

  outOfRetries(task: TaskRecord): void {
    const client = this.clients.get(task.actorId as ActorId) as Client;
    this.fail(task, unavailableError(client, task));
  }

  private deathError(client: Client): Error {
    return deathError(client, this.runtime.values);
  }

  private fail(task: TaskRecord, error: Error): void {
    stepOwnership(this.runtime.ownership, { kind: "fail", task, error: this.runtime.encodeError(error) });
  }

  /**
   * Word of the head. That a life has ended can overtake what the actor's process sent last, on another connection: it waits until that is
   * closed, so that every call that was answered is.
   */
  viewed(view: ActorView): void {
    if (this.asked > 0) this.toldMeanwhile.set(view.actorId, view);
    for (const client of this.byRemoteId.get(view.actorId) ?? []) {
      const { state } = client;
      const worker = state.view?.workerId ?? null;
      const endsLife = view.state !== "ALIVE" || view.incarnation > state.incarnation;
      if (client.later.length > 0) client.later.push(view);
      else if (worker === null || !endsLife || !isAttached(state) || this.runtime.peers.existing(worker) === undefined)
        this.apply(client, { kind: "view", view });
      else {
        client.later.push(view);
        this.apply(client, { kind: "ending", workerId: worker });
        setTimeout(() => {
          if (client.later.includes(view) && this.runtime.ended === null) this.workerDied(worker);
          this.runtime.drain();
        }, lastWordsMs).unref();
      }
    }
  }

  /** An actor's process has ended, what it sent may still arrive. */
  workerEnding(workerId: WorkerId): void {
    for (const client of this.clients.values()) {
      if (client.state.view?.workerId === workerId) this.apply(client, { kind: "ending", workerId });
    }
  }

  workerDied(workerId: WorkerId): void {
    for (const client of this.clients.values()) {
      if (client.state.view?.workerId !== workerId) continue;
      this.apply(client, { kind: "disconnected", workerId });
      for (const view of client.later.splice(0)) this.apply(client, { kind: "view", view });
    }
  }

  /** A connection broke, most likely as the process has ended, which the head then says. One that lives on is connected to again. */
  peerGone(peer: WorkerId): void {
    this.workerDied(peer);
    if (![...this.clients.values()].some((client) => isBroken(client, peer))) return;
    setTimeout(() => {
      if (this.runtime.ended !== null) return;
      const broken = [...this.clients.values()].filter((client) => isBroken(client, peer));
      for (const client of broken) this.apply(client, { kind: "outlived", workerId: peer });
      this.runtime.drain(); // calls that run again come before those that wait
      for (const client of broken) this.apply(client, { kind: "view", view: client.state.view as ActorView });
      this.runtime.drain();
    }, brokenMs).unref();
  }

  /** The id by which others find the actor of a handle that was made here; null while it is not known whether `getIfExists` finds one. */
  settledId(actorId: ActorId): ActorId | null {
    const client = this.clients.get(actorId);
    return client === undefined || client.state.view === null ? null : client.remoteId;
  }

  workerOf(task: TaskRecord): WorkerId | undefined {
    return this.clients.get(task.actorId as ActorId)?.state.view?.workerId ?? undefined;
  }

  cancelRunning(task: TaskRecord, recursive: boolean): void {
    const worker = this.workerOf(task);
    if (worker !== undefined) this.runtime.peers.existing(worker)?.send([Kind.CancelTask, task.index, task.attempt, recursive]);
  }

  outOfScope(actorId: ActorId): void {
    if (this.runtime.ended !== null) return;
    const client = this.clients.get(actorId);
    if (client !== undefined) {
      client.abandoned = true;
      client.found?.[Symbol.dispose]();
      if (client.state.state === "dead" || client.remoteId !== actorId) return this.forget(client);
      if (client.introduced === null) return this.endUnborn(client, "out of scope", "its last handle is gone");
    }
    this.runtime.daemon.request("actorOutOfScope", { actorId }).catch(() => {});
  }

  async kill(handle: ActorHandleInternals, noRestart: boolean): Promise<void> {
    const client = this.clientOf(handle);
    if (client.introduced === null) {
      // Its start waits for arguments: there is no process that could be restarted.
      if (noRestart) this.endUnborn(client, "killed", "it was ended by kill() before it was started");
      return;
    }
    await client.introduced;
    if (client.refusal === null) await this.runtime.daemon.request("killActor", { actorId: client.remoteId, noRestart });
  }

  /** What calls that are not sent wait for. */
  describeQueue(actorId: ActorId): string {
    const client = this.clients.get(actorId);
    return client === undefined ? "waiting for its actor" : waitsFor(client);
  }

  sessionEnded(error: Error): void {
    for (const client of this.clients.values()) client.refusal ??= error;
  }
}
