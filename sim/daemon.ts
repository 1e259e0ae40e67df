/** A simulated node daemon: the real scheduler, and what runtime/daemon does around it. The head, if this is its node, and the tie to it are parts of their own. */
import {
  type ActorId,
  type JobId,
  type LeaseId,
  type NodeId,
  nodeKeyOf,
  type PlacementGroupId,
  type WorkerId,
} from "../src/base/ids.ts";
import { candidateOf, type NodeCandidate } from "../src/core/placement.ts";
import { unitsPerWhole, zeroCpuSlot } from "../src/core/resources.ts";
import {
  availableResources,
  bundlesHere,
  createScheduler,
  groupsKnown,
  nextWakeMs,
  type SchedulerState,
  step,
  totalResources,
  validate,
} from "../src/core/scheduler.ts";
import type { NodeDescription, SchedulerEffect, SchedulerEvent } from "../src/core/scheduler-events.ts";
import { slotsFor } from "../src/core/scheduler-state.ts";
import { copyLocation, holderOf } from "../src/objects/segment-name.ts";
import type { Location } from "../src/objects/types.ts";
import { Kind } from "../src/wire/index.ts";
import type { ActorSpec, ActorView, AnyMessage, ProcessExit, Resources, ToDaemon } from "../src/wire/messages.ts";
import { type ClusterNode, type NodeInventory, NodeKind, type NodeMessage } from "../src/wire/node-messages.ts";
import { SimHead } from "./head.ts";
import { HeadTie } from "./head-tie.ts";
import type { SimMessage, SimProcess } from "./network.ts";
import { check, isDaemon, type Shared } from "./simulation.ts";
import { SimStore } from "./value.ts";
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

interface ActorHere {
  readonly spec: ActorSpec;
  readonly incarnation: number;
  readonly workerId: WorkerId;
  /** As far as the head has said so. */
  alive: boolean;
  /** Its constructor is through. */
  ready: boolean;
}

interface LeaseBook {
  readonly workerId: string;
  readonly ownerId: string;
  blocked: boolean;
}

/** A worker asked to exit that has not is killed after this long. */
const exitPatienceMs = 1000;
/** A node that cannot be reached is asked for bytes again after this long, so many times. */
const pullAgainMs = 1000;
const pullTries = 30;

export class Daemon implements SimProcess {
  readonly id: string;
  readonly nodeId: NodeId;
  readonly shared: Shared;
  alive = true;
  busyUntilMs = 0;
  readonly scheduler: SchedulerState;
  readonly store = new SimStore();
  readonly workers = new Map<string, WorkerBook>();
  readonly drivers = new Map<string, JobId>();
  /** Owners of other nodes that are connected, and their jobs. */
  private readonly remotes = new Map<string, JobId>();
  readonly leases = new Map<LeaseId, LeaseBook>();
  /** The cluster as this node knows it. */
  readonly table = new Map<NodeId, ClusterNode>();
  readonly head: SimHead | null;
  readonly tie: HeadTie | null;
  /** Chance that a process start fails. */
  startFailures = 0;
  private readonly jobs = new Set<JobId>();
  private readonly endedJobs = new Set<JobId>();
  readonly actorsHere = new Map<ActorId, ActorHere>();
  /** Actors that are to be placed here and have not been started. */
  readonly placing = new Set<ActorId>();
  /** Who here wants to hear of which actors. */
  private readonly subscriptions = new Map<string, Set<ActorId>>();
  private readonly attempts = new Map<PlacementGroupId, number>();
  private readonly pulls = new Map<string, ((here: boolean) => void)[]>();
  private readonly queue: SchedulerEvent[] = [];
  private stepping = false;
  private steps = 0;
  private timer: Timer | null = null;
  private timerAtMs = Number.POSITIVE_INFINITY;

  constructor(shared: Shared, nodeId: NodeId, resources: Resources) {
    this.shared = shared;
    this.id = nodeId;
    this.nodeId = nodeId;
    this.scheduler = createScheduler({ nodeId, resources });
    const isHead = nodeId === shared.headId;
    this.head = isHead ? new SimHead(this) : null;
    this.tie = isHead ? null : new HeadTie(this);
  }

  start(): void {
    this.head?.start();
    this.tie?.join();
  }

  // -------------------------------------------------------------- the scheduler

  dispatch(event: SchedulerEvent): void {
    if (!this.alive || (this.shared.bug === "lend nothing" && event.kind === "blocked")) return;
    this.queue.push(event);
    if (this.stepping) return;
    this.stepping = true;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) this.stepScheduler(next);
    this.stepping = false;
    this.arm();
    if (this.tie !== null) this.tie.resourcesChanged();
    else this.head?.ownNews();
  }

  private stepScheduler(event: SchedulerEvent): void {
    const effects = step(this.scheduler, this.shared.world.now, event);
    if (this.shared.bug === "free twice" && event.kind === "returnLease")
      this.scheduler.node.pools[0].available.set("CPU", (this.scheduler.node.pools[0].available.get("CPU") ?? 0) + 10_000);
    if (!this.shared.large || this.steps++ % 8 === 0) validate(this.scheduler);
    for (const effect of effects) this.carryOut(effect);
  }

  private arm(): void {
    const wakeMs = nextWakeMs(this.scheduler) ?? Number.POSITIVE_INFINITY;
    if (this.timer !== null && wakeMs >= this.timerAtMs) return;
    this.timer?.cancel();
    this.timer = null;
    this.timerAtMs = wakeMs;
    if (wakeMs === Number.POSITIVE_INFINITY) return;
    this.timer = this.after(wakeMs - this.shared.world.now, () => {
      this.timer = null;
      this.dispatch({ kind: "tick" });
    });
  }

  after(ms: number, run: () => void): Timer {
    return this.shared.world.after(ms, () => {
      if (this.alive) run();
    });
  }

  free(): Resources {
    const free: Record<string, number> = {};
    for (const [name, amount] of Object.entries(availableResources(this.scheduler))) free[name] = Math.max(0, amount);
    return free;
  }

  total(): Resources {
    return totalResources(this.scheduler);
  }

  // -------------------------------------------------------------- processes

  hasProcess(id: string): boolean {
    return this.workers.has(id) || this.drivers.has(id);
  }

  get livingJobs(): IterableIterator<JobId> {
    return this.jobs.values();
  }

  addDriver(id: string, jobId: JobId, prestart: number): void {
    this.drivers.set(id, jobId);
    this.learnJob(jobId, prestart);
  }

  private learnJob(jobId: JobId, prestart = 0): void {
    if (this.jobs.has(jobId) || this.endedJobs.has(jobId)) return;
    this.jobs.add(jobId);
    this.dispatch({ kind: "jobStarted", jobId, prestart });
  }

  jobEnded(jobId: JobId): void {
    this.endedJobs.add(jobId);
    if (this.jobs.delete(jobId)) this.dispatch({ kind: "jobEnded", jobId });
  }

  private driverGone(id: string): void {
    const jobId = this.drivers.get(id) as JobId;
    this.drivers.delete(id);
    this.subscriptions.delete(id);
    this.forgetOwner(id);
    this.ownerEnded(id);
    this.toHead([NodeKind.DriverGone, id as WorkerId, jobId]);
    this.jobEnded(jobId);
  }

  /** Nobody will free what the process owned. */
  private ownerEnded(id: string): void {
    this.store.ownerGone(id);
    for (const key of this.shared.network.reached(this.nodeId)) {
      const node = key as unknown as NodeId;
      if (this.table.get(node)?.alive === true) this.sendNode(node, [NodeKind.OwnerGone, id as WorkerId]);
    }
  }

  private forgetOwner(id: string): void {
    for (const [leaseId, lease] of this.leases) if (lease.ownerId === id) this.leases.delete(leaseId);
    this.dispatch({ kind: "ownerGone", ownerId: id as WorkerId });
  }

  private startWorker(token: number, jobId: JobId): void {
    const { world, network } = this.shared;
    this.after(20 + world.random.next() * 80, () => {
      if (world.random.chance(this.startFailures))
        return this.dispatch({ kind: "startFailed", token, permanent: false, text: "bad luck" });
      const process = new Worker(this.shared, this, this.shared.newId(`${this.nodeId}w`), jobId);
      this.workers.set(process.id, { token, process, introduced: false, intended: false, outOfMemory: false });
      network.add(process);
      process.send(this.id, [Kind.Hello, { id: process.id }] as unknown as AnyMessage);
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

  /** The daemon and every process of the node end at once. */
  end(reason: string): void {
    if (!this.alive) return;
    this.shared.world.log(this.id, `ends: ${reason}`);
    for (const id of [...this.workers.keys(), ...this.drivers.keys()]) this.shared.network.kill(id);
    this.shared.network.kill(this.id);
  }

  /** The connection of a process ended; its exit is known a little later. */
  peerGone(peer: string): void {
    if (isDaemon(peer)) {
      this.head?.disconnected(peer as NodeId);
      return this.tie?.disconnected(peer as NodeId);
    }
    if (this.drivers.has(peer)) return this.driverGone(peer);
    if (this.remotes.delete(peer)) return this.forgetOwner(peer);
    if (!this.workers.has(peer)) return;
    this.dispatch({ kind: "workerRetiring", workerId: peer as WorkerId });
    this.after(this.shared.world.random.next() * 5, () => this.workerEnded(peer));
  }

  private workerEnded(id: string): void {
    const book = this.workers.get(id);
    if (book === undefined) return;
    this.workers.delete(id);
    if (!book.introduced) return this.dispatch({ kind: "startFailed", token: book.token, permanent: false, text: "it died" });
    const { outOfMemory, intended } = book;
    const exit: ProcessExit = { pid: 0, exitCode: null, signal: "SIGKILL", outOfMemory, intended, text: "ended" };
    for (const [leaseId, lease] of this.leases) if (lease.workerId === id) this.leases.delete(leaseId);
    for (const [actorId, actor] of this.actorsHere) if (actor.workerId === id) this.actorsHere.delete(actorId);
    this.broadcast([Kind.WorkerDied, id as WorkerId, exit]);
    this.dispatch({ kind: "workerGone", workerId: id as WorkerId });
    this.forgetOwner(id);
    this.subscriptions.delete(id);
    this.ownerEnded(id);
    this.toHead([NodeKind.ProcessEnded, id as WorkerId, exit]);
  }

  /** To every process that is connected, those of other nodes too. */
  private broadcast(message: AnyMessage): void {
    for (const id of [...this.workers.keys(), ...this.drivers.keys(), ...this.remotes.keys()]) this.send(id, message);
  }

  private send(to: string, message: AnyMessage): void {
    if (this.shared.network.connected(this.id, to)) this.shared.network.send(this.id, to, message);
  }

  // -------------------------------------------------------------- messages of processes

  receive(from: string, message: SimMessage): void {
    if (isDaemon(from)) return this.fromNode(from as NodeId, message as NodeMessage);
    this.fromProcess(from, message as ToDaemon);
  }

  private fromProcess(from: string, message: ToDaemon): void {
    const ownerId = from as WorkerId;
    switch (message[0]) {
      case Kind.Hello:
        return this.introduced(from, message[1] as { jobId?: JobId });
      case Kind.DefineClass: {
        const remote = this.remotes.has(from);
        const [, classId, spec] = message;
        return this.dispatch({ kind: "defineClass", ownerId, jobId: this.jobOf(from), classId, spec, remote });
      }
      case Kind.Demand: {
        const [, classId, wanted, grantsSeen, hard = false] = message;
        return this.dispatch({ kind: "demand", ownerId, classId, wanted, grantsSeen, hard });
      }
      case Kind.ReturnLease:
        this.leases.delete(message[1]);
        return this.dispatch({ kind: "returnLease", ownerId, leaseId: message[1] });
      case Kind.Blocked:
      case Kind.Unblocked:
        return this.setBlocked(message[1], message[0] === Kind.Blocked);
      case Kind.StayAlive:
        (this.workers.get(from) as WorkerBook).intended = false;
        return this.dispatch({ kind: "workerStays", workerId: ownerId });
      case Kind.ActorReady:
        this.noteReady(message[1]);
        return this.toHead([NodeKind.Ready, message[1], message[2], message[3], message[4]]);
      case Kind.FreeCopies:
        return this.freeElsewhere(message[1]);
      case Kind.Request:
        return this.answer(from, message[1], message[2], message[3]);
    }
  }

  private noteReady(actorId: ActorId): void {
    const actor = this.actorsHere.get(actorId);
    if (actor !== undefined) actor.ready = true;
  }

  private introduced(from: string, hello: { jobId?: JobId }): void {
    if (this.drivers.has(from)) return;
    const book = this.workers.get(from);
    if (book === undefined) {
      this.remotes.set(from, hello.jobId as JobId);
      return this.learnJob(hello.jobId as JobId);
    }
    book.introduced = true;
    this.dispatch({ kind: "workerReady", token: book.token, workerId: from as WorkerId });
  }

  private jobOf(id: string): JobId {
    return this.drivers.get(id) ?? this.remotes.get(id) ?? (this.workers.get(id) as WorkerBook).process.jobId;
  }

  private setBlocked(leaseId: LeaseId, blocked: boolean): void {
    const lease = this.leases.get(leaseId);
    if (lease !== undefined) lease.blocked = blocked;
    this.dispatch({ kind: blocked ? "blocked" : "unblocked", leaseId });
  }

  private answer(from: string, id: number, method: string, params: unknown): void {
    if (method === "killWorker") {
      this.kill(params as string, { intended: true });
      return this.send(from, [Kind.Response, id, true, null]);
    }
    const answered = (ok: boolean, value: unknown): void => {
      if (method === "createActor" || method === "subscribeActor") this.subscribed(from, value as ActorView | null);
      this.send(from, [Kind.Response, id, ok, value]);
    };
    const caller = { nodeId: this.nodeId, workerId: from as WorkerId };
    if (this.head !== null) this.head.answer(method, params, caller, answered);
    else this.tie?.ask(method, params, caller, answered);
  }

  private subscribed(from: string, view: ActorView | null): void {
    if (view === null || view.state === "DEAD" || !(this.workers.has(from) || this.drivers.has(from))) return;
    const mine = this.subscriptions.get(from);
    if (mine === undefined) this.subscriptions.set(from, new Set([view.actorId]));
    else mine.add(view.actorId);
  }

  // -------------------------------------------------------------- joining again

  /** As runtime/daemon/inventory. Gives up what was begun and not finished: the head begins anew. */
  takeInventory(news: readonly NodeMessage[]): NodeInventory {
    for (const actorId of this.placing) this.dispatch({ kind: "actorGone", actorId, stop: true });
    this.placing.clear();
    const jobInfo = (jobId: JobId) => ({ jobId, namespace: "", runtimeEnv: null, driverCwd: "", driverNode: this.nodeId });
    return {
      actors: [...this.actorsHere.values()].map(({ spec, incarnation, workerId, alive }) => ({
        spec,
        incarnation,
        place: { workerId, address: "", pid: 0, gpuIds: [] },
        alive,
      })),
      processes: [...this.workers.keys(), ...this.drivers.keys()] as WorkerId[],
      driven: [...this.drivers.values()].map((jobId) => ({ info: jobInfo(jobId), driverPid: 0 })),
      jobs: [...this.jobs],
      subscriptions: [...this.subscriptions].map(([id, actorIds]) => [id as WorkerId, [...actorIds]]),
      bundles: bundlesHere(this.scheduler),
      groups: groupsKnown(this.scheduler),
      news,
    };
  }

  /** What the head is told again when it has the inventory. */
  repeatNews(): void {
    for (const { spec, incarnation, ready, alive } of this.actorsHere.values())
      if (ready && !alive) this.toHead([NodeKind.Ready, spec.actorId, incarnation, null, ""]);
  }

  // -------------------------------------------------------------- messages of nodes

  sendNode(to: NodeId, message: NodeMessage): void {
    if (this.alive) this.shared.network.send(this.id, to, message);
  }

  toHead(message: NodeMessage): void {
    if (this.head !== null) this.head.receive(this.nodeId, message);
    else this.tie?.send(message);
  }

  private fromNode(from: NodeId, message: NodeMessage): void {
    if (this.tie?.receive(from, message) === true) return;
    if (this.head?.fromNode(from, message) === true) return;
    this.obey(message);
  }

  /** What the head orders, and what other nodes tell. */
  obey(message: NodeMessage): void {
    switch (message[0]) {
      case NodeKind.Nodes:
        return this.nodesChanged(message[1]);
      case NodeKind.PlaceActor: {
        const { actorId, jobId, placement, lifetimeResources } = message[1];
        this.learnJob(jobId);
        this.placing.add(actorId);
        return this.dispatch({ kind: "placeActor", actorId, jobId, placement, lifetimeResources });
      }
      case NodeKind.UnplaceActor:
        this.placing.delete(message[1]);
        this.actorsHere.delete(message[1]);
        return this.dispatch({ kind: "actorGone", actorId: message[1] });
      case NodeKind.StartActor: {
        const [, spec, incarnation, { workerId, gpuIds }] = message;
        if (!this.placing.delete(spec.actorId) || !this.workers.has(workerId)) return;
        this.actorsHere.set(spec.actorId, { spec, incarnation, workerId, alive: false, ready: false });
        return this.send(workerId, [Kind.StartActor, spec, incarnation, gpuIds]);
      }
      case NodeKind.SettleActor: {
        const actor = this.actorsHere.get(message[1]);
        if (actor !== undefined) actor.alive = true;
        return this.dispatch({ kind: "actorReady", actorId: message[1] });
      }
      case NodeKind.EndWorker:
        return this.endWorker(message[1], message[2], message[3]);
      case NodeKind.ReserveBundles: {
        const [, groupId, attempt, jobId, bundles, strategy] = message;
        return this.reserve(groupId, attempt, jobId, bundles, strategy, false);
      }
      case NodeKind.RemoveBundles: {
        const [, groupId, indexes = null] = message;
        if (this.shared.bug === "keep half a group" && this.head === null) return;
        if (indexes === null) this.attempts.delete(groupId);
        return this.dispatch(indexes === null ? { kind: "removeGroup", groupId } : { kind: "removeBundles", groupId, indexes });
      }
      case NodeKind.PublishActor:
        if (message[2].state === "DEAD") this.subscriptions.get(message[1])?.delete(message[2].actorId);
        return this.send(message[1], [Kind.ActorState, message[2]]);
      case NodeKind.GroupPlaced:
        return this.dispatch({ kind: "groupPlaced", groupId: message[1], nodes: message[2], bundles: message[3] });
      case NodeKind.JobEnded:
        return this.jobEnded(message[1]);
      case NodeKind.CopyMade:
        if (this.workers.has(message[1]) || this.drivers.has(message[1]))
          return this.send(message[1], [Kind.CopyMade, message[2], message[3]] as unknown as AnyMessage);
        return this.freeElsewhere([message[3]]);
      case NodeKind.FreeCopies:
        for (const location of message[1]) this.store.free(location);
        return;
      case NodeKind.OwnerGone:
        return this.store.ownerGone(message[1]);
    }
  }

  reserve(
    groupId: PlacementGroupId,
    attempt: number,
    jobId: JobId,
    bundles: readonly { readonly index: number; readonly resources: Resources }[],
    strategy: "PACK" | "SPREAD" | "STRICT_PACK" | "STRICT_SPREAD",
    queue: boolean,
  ): void {
    this.attempts.set(groupId, attempt);
    this.dispatch({ kind: "createGroup", groupId, jobId, bundles, strategy, queue });
  }

  private endWorker(workerId: string, how: "finish" | "now", reason: string): void {
    if (how === "now") return this.kill(workerId, { intended: true });
    const book = this.workers.get(workerId);
    if (book === undefined) return;
    book.intended = true;
    this.send(workerId, [Kind.Exit, reason]);
  }

  // -------------------------------------------------------------- other nodes

  others(): NodeId[] {
    return [...this.table.values()].filter((node) => node.alive && node.nodeId !== this.nodeId).map((node) => node.nodeId);
  }

  hasGivenUp(key: string): boolean {
    return this.table.get(key as NodeId)?.alive === false;
  }

  private nodesChanged(entries: readonly ClusterNode[]): void {
    if (entries.length === 0) return;
    const died: NodeId[] = [];
    for (const entry of entries) {
      const before = this.table.get(entry.nodeId);
      this.table.set(entry.nodeId, entry);
      if (!entry.alive && before?.alive !== false) died.push(entry.nodeId);
    }
    for (const nodeId of died) {
      if (nodeId === this.nodeId) return this.end("the head has given this node up");
      this.nodeDied(nodeId);
    }
    this.dispatch({
      kind: "nodesChanged",
      nodes: entries.filter(({ alive }) => alive).map(describe),
      gone: entries.filter(({ alive }) => !alive).map(({ nodeId }) => nodeId),
    });
  }

  private nodeDied(nodeId: NodeId): void {
    this.shared.network.giveUp(this.id, nodeId);
    for (const id of [...this.remotes.keys()]) {
      if (nodeKeyOf(id) !== nodeKeyOf(nodeId) || !this.remotes.delete(id)) continue;
      if (this.shared.bug !== "forget owners of dead nodes") this.forgetOwner(id);
    }
    this.broadcast([Kind.NodeDied, nodeId, "it is dead"] as unknown as AnyMessage);
    this.store.nodeDied(nodeId);
  }

  // -------------------------------------------------------------- objects

  private freeElsewhere(locations: readonly Location[]): void {
    for (const location of locations) {
      const holder = holderOf(location) as unknown as NodeId;
      if (holder === this.nodeId) this.store.free(location);
      else if (this.table.get(holder)?.alive === true) this.sendNode(holder, [NodeKind.FreeCopies, [location]]);
    }
  }

  /** Brings the bytes here; calls back with whether they are. */
  pull(location: Location, owner: string, index: number, then: (here: boolean) => void): void {
    const { name } = copyLocation(location, nodeKeyOf(this.nodeId));
    const waiting = this.pulls.get(name);
    if (waiting !== undefined) return void waiting.push(then);
    this.pulls.set(name, [then]);
    this.tryPull(location, owner, index, pullTries);
  }

  private tryPull(location: Location, owner: string, index: number, tries: number): void {
    const { world, network, nodes } = this.shared;
    this.after(world.random.next() * 5, () => {
      const copy = copyLocation(location, nodeKeyOf(this.nodeId));
      const holder = holderOf(location) as unknown as NodeId;
      if (network.separated(this.id, holder) && this.table.get(holder)?.alive === true && tries > 0)
        return void this.after(pullAgainMs, () => this.tryPull(location, owner, index, tries - 1));
      const text = network.separated(this.id, holder) ? undefined : nodes.get(holder)?.bytesOf(location);
      if (text !== undefined) {
        this.store.put(copy.name, text);
        const told: NodeMessage = [NodeKind.CopyMade, owner as WorkerId, index as never, copy, nodeKeyOf(this.nodeId)];
        const home = nodeKeyOf(owner) as unknown as NodeId;
        if (home === this.nodeId) this.obey(told);
        else if (this.table.get(home)?.alive === true) this.sendNode(home, told);
      }
      const waiting = this.pulls.get(copy.name) ?? [];
      this.pulls.delete(copy.name);
      for (const then of waiting) then(text !== undefined);
    });
  }

  private bytesOf(location: Location): string | undefined {
    return this.alive ? this.store.read(location) : undefined;
  }

  // -------------------------------------------------------------- effects

  private carryOut(effect: SchedulerEffect): void {
    switch (effect.kind) {
      case "startWorker":
        return this.startWorker(effect.token, effect.jobId);
      case "stopWorker":
        return this.stopWorker(effect.workerId, effect.reason);
      case "tryExit":
        (this.workers.get(effect.workerId) as WorkerBook).intended = true;
        return this.send(effect.workerId, [Kind.TryExit]);
      case "grant":
        return this.grant(effect);
      case "recall":
        if (this.shared.bug !== "lose recalls") this.send(effect.ownerId, [Kind.Recall, effect.leaseId]);
        return;
      case "spill":
        this.shared.counts.spilled += effect.count;
        return this.send(effect.ownerId, [
          Kind.Spill,
          effect.classId,
          effect.nodeId,
          effect.count,
          effect.hard,
        ] as unknown as AnyMessage);
      case "decline":
        return this.send(effect.ownerId, [Kind.Decline, effect.classId, effect.count] as unknown as AnyMessage);
      case "unschedulable":
        return this.send(effect.ownerId, [Kind.Unschedulable, effect.classId, effect.reason, effect.text]);
      case "actorPlaced":
        if (!this.workers.has(effect.workerId)) return;
        return this.toHead([
          NodeKind.Placed,
          effect.actorId,
          { workerId: effect.workerId, address: "", pid: 0, gpuIds: effect.gpuIds },
        ]);
      case "actorUnplaceable":
        return this.toHead([NodeKind.Unplaceable, effect.actorId, effect.reason, effect.text]);
      case "groupCreated":
        return this.toHead([NodeKind.BundlesReserved, effect.groupId, this.attempts.get(effect.groupId) ?? 0]);
      case "groupRefused":
        this.tie?.refusing();
        return this.toHead([NodeKind.BundlesRefused, effect.groupId, this.attempts.get(effect.groupId) ?? 0]);
      case "groupRemoved":
        return this.toHead([NodeKind.BundlesRemoved, effect.groupId, effect.actorIds]);
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
    this.send(effect.ownerId, [Kind.Lease, effect.classId, effect.leaseId, workerId, "", effect.gpuIds, this.nodeId]);
  }

  private stopWorker(workerId: string, reason: string): void {
    const book = this.workers.get(workerId);
    if (book === undefined) return;
    book.intended = true;
    this.send(workerId, [Kind.Exit, reason]);
    this.after(exitPatienceMs, () => this.kill(workerId, { intended: true }));
  }
}

/** Made once for all the nodes that hear of it: in one process there is no need for a thousand. */
const described = new WeakMap<ClusterNode, NodeDescription>();
let versions = 0;

function describe(entry: ClusterNode): NodeDescription {
  let description = described.get(entry);
  if (description === undefined) {
    const { available, ...candidate }: NodeCandidate = candidateOf(entry);
    const slots = slotsFor(Math.ceil(entry.resources.CPU ?? 0)) * unitsPerWhole;
    description = { ...candidate, available: new Map(available).set(zeroCpuSlot, slots), version: ++versions };
    described.set(entry, description);
  }
  return description;
}
