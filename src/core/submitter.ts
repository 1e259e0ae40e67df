/**
 * The submitter: which leased worker gets which of this process's ready tasks.
 *
 * Tasks that any worker leased for the same resources can run form a scheduling class. A class asks its daemon for leases and pushes its
 * tasks straight to the leased workers, so no scheduler is on the path of a task. Short tasks are pipelined: as many as fit in about a
 * millisecond are pushed ahead, going by the slowest of the class's last hundred; a long one brings that back to one at a time, so
 * that long tasks spread over workers. `step` appends effects to `state.effects`, which the caller drains.
 *
 * Leases are asked of this node's own daemon. It may name another node for some of them (`spill`): those are then asked of that node's
 * daemon, until it grants or declines them, or they are no longer wanted; whatever is not asked elsewhere is asked at home.
 */
import { assert } from "../base/assert.ts";
import type { LeaseId, NodeId, WorkerId } from "../base/ids.ts";
import type { SchedulingSpec } from "../wire/messages.ts";
import { Fifo } from "./fifo.ts";
import type { TaskRecord } from "./task-record.ts";

/** Tasks pushed ahead are bounded by this much expected work. */
const pipelineMs = 1;
/** ... and by this count: beyond it batching gains nothing. */
const pipelineTasksMax = 256;
/** Durations remembered per class. */
const durationsKept = 100;
/** An unused lease goes back after this long. */
export const leaseIdleMs = 500;
/** Leases asked for at once per class; more tasks than that wait for the first grants. */
const demandMax = 256;

export interface LeaseRecord {
  readonly leaseId: LeaseId;
  /** The node whose daemon granted it; null: this process's own. */
  readonly from: NodeId | null;
  readonly workerId: WorkerId;
  readonly address: string;
  readonly gpuIds: readonly number[];
  readonly class: ClassRecord;
  readonly inFlight: Set<TaskRecord>;
  /** The daemon wants it back: nothing new is pushed. */
  recalled: boolean;
  /** Its worker handed tasks back as the one it runs waits or is long: nothing new is pushed until that one is done. */
  paused: boolean;
  idleSinceMs: number;
}

/** What a class asks of another node's daemon. */
export interface RemoteShare {
  readonly nodeId: NodeId;
  /** Leases to ask for there. Grows with a spill; falls when they are granted or declined, or fewer are wanted at all. */
  share: number;
  /** What cannot be granted at once waits there. */
  hard: boolean;
  /** Last Demand sent there, and what has come of it. */
  told: number;
  toldHard: boolean;
  grantsSeen: number;
  /** The connection is lost: nothing is asked until it is known whether the node is dead. */
  unreachable: boolean;
}

export interface ClassRecord {
  readonly id: number;
  readonly spec: SchedulingSpec;
  readonly queue: Fifo<TaskRecord>;
  readonly leases: LeaseRecord[];
  /** Last Demand sent, and Lease messages seen. */
  told: number;
  grantsSeen: number;
  /** Other daemons that were asked; empty in a cluster of one node. */
  readonly remotes: RemoteShare[];
  readonly durations: Float64Array;
  durationCount: number;
  slowestMs: number;
  /** After a crash with several tasks in flight: this many more run one at a time, so that the next crash has one suspect. */
  careful: number;
  dirty: boolean;
}

export type SubmitterEvent =
  | { readonly kind: "enqueue"; readonly task: TaskRecord; readonly first: boolean }
  | {
      readonly kind: "granted";
      readonly classId: number;
      readonly leaseId: LeaseId;
      readonly workerId: WorkerId;
      readonly address: string;
      readonly gpuIds: readonly number[];
      /** The other node whose daemon granted it. */
      readonly from?: NodeId;
    }
  /** `count` of the class's leases are to be asked for at that node. None: what waits there hard need not, as another node could serve it too. */
  | {
      readonly kind: "spill";
      readonly classId: number;
      readonly nodeId: NodeId;
      readonly count: number;
      readonly hard: boolean;
    }
  /** That node's daemon cannot grant `count` of them. */
  | { readonly kind: "decline"; readonly classId: number; readonly nodeId: NodeId; readonly count: number }
  /** The node's daemon cannot be reached: its leases are lost. `dead`: nothing more is asked there; else that is still to be seen. */
  | { readonly kind: "nodeLost"; readonly nodeId: NodeId; readonly dead: boolean }
  /** After `nodeLost` the node may be asked again: what was kept back for it goes the usual way. Leases granted since then stay. */
  | { readonly kind: "nodeAgain"; readonly nodeId: NodeId }
  /** A worker is through with a task (or never had it: no duration). */
  | { readonly kind: "done"; readonly lease: LeaseRecord; readonly task: TaskRecord; readonly durationMs: number | null }
  | { readonly kind: "recall"; readonly leaseId: LeaseId; readonly from?: NodeId }
  /** The worker of the lease is gone; its tasks are reported by effects. */
  | { readonly kind: "leaseLost"; readonly lease: LeaseRecord; readonly blame: "crash" | "outOfMemory" | "bystander" }
  /** End of a turn: settle what the daemon is told. */
  | { readonly kind: "turnEnd" }
  | { readonly kind: "tick" };

export type SubmitterEffect =
  | { readonly kind: "push"; readonly lease: LeaseRecord; readonly task: TaskRecord }
  /** `at` null: of the own daemon. */
  | { readonly kind: "demand"; readonly class: ClassRecord; readonly wanted: number; readonly at: RemoteShare | null }
  | { readonly kind: "returnLease"; readonly lease: LeaseRecord }
  /** Ask the worker to hand back what it has not started. */
  | { readonly kind: "recallTasks"; readonly lease: LeaseRecord }
  | {
      readonly kind: "crashed";
      readonly lease: LeaseRecord;
      readonly task: TaskRecord;
      readonly cause: "crash" | "outOfMemory" | "bystander";
    }
  /** `turnEnd` is wanted at the end of this turn / `tick` at this time. */
  | { readonly kind: "wakeAtTurnEnd" }
  | { readonly kind: "wakeAt"; readonly ms: number };

export interface SubmitterState {
  readonly classes: Map<number, ClassRecord>;
  /** By id for the own daemon's, by node and id for others': an id is unique only in its daemon. */
  readonly leases: Map<LeaseId | string, LeaseRecord>;
  dirty: ClassRecord[];
  effects: SubmitterEffect[];
}

export function createSubmitter(): SubmitterState {
  return { classes: new Map(), leases: new Map(), dirty: [], effects: [] };
}

export function addClass(state: SubmitterState, id: number, spec: SchedulingSpec): void {
  state.classes.set(id, {
    id,
    spec,
    queue: new Fifo(),
    leases: [],
    told: 0,
    grantsSeen: 0,
    remotes: [],
    durations: new Float64Array(durationsKept),
    durationCount: 0,
    slowestMs: 0,
    careful: 0,
    dirty: false,
  });
}

export function step(state: SubmitterState, now: number, event: SubmitterEvent): void {
  switch (event.kind) {
    case "enqueue":
      return enqueue(state, event.task, event.first);
    case "granted":
      return granted(state, now, event);
    case "done":
      return done(state, now, event.lease, event.task, event.durationMs);
    case "recall":
      return recall(state, event.leaseId, event.from ?? null);
    case "spill":
      return spill(state, event);
    case "decline":
      return decline(state, event.classId, event.nodeId, event.count);
    case "nodeLost":
      return nodeLost(state, event.nodeId, event.dead);
    case "nodeAgain":
      return nodeAgain(state, event.nodeId);
    case "leaseLost":
      return leaseLost(state, event.lease, event.blame);
    case "turnEnd":
      return turnEnd(state);
    case "tick":
      return tick(state, now);
  }
}

/** Tasks that may be in flight on one lease of the class now. */
export function pipelineDepth(cls: ClassRecord): number {
  if (cls.durationCount === 0 || cls.careful > 0) return 1;
  if (cls.slowestMs * pipelineTasksMax <= pipelineMs) return pipelineTasksMax;
  return Math.max(1, Math.floor(pipelineMs / cls.slowestMs));
}

function enqueue(state: SubmitterState, task: TaskRecord, first: boolean): void {
  const cls = state.classes.get(task.classId);
  assert(cls !== undefined, () => `task ${task.index} names no scheduling class`);
  if (first) cls.queue.unshift(task);
  else cls.queue.push(task);
  pump(state, cls);
}

/** Pushes queued tasks to the least busy leases until none has room. */
function pump(state: SubmitterState, cls: ClassRecord): void {
  const depth = pipelineDepth(cls);
  while (cls.queue.length > 0) {
    const task = cls.queue.peek() as TaskRecord;
    if (task.state !== "queued") {
      cls.queue.shift(); // cancelled meanwhile
      continue;
    }
    const lease = leastBusy(cls, task.definition.maxRetries === 0 ? 1 : depth);
    if (lease === null) break;
    cls.queue.shift();
    lease.inFlight.add(task);
    state.effects.push({ kind: "push", lease, task });
  }
  markDirty(state, cls);
}

/** A task that must not run twice travels alone (depth 1): otherwise a crash could not tell whether it had run. */
function leastBusy(cls: ClassRecord, depth: number): LeaseRecord | null {
  let best: LeaseRecord | null = null;
  for (const lease of cls.leases) {
    if (lease.recalled || lease.paused || lease.inFlight.size >= depth) continue;
    if (best === null || lease.inFlight.size < best.inFlight.size) best = lease;
  }
  return best;
}

function markDirty(state: SubmitterState, cls: ClassRecord): void {
  if (cls.dirty || (cls.queue.length === 0 && cls.told === 0 && !asksElsewhere(cls))) return;
  cls.dirty = true;
  if (state.dirty.length === 0) state.effects.push({ kind: "wakeAtTurnEnd" });
  state.dirty.push(cls);
}

function asksElsewhere(cls: ClassRecord): boolean {
  for (const remote of cls.remotes) if (remote.share > 0 || remote.told > 0) return true;
  return false;
}

function turnEnd(state: SubmitterState): void {
  const dirty = state.dirty;
  state.dirty = [];
  for (const cls of dirty) {
    cls.dirty = false;
    const wanted = Math.min(cls.queue.length, demandMax);
    const atHome = cls.remotes.length === 0 ? wanted : wanted - askElsewhere(state, cls, wanted);
    if (atHome === cls.told) continue;
    cls.told = atHome;
    state.effects.push({ kind: "demand", class: cls, wanted: atHome, at: null });
  }
}

/** Tells other daemons what is still wanted of them. Returns how many leases that is. */
function askElsewhere(state: SubmitterState, cls: ClassRecord, wanted: number): number {
  let left = wanted;
  for (const remote of cls.remotes) {
    remote.share = Math.min(remote.share, left);
    left -= remote.share;
    if (remote.share === 0) remote.hard = false;
    if (remote.unreachable || (remote.share === remote.told && (remote.hard === remote.toldHard || remote.share === 0))) continue;
    remote.told = remote.share;
    remote.toldHard = remote.hard;
    state.effects.push({ kind: "demand", class: cls, wanted: remote.share, at: remote });
  }
  return wanted - left;
}

function granted(state: SubmitterState, now: number, event: SubmitterEvent & { kind: "granted" }): void {
  const cls = state.classes.get(event.classId);
  assert(cls !== undefined, () => `lease ${event.leaseId} granted for unknown class ${event.classId}`);
  const { leaseId, workerId, address, gpuIds, from = null } = event;
  if (from !== null) answered(cls, from, 1);
  else {
    cls.grantsSeen++;
    if (cls.told > 0) cls.told--;
  }
  const lease: LeaseRecord = {
    leaseId,
    from,
    workerId,
    address,
    gpuIds,
    class: cls,
    inFlight: new Set(),
    recalled: false,
    paused: false,
    idleSinceMs: now,
  };
  cls.leases.push(lease);
  state.leases.set(keyOf(leaseId, from), lease);
  pump(state, cls);
  if (lease.inFlight.size === 0) state.effects.push({ kind: "wakeAt", ms: now + leaseIdleMs });
}

const keyOf = (leaseId: LeaseId, from: NodeId | null): LeaseId | string => (from === null ? leaseId : `${from} ${leaseId}`);

/** The lease that the daemon of node `from`, or the own one, granted under this id. */
export const leaseOf = (state: SubmitterState, leaseId: LeaseId, from: NodeId | null): LeaseRecord | undefined =>
  state.leases.get(keyOf(leaseId, from));

function spill(state: SubmitterState, { classId, nodeId, count, hard }: SubmitterEvent & { kind: "spill" }): void {
  const cls = state.classes.get(classId);
  assert(cls !== undefined, () => `leases of unknown class ${classId} are to come from node ${nodeId}`);
  cls.grantsSeen += count;
  cls.told = Math.max(0, cls.told - count);
  const known = cls.remotes.find((remote) => remote.nodeId === nodeId);
  if (count === 0) {
    if (known !== undefined) known.hard = false;
  } else if (known !== undefined) {
    known.share += count;
    known.hard ||= hard;
  } else {
    cls.remotes.push({ nodeId, share: count, hard, told: 0, toldHard: false, grantsSeen: 0, unreachable: false });
  }
  markDirty(state, cls);
}

function decline(state: SubmitterState, classId: number, nodeId: NodeId, count: number): void {
  const cls = state.classes.get(classId);
  assert(cls !== undefined, () => `leases of unknown class ${classId} are declined by node ${nodeId}`);
  answered(cls, nodeId, count);
  markDirty(state, cls);
}

/** So many leases of those asked of another daemon were granted or declined. */
function answered(cls: ClassRecord, nodeId: NodeId, count: number): void {
  const remote = cls.remotes.find((known) => known.nodeId === nodeId);
  if (remote === undefined) return;
  remote.grantsSeen += count;
  remote.share = Math.max(0, remote.share - count);
  remote.told = Math.max(0, remote.told - count);
}

/** Every task that was sent there may have run, so each uses a retry. */
function nodeLost(state: SubmitterState, nodeId: NodeId, dead: boolean): void {
  for (const lease of [...state.leases.values()]) {
    if (lease.from !== nodeId) continue;
    removeLease(state, lease);
    for (const task of lease.inFlight) state.effects.push({ kind: "crashed", lease, task, cause: "crash" });
    lease.inFlight.clear();
    markDirty(state, lease.class);
  }
  for (const cls of state.classes.values()) {
    const at = cls.remotes.findIndex((remote) => remote.nodeId === nodeId);
    if (at < 0) continue;
    if (dead) cls.remotes.splice(at, 1);
    else Object.assign(cls.remotes[at], { told: 0, grantsSeen: 0, unreachable: true });
    markDirty(state, cls);
  }
}

function nodeAgain(state: SubmitterState, nodeId: NodeId): void {
  for (const cls of state.classes.values()) {
    const at = cls.remotes.findIndex((remote) => remote.nodeId === nodeId && remote.unreachable);
    if (at < 0) continue;
    cls.remotes.splice(at, 1);
    markDirty(state, cls);
  }
}

function done(state: SubmitterState, now: number, lease: LeaseRecord, task: TaskRecord, durationMs: number | null): void {
  if (!lease.inFlight.delete(task)) return;
  const cls = lease.class;
  if (durationMs !== null) noteDuration(cls, durationMs);
  lease.paused = durationMs === null && lease.inFlight.size > 0;
  if (cls.queue.length > 0) pump(state, cls);
  if (lease.inFlight.size > 0) return;
  lease.idleSinceMs = now;
  if (lease.recalled) returnLease(state, lease);
  else state.effects.push({ kind: "wakeAt", ms: now + leaseIdleMs });
}

function noteDuration(cls: ClassRecord, durationMs: number): void {
  const slot = cls.durationCount % durationsKept;
  const leaving = cls.durationCount >= durationsKept ? cls.durations[slot] : 0;
  cls.durations[slot] = durationMs;
  cls.durationCount++;
  if (cls.careful > 0) cls.careful--;
  if (durationMs >= cls.slowestMs) cls.slowestMs = durationMs;
  else if (leaving >= cls.slowestMs) {
    let slowest = 0;
    const kept = Math.min(cls.durationCount, durationsKept);
    for (let i = 0; i < kept; i++) if (cls.durations[i] > slowest) slowest = cls.durations[i];
    cls.slowestMs = slowest;
  }
}

function recall(state: SubmitterState, leaseId: LeaseId, from: NodeId | null): void {
  const lease = state.leases.get(keyOf(leaseId, from));
  if (lease === undefined || lease.recalled) return;
  lease.recalled = true;
  if (lease.inFlight.size === 0) returnLease(state, lease);
  else if (lease.inFlight.size > 1) state.effects.push({ kind: "recallTasks", lease });
}

function removeLease(state: SubmitterState, lease: LeaseRecord): void {
  state.leases.delete(keyOf(lease.leaseId, lease.from));
  const at = lease.class.leases.indexOf(lease);
  if (at >= 0) lease.class.leases.splice(at, 1);
}

function returnLease(state: SubmitterState, lease: LeaseRecord): void {
  removeLease(state, lease);
  state.effects.push({ kind: "returnLease", lease });
}

function leaseLost(state: SubmitterState, lease: LeaseRecord, blame: "crash" | "outOfMemory" | "bystander"): void {
  if (!state.leases.has(keyOf(lease.leaseId, lease.from))) return;
  removeLease(state, lease);
  const alone = lease.inFlight.size === 1;
  if (!alone && blame !== "bystander") lease.class.careful = Math.max(lease.class.careful, lease.inFlight.size);
  for (const task of lease.inFlight) state.effects.push({ kind: "crashed", lease, task, cause: alone ? blame : "bystander" });
  lease.inFlight.clear();
  markDirty(state, lease.class);
}

/** Returns leases that were idle long enough and asks to be woken for the next. */
function tick(state: SubmitterState, now: number): void {
  let next = Number.POSITIVE_INFINITY;
  for (const lease of [...state.leases.values()]) {
    if (lease.inFlight.size > 0) continue;
    if (now - lease.idleSinceMs >= leaseIdleMs) returnLease(state, lease);
    else next = Math.min(next, lease.idleSinceMs + leaseIdleMs);
  }
  if (next !== Number.POSITIVE_INFINITY) state.effects.push({ kind: "wakeAt", ms: next });
}
