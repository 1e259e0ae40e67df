/**
 * Objects that settle and tasks that wait for them, run, fail, run again and are cancelled. One settles the other: a task its returns, an argument the
 * tasks that wait for it.
 */
import { assert } from "../base/assert.ts";
import type { Location } from "../objects/types.ts";
import type { WireValue } from "../wire/messages.ts";
import type { ObjectRecord } from "./object-record.ts";
import { discard, dropTaskUse, maybeFree } from "./ownership-counts.ts";
import type { ReturnValue } from "./ownership-events.ts";
import type { OwnershipState } from "./ownership-state.ts";
import { beginRun, failLost, type StreamRecord } from "./stream-record.ts";
import { isRecord, type TaskRecord } from "./task-record.ts";

/** A task that the memory monitor ended is run again this often, apart from its `maxRetries`; then `OutOfMemoryError`. */
export const outOfMemoryRetries = 5;

export const noRetriesLeft = "the task that made it has no retries left";

// ---------------------------------------------------------------- settling

export function settlePut(
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

export function becomeInline(state: OwnershipState, record: ObjectRecord, value: WireValue): void {
  record.state = "inline";
  record.value = value;
  settled(state, record);
}

export function becomeStored(state: OwnershipState, record: ObjectRecord, location: Location): void {
  record.state = "stored";
  record.location = location;
  settled(state, record);
}

export function becomeFailed(state: OwnershipState, record: ObjectRecord, error: Uint8Array): void {
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

/** Somebody here waits for a borrowed object: ask its owner, once. */
export function want(state: OwnershipState, record: ObjectRecord): void {
  if (record.foreign === null || record.state !== "pending" || record.requested) return;
  record.requested = true;
  state.effects.push({ kind: "fetch", record });
}

// ---------------------------------------------------------------- tasks

export function submit(state: OwnershipState, task: TaskRecord): void {
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
export function dependOn(state: OwnershipState, task: TaskRecord, arg: ObjectRecord): ObjectRecord | null {
  if (arg.state === "failed") return arg;
  if (arg.state === "inline" || arg.state === "stored") return null;
  task.waitingFor++;
  arg.dependents ??= [];
  arg.dependents.push(task);
  if (arg.foreign !== null) want(state, arg);
  return null;
}

export function becomeQueued(state: OwnershipState, task: TaskRecord): void {
  task.state = "queued";
  state.effects.push({ kind: "enqueue", task });
}

export function replied(state: OwnershipState, task: TaskRecord, attempt: number, returns: readonly ReturnValue[]): void {
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

export function threw(state: OwnershipState, task: TaskRecord, attempt: number, error: Uint8Array, retry: boolean): void {
  if (task.state === "cancelled") return finishCancelled(state, task);
  if (task.attempt !== attempt || task.state !== "pushed") return;
  if (task.stream?.again || (retry && takeRetry(task))) return runAgain(state, task);
  failTask(state, task, error);
}

export function takeRetry(task: TaskRecord): boolean {
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
export function crashed(state: OwnershipState, task: TaskRecord, cause: "crash" | "outOfMemory" | "bystander"): void {
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

export function failTask(state: OwnershipState, task: TaskRecord, error: Uint8Array): void {
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

function endStream(state: OwnershipState, task: TaskRecord): void {
  const stream = task.stream as StreamRecord;
  stream.done = true;
  state.effects.push({ kind: "streamReady", task });
}

// ---------------------------------------------------------------- cancel

export function cancel(state: OwnershipState, task: TaskRecord, force: boolean, recursive: boolean, error: Uint8Array): void {
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
export function finishCancelled(state: OwnershipState, task: TaskRecord): void {
  if (task.state !== "cancelled") return;
  task.state = "finished";
  task.runner = null;
  state.tasks.delete(task.index);
}
