/** Copies of objects on other nodes, and what becomes of objects whose bytes are lost: a copy, another run of the task that made them, or an error. */
import type { ObjectIndex } from "../base/ids.ts";
import { isSameObject } from "../objects/segment-name.ts";
import type { Location } from "../objects/types.ts";
import type { ObjectRecord } from "./object-record.ts";
import { dropLocal, releaseData } from "./ownership-counts.ts";
import type { OwnershipState } from "./ownership-state.ts";
import { tellPace } from "./ownership-streams.ts";
import { becomeFailed, becomeQueued, dependOn, failTask, noRetriesLeft, takeRetry, want } from "./ownership-tasks.ts";
import { beginRun, isPast, loseItem } from "./stream-record.ts";
import { isRecord } from "./task-record.ts";

/** A copy of what is stored now is kept, to be freed with it; any other is freed at once. */
export function copyMade(state: OwnershipState, index: ObjectIndex, copy: Location): void {
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
export function lost(state: OwnershipState, record: ObjectRecord, name: string, error: (why: string) => Uint8Array): void {
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
export function nodeLost(
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
