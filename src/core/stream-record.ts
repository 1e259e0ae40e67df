/**
 * Items of one streaming task, at its owner: which have come, which the consumer has, and which are to be made again.
 *
 * The complication is that a run may be there for two reasons at once: it brings items that were never seen, and those that were lost since. It may also
 * be past an item when that is lost; then it is stopped, and a further run begins at the first item. What a run yields again is told by its number.
 */
import type { ObjectRecord } from "./object-record.ts";

interface LostItem {
  readonly record: ObjectRecord;
  /** What getting it throws when it cannot be made again. */
  readonly error: (why: string) => Uint8Array;
}

export interface StreamRecord {
  /** Items received so far over all attempts; a further run's items below this are duplicates, or take the place of lost ones. */
  received: number;
  /** Items handed to the consumer. */
  consumed: number;
  /** Received, not yet handed out. */
  readonly ready: ObjectRecord[];
  /** No item that was never seen comes any more. */
  done: boolean;
  /** The consumer is gone: drop what comes. */
  abandoned: boolean;
  /** Numbers of the items that the task would have to make again: in the object store, released or lost. Removed with the record. */
  readonly stored: Map<ObjectRecord, number>;
  /** Lost, by number: they wait for a run to yield them. Always in `stored`, too. */
  readonly lost: Map<number, LostItem>;
  /** Items that the present run has yielded. */
  yielded: number;
  /** The present run has been told to stop: nobody wants more of it. */
  stopped: boolean;
  /** The present run was past an item that was lost: another one follows it, whose retry is already taken. */
  again: boolean;
}

export function newStream(): StreamRecord {
  return {
    received: 0,
    consumed: 0,
    ready: [],
    done: false,
    abandoned: false,
    stored: new Map(),
    lost: new Map(),
    yielded: 0,
    stopped: false,
    again: false,
  };
}

export function beginRun(stream: StreamRecord): void {
  stream.yielded = 0;
  stream.stopped = false;
  stream.again = false;
}

/** How far the producer may go, and whether it is to stop. An item that was lost must come even if the consumer has not taken those before it. */
export function pace(stream: StreamRecord): { items: number; done: boolean } {
  if (stream.again || (stream.lost.size === 0 && (stream.abandoned || stream.done))) stream.stopped = true;
  let items = stream.consumed;
  for (const number of stream.lost.keys()) items = Math.max(items, number + 1);
  return { items, done: stream.stopped };
}

export function loseItem(stream: StreamRecord, record: ObjectRecord, error: (why: string) => Uint8Array): void {
  stream.lost.set(stream.stored.get(record) as number, { record, error });
}

/** True when the present run does not come to the item any more. */
export function isPast(stream: StreamRecord, record: ObjectRecord): boolean {
  return stream.stopped || (stream.stored.get(record) as number) < stream.yielded;
}

/** Gives up the lost items: their records fail, and are nobody's to make. The caller tells those who wait for them. */
export function failLost(stream: StreamRecord, errorOf: (error: (why: string) => Uint8Array) => Uint8Array): ObjectRecord[] {
  const failed: ObjectRecord[] = [];
  for (const { record, error } of stream.lost.values()) {
    record.state = "failed";
    record.value = errorOf(error);
    record.maker = null;
    stream.stored.delete(record);
    failed.push(record);
  }
  stream.lost.clear();
  return failed;
}
