/** Who counts an object: what is counted down to nothing is freed, and with it what only it refers to. */
import { assert } from "../base/assert.ts";
import type { WorkerId } from "../base/ids.ts";
import type { ObjectRecord } from "./object-record.ts";
import type { ReturnValue } from "./ownership-events.ts";
import type { OwnershipState } from "./ownership-state.ts";
import { isRecord, type TaskRecord } from "./task-record.ts";

export function dropLocal(state: OwnershipState, record: ObjectRecord): void {
  assert(record.localRefs > 0, () => `object ${record.index} dropped below zero local refs`);
  record.localRefs--;
  if (record.localRefs === 0) maybeFree(state, record);
}

export function dropTaskUse(state: OwnershipState, record: ObjectRecord): void {
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
export function maybeFree(state: OwnershipState, record: ObjectRecord): void {
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
export function releaseData(state: OwnershipState, record: ObjectRecord): void {
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

export function borrowerAdded(record: ObjectRecord, borrower: WorkerId): void {
  record.borrowers ??= new Map();
  record.borrowers.set(borrower, (record.borrowers.get(borrower) ?? 0) + 1);
}

export function borrowerRemoved(state: OwnershipState, record: ObjectRecord, borrower: WorkerId, all: boolean): void {
  const count = record.borrowers?.get(borrower);
  if (record.borrowers === null || count === undefined) return;
  if (count > 1 && !all) record.borrowers.set(borrower, count - 1);
  else record.borrowers.delete(borrower);
  if (record.borrowers.size > 0) return;
  record.borrowers = null;
  maybeFree(state, record);
}

/** A value that nobody wants. */
export function discard(state: OwnershipState, value: ReturnValue): void {
  if (value.location !== null) state.effects.push({ kind: "free", location: value.location });
  for (const inner of value.contains ?? []) {
    inner.localRefs++;
    dropLocal(state, inner);
  }
}
