/** Tasks of a simulated process: what runtime/owner/tasks does, driving the real submitter. */
import { type LeaseId, type NodeId, nodeKeyOf, type ObjectIndex, type WorkerId } from "../src/base/ids.ts";
import type { ObjectRecord } from "../src/core/object-record.ts";
import { step as stepOwnership } from "../src/core/ownership.ts";
import type { ReturnValue } from "../src/core/ownership-events.ts";
import { newOwned } from "../src/core/ownership-state.ts";
import { outOfMemoryRetries } from "../src/core/ownership-tasks.ts";
import {
  addClass,
  createSubmitter,
  type LeaseRecord,
  leaseOf,
  type RemoteShare,
  type SubmitterEffect,
  type SubmitterEvent,
  step as stepSubmitter,
} from "../src/core/submitter.ts";
import { isRecord, type LocalDefinition, type TaskArg, type TaskRecord } from "../src/core/task-record.ts";
import { segmentName } from "../src/objects/segment-name.ts";
import { Kind } from "../src/wire/index.ts";
import type {
  AnyMessage,
  PeerMessage,
  ProcessExit,
  Resources,
  SchedulingSpec,
  WireArg,
  WireRef,
  WireReturn,
} from "../src/wire/messages.ts";
import type { Owner } from "./owner.ts";
import { encodeError } from "./value.ts";
import type { Timer } from "./world.ts";

/** A worker whose connection to an owner broke is ended by the daemon after this long, as in the runtime. */
export const lostConnectionMs = 2000;

export class TaskClient {
  readonly submitter = createSubmitter();
  private readonly process: Owner;
  private readonly definitions = new Map<string, LocalDefinition>();
  private readonly leasesByWorker = new Map<string, Set<LeaseRecord>>();
  private readonly exits = new Map<string, ProcessExit>();
  /** Daemons of other nodes that are connected to, and the classes they know. */
  private readonly daemons = new Map<NodeId, Set<number>>();
  private readonly failures = new Map<NodeId, number>();
  private turnEndPlanned = false;
  private wake: Timer | null = null;

  constructor(process: Owner) {
    this.process = process;
  }

  // -------------------------------------------------------------- submitting

  submit(
    resources: Resources,
    maxRetries: number,
    args: readonly TaskArg[],
    holds: readonly ObjectRecord[] | null,
    strategy: SchedulingSpec["strategy"] = { kind: "default" },
  ): ObjectRecord {
    const task = this.newTask(this.definitionOf(resources, maxRetries, strategy), args, holds);
    return this.begin(task);
  }

  newTask(definition: LocalDefinition, args: readonly TaskArg[], holds: readonly ObjectRecord[] | null): TaskRecord {
    const record = newOwned(this.process.ownership);
    const task: TaskRecord = {
      index: record.index,
      definition,
      args,
      holds,
      returns: [record],
      actorId: null,
      parent: "",
      state: "waiting",
      waitingFor: 0,
      attempt: 0,
      retriesLeft: definition.maxRetries,
      oomRetriesLeft: outOfMemoryRetries,
      runner: null,
      stream: null,
      classId: definition.classId,
      cancelRequested: false,
    };
    record.maker = task;
    return task;
  }

  /** The caller holds the record that is returned. */
  begin(task: TaskRecord): ObjectRecord {
    task.returns[0].localRefs = 1;
    stepOwnership(this.process.ownership, { kind: "submit", task });
    this.process.drain();
    return task.returns[0];
  }

  definitionOf(
    resources: Resources | null,
    maxRetries: number,
    strategy: SchedulingSpec["strategy"] = { kind: "default" },
  ): LocalDefinition {
    const key = `${JSON.stringify(resources)} ${maxRetries} ${JSON.stringify(strategy)}`;
    let definition = this.definitions.get(key);
    if (definition !== undefined) return definition;
    const id = this.definitions.size;
    const wire = {
      functionKey: key,
      name: `f${id}`,
      numReturns: 1,
      maxCalls: 0,
      generatorBackpressure: -1,
      retryExceptions: false,
      method: null,
      concurrencyGroup: null,
      group: null,
      resources: resources ?? {},
    };
    definition = { id, wire, classId: resources === null ? -1 : id, maxRetries };
    this.definitions.set(key, definition);
    if (resources !== null) {
      const spec: SchedulingSpec = { resources, strategy, labelSelector: {}, runtimeEnv: null, label: wire.name };
      addClass(this.submitter, id, spec);
      this.process.tell([Kind.DefineClass, id, spec]);
    }
    return definition;
  }

  enqueue(task: TaskRecord): void {
    this.step({ kind: "enqueue", task, first: task.attempt > 0 });
  }

  // -------------------------------------------------------------- leases

  private step(event: SubmitterEvent): void {
    stepSubmitter(this.submitter, this.process.shared.world.now, event);
  }

  drainSubmitter(): void {
    const { effects } = this.submitter;
    for (let i = 0; i < effects.length; i++) this.carryOut(effects[i]);
    effects.length = 0;
  }

  private carryOut(effect: SubmitterEffect): void {
    switch (effect.kind) {
      case "push":
        return this.push(effect.lease, effect.task);
      case "demand":
        if (effect.at !== null) return this.demandAt(effect.at, effect.class.id, effect.class.spec, effect.wanted);
        return this.process.tell([Kind.Demand, effect.class.id, effect.wanted, effect.class.grantsSeen]);
      case "returnLease": {
        const { lease } = effect;
        this.forgetLease(lease);
        if (lease.from === null) return this.process.tell([Kind.ReturnLease, lease.leaseId]);
        if (this.daemons.has(lease.from)) this.process.send(lease.from, [Kind.ReturnLease, lease.leaseId]);
        return;
      }
      case "recallTasks":
        if (this.process.connectedTo(effect.lease.workerId))
          this.process.send(effect.lease.workerId, [Kind.RecallTasks, effect.lease.leaseId]);
        return;
      case "crashed":
        // Its reply may be lost, and then nobody else knows of what it has stored.
        this.process.free({
          name: segmentName(this.process.id, effect.task.index, effect.task.attempt, effect.lease.workerId),
          offset: 0,
          bytes: 0,
        });
        return stepOwnership(this.process.ownership, { kind: "crashed", task: effect.task, cause: effect.cause });
      case "wakeAtTurnEnd":
        return this.planTurnEnd();
      case "wakeAt":
        return this.planWake(effect.ms);
    }
  }

  private planTurnEnd(): void {
    if (this.turnEndPlanned) return;
    this.turnEndPlanned = true;
    this.process.after(0, () => {
      this.turnEndPlanned = false;
      this.step({ kind: "turnEnd" });
      this.process.drain();
    });
  }

  private planWake(atMs: number): void {
    if (this.wake !== null) return;
    this.wake = this.process.after(Math.max(1, atMs - this.process.shared.world.now + 1), () => {
      this.wake = null;
      this.step({ kind: "tick" });
      this.process.drain();
    });
  }

  private push(lease: LeaseRecord, task: TaskRecord): void {
    stepOwnership(this.process.ownership, { kind: "pushed", task, runner: lease });
    if (this.sendTask(lease.workerId, lease.leaseId, task)) return;
    this.step({ kind: "done", lease, task, durationMs: null });
    stepOwnership(this.process.ownership, { kind: "crashed", task, cause: "bystander" });
  }

  /** False, and nothing sent, when an argument was lost while the task was queued: it waits for that again. */
  sendTask(worker: string, lane: number, task: TaskRecord): boolean {
    if (task.args.some((arg) => isRecord(arg) && arg.state !== "inline" && arg.state !== "stored")) return false;
    const args: WireArg[] = task.args.map((arg) => {
      if (!isRecord(arg)) return arg;
      if (arg.state !== "stored") return arg.value;
      const ref: WireRef = [arg.foreign?.owner ?? this.process.workerId, arg.index, ""];
      return [arg.location!, ref];
    });
    this.process.send(worker, [Kind.Push, lane, task.definition.id, task.index, task.attempt, args, task.parent]);
    return true;
  }

  private demandAt({ nodeId, hard, grantsSeen }: RemoteShare, classId: number, spec: SchedulingSpec, wanted: number): void {
    const classes = this.daemonAt(nodeId);
    if (!classes.has(classId)) {
      classes.add(classId);
      this.process.send(nodeId, [Kind.DefineClass, classId, spec]);
    }
    this.process.send(nodeId, [Kind.Demand, classId, wanted, grantsSeen, hard]);
  }

  private daemonAt(nodeId: NodeId): Set<number> {
    let classes = this.daemons.get(nodeId);
    if (classes !== undefined) return classes;
    classes = new Set();
    this.daemons.set(nodeId, classes);
    this.process.send(nodeId, [Kind.Hello, { id: this.process.id, jobId: this.process.jobId }] as unknown as AnyMessage);
    return classes;
  }

  spilled(classId: number, nodeId: NodeId, count: number, hard: boolean): void {
    this.step({ kind: "spill", classId, nodeId, count, hard });
  }

  declined(classId: number, nodeId: NodeId, count: number): void {
    this.step({ kind: "decline", classId, nodeId, count });
  }

  /** The connection to the daemon of another node broke; it is tried again after a while. */
  daemonLost(nodeId: NodeId): void {
    if (!this.daemons.delete(nodeId)) return;
    const failures = this.failures.get(nodeId) ?? 0;
    this.failures.set(nodeId, failures + 1);
    this.process.after(Math.min(5_000, 100 * 2 ** Math.min(failures, 10)), () => this.nodeAgain(nodeId));
    this.nodeLost(nodeId, false);
  }

  nodeDied(nodeId: NodeId): void {
    this.daemons.delete(nodeId);
    this.nodeLost(nodeId, true);
  }

  private nodeAgain(nodeId: NodeId): void {
    if (this.process.shared.bug === "forget what was spilled") return;
    this.step({ kind: "nodeAgain", nodeId });
    this.process.drain();
  }

  private nodeLost(nodeId: NodeId, dead: boolean): void {
    if (this.process.shared.bug === "forget what was spilled") return;
    const key = nodeKeyOf(nodeId);
    for (const workerId of [...this.leasesByWorker.keys()]) if (nodeKeyOf(workerId) === key) this.leasesByWorker.delete(workerId);
    this.step({ kind: "nodeLost", nodeId, dead });
    this.process.drain();
  }

  granted(classId: number, leaseId: LeaseId, workerId: WorkerId, from?: NodeId): void {
    if (from !== undefined) this.failures.delete(from);
    this.step({ kind: "granted", classId, leaseId, workerId, address: "", gpuIds: [], from });
    const lease = leaseOf(this.submitter, leaseId, from ?? null);
    if (lease === undefined) return;
    let leases = this.leasesByWorker.get(workerId);
    if (leases === undefined) {
      leases = new Set();
      this.leasesByWorker.set(workerId, leases);
    }
    leases.add(lease);
    const exit = this.exits.get(workerId);
    if (exit !== undefined) this.workerDied(workerId, exit);
  }

  recalled(leaseId: LeaseId, from?: NodeId): void {
    this.step({ kind: "recall", leaseId, from });
  }

  private forgetLease(lease: LeaseRecord): void {
    const leases = this.leasesByWorker.get(lease.workerId);
    leases?.delete(lease);
    if (leases?.size === 0) this.leasesByWorker.delete(lease.workerId);
  }

  workerDied(workerId: string, exit: ProcessExit): void {
    const leases = this.leasesByWorker.get(workerId);
    if (leases === undefined) return;
    this.exits.set(workerId, exit);
    this.leasesByWorker.delete(workerId);
    const blame = exit.outOfMemory ? "outOfMemory" : exit.intended ? "bystander" : "crash";
    for (const lease of leases) this.step({ kind: "leaseLost", lease, blame });
  }

  peerGone(peer: string): void {
    if (!this.leasesByWorker.has(peer)) return;
    this.process.after(lostConnectionMs, () => {
      for (const lease of this.leasesByWorker.get(peer) ?? []) return this.killWorker(lease);
    });
  }

  private killWorker(lease: LeaseRecord): void {
    if (lease.from !== null) this.daemonAt(lease.from);
    this.process.send(lease.from ?? this.process.node.id, [Kind.Request, 0, "killWorker", lease.workerId]);
  }

  unschedulable(classId: number, reason: string, from?: NodeId): void {
    const cls = this.submitter.classes.get(classId);
    if (cls === undefined) return;
    const asked = from === undefined ? cls : cls.remotes.find((remote) => remote.nodeId === from);
    if (asked !== undefined) asked.told = 0;
    for (const task of cls.queue.drain())
      stepOwnership(this.process.ownership, { kind: "fail", task, error: encodeError(reason) });
  }

  outOfRetries(task: TaskRecord): void {
    stepOwnership(this.process.ownership, { kind: "fail", task, error: encodeError("WORKER_CRASHED") });
  }

  retryLater(task: TaskRecord, delayMs: number): void {
    this.process.after(delayMs, () => {
      stepOwnership(this.process.ownership, { kind: "retryNow", task });
      this.process.drain();
    });
  }

  // -------------------------------------------------------------- what comes back

  replied(from: string, message: PeerMessage & { 0: typeof Kind.Reply }): void {
    const [, index, attempt, durationMs, returns, refs] = message;
    const task = this.process.ownership.tasks.get(index);
    if (task === undefined) return;
    const { runner } = task;
    const values = returns.map((value, i) => this.received(from, value, refs === null ? null : refs[i]));
    if (refs !== null) this.acknowledge(from, index, attempt);
    stepOwnership(this.process.ownership, { kind: "replied", task, attempt, returns: values });
    this.released(task, runner, durationMs);
  }

  private received(from: string, wire: WireReturn, refs: readonly WireRef[] | null): ReturnValue {
    const contains = refs === null ? null : refs.map(([owner, index]) => this.process.recordOf(owner, index));
    if (Array.isArray(wire)) return { value: undefined, location: { ...wire[0], writer: from }, contains };
    return { value: wire as ReturnValue["value"], location: null, contains };
  }

  private acknowledge(from: string, index: ObjectIndex, attempt: number): void {
    this.process.drain();
    this.process.borrows.whenRegistered(from, () => this.process.send(from, [Kind.ReplyAck, index, attempt, -1]));
  }

  failed(message: PeerMessage & { 0: typeof Kind.Failed }): void {
    const [, index, attempt, durationMs, error, reason, retry] = message;
    const task = this.process.ownership.tasks.get(index);
    if (task === undefined) return;
    const { runner } = task;
    stepOwnership(this.process.ownership, { kind: "threw", task, attempt, error, retry: retry && reason === "threw" });
    this.released(task, runner, reason === "threw" ? durationMs : null);
  }

  private released(task: TaskRecord, runner: unknown, durationMs: number | null): void {
    if (task.actorId !== null) this.process.actors.finished(task);
    else if (runner !== null) this.step({ kind: "done", lease: runner as LeaseRecord, task, durationMs });
  }

  handedBack(indexes: readonly ObjectIndex[]): void {
    for (const index of indexes) {
      const task = this.process.ownership.tasks.get(index);
      if (task === undefined || task.actorId !== null) continue;
      const runner = task.runner as LeaseRecord | null;
      stepOwnership(this.process.ownership, { kind: "handedBack", task });
      if (runner !== null) this.step({ kind: "done", lease: runner, task, durationMs: null });
    }
  }

  cancel(record: ObjectRecord, force: boolean): void {
    if (record.maker === null) return;
    stepOwnership(this.process.ownership, {
      kind: "cancel",
      task: record.maker,
      force,
      recursive: false,
      error: encodeError("CANCELLED"),
    });
    this.process.drain();
  }

  cancelRunning(task: TaskRecord, force: boolean): void {
    const lease = task.runner as LeaseRecord;
    if (this.process.connectedTo(lease.workerId))
      this.process.send(lease.workerId, [Kind.CancelTask, task.index, task.attempt, false]);
    if (force) this.killWorker(lease);
  }
}
