/** The simulated node daemon with its head: the real scheduler and actor registry, and what runtime/daemon and runtime/head do around them. */
import type { ActorId, JobId, LeaseId, NodeId, WorkerId } from "../src/base/ids.ts";
import {
  createActorRegistry,
  nextWakeMs as nextRegistryWakeMs,
  type RegistryState,
  step as stepRegistry,
  validate as validateRegistry,
  viewOf,
} from "../src/core/actor-registry.ts";
import type { RegistryEffect, RegistryEvent } from "../src/core/actor-registry-events.ts";
import { createScheduler, nextWakeMs, type SchedulerState, step, validate } from "../src/core/scheduler.ts";
import type { SchedulerEffect, SchedulerEvent } from "../src/core/scheduler-events.ts";
import { Kind } from "../src/wire/index.ts";
import type { ActorSpec, ActorView, AnyMessage, ProcessExit, Resources, ToDaemon } from "../src/wire/messages.ts";
import type { SimProcess } from "./network.ts";
import { check, daemonId, type Shared } from "./simulation.ts";
import { Worker } from "./worker.ts";
import type { Timer } from "./world.ts";

interface WorkerBook {
  readonly token: number;
  readonly process: Worker;
  /** It has said hello. */
  introduced: boolean;
  /** Asked to end: its end is no crash. */
  intended: boolean;
  outOfMemory: boolean;
}

interface LeaseBook {
  readonly workerId: string;
  readonly ownerId: string;
  blocked: boolean;
}

/** A worker asked to exit that has not is killed after this long. */
const exitPatienceMs = 1000;

export class Daemon implements SimProcess {
  readonly id = daemonId;
  alive = true;
  busyUntilMs = 0;
  readonly scheduler: SchedulerState;
  readonly registry: RegistryState = createActorRegistry();
  readonly workers = new Map<string, WorkerBook>();
  readonly drivers = new Map<string, JobId>();
  readonly leases = new Map<LeaseId, LeaseBook>();
  /** Chance that a process start fails. */
  startFailures = 0;
  private readonly shared: Shared;
  private readonly subscribers = new Map<ActorId, Set<string>>();
  private readonly queue: (() => void)[] = [];
  private stepping = false;
  private timer: Timer | null = null;
  private created: ActorView | null = null;

  constructor(shared: Shared, resources: Resources) {
    this.shared = shared;
    this.scheduler = createScheduler({ nodeId: "node" as NodeId, resources });
  }

  // -------------------------------------------------------------- machines

  dispatch(event: SchedulerEvent): void {
    if (this.shared.bug === "lend nothing" && event.kind === "blocked") return;
    this.enqueue(() => {
      const effects = step(this.scheduler, this.shared.world.now, event);
      if (this.shared.bug === "free twice" && event.kind === "returnLease")
        this.scheduler.node.pools[0].available.set("CPU", (this.scheduler.node.pools[0].available.get("CPU") ?? 0) + 10_000);
      validate(this.scheduler);
      for (const effect of effects) this.carryOut(effect);
    });
  }

  private tell(event: RegistryEvent): void {
    this.enqueue(() => {
      const effects = stepRegistry(this.registry, this.shared.world.now, event);
      validateRegistry(this.registry);
      for (const effect of effects) this.carryOutForHead(effect);
    });
  }

  /** Events that arise while effects are carried out wait for their turn. */
  private enqueue(run: () => void): void {
    this.queue.push(run);
    if (this.stepping) return;
    this.stepping = true;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) next();
    this.stepping = false;
    this.arm();
  }

  private arm(): void {
    this.timer?.cancel();
    const wakeMs = Math.min(
      nextWakeMs(this.scheduler) ?? Number.POSITIVE_INFINITY,
      nextRegistryWakeMs(this.registry) ?? Number.POSITIVE_INFINITY,
    );
    if (wakeMs === Number.POSITIVE_INFINITY) return;
    this.timer = this.shared.world.at(wakeMs, () => {
      this.dispatch({ kind: "tick" });
      this.tell({ kind: "tick" });
    });
  }

  // -------------------------------------------------------------- processes

  addDriver(id: string, jobId: JobId, prestart: number): void {
    this.drivers.set(id, jobId);
    this.dispatch({ kind: "jobStarted", jobId, prestart });
  }

  driverGone(id: string): void {
    const jobId = this.drivers.get(id);
    if (jobId === undefined) return;
    this.drivers.delete(id);
    for (const subscribers of this.subscribers.values()) subscribers.delete(id);
    this.dispatch({ kind: "ownerGone", ownerId: id as WorkerId });
    this.forgetLeasesOf(id);
    this.tell({ kind: "ownerGone", ownerId: id as WorkerId });
    this.tell({ kind: "jobEnded", jobId });
    this.dispatch({ kind: "jobEnded", jobId });
    this.shared.store.ownerGone(id);
  }

  private startWorker(token: number, jobId: JobId): void {
    const { world, network } = this.shared;
    world.after(20 + world.random.next() * 80, () => {
      if (world.random.chance(this.startFailures))
        return this.dispatch({ kind: "startFailed", token, permanent: false, text: "bad luck" });
      const process = new Worker(this.shared, this.shared.newId("w"), jobId);
      this.workers.set(process.id, { token, process, introduced: false, intended: false, outOfMemory: false });
      network.add(process);
      process.send(daemonId, [Kind.Hello, { id: process.id }]);
    });
  }

  /** Ends a worker process from outside. */
  kill(id: string, how: { intended: boolean; outOfMemory?: boolean }): void {
    const book = this.workers.get(id);
    if (book === undefined) return;
    book.intended ||= how.intended;
    book.outOfMemory ||= how.outOfMemory ?? false;
    this.shared.network.kill(id);
  }

  /** The connection of a process ended; its exit is known a little later. */
  peerGone(peer: string): void {
    if (this.drivers.has(peer)) return this.driverGone(peer);
    if (!this.workers.has(peer)) return;
    this.dispatch({ kind: "workerRetiring", workerId: peer as WorkerId });
    this.shared.world.after(this.shared.world.random.next() * 5, () => this.workerEnded(peer));
  }

  private workerEnded(id: string): void {
    const book = this.workers.get(id);
    if (book === undefined) return;
    this.workers.delete(id);
    if (!book.introduced) return this.dispatch({ kind: "startFailed", token: book.token, permanent: false, text: "it died" });
    const exit: ProcessExit = {
      pid: 0,
      exitCode: null,
      signal: "SIGKILL",
      outOfMemory: book.outOfMemory,
      intended: book.intended,
      text: "ended",
    };
    for (const [leaseId, lease] of this.leases) if (lease.workerId === id) this.leases.delete(leaseId);
    for (const other of [...this.workers.keys(), ...this.drivers.keys()]) this.send(other, [Kind.WorkerDied, id, exit]);
    this.dispatch({ kind: "workerGone", workerId: id as WorkerId });
    this.dispatch({ kind: "ownerGone", ownerId: id as WorkerId });
    this.forgetLeasesOf(id);
    for (const subscribers of this.subscribers.values()) subscribers.delete(id);
    this.tell({ kind: "workerDied", workerId: id as WorkerId, exit });
    this.shared.store.ownerGone(id);
  }

  private forgetLeasesOf(ownerId: string): void {
    for (const [leaseId, lease] of this.leases) if (lease.ownerId === ownerId) this.leases.delete(leaseId);
  }

  private send(to: string, message: AnyMessage): void {
    if (this.shared.network.get(to)?.alive === true) this.shared.network.send(daemonId, to, message);
  }

  // -------------------------------------------------------------- messages

  receive(from: string, raw: AnyMessage): void {
    const message = raw as ToDaemon;
    const ownerId = from as WorkerId;
    switch (message[0]) {
      case Kind.Hello:
        if (this.drivers.has(from)) return;
        this.workers.get(from)!.introduced = true;
        return this.dispatch({ kind: "workerReady", token: this.workers.get(from)!.token, workerId: ownerId });
      case Kind.DefineClass:
        return this.dispatch({ kind: "defineClass", ownerId, jobId: this.jobOf(from), classId: message[1], spec: message[2] });
      case Kind.Demand:
        return this.dispatch({ kind: "demand", ownerId, classId: message[1], wanted: message[2], grantsSeen: message[3] });
      case Kind.ReturnLease:
        this.leases.delete(message[1]);
        return this.dispatch({ kind: "returnLease", ownerId, leaseId: message[1] });
      case Kind.Blocked:
      case Kind.Unblocked:
        return this.setBlocked(message[1], message[0] === Kind.Blocked);
      case Kind.StayAlive:
        this.workers.get(from)!.intended = false;
        return this.dispatch({ kind: "workerStays", workerId: ownerId });
      case Kind.ActorReady:
        return this.tell({
          kind: "ready",
          actorId: message[1],
          incarnation: message[2],
          error: message[3],
          errorText: message[4],
        });
      case Kind.Request:
        return this.answer(from, message[1], message[2], message[3]);
    }
  }

  private jobOf(id: string): JobId {
    return this.drivers.get(id) ?? this.workers.get(id)!.process.jobId;
  }

  private setBlocked(leaseId: LeaseId, blocked: boolean): void {
    const lease = this.leases.get(leaseId);
    if (lease !== undefined) lease.blocked = blocked;
    this.dispatch({ kind: blocked ? "blocked" : "unblocked", leaseId });
  }

  private answer(from: string, id: number, method: string, params: unknown): void {
    let result: unknown = null;
    if (method === "createActor") {
      this.subscribe(from, (params as ActorSpec).actorId);
      this.tell({ kind: "create", spec: params as ActorSpec });
      result = this.created;
    } else if (method === "subscribeActor") {
      this.subscribe(from, params as ActorId);
      result = viewOf(this.registry.actors.get(params as ActorId)!);
    } else if (method === "actorOutOfScope") this.tell({ kind: "outOfScope", actorId: params as ActorId });
    else if (method === "killWorker") this.kill(params as string, { intended: true });
    if (id !== 0) this.send(from, [Kind.Response, id, true, result]);
  }

  private subscribe(id: string, actorId: ActorId): void {
    const subscribers = this.subscribers.get(actorId);
    if (subscribers === undefined) this.subscribers.set(actorId, new Set([id]));
    else subscribers.add(id);
  }

  // -------------------------------------------------------------- effects

  private carryOut(effect: SchedulerEffect): void {
    switch (effect.kind) {
      case "startWorker":
        return this.startWorker(effect.token, effect.jobId);
      case "stopWorker":
        return this.stopWorker(effect.workerId, effect.reason);
      case "tryExit":
        this.workers.get(effect.workerId)!.intended = true;
        return this.send(effect.workerId, [Kind.TryExit]);
      case "grant":
        return this.grant(effect);
      case "recall":
        if (this.shared.bug !== "lose recalls") this.send(effect.ownerId, [Kind.Recall, effect.leaseId]);
        return;
      case "unschedulable":
        return this.send(effect.ownerId, [Kind.Unschedulable, effect.classId, effect.reason, effect.text]);
      case "actorPlaced": {
        if (!this.workers.has(effect.workerId)) return;
        const place = { nodeId: "node" as NodeId, workerId: effect.workerId, address: "", pid: 0, gpuIds: effect.gpuIds };
        return this.tell({ kind: "placed", actorId: effect.actorId, place });
      }
      case "actorUnplaceable":
        return this.tell({ kind: "unplaceable", actorId: effect.actorId, reason: effect.reason, text: effect.text });
      default:
        return;
    }
  }

  private grant(effect: SchedulerEffect & { kind: "grant" }): void {
    let { workerId } = effect;
    if (this.shared.bug === "share busy workers")
      workerId = ([...this.leases.values()].find((lease) => !lease.blocked)?.workerId ?? workerId) as WorkerId;
    for (const [leaseId, lease] of this.leases) {
      check(
        lease.workerId !== workerId || lease.blocked,
        () => `lease ${effect.leaseId} is granted on ${workerId}, where lease ${leaseId} runs`,
      );
    }
    this.leases.set(effect.leaseId, { workerId, ownerId: effect.ownerId, blocked: false });
    this.send(effect.ownerId, [Kind.Lease, effect.classId, effect.leaseId, workerId, "", effect.gpuIds, "node"]);
  }

  private stopWorker(workerId: string, reason: string): void {
    const book = this.workers.get(workerId);
    if (book === undefined) return;
    book.intended = true;
    this.send(workerId, [Kind.Exit, reason]);
    this.shared.world.after(exitPatienceMs, () => this.kill(workerId, { intended: true }));
  }

  private carryOutForHead(effect: RegistryEffect): void {
    switch (effect.kind) {
      case "created":
        this.created = effect.view;
        return;
      case "place": {
        const { actorId, jobId, placement, lifetimeResources } = effect.spec;
        return this.dispatch({ kind: "placeActor", actorId, jobId, placement, lifetimeResources });
      }
      case "unplace":
        return this.dispatch({ kind: "actorGone", actorId: effect.actorId });
      case "start":
        return this.send(effect.place.workerId, [Kind.StartActor, effect.spec, effect.incarnation, effect.place.gpuIds]);
      case "settled":
        return this.dispatch({ kind: "actorReady", actorId: effect.actorId });
      case "endProcess":
        if (effect.how === "now") return this.kill(effect.workerId, { intended: true });
        this.workers.get(effect.workerId)!.intended = true;
        return this.send(effect.workerId, [Kind.Exit, effect.reason]);
      case "publish":
        for (const id of this.subscribers.get(effect.view.actorId) ?? []) this.send(id, [Kind.ActorState, effect.view]);
        return;
    }
  }
}
