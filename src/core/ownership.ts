/**
 * Ownership: the objects and tasks of one process, and the refs it borrowed.
 *
 * The process that makes a ref owns the object: it keeps the state, the counts and, while a large result may be lost, the task that
 * makes it. The complication is that a count lives in several processes at once; the answer is that a holder registers with the owner
 * before the one who lent it lets go (see docs/protocol.md, BorrowAdd), so counts here only ever change by messages and local drops.
 *
 * `step` is the only mutator. It appends effects to `state.effects`, which the caller drains and empties (one array, reused: this is the hot path).
 */
import { assert } from "../base/assert.ts";
import type { ObjectIndex, WorkerId } from "../base/ids.ts";
import { isSameObject } from "../objects/segment-name.ts";
import type { Location } from "../objects/types.ts";
import type { WireValue } from "../wire/messages.ts";
import { BorrowTable } from "./borrow-table.ts";
import { newObjectRecord, type ObjectRecord } from "./object-record.ts";
import type { OwnershipEffect, OwnershipEvent, ReturnValue } from "./ownership-events.ts";
import { beginRun, failLost, isPast, loseItem, pace, type StreamRecord } from "./stream-record.ts";
import { isRecord, type TaskRecord } from "./task-record.ts";

export interface OwnershipState {
  readonly self: WorkerId;
  nextIndex: number;
  /** Objects this process owns, until their last count is gone. */
  readonly owned: Map<ObjectIndex, ObjectRecord>;
  /** Objects of other owners while this process holds a ref. */
  readonly borrowed: BorrowTable;
  /** Unfinished tasks. */
  readonly tasks: Map<ObjectIndex, TaskRecord>;
  effects: OwnershipEffect[];
}

/** A task that the memory monitor ended is run again this often, apart from its `maxRetries`; then `OutOfMemoryError`. */
export const outOfMemoryRetries = 5;

export function createOwnership(self: WorkerId): OwnershipState {
  return { self, nextIndex: 1, owned: new Map(), borrowed: new BorrowTable(), tasks: new Map(), effects: [] };
}

/** Makes the record of a new object of our own, not yet counted by anybody. */
export function newOwned(state: OwnershipState): ObjectRecord {
  const record = newObjectRecord(state.nextIndex++ as ObjectIndex, null);
  state.owned.set(record.index, record);
  return record;
}

/** The record for a ref that arrived: ours, one we already borrow, or a new borrow (effect `borrow`). */
export function resolveRef(state: OwnershipState, owner: WorkerId, index: ObjectIndex, address: string): ObjectRecord {
  if (owner === state.self) {
    const own = state.owned.get(index);
    if (own !== undefined) return own;
    const lost = newObjectRecord(index, null);
    lost.state = "gone";
    return lost;
  }
  let record = state.borrowed.get(owner, index);
  if (record === undefined) {
    record = newObjectRecord(index, { owner, address });
    state.borrowed.set(owner, record);
    state.effects.push({ kind: "borrow", record });
  }
  return record;
}

export function step(state: OwnershipState, event: OwnershipEvent): void {
  switch (event.kind) {
    case "hold":
      event.record.localRefs++;
      return;
    case "drop":
      return dropLocal(state, event.record);
    case "put":
      return settlePut(state, event.record, event.value, event.location, event.contains);
    case "failObject":
      return becomeFailed(state, event.record, event.error);
    case "submit":
      return submit(state, event.task);
    case "pushed":
      assert(event.task.state === "queued", () => `task ${event.task.index} pushed while ${event.task.state}`);
      event.task.state = "pushed";
      event.task.runner = event.runner;
      return;
    case "handedBack":
      if (event.task.state !== "pushed") return finishCancelled(state, event.task);
      event.task.runner = null;
      becomeQueued(state, event.task);
      return;
    case "replied":
      return replied(state, event.task, event.attempt, event.returns);
    case "threw":
      return threw(state, event.task, event.attempt, event.error, event.retry);
    case "crashed":
      return crashed(state, event.task, event.cause);
    case "fail":
      return failTask(state, event.task, event.error);
    case "retryNow":
      if (event.task.state === "delayed") becomeQueued(state, event.task);
      return;
    case "cancel":
      return cancel(state, event.task, event.force, event.recursive, event.error);
    case "item":
      return streamItem(state, event.task, event.attempt, event.item, event.value);
    case "takeItem":
      return takeItem(state, event.task);
    case "abandon":
      return abandonStream(state, event.task);
    case "want":
      return want(state, event.record);
    case "resolved":
      return resolveBorrowed(state, event.record, event.outcome, event.value, event.location);
    case "lost":
      return lost(state, event.record, event.name, event.error);
    case "copyMade":
      return copyMade(state, event.index, event.copy);
    case "nodeLost":
      return nodeLost(state, event.isThere, event.error);
    case "ownerLost":
      return ownerLost(state, event.record, event.error);
    case "borrowerAdded":
      return borrowerAdded(event.record, event.borrower);
    case "borrowerRemoved":
      return borrowerRemoved(state, event.record, event.borrower, event.all);
  }
}

// ---------------------------------------------------------------- counts

function dropLocal(state: OwnershipState, record: ObjectRecord): void {
  assert(record.localRefs > 0, () => `object ${record.index} dropped below zero local refs`);
  record.localRefs--;
  if (record.localRefs === 0) maybeFree(state, record);
}

function dropTaskUse(state: OwnershipState, record: ObjectRecord): void {
  assert(record.taskUses > 0, () => `object ${record.index} dropped below zero task uses`);
  record.taskUses--;
  if (record.taskUses === 0) maybeFree(state, record);
}

function dropLineageUse(state: OwnershipState, record: ObjectRecord): void {
  assert(record.lineageUses > 0, () => `object ${record.index} dropped below zero lineage uses`);
  record.lineageUses--;
  if (record.lineageUses === 0) maybeFree(state, record);
}

/** Frees the data of an object nobody counts, and its record unless lineage needs it or its task still runs. */
function maybeFree(state: OwnershipState, record: ObjectRecord): void {
  if (record.localRefs > 0 || record.taskUses > 0 || record.borrowers !== null || record.state === "gone") return;
  if (record.foreign !== null) {
    if (record.lineageUses > 0) return;
    state.borrowed.delete(record.foreign.owner, record.index);
    releaseData(state, record);
    record.state = "gone";
    state.effects.push({ kind: "unborrow", record });
    return;
  }
  if (record.state === "pending" && record.maker !== null) return; // its task still runs; freed when it settles
  // Nothing could make it again for those whose lineage needs it, and inline values are small.
  if (record.state === "inline" && record.lineageUses > 0) return;
  releaseData(state, record);
  if (record.lineageUses > 0 && record.maker !== null) {
    record.state = "released";
    return;
  }
  if (record.lineageUses > 0) record.state = "released";
  else removeOwned(state, record);
}

function removeOwned(state: OwnershipState, record: ObjectRecord): void {
  record.state = "gone";
  state.owned.delete(record.index);
  if (record.actorId !== null) state.effects.push({ kind: "actorOutOfScope", actorId: record.actorId });
  leaveMaker(state, record);
}

/** The record is not to be made again; the last one of a task that is through lets its lineage go. */
function leaveMaker(state: OwnershipState, record: ObjectRecord): void {
  const maker = record.maker;
  if (maker === null) return;
  record.maker = null;
  maker.stream?.stored.delete(record);
  const isThrough = maker.state === "finished" || maker.state === "cancelled";
  if (isThrough && maker.returns.every((other) => other.maker === null) && (maker.stream?.stored.size ?? 0) === 0)
    releaseLineage(state, maker);
}

function releaseLineage(state: OwnershipState, task: TaskRecord): void {
  for (const arg of task.args) if (isRecord(arg)) dropLineageUse(state, arg);
  if (task.holds !== null) for (const held of task.holds) dropLineageUse(state, held);
}

/** Drops value, stored bytes and contained refs; the counts and the state are the caller's part. */
function releaseData(state: OwnershipState, record: ObjectRecord): void {
  record.value = undefined;
  if (record.location !== null) {
    if (record.foreign === null) state.effects.push({ kind: "free", location: record.location });
    record.location = null;
  }
  for (const copy of record.copies ?? []) state.effects.push({ kind: "free", location: copy });
  record.copies = null;
  const contains = record.contains;
  record.contains = null;
  if (contains !== null) for (const inner of contains) dropLocal(state, inner);
}

function borrowerAdded(record: ObjectRecord, borrower: WorkerId): void {
  record.borrowers ??= new Map();
  record.borrowers.set(borrower, (record.borrowers.get(borrower) ?? 0) + 1);
}

function borrowerRemoved(state: OwnershipState, record: ObjectRecord, borrower: WorkerId, all: boolean): void {
  const count = record.borrowers?.get(borrower);
  if (record.borrowers === null || count === undefined) return;
  if (count > 1 && !all) record.borrowers.set(borrower, count - 1);
  else record.borrowers.delete(borrower);
  if (record.borrowers.size > 0) return;
  record.borrowers = null;
  maybeFree(state, record);
}

// ---------------------------------------------------------------- settling

function settlePut(
  state: OwnershipState,
  record: ObjectRecord,
  value: WireValue,
  location: Location | null,
  contains: readonly ObjectRecord[] | null,
): void {
  assert(record.state === "pending", () => `object ${record.index} put while ${record.state}`);
  for (const inner of contains ?? []) inner.localRefs++;
  record.contains = contains;
  if (location === null) becomeInline(state, record, value);
  else becomeStored(state, record, location);
}

function becomeInline(state: OwnershipState, record: ObjectRecord, value: WireValue): void {
  record.state = "inline";
  record.value = value;
  settled(state, record);
}

function becomeStored(state: OwnershipState, record: ObjectRecord, location: Location): void {
  record.state = "stored";
  record.location = location;
  settled(state, record);
}

function becomeFailed(state: OwnershipState, record: ObjectRecord, error: Uint8Array): void {
  record.state = "failed";
  record.value = error;
  settled(state, record);
}

function settled(state: OwnershipState, record: ObjectRecord): void {
  if (record.waiters !== null) state.effects.push({ kind: "settled", record });
  const dependents = record.dependents;
  if (dependents !== null) {
    record.dependents = null;
    for (const task of dependents) argumentSettled(state, task, record);
  }
  maybeFree(state, record);
}

function argumentSettled(state: OwnershipState, task: TaskRecord, record: ObjectRecord): void {
  if (task.state !== "waiting") return;
  if (record.state === "failed") return failTask(state, task, record.value as Uint8Array);
  task.waitingFor--;
  if (task.waitingFor === 0) becomeQueued(state, task);
}

// ---------------------------------------------------------------- tasks

function submit(state: OwnershipState, task: TaskRecord): void {
  state.tasks.set(task.index, task);
  if (task.holds !== null) for (const held of task.holds) held.taskUses++;
  let failed: ObjectRecord | null = null;
  for (const arg of task.args) {
    if (!isRecord(arg)) continue;
    arg.taskUses++;
    failed = dependOn(state, task, arg) ?? failed;
  }
  if (failed !== null) failTask(state, task, failed.value as Uint8Array);
  else if (task.waitingFor === 0) becomeQueued(state, task);
}

/** Makes `task` wait for `arg` if it is not there yet; returns `arg` when it has already failed. */
function dependOn(state: OwnershipState, task: TaskRecord, arg: ObjectRecord): ObjectRecord | null {
  if (arg.state === "failed") return arg;
  if (arg.state === "inline" || arg.state === "stored") return null;
  task.waitingFor++;
  arg.dependents ??= [];
  arg.dependents.push(task);
  if (arg.foreign !== null) want(state, arg);
  return null;
}

function becomeQueued(state: OwnershipState, task: TaskRecord): void {
  task.state = "queued";
  state.effects.push({ kind: "enqueue", task });
}

function replied(state: OwnershipState, task: TaskRecord, attempt: number, returns: readonly ReturnValue[]): void {
  if (task.state === "cancelled") return discardReturns(state, task, returns);
  if (task.attempt !== attempt || task.state !== "pushed") return discardReturns(state, task, returns);
  if (task.stream?.again) {
    discardReturns(state, task, returns);
    return runAgain(state, task);
  }
  const failed = task.stream === null ? [] : failLost(task.stream, (error) => error(yieldedFewer(task)));
  let anyStored = false;
  task.runner = null;
  state.tasks.delete(task.index);
  task.state = "finished";
  for (let i = 0; i < task.returns.length; i++) {
    const record = task.returns[i];
    const value = returns[i];
    if (record.state !== "pending") {
      discard(state, value);
      if (record.state === "stored" || record.state === "released") anyStored = true;
      continue;
    }
    for (const inner of value.contains ?? []) inner.localRefs++;
    record.contains = value.contains;
    if (value.location === null) becomeInlineLater(record, value.value);
    else {
      anyStored = true;
      record.state = "stored";
      record.location = value.location;
    }
  }
  finishTask(state, task, anyStored);
  for (const record of task.returns) settled(state, record);
  for (const record of failed) settled(state, record);
  if (task.stream !== null) endStream(state, task);
}

const yieldedFewer = ({ stream }: TaskRecord): string =>
  `the task that made it yielded ${(stream as StreamRecord).yielded} items when it ran again, and this one was not among them`;

/** As becomeInline, for several returns at once: all are set before anybody is told of the first. */
function becomeInlineLater(record: ObjectRecord, value: WireValue): void {
  record.state = "inline";
  record.value = value;
}

function discardReturns(state: OwnershipState, task: TaskRecord, returns: readonly ReturnValue[]): void {
  for (const value of returns) discard(state, value);
  if (task.state === "cancelled") finishCancelled(state, task);
}

function discard(state: OwnershipState, value: ReturnValue): void {
  if (value.location !== null) state.effects.push({ kind: "free", location: value.location });
  for (const inner of value.contains ?? []) {
    inner.localRefs++;
    dropLocal(state, inner);
  }
}

/** Arguments of a finished task turn from uses into lineage (when an output can be lost) or are let go. */
function finishTask(state: OwnershipState, task: TaskRecord, anyStored: boolean): void {
  const { stream } = task;
  const keepLineage = anyStored || (stream !== null && stream.stored.size > 0);
  // The completion object of a stream is never stored: its items keep the lineage, as long as they are there.
  if (!keepLineage || stream !== null) for (const record of task.returns) record.maker = null;
  for (const arg of task.args) if (isRecord(arg)) finishUse(state, arg, keepLineage);
  if (task.holds !== null) for (const held of task.holds) finishUse(state, held, keepLineage);
}

function finishUse(state: OwnershipState, record: ObjectRecord, keepLineage: boolean): void {
  if (keepLineage) record.lineageUses++;
  dropTaskUse(state, record);
}

function threw(state: OwnershipState, task: TaskRecord, attempt: number, error: Uint8Array, retry: boolean): void {
  if (task.state === "cancelled") return finishCancelled(state, task);
  if (task.attempt !== attempt || task.state !== "pushed") return;
  if (task.stream?.again || (retry && takeRetry(task))) return runAgain(state, task);
  failTask(state, task, error);
}

function takeRetry(task: TaskRecord): boolean {
  if (task.retriesLeft === 0) return false;
  if (task.retriesLeft > 0) task.retriesLeft--;
  return true;
}

function runAgain(state: OwnershipState, task: TaskRecord): void {
  task.attempt++;
  task.runner = null;
  task.waitingFor = 0;
  if (task.stream !== null) beginRun(task.stream);
  let failed: ObjectRecord | null = null;
  for (const arg of task.args) if (isRecord(arg)) failed = dependOn(state, task, arg) ?? failed;
  if (failed !== null) failTask(state, task, failed.value as Uint8Array);
  else if (task.waitingFor === 0) becomeQueued(state, task);
  else task.state = "waiting";
}

/**
 * The process that ran the task is gone. `cause` says whether it may be blamed: `bystander` had not started (or another one is known to have
 * ended the process), so it runs again free of charge.
 */
function crashed(state: OwnershipState, task: TaskRecord, cause: "crash" | "outOfMemory" | "bystander"): void {
  if (task.state === "cancelled") return finishCancelled(state, task);
  if (task.state !== "pushed") return;
  if (cause === "bystander" || task.stream?.again) return runAgain(state, task);
  if (cause === "outOfMemory" && task.retriesLeft !== 0 && task.oomRetriesLeft > 0) {
    task.oomRetriesLeft--;
    task.attempt++;
    task.runner = null;
    task.state = "delayed";
    if (task.stream !== null) beginRun(task.stream);
    state.effects.push({ kind: "retryLater", task, delayMs: 100 * 2 ** (outOfMemoryRetries - task.oomRetriesLeft) });
    return;
  }
  if (cause === "crash" && takeRetry(task)) return runAgain(state, task);
  if (task.stream !== null) for (const record of failLost(task.stream, (error) => error(noRetriesLeft))) settled(state, record);
  state.effects.push({ kind: "outOfRetries", task });
}

function failTask(state: OwnershipState, task: TaskRecord, error: Uint8Array): void {
  if (task.state === "finished" || task.state === "cancelled") return;
  settleFailed(state, task, error);
  task.state = "finished";
  task.runner = null;
  state.tasks.delete(task.index);
}

function settleFailed(state: OwnershipState, task: TaskRecord, error: Uint8Array): void {
  if (task.actorId !== null && task.state !== "pushed") state.effects.push({ kind: "unqueued", task });
  const open = task.returns.filter((record) => record.state === "pending");
  for (const record of open) {
    record.state = "failed";
    record.value = error;
  }
  if (task.stream !== null) open.push(...failLost(task.stream, () => error));
  finishTask(
    state,
    task,
    task.returns.some((record) => record.state === "stored" || record.state === "released"),
  );
  for (const record of open) {
    if (record.localRefs + record.taskUses === 0) record.maker = null;
    settled(state, record);
  }
  if (task.stream !== null) endStream(state, task);
}

// ---------------------------------------------------------------- cancel

function cancel(state: OwnershipState, task: TaskRecord, force: boolean, recursive: boolean, error: Uint8Array): void {
  if (task.state === "finished" || task.state === "cancelled") return;
  const running = task.state === "pushed";
  task.cancelRequested = true;
  settleFailed(state, task, error);
  if (!running) {
    task.state = "finished";
    state.tasks.delete(task.index);
    return;
  }
  task.state = "cancelled";
  state.effects.push({ kind: "cancelRunning", task, force, recursive });
}

/** The worker is through with a task that had been cancelled meanwhile. */
function finishCancelled(state: OwnershipState, task: TaskRecord): void {
  if (task.state !== "cancelled") return;
  task.state = "finished";
  task.runner = null;
  state.tasks.delete(task.index);
}

// ---------------------------------------------------------------- streams

function streamItem(state: OwnershipState, task: TaskRecord, attempt: number, item: number, value: ReturnValue): void {
  const stream = task.stream;
  assert(stream !== null, () => `task ${task.index} is not a stream`);
  if (task.attempt !== attempt || task.state !== "pushed") return discard(state, value);
  stream.yielded = item + 1;
  const again = stream.lost.get(item);
  if (again !== undefined) {
    stream.lost.delete(item);
    settleItem(state, task, item, again.record, value);
  } else if (item < stream.received || stream.abandoned || stream.done) discard(state, value);
  else {
    stream.received = item + 1;
    const record = newOwned(state);
    record.localRefs = 1; // the stream's own hold, handed over by takeItem
    stream.ready.push(record);
    settleItem(state, task, item, record, value);
    state.effects.push({ kind: "streamReady", task });
  }
  // The producer of a retry counts anew: without a word it would wait for somebody to take what was taken from its predecessor, or, with its consumer
  // gone before it began, for anybody. And when it has made again what was lost, nobody may want the rest.
  if ((item === 0 && (attempt > 0 || stream.abandoned)) || again !== undefined) tellPace(state, task);
}

/** An item in the object store can be lost, and is the task's to make again. */
function settleItem(state: OwnershipState, task: TaskRecord, item: number, record: ObjectRecord, value: ReturnValue): void {
  const stream = task.stream as StreamRecord;
  record.maker = value.location === null ? null : task;
  if (value.location === null) stream.stored.delete(record);
  else stream.stored.set(record, item);
  settlePut(state, record, value.value, value.location, value.contains);
}

function tellPace(state: OwnershipState, task: TaskRecord): void {
  if (task.state === "pushed") state.effects.push({ kind: "consumed", task, ...pace(task.stream as StreamRecord) });
}

/** The consumer takes the oldest item: its hold passes to the ObjectRef the caller makes. */
function takeItem(state: OwnershipState, task: TaskRecord): void {
  const stream = task.stream;
  assert(stream !== null && stream.ready.length > 0, () => `task ${task.index} has no item to take`);
  stream.ready.shift();
  stream.consumed++;
  tellPace(state, task);
}

function abandonStream(state: OwnershipState, task: TaskRecord): void {
  const stream = task.stream;
  if (stream === null || stream.abandoned) return;
  stream.abandoned = true;
  for (const record of stream.ready.splice(0)) dropLocal(state, record);
  tellPace(state, task);
}

function endStream(state: OwnershipState, task: TaskRecord): void {
  const stream = task.stream as StreamRecord;
  stream.done = true;
  state.effects.push({ kind: "streamReady", task });
}

// ---------------------------------------------------------------- borrowed objects

/** Somebody here waits for a borrowed object: ask its owner, once. */
function want(state: OwnershipState, record: ObjectRecord): void {
  if (record.foreign === null || record.state !== "pending" || record.requested) return;
  record.requested = true;
  state.effects.push({ kind: "fetch", record });
}

function resolveBorrowed(
  state: OwnershipState,
  record: ObjectRecord,
  outcome: "value" | "stored" | "error",
  value: WireValue,
  location: Location | null,
): void {
  record.requested = false;
  if (record.state !== "pending") return;
  if (outcome === "error") becomeFailed(state, record, value as Uint8Array);
  else if (outcome === "stored") becomeStored(state, record, location as Location);
  else becomeInline(state, record, value);
}

function ownerLost(state: OwnershipState, record: ObjectRecord, error: Uint8Array): void {
  record.requested = false;
  if (record.state === "pending") becomeFailed(state, record, error);
  else if (record.state === "stored") {
    record.location = null;
    record.state = "failed";
    record.value = error;
  }
}

// ---------------------------------------------------------------- copies and lineage

/** A copy of what is stored now is kept, to be freed with it; any other is freed at once. */
function copyMade(state: OwnershipState, index: ObjectIndex, copy: Location): void {
  const record = state.owned.get(index);
  if (record === undefined || record.location === null || !isSameObject(copy, record.location)) {
    state.effects.push({ kind: "free", location: copy });
    return;
  }
  if (record.location.name === copy.name || record.copies?.some((known) => known.name === copy.name)) return;
  record.copies ??= [];
  record.copies.push(copy);
}

/** Goes on with a copy if there is one. */
function moveToCopy(record: ObjectRecord): boolean {
  const copy = record.copies?.shift();
  if (copy === undefined) return false;
  record.location = copy;
  return true;
}

/**
 * The stored bytes named `name` cannot be found. Ours: go on with a copy, or run the task again if there is one, with whatever arguments must be made
 * again first. Borrowed: tell the owner and ask again. `error` is what getting it throws when neither can be done.
 */
function lost(state: OwnershipState, record: ObjectRecord, name: string, error: (why: string) => Uint8Array): void {
  if (record.state !== "stored" || record.location?.name !== name) return;
  if (record.foreign !== null) {
    forgetLocation(record);
    record.requested = true;
    state.effects.push({ kind: "reportLost", record, name });
    return;
  }
  const { location } = record;
  if (moveToCopy(record)) {
    state.effects.push({ kind: "free", location }); // it may be there all the same, out of reach of who reported it
    return;
  }
  releaseData(state, record); // made again, it has refs of its own
  remake(state, record, error);
}

/** A borrowed object is asked for again when somebody wants it. */
function forgetLocation(record: ObjectRecord): void {
  record.location = null;
  record.state = "pending";
}

/**
 * What was stored on a dead node goes on with a copy elsewhere, or is made again. All records are told before the first task runs again: its
 * arguments may be lost, too.
 */
function nodeLost(
  state: OwnershipState,
  isThere: (location: Location) => boolean,
  error: (record: ObjectRecord, why: string) => Uint8Array,
): void {
  const gone: ObjectRecord[] = [];
  for (const record of state.owned.values()) {
    if (record.copies?.some(isThere)) record.copies = record.copies.filter((copy) => !isThere(copy));
    if (record.state !== "stored" || !isThere(record.location as Location) || moveToCopy(record)) continue;
    gone.push(record);
  }
  for (const record of state.borrowed.values())
    if (record.state === "stored" && isThere(record.location as Location)) {
      forgetLocation(record);
      if (record.dependents !== null || record.waiters !== null) want(state, record);
    }
  for (const record of gone) {
    record.state = "released";
    record.localRefs++; // dropping what one contains must not remove another of them on the way
  }
  for (const record of gone) {
    record.location = null; // nothing is there to be freed
    releaseData(state, record);
  }
  for (const record of gone) if (record.state === "released") remake(state, record, (why) => error(record, why));
  for (const record of gone) dropLocal(state, record);
}

const noRetriesLeft = "the task that made it has no retries left";

function remake(state: OwnershipState, record: ObjectRecord, error: (why: string) => Uint8Array): void {
  const task = record.maker;
  if (task === null) return becomeFailed(state, record, error("it was made by put, and only task results can be made again"));
  if (task.cancelRequested) return becomeFailed(state, record, error("the task that made it was cancelled"));
  const { stream } = task;
  const runs = task.state !== "finished" && !(stream !== null && task.state === "pushed" && isPast(stream, record));
  if (!runs && !stream?.again) {
    if (task.actorId !== null && task.retriesLeft === 0)
      return becomeFailed(state, record, error("it was returned by an actor whose maxTaskRetries is used up or 0"));
    if (!takeRetry(task)) return becomeFailed(state, record, error(noRetriesLeft));
  }
  record.state = "pending";
  if (stream !== null) loseItem(stream, record, error);
  if (stream !== null && task.state === "pushed") {
    // The run may wait for a consumer who waits for this item: it is to come to it, or, past it, not to go on to its end.
    if (!runs) stream.again = true;
    return tellPace(state, task);
  }
  if (runs) return; // already on its way
  if (stream !== null) beginRun(stream);
  task.state = "waiting";
  task.attempt++;
  task.waitingFor = 0;
  state.tasks.set(task.index, task);
  for (const held of task.holds ?? []) {
    useAgain(held);
    if (held.state === "released") remake(state, held, error);
  }
  for (const arg of task.args) {
    if (!isRecord(arg)) continue;
    useAgain(arg);
    if (arg.state === "released") remake(state, arg, error);
  }
  state.effects.push({ kind: "rebuilding", task });
  let failed: ObjectRecord | null = null;
  for (const arg of task.args) if (isRecord(arg)) failed = dependOn(state, task, arg) ?? failed;
  if (failed !== null) failTask(state, task, failed.value as Uint8Array);
  else if (task.waitingFor === 0) becomeQueued(state, task);
}

function useAgain(record: ObjectRecord): void {
  record.lineageUses--;
  record.taskUses++;
}
