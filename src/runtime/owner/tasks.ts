/** Tasks of this process: submitting them, leasing workers for them, and what comes back. */
import { clearTimeout, performance, queueMicrotask, setTimeout } from "../../base/clock.ts";
import {
  NodeDiedError,
  OutOfMemoryError,
  RuntimeEnvSetupError,
  TaskCancelledError,
  TaskUnschedulableError,
  WorkerCrashedError,
} from "../../base/errors.ts";
import { type LeaseId, type NodeId, type NodeKey, nodeKeyOf, type ObjectIndex, type WorkerId } from "../../base/ids.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import { step as stepOwnership } from "../../core/ownership.ts";
import type { ReturnValue } from "../../core/ownership-events.ts";
import { newOwned } from "../../core/ownership-state.ts";
import { outOfMemoryRetries } from "../../core/ownership-tasks.ts";
import { newStream } from "../../core/stream-record.ts";
import {
  addClass,
  type ClassRecord,
  createSubmitter,
  type LeaseRecord,
  leaseOf,
  type RemoteShare,
  type SubmitterEffect,
  type SubmitterEvent,
  step as stepSubmitter,
} from "../../core/submitter.ts";
import type { LocalDefinition, TaskRecord } from "../../core/task-record.ts";
import { Kind } from "../../wire/index.ts";
import type {
  FromDaemon,
  PeerMessage,
  ProcessExit,
  SchedulingSpec,
  TaskDefinition,
  WireRef,
  WireReturn,
} from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import { argumentsNode, captureArgs, wireArgs } from "./arguments.ts";
import { carryOutAll } from "./effects.ts";
import { ObjectRef } from "./object-ref.ts";
import { ObjectRefGenerator } from "./object-ref-generator.ts";
import { mergeRuntimeEnv, resourcesOf, schedulingSpec } from "./options.ts";
import { RemoteDaemons } from "./remote-daemons.ts";
import { nameOf, type RemoteSpec, retryNames } from "./remote-function.ts";
import type { Runtime } from "./runtime.ts";
import { currentTask } from "./task-context.ts";

/** What a lease's worker connection is known by, kept in `task.runner`. */
export type Runner = LeaseRecord;

export class Tasks {
  private readonly runtime: Runtime;
  private readonly submitter = createSubmitter();
  private readonly classIds = new Map<string, number>();
  private readonly definitions = new Map<string, LocalDefinition>();
  private readonly leasesByWorker = new Map<WorkerId, Set<LeaseRecord>>();
  private readonly exits = new Map<WorkerId, ProcessExit>();
  /** Why nodes on which tasks ran are out of reach. */
  private readonly nodeDeaths = new Map<NodeKey, { readonly nodeId: NodeId; readonly text: string }>();
  private readonly remotes: RemoteDaemons;
  private readonly timers = new Set<NodeJS.Timeout>();
  private turnEndPlanned = false;
  private wakeTimer: NodeJS.Timeout | null = null;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.remotes = new RemoteDaemons(runtime, {
      onMessage: (from, message) => runtime.onRemoteDaemonMessage(from, message),
      onLost: (nodeId, reason) => this.nodeLost(nodeId, reason, false),
      onAgain: (nodeId) => this.nodeAgain(nodeId),
    });
  }

  get quiet(): boolean {
    return this.submitter.effects.length === 0;
  }

  // -------------------------------------------------------------- submitting

  submit(spec: RemoteSpec, given: readonly unknown[]): unknown {
    const { runtime } = this;
    runtime.assertOpen();
    const local = this.definitionOf(spec);
    const { args, holds } = captureArgs(runtime, given);
    const pins = (spec.definition as NonNullable<RemoteSpec["definition"]>).pins;
    const task = this.newTask(local, args, pins.length === 0 ? holds : [...pins, ...(holds ?? [])], local.maxRetries);
    return this.begin(task);
  }

  /** Makes the task's record and those of its returns. */
  newTask(definition: LocalDefinition, args: TaskRecord["args"], holds: TaskRecord["holds"], retries: number): TaskRecord {
    const { ownership } = this.runtime;
    const numReturns = definition.wire.numReturns;
    const first = newOwned(ownership);
    const returns: ObjectRecord[] = [first];
    for (let i = 1; i < numReturns; i++) returns.push(newOwned(ownership));
    const parent = currentTask();
    const task: TaskRecord = {
      index: first.index,
      definition,
      args,
      holds,
      returns,
      actorId: null,
      parent: parent === null ? "" : parent.key,
      state: "waiting",
      waitingFor: 0,
      attempt: 0,
      retriesLeft: retries,
      oomRetriesLeft: outOfMemoryRetries,
      runner: null,
      stream: numReturns === -1 ? newStream() : null,
      classId: definition.classId,
      cancelRequested: false,
    };
    for (const record of returns) record.maker = task;
    return task;
  }

  /** Submits the task and gives the user's refs to what it returns. */
  begin(task: TaskRecord): unknown {
    const { runtime } = this;
    const numReturns = task.definition.wire.numReturns;
    for (const record of task.returns) record.localRefs = 1;
    stepOwnership(runtime.ownership, { kind: "submit", task });
    runtime.drain();
    if (numReturns === 1) return new ObjectRef(task.returns[0], runtime);
    if (numReturns === -1) return new ObjectRefGenerator(task, new ObjectRef(task.returns[0], runtime), runtime);
    if (numReturns === 0) {
      runtime.dropRef(task.returns[0]);
      return undefined;
    }
    return task.returns.map((record) => new ObjectRef(record, runtime));
  }

  private definitionOf(spec: RemoteSpec): LocalDefinition {
    const inherited = currentTask()?.childStrategy ?? null;
    const known = spec.definition;
    if (known !== null && known.runtime === this.runtime && known.inherited === inherited) return known.local;
    const { runtime } = this;
    const key = spec.key ?? runtime.functions.capture(spec.fn as Function).key;
    const { options } = spec;
    const name = nameOf(spec);
    const maxRetries = options.maxRetries ?? 3;
    const resources = resourcesOf(options, 1);
    const scheduling = schedulingSpec(
      options,
      resources,
      name,
      { runtimeEnv: mergeRuntimeEnv(runtime.config.runtimeEnv, undefined), strategy: inherited },
      maxRetries !== 0,
    );
    const group =
      scheduling.strategy.kind === "group"
        ? { groupId: scheduling.strategy.groupId, captureChildTasks: scheduling.strategy.captureChildTasks }
        : null;
    const local = this.define(
      {
        functionKey: key,
        name,
        numReturns: options.numReturns === "streaming" ? -1 : (options.numReturns ?? (spec.isGenerator ? -1 : 1)),
        maxCalls: options.maxCalls ?? 0,
        generatorBackpressure: options.generatorBackpressure ?? -1,
        retryExceptions: retryNames(options.retryExceptions),
        method: null,
        concurrencyGroup: null,
        group,
        resources,
      },
      scheduling,
      maxRetries,
    );
    const pins = spec.fn === null ? [] : runtime.functions.holdsOf(spec.fn);
    spec.definition = { runtime, inherited, local, pins };
    return local;
  }

  /** The definition with this content, numbered on first use. `scheduling` null: an actor method. */
  define(wire: TaskDefinition, scheduling: SchedulingSpec | null, maxRetries: number): LocalDefinition {
    const classId = scheduling === null ? -1 : this.classOf(scheduling);
    const key = JSON.stringify([wire, classId, maxRetries]);
    let local = this.definitions.get(key);
    if (local === undefined) {
      local = { id: this.definitions.size, wire, classId, maxRetries };
      this.definitions.set(key, local);
    }
    return local;
  }

  private classOf(spec: SchedulingSpec): number {
    const key = JSON.stringify({ ...spec, label: "" });
    let id = this.classIds.get(key);
    if (id === undefined) {
      id = this.classIds.size;
      this.classIds.set(key, id);
      addClass(this.submitter, id, spec);
      this.runtime.daemon.send([Kind.DefineClass, id, spec]);
    }
    return id;
  }

  enqueue(task: TaskRecord): void {
    if (this.runtime.welcome?.cluster === true) this.chooseClass(task);
    this.step({ kind: "enqueue", task, first: task.attempt > 0 });
  }

  /** A task with much to read goes to the class of those that read on the same node. */
  private chooseClass(task: TaskRecord): void {
    const prefer = argumentsNode(task.args, nodeKeyOf(this.runtime.selfId));
    const { classId } = task.definition;
    const spec = this.submitter.classes.get(classId)?.spec;
    task.classId = prefer === null || spec?.strategy.kind !== "default" ? classId : this.classOf({ ...spec, prefer });
  }

  // -------------------------------------------------------------- leases

  private step(event: SubmitterEvent): void {
    stepSubmitter(this.submitter, performance.now(), event);
  }

  drainSubmitter(): void {
    const { effects } = this.submitter;
    if (effects.length > 0) carryOutAll(effects, (effect) => this.carryOut(effect));
  }

  private carryOut(effect: SubmitterEffect): void {
    const { runtime } = this;
    switch (effect.kind) {
      case "push":
        return this.push(effect.lease, effect.task);
      case "demand":
        if (effect.at !== null) return this.demandAt(effect.at, effect.class, effect.wanted);
        runtime.daemon.send([Kind.Demand, effect.class.id, effect.wanted, effect.class.grantsSeen]);
        return;
      case "returnLease":
        this.forgetLease(effect.lease);
        if (effect.lease.from !== null)
          return this.remotes.sendIfConnected(effect.lease.from, [Kind.ReturnLease, effect.lease.leaseId]);
        runtime.daemon.send([Kind.ReturnLease, effect.lease.leaseId]);
        return;
      case "recallTasks":
        runtime.peers.existing(effect.lease.workerId)?.send([Kind.RecallTasks, effect.lease.leaseId]);
        return;
      case "crashed":
        runtime.freeUnseen(effect.task, effect.lease.workerId);
        stepOwnership(runtime.ownership, { kind: "crashed", task: effect.task, cause: effect.cause });
        return;
      case "wakeAtTurnEnd":
        if (!this.turnEndPlanned) {
          this.turnEndPlanned = true;
          queueMicrotask(this.turnEnd);
        }
        return;
      case "wakeAt":
        return this.planWake(effect.ms);
    }
  }

  private readonly turnEnd = (): void => {
    this.turnEndPlanned = false;
    if (this.runtime.ended !== null) return;
    this.step({ kind: "turnEnd" });
    this.runtime.drain();
  };

  private planWake(atMs: number): void {
    if (this.wakeTimer !== null) return;
    this.wakeTimer = setTimeout(
      () => {
        this.wakeTimer = null;
        this.step({ kind: "tick" });
        this.runtime.drain();
      },
      Math.max(1, atMs - performance.now() + 1),
    );
    this.wakeTimer.unref();
  }

  private push(lease: LeaseRecord, task: TaskRecord): void {
    const { runtime } = this;
    stepOwnership(runtime.ownership, { kind: "pushed", task, runner: lease });
    const { definition, index, attempt, parent } = task;
    const args = wireArgs(runtime, task.args);
    if (args === null) {
      this.step({ kind: "done", lease, task, durationMs: null });
      return stepOwnership(runtime.ownership, { kind: "crashed", task, cause: "bystander" }); // waits for it again, or fails as it did
    }
    const link = runtime.peers.to(lease.workerId, lease.address);
    this.sendDefinition(link, definition);
    if (lease.gpuIds.length === 0) link.send([Kind.Push, lease.leaseId, definition.id, index, attempt, args, parent]);
    else link.send([Kind.Push, lease.leaseId, definition.id, index, attempt, args, parent, lease.gpuIds]);
  }

  sendDefinition(link: Link, definition: LocalDefinition): void {
    if (link.definitionsSent.has(definition.id)) return;
    link.definitionsSent.add(definition.id);
    link.send([Kind.DefineTask, definition.id, definition.wire]);
  }

  private demandAt(remote: RemoteShare, cls: ClassRecord, wanted: number): void {
    const { nodeId, hard, grantsSeen } = remote;
    if (this.remotes.isNewTo(nodeId, cls.id)) this.remotes.send(nodeId, [Kind.DefineClass, cls.id, cls.spec]);
    this.remotes.send(nodeId, [Kind.Demand, cls.id, wanted, grantsSeen, hard]);
  }

  /** `from`: the other node whose daemon sent it. */
  granted(message: FromDaemon & { 0: typeof Kind.Lease }, from?: NodeId): void {
    const [, classId, leaseId, workerId, address, gpuIds] = message;
    this.step({ kind: "granted", classId, leaseId, workerId, address, gpuIds, from });
    const lease = leaseOf(this.submitter, leaseId, from ?? null) as LeaseRecord;
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

  /** The own daemon names another node for leases of the class. */
  spilled(classId: number, nodeId: NodeId, count: number, hard: boolean): void {
    this.step({ kind: "spill", classId, nodeId, count, hard });
  }

  declined(classId: number, nodeId: NodeId, count: number): void {
    this.step({ kind: "decline", classId, nodeId, count });
  }

  /** The node is dead, what its processes sent may still arrive: nothing more is pushed to them. */
  nodeEnding(nodeId: NodeId, text: string): void {
    const key = nodeKeyOf(nodeId);
    this.nodeDeaths.set(key, { nodeId, text });
    this.remotes.drop(nodeId);
    for (const workerId of this.leasesByWorker.keys()) if (nodeKeyOf(workerId) === key) this.workerEnding(workerId);
  }

  /** The head has declared the node dead. */
  nodeDied(nodeId: NodeId, text: string): void {
    this.remotes.drop(nodeId);
    this.nodeLost(nodeId, text, true);
  }

  private nodeAgain(nodeId: NodeId): void {
    this.step({ kind: "nodeAgain", nodeId });
    this.runtime.drain();
  }

  private nodeLost(nodeId: NodeId, text: string, dead: boolean): void {
    const key = nodeKeyOf(nodeId);
    this.nodeDeaths.set(key, { nodeId, text });
    for (const workerId of [...this.leasesByWorker.keys()]) if (nodeKeyOf(workerId) === key) this.leasesByWorker.delete(workerId);
    this.step({ kind: "nodeLost", nodeId, dead });
    this.runtime.drain();
  }

  private killWorker(lease: LeaseRecord, reason: string): void {
    const params = { workerId: lease.workerId, reason };
    const asked =
      lease.from === null
        ? this.runtime.daemon.request("killWorker", params)
        : this.remotes.request(lease.from, "killWorker", params);
    asked.catch(() => {});
  }

  private forgetLease(lease: LeaseRecord): void {
    const leases = this.leasesByWorker.get(lease.workerId);
    leases?.delete(lease);
    if (leases?.size === 0) this.leasesByWorker.delete(lease.workerId);
  }

  /** A worker process has ended, what it sent may still arrive: nothing more is pushed to it. */
  workerEnding(workerId: WorkerId): void {
    for (const lease of [...(this.leasesByWorker.get(workerId) ?? [])]) {
      const { leaseId, from } = lease;
      this.step({ kind: "recall", leaseId, from: from ?? undefined });
    }
  }

  /** The end of a worker process: nothing more comes from it. */
  workerDied(workerId: WorkerId, exit: ProcessExit): void {
    const leases = this.leasesByWorker.get(workerId);
    if (leases === undefined) return;
    this.exits.set(workerId, exit);
    this.leasesByWorker.delete(workerId);
    for (const lease of leases) {
      const blame = exit.outOfMemory ? "outOfMemory" : exit.intended ? "bystander" : "crash";
      this.step({ kind: "leaseLost", lease, blame });
    }
  }

  /** A connection to a worker broke. Its end is the daemon's to report; a worker that lives on without us is ended. */
  peerGone(peer: WorkerId): void {
    if (!this.leasesByWorker.has(peer)) return;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      for (const lease of this.leasesByWorker.get(peer) ?? []) {
        this.killWorker(lease, "its connection to the owner of its tasks broke");
        break;
      }
    }, 2000);
    timer.unref();
    this.timers.add(timer);
  }

  unschedulable(classId: number, reason: "unschedulable" | "runtime env", text: string, from?: NodeId): void {
    const cls = this.submitter.classes.get(classId);
    if (cls === undefined) return;
    const asked = from === undefined ? cls : cls.remotes.find((remote) => remote.nodeId === from);
    if (asked !== undefined) asked.told = 0;
    const Class = reason === "unschedulable" ? TaskUnschedulableError : RuntimeEnvSetupError;
    for (const task of cls.queue.drain()) {
      stepOwnership(this.runtime.ownership, {
        kind: "fail",
        task,
        error: this.runtime.encodeError(new Class(`Cannot run '${task.definition.wire.name}': ${text}`)),
      });
    }
  }

  outOfRetries(task: TaskRecord): void {
    const lease = task.runner as LeaseRecord | null;
    const exit = lease === null ? undefined : this.exits.get(lease.workerId);
    const runs = task.attempt + 1;
    const death = lease === null || exit !== undefined ? undefined : this.nodeDeaths.get(nodeKeyOf(lease.workerId));
    if (death !== undefined) {
      const { nodeId, text: reason } = death;
      const died = new NodeDiedError(
        `Cannot finish '${task.definition.wire.name}': its node ${nodeId} died or cannot be reached: ${reason} (run ${runs} of ${runs}, no retries left)`,
        { nodeId, reason },
      );
      return stepOwnership(this.runtime.ownership, { kind: "fail", task, error: this.runtime.encodeError(died) });
    }
    const text = `Cannot finish '${task.definition.wire.name}': its worker process ${exit?.pid ?? ""} ${exit?.text ?? "ended"} (run ${runs} of ${runs}, no retries left)`;
    const fields = { exitCode: exit?.exitCode ?? null, signal: exit?.signal ?? null, pid: exit?.pid ?? 0 };
    const error = exit?.outOfMemory ? new OutOfMemoryError(text, fields) : new WorkerCrashedError(text, fields);
    stepOwnership(this.runtime.ownership, { kind: "fail", task, error: this.runtime.encodeError(error) });
  }

  retryLater(task: TaskRecord, delayMs: number): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      stepOwnership(this.runtime.ownership, { kind: "retryNow", task });
      this.runtime.drain();
    }, delayMs);
    this.timers.add(timer);
  }

  // -------------------------------------------------------------- what comes back

  replied(from: WorkerId, message: PeerMessage & { 0: typeof Kind.Reply }, link: Link): void {
    const [, index, attempt, durationMs, returns, refs] = message;
    const task = this.runtime.ownership.tasks.get(index);
    if (task === undefined) return;
    const { runner } = task;
    const isLate = task.attempt !== attempt; // its run was given up: what runs now is another
    const values: ReturnValue[] = new Array(returns.length);
    for (let i = 0; i < returns.length; i++) values[i] = this.received(from, returns[i], refs === null ? null : refs[i]);
    if (refs !== null) this.acknowledge(from, link, index, attempt, -1);
    stepOwnership(this.runtime.ownership, { kind: "replied", task, attempt, returns: values });
    if (!isLate) this.released(task, runner, durationMs);
  }

  /** A value as it arrived from a process, with the records of the refs in it. */
  received(from: WorkerId, wire: WireReturn, refs: readonly WireRef[] | null): ReturnValue {
    const contains = refs === null ? null : refs.map((ref) => this.runtime.recordFromWire([ref[0], ref[1], ref[2] ?? ""]));
    if (Array.isArray(wire)) return { value: undefined, location: { ...wire[0], writer: from }, contains };
    // The bytes are a view on the frame they came in: a copy of their own does not keep the frame.
    return {
      value: wire instanceof Uint8Array ? new Uint8Array(wire) : (wire as ReturnValue["value"]),
      location: null,
      contains,
    };
  }

  /** Tells the sender of refs that they are registered with their owners, as soon as that is so. */
  acknowledge(from: WorkerId, link: Link, index: ObjectIndex, attempt: number, item: number): void {
    this.runtime.drain();
    const waiting = this.runtime.borrows.unregistered(from);
    if (waiting === null) link.send([Kind.ReplyAck, index, attempt, item]);
    else waiting.then(() => link.send([Kind.ReplyAck, index, attempt, item]));
  }

  failed(from: WorkerId, message: PeerMessage & { 0: typeof Kind.Failed }): void {
    const [, index, attempt, durationMs, error, reason, retry] = message;
    const task = this.runtime.ownership.tasks.get(index);
    if (task === undefined) return;
    const { runner } = task;
    const isLate = task.attempt !== attempt;
    stepOwnership(this.runtime.ownership, {
      kind: "threw",
      task,
      attempt,
      error: new Uint8Array(error),
      retry: retry && reason === "threw",
    });
    if (!isLate) this.released(task, runner, reason === "threw" ? durationMs : null);
    void from;
  }

  private released(task: TaskRecord, runner: unknown, durationMs: number | null): void {
    if (task.actorId !== null) this.runtime.actors.finished(task);
    else if (runner !== null) this.step({ kind: "done", lease: runner as LeaseRecord, task, durationMs });
  }

  handedBack(indexes: readonly ObjectIndex[]): void {
    for (const index of indexes) {
      const task = this.runtime.ownership.tasks.get(index);
      if (task === undefined || task.actorId !== null) continue;
      const runner = task.runner as LeaseRecord | null;
      stepOwnership(this.runtime.ownership, { kind: "handedBack", task });
      if (runner !== null) this.step({ kind: "done", lease: runner, task, durationMs: null });
    }
  }

  // -------------------------------------------------------------- cancel

  cancel(record: ObjectRecord, force: boolean, recursive: boolean): void {
    const task = record.maker;
    if (task === null) return;
    const error = new TaskCancelledError(`'${task.definition.wire.name}' was cancelled`, { taskName: task.definition.wire.name });
    stepOwnership(this.runtime.ownership, { kind: "cancel", task, force, recursive, error: this.runtime.encodeError(error) });
    this.runtime.drain();
  }

  /** Cancels what the task `parent` of this process submitted. */
  cancelChildren(parent: string): void {
    for (const task of [...this.runtime.ownership.tasks.values()]) {
      if (task.parent === parent) this.cancel(task.returns[0], false, true);
    }
  }

  cancelRunning(task: TaskRecord, force: boolean, recursive: boolean): void {
    const lease = task.runner as LeaseRecord;
    this.runtime.peers.existing(lease.workerId)?.send([Kind.CancelTask, task.index, task.attempt, recursive]);
    if (!force) return;
    this.killWorker(lease, `'${task.definition.wire.name}' was cancelled by force`);
  }

  close(): void {
    for (const timer of this.timers) clearTimeout(timer);
    if (this.wakeTimer !== null) clearTimeout(this.wakeTimer);
    this.remotes.close();
  }
}
