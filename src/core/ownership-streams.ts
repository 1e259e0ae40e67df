/** The items of streaming tasks: as they arrive, are taken, or are not wanted any more. */
import { assert } from "../base/assert.ts";
import type { ObjectRecord } from "./object-record.ts";
import { discard, dropLocal } from "./ownership-counts.ts";
import type { ReturnValue } from "./ownership-events.ts";
import { newOwned, type OwnershipState } from "./ownership-state.ts";
import { settlePut } from "./ownership-tasks.ts";
import { pace, type StreamRecord } from "./stream-record.ts";
import type { TaskRecord } from "./task-record.ts";

export function streamItem(state: OwnershipState, task: TaskRecord, attempt: number, item: number, value: ReturnValue): void {
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

export function tellPace(state: OwnershipState, task: TaskRecord): void {
  if (task.state === "pushed") state.effects.push({ kind: "consumed", task, ...pace(task.stream as StreamRecord) });
}

/** The consumer takes the oldest item: its hold passes to the ObjectRef the caller makes. */
export function takeItem(state: OwnershipState, task: TaskRecord): void {
  const stream = task.stream;
  assert(stream !== null && stream.ready.length > 0, () => `task ${task.index} has no item to take`);
  stream.ready.shift();
  stream.consumed++;
  tellPace(state, task);
}

export function abandonStream(state: OwnershipState, task: TaskRecord): void {
  const stream = task.stream;
  if (stream === null || stream.abandoned) return;
  stream.abandoned = true;
  for (const record of stream.ready.splice(0)) dropLocal(state, record);
  tellPace(state, task);
}
