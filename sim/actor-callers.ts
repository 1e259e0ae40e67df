/** Actors as a simulated process calls them: what runtime/owner/actors does, driving the real actor clients. */
import type { ActorId } from "../src/base/ids.ts";
import {
  type ActorClientEffect,
  type ActorClientEvent,
  type ActorClientState,
  createActorClient,
  requeueFront,
  step as stepClient,
} from "../src/core/actor-client.ts";
import type { ObjectRecord } from "../src/core/object-record.ts";
import { step as stepOwnership } from "../src/core/ownership.ts";
import { newOwned } from "../src/core/ownership-state.ts";
import type { TaskRecord } from "../src/core/task-record.ts";
import type { ActorSpec, ActorView, Resources } from "../src/wire/messages.ts";
import type { Owner, Scope } from "./owner.ts";
import { lostConnectionMs } from "./task-client.ts";
import { encodeError } from "./value.ts";

interface Client {
  readonly state: ActorClientState;
  retrying: TaskRecord[];
}

/** A handle: the actor, and the object at its owner that counts handles. */
export interface Handle {
  readonly actorId: ActorId;
  readonly counter: ObjectRecord;
}

export interface ActorOptions {
  readonly maxRestarts: number;
  readonly lifetime: Resources;
}

export class ActorCallers {
  private readonly process: Owner;
  private readonly clients = new Map<ActorId, Client>();
  private readonly active = new Set<Client>();

  constructor(process: Owner) {
    this.process = process;
  }

  get quiet(): boolean {
    return this.active.size === 0;
  }

  create(scope: Scope, options: ActorOptions): Handle {
    const { process } = this;
    const actorId = process.shared.newId("actor") as ActorId;
    const counter = newOwned(process.ownership);
    counter.actorId = actorId;
    counter.localRefs = 1;
    stepOwnership(process.ownership, { kind: "put", record: counter, value: undefined, location: null, contains: null });
    const placement = {
      resources: { CPU: 1, ...options.lifetime },
      strategy: { kind: "default" as const },
      labelSelector: {},
      runtimeEnv: null,
      label: "Actor",
    };
    const spec: ActorSpec = {
      actorId,
      className: "Actor",
      name: null,
      namespace: "",
      getIfExists: false,
      detached: false,
      maxRestarts: options.maxRestarts,
      jobId: process.jobId,
      ownerId: process.workerId,
      handleIndex: counter.index,
      handleSpec: null,
      placement,
      lifetimeResources: options.lifetime,
      start: null,
    };
    this.addClient(actorId);
    process.request("createActor", spec, (_ok, view) => this.viewed(view as ActorView));
    return { actorId, counter: scope.adopt(counter) };
  }

  call(scope: Scope, handle: Handle, retries: number, argument: ObjectRecord | null): ObjectRecord {
    const client = this.clients.get(handle.actorId) ?? this.locate(handle.actorId);
    const definition = this.process.tasks.definitionOf(null, retries);
    const args = argument === null ? ["call"] : ["call", argument];
    const task = Object.assign(this.process.tasks.newTask(definition, args, [handle.counter]), { actorId: handle.actorId });
    this.apply(client, { kind: "called", task });
    return scope.adopt(this.process.tasks.begin(task));
  }

  private locate(actorId: ActorId): Client {
    const client = this.addClient(actorId);
    this.process.request("subscribeActor", actorId, (_ok, view) => this.viewed(view as ActorView));
    return client;
  }

  private addClient(actorId: ActorId): Client {
    const client: Client = { state: createActorClient(actorId), retrying: [] };
    this.clients.set(actorId, client);
    return client;
  }

  private apply(client: Client, event: ActorClientEvent): void {
    stepClient(client.state, event);
    if (client.state.effects.length > 0) this.active.add(client);
  }

  drainClients(): void {
    for (const client of this.active) {
      const { effects } = client.state;
      for (let i = 0; i < effects.length; i++) this.carryOut(client, effects[i]);
      effects.length = 0;
      if (client.retrying.length > 0) this.retry(client);
      if (client.state.effects.length === 0) this.active.delete(client);
    }
  }

  private carryOut(client: Client, effect: ActorClientEffect): void {
    switch (effect.kind) {
      case "connect":
        return this.apply(client, { kind: "connected", workerId: effect.view.workerId! });
      case "send":
        stepOwnership(this.process.ownership, { kind: "pushed", task: effect.task, runner: client });
        if (this.process.tasks.sendTask(client.state.view!.workerId!, -1, effect.task)) return;
        this.apply(client, { kind: "done", task: effect.task });
        return stepOwnership(this.process.ownership, { kind: "crashed", task: effect.task, cause: "bystander" });
      case "interrupted":
        if (client.state.state === "dead") return this.fail(effect.task, "ACTOR_DIED");
        return stepOwnership(this.process.ownership, { kind: "crashed", task: effect.task, cause: "crash" });
      case "refuse":
        return this.fail(effect.task, effect.why === "dead" ? "ACTOR_DIED" : "ACTOR_UNAVAILABLE");
    }
  }

  ready(task: TaskRecord): void {
    const client = this.clients.get(task.actorId!);
    if (client === undefined) return;
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
    const client = this.clients.get(task.actorId!);
    if (client !== undefined) this.apply(client, { kind: "settled" });
  }

  finished(task: TaskRecord): void {
    const client = this.clients.get(task.actorId!);
    if (client !== undefined) this.apply(client, { kind: "done", task });
  }

  outOfRetries(task: TaskRecord): void {
    this.fail(task, "ACTOR_UNAVAILABLE");
  }

  private fail(task: TaskRecord, code: string): void {
    stepOwnership(this.process.ownership, { kind: "fail", task, error: encodeError(code) });
  }

  viewed(view: ActorView): void {
    const client = this.clients.get(view.actorId);
    if (client !== undefined) this.apply(client, { kind: "view", view });
  }

  /** A connection broke. If it is not because the actor's process ended, it is made again. */
  peerGone(peer: string): void {
    this.workerDied(peer);
    this.process.after(lostConnectionMs, () => {
      const broken = [...this.clients.values()].filter(({ state }) => state.state === "broken" && state.view?.workerId === peer);
      for (const client of broken) this.apply(client, { kind: "outlived", workerId: client.state.view!.workerId! });
      this.process.drain();
      for (const client of broken) this.apply(client, { kind: "view", view: client.state.view! });
      this.process.drain();
    });
  }

  workerDied(workerId: string): void {
    for (const client of this.clients.values()) {
      if (client.state.view?.workerId === workerId)
        this.apply(client, { kind: "disconnected", workerId: client.state.view.workerId });
    }
  }
}
