/** put, get and wait: objects as the user's code in this process meets them. */

import type { GetOptions } from "../../api/types.ts";
import { clearTimeout, performance, queueMicrotask, setImmediate, setTimeout } from "../../base/clock.ts";
import { GetTimeoutError, ObjectLostError, ObjectReconstructionFailedError } from "../../base/errors.ts";
import { type NodeId, nodeKeyOf } from "../../base/ids.ts";
import { timerMs } from "../../base/timer-ms.ts";
import { isSettled, type ObjectRecord } from "../../core/object-record.ts";
import { step } from "../../core/ownership.ts";
import { newOwned } from "../../core/ownership-state.ts";
import { holderOf, SegmentMissing } from "../../objects/index.ts";
import type { Location } from "../../objects/types.ts";
import type { Serialized } from "../../values/hooks.ts";
import type { WireValue } from "../../wire/messages.ts";
import { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";
import { currentTask, runInTask } from "./task-context.ts";

/** Told when a record settles; kept in `record.waiters`. */
export interface Waiter {
  settled(record: ObjectRecord): void;
}

export class Objects {
  private readonly runtime: Runtime;
  /** Calls of `wait` so far. */
  private waits = 0;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  put(value: unknown): ObjectRef<any> {
    if (ObjectRef.is(value))
      throw new TypeError("Cannot put an ObjectRef: it is one already; put a value that contains it, or pass the ref itself");
    const record = this.putRecord(value, "value");
    record.localRefs++;
    return new ObjectRef(record, this.runtime);
  }

  /** Stores a value under a record of ours that nobody counts yet. */
  putRecord(value: unknown, root: string): ObjectRecord {
    const { ownership, values } = this.runtime;
    const encoded = values.encode(value, root);
    const record = newOwned(ownership);
    record.localRefs++; // until settled, so that it is not freed in between
    if (encoded.large === null)
      step(ownership, { kind: "put", record, value: encoded.value, location: null, contains: encoded.refs });
    else {
      const location = this.store(record.index, 0, this.runtime.selfId, encoded.large);
      step(ownership, { kind: "put", record, value: undefined, location, contains: encoded.refs });
    }
    record.localRefs--;
    this.runtime.drain();
    return record;
  }

  /** An argument too large for a message, stored as an object of its own that only the task counts. */
  storeArgument(large: Serialized, contains: readonly ObjectRecord[] | null): ObjectRecord {
    const { ownership } = this.runtime;
    const record = newOwned(ownership);
    const location = this.store(record.index, 0, this.runtime.selfId, large);
    record.localRefs++;
    step(ownership, { kind: "put", record, value: undefined, location, contains });
    record.localRefs--; // the task's own count follows before anything is freed
    return record;
  }

  /** Writes a serialized value into the object store; `owner` and `index` name it. */
  store(index: number, attempt: number, owner: string, large: Serialized): Location {
    return this.runtime.store().put(owner, index, attempt, large);
  }

  /** A ref that settles as the promise does. */
  refFromPromise(promise: Promise<unknown>): ObjectRef<any> {
    const { ownership, values } = this.runtime;
    const record = newOwned(ownership);
    record.localRefs = 1;
    record.maker = null;
    const settle = (value: WireValue, failed: boolean): void => {
      if (failed) step(ownership, { kind: "failObject", record, error: value as Uint8Array });
      else step(ownership, { kind: "put", record, value, location: null, contains: null });
      this.runtime.drain();
    };
    promise.then(
      (value) => settle(values.encode(value, "value").value, false),
      (error) => settle(this.runtime.encodeError(error), true),
    );
    return new ObjectRef(record, this.runtime);
  }

  getOne(record: ObjectRecord, options: GetOptions | undefined): Promise<unknown> {
    if (record.state === "inline") {
      try {
        return Promise.resolve(this.runtime.values.decode(record.value));
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.getMany([record], options).then(first);
  }

  /** `sinceMs`: when the waiting began, if it goes on here. */
  getMany(records: readonly ObjectRecord[], options: GetOptions | undefined, sinceMs = performance.now()): Promise<unknown[]> {
    const failed = records.find((record) => record.state === "failed");
    if (failed !== undefined) return this.rejection(failed);
    if (records.every(isSettled)) return this.decodeAll(records, options, sinceMs);
    if (options?.timeoutMs === 0) return Promise.reject(this.timeoutError(records, 0));
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    return new Promise((resolve, reject) => new GetWaiter(this.runtime, records, options, sinceMs, resolve, reject));
  }

  private async rejection(record: ObjectRecord): Promise<never> {
    throw await this.runtime.values.decode(record.value);
  }

  /** Decodes settled records; a stored one whose bytes are gone is made again and waited for. */
  decodeAll(records: readonly ObjectRecord[], options: GetOptions | undefined, sinceMs: number): Promise<unknown[]> {
    const values: unknown[] = new Array(records.length);
    let waits: Promise<void>[] | null = null;
    let anyLost = false;
    for (let i = 0; i < records.length; i++) {
      if (anyLost && records[i].state !== "stored") continue;
      let value: unknown;
      try {
        value = this.decodeOne(records[i]);
      } catch (error) {
        if (!(error instanceof SegmentMissing)) return Promise.reject(error);
        const away = this.runtime.pulls.mustPull(records[i].location as Location);
        if (away && !anyLost) return this.fetchAll(records, options, sinceMs);
        if (!away) this.reportLost(records[i]); // and the others that are gone, too: one run may make several again
        anyLost = true;
        continue;
      }
      if (value instanceof Promise) {
        waits ??= [];
        waits.push(
          value.then((loaded) => {
            values[i] = loaded;
          }),
        );
      } else values[i] = value;
    }
    if (waits === null && !anyLost) return Promise.resolve(values);
    // What is lost is waited for as for any value: with the timeout, and giving the CPU back.
    return Promise.all(waits ?? []).then(() => (anyLost ? this.getMany(records, options, sinceMs) : values));
  }

  /** Brings here what is on other nodes, then goes on. */
  private fetchAll(records: readonly ObjectRecord[], options: GetOptions | undefined, sinceMs: number): Promise<unknown[]> {
    if (options?.signal?.aborted) return Promise.reject(options.signal.reason);
    return new Promise((resolve, reject) => new FetchWaiter(this.runtime, records, options, sinceMs, resolve, reject));
  }

  /** Brings a stored record's bytes here. False when they are gone: it is reported lost then. Rejects when this node has no room for them. */
  async fetch(record: ObjectRecord): Promise<boolean> {
    const location = record.location as Location;
    const gone = await this.runtime.pulls.pull(location, record.foreign?.owner ?? this.runtime.selfId, record.index);
    if (gone === null) return true;
    if (record.state === "stored" && record.location?.name === location.name) this.reportLost(record, gone);
    return false;
  }

  /** Settled, but with its bytes on another node. */
  isElsewhere(record: ObjectRecord): boolean {
    return record.state === "stored" && this.runtime.pulls.mustPull(record.location as Location);
  }

  /** The value of a settled, not failed record. Throws SegmentMissing when its stored bytes are gone. */
  decodeOne(record: ObjectRecord): unknown | Promise<unknown> {
    if (record.state === "stored") return this.runtime.decodeStored(record.location as Location);
    if (record.state === "inline") return this.runtime.values.decode(record.value);
    throw new ObjectLostError(`Cannot get object ${this.runtime.objectId(record)}: it has been freed`, {
      objectId: this.runtime.objectId(record),
      reason: "freed",
    });
  }

  /** Reports the stored bytes of a record as lost: it is not settled until they are made again, or cannot be. */
  reportLost(record: ObjectRecord, gone = `its stored bytes (${record.location?.name}) are gone`): void {
    const { ownership } = this.runtime;
    const name = record.location?.name ?? "";
    const objectId = this.runtime.objectId(record);
    step(ownership, {
      kind: "lost",
      record,
      name,
      error: (why) =>
        this.runtime.encodeError(
          new ObjectReconstructionFailedError(`Cannot get object ${objectId}: ${gone}, and ${why}`, {
            objectId,
            reason: why,
          }),
        ),
    });
    this.runtime.drain();
  }

  /** A node is dead: what was stored there goes on with a copy, is made again, or is lost. */
  nodeDied(nodeId: NodeId): void {
    const key = nodeKeyOf(nodeId);
    step(this.runtime.ownership, {
      kind: "nodeLost",
      isThere: (location) => holderOf(location) === key,
      error: (record, why) => {
        const objectId = this.runtime.objectId(record);
        const text = `Cannot get object ${objectId}: node ${nodeId}, which held it, has died, and ${why}`;
        return this.runtime.encodeError(new ObjectReconstructionFailedError(text, { objectId, reason: why }));
      },
    });
    this.runtime.drain();
  }

  /** Resolves when the record is settled. */
  settledOnce(record: ObjectRecord): Promise<void> {
    if (isSettled(record)) return Promise.resolve();
    return new Promise((resolve) => this.addWaiter(record, { settled: () => resolve() }));
  }

  addWaiter(record: ObjectRecord, waiter: Waiter): void {
    record.waiters ??= [];
    record.waiters.push(waiter);
    if (record.foreign !== null) {
      step(this.runtime.ownership, { kind: "want", record });
      this.runtime.drain();
    }
  }

  timeoutError(records: readonly ObjectRecord[], timeoutMs: number): GetTimeoutError {
    const open = records.filter((record) => !isSettled(record) || this.isElsewhere(record));
    const what = open.slice(0, 3).map((record) => this.runtime.describePending(record));
    const more = open.length > 3 ? ` and ${open.length - 3} more` : "";
    return new GetTimeoutError(
      `Cannot get ${records.length === 1 ? "the object" : `${open.length} of ${records.length} objects`} within ${timeoutMs} ms: waiting for ${what.join(", ")}${more}`,
      {
        timeoutMs,
      },
    );
  }

  /** Whether one record is there twice. */
  hasRepeated(records: readonly ObjectRecord[]): boolean {
    const number = ++this.waits;
    for (const record of records) {
      if (record.waitNumber === number) return true;
      record.waitNumber = number;
    }
    return false;
  }

  /**
   * Waits until `count` of the records are ready or the time is over; with `fetchLocal`, all that are elsewhere are fetched, and ready when here. Gives the refs
   * of the first `count` that are ready then, and the others.
   */
  wait<R>(
    refs: readonly R[],
    records: readonly ObjectRecord[],
    count: number,
    timeoutMs: number | undefined,
    fetchLocal: boolean,
  ): Promise<[ready: R[], pending: R[]]> {
    const isReady = fetchLocal ? this.isHere : isSettled;
    const outcome = (): [R[], R[]] => split(refs, records, count, isReady);
    if (timeoutMs !== 0 && !hasMany(records, count, isReady))
      return new Promise(
        (resolve) => new WaitWaiter(this.runtime, records, count, timeoutMs, fetchLocal, () => resolve(outcome())),
      );
    if (fetchLocal) for (const record of records) if (this.isElsewhere(record)) this.fetch(record).catch(() => {}); // `get` will say
    return Promise.resolve(outcome());
  }

  private readonly isHere = (record: ObjectRecord): boolean => isSettled(record) && !this.isElsewhere(record);
}

/** Whether at least `count` of the records are ready. Looks no further than that. */
function hasMany(records: readonly ObjectRecord[], count: number, isReady: (record: ObjectRecord) => boolean): boolean {
  let missing = count;
  for (const record of records) if (isReady(record) && --missing === 0) return true;
  return false;
}

/** The refs of the first `count` records that are ready, and the others. Looks no further: a loop of waits over a list costs little for each ref that stays. */
function split<R>(
  refs: readonly R[],
  records: readonly ObjectRecord[],
  count: number,
  isReady: (record: ObjectRecord) => boolean,
): [ready: R[], pending: R[]] {
  const ready: R[] = [];
  const pending: R[] = [];
  for (let i = 0; i < records.length; i++) {
    if (!isReady(records[i])) pending.push(refs[i]);
    else if (ready.push(refs[i]) === count) return [ready, pending.concat(refs.slice(i + 1, records.length))];
  }
  return [ready, pending];
}

const first = (values: unknown[]): unknown => values[0];

function removeWaiter(record: ObjectRecord, waiter: Waiter): void {
  const waiters = record.waiters;
  if (waiters === null) return;
  const at = waiters.indexOf(waiter);
  if (at >= 0) waiters.splice(at, 1);
  if (waiters.length === 0) record.waiters = null;
}

/** Common part of get and wait: holds the records, keeps the process alive, gives the CPU back, ends once. */
abstract class RecordsWaiter implements Waiter {
  protected readonly runtime: Runtime;
  protected readonly records: readonly ObjectRecord[];
  private timer: NodeJS.Timeout | undefined;
  protected ended = false;
  protected readonly task = currentTask();
  private readonly onEnd: () => void;

  constructor(runtime: Runtime, records: readonly ObjectRecord[], timeoutMs: number | undefined) {
    this.runtime = runtime;
    this.records = records;
    this.onEnd = runtime.waitStarted();
    for (const record of records) record.localRefs++;
    if (timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY)
      // When time is up what has arrived is read first: this process may have been busy with something else.
      this.timer = setTimeout(() => setImmediate(() => this.ended || this.timedOut()), timerMs(timeoutMs));
  }

  abstract settled(record: ObjectRecord): void;
  protected abstract timedOut(): void;

  protected watch(): void {
    for (const record of this.records) {
      if (this.ended) return;
      if (!isSettled(record)) this.runtime.objects.addWaiter(record, this);
    }
  }

  protected end(): void {
    this.ended = true;
    clearTimeout(this.timer);
    for (const record of this.records) {
      if (!isSettled(record)) removeWaiter(record, this);
      step(this.runtime.ownership, { kind: "drop", record });
    }
    this.runtime.drain();
    this.onEnd();
  }
}

/** Common part of what a get may wait for: its deadline, its signal, and its end, which is another look at the records. */
abstract class LookWaiter extends RecordsWaiter {
  private readonly resolve: (value: unknown[] | Promise<unknown[]>) => void;
  private readonly reject: (error: unknown) => void;
  private readonly options: GetOptions | undefined;
  private readonly sinceMs: number;
  private readonly onAbort = (): void => this.fail(this.options?.signal?.reason);

  constructor(
    runtime: Runtime,
    records: readonly ObjectRecord[],
    options: GetOptions | undefined,
    sinceMs: number,
    resolve: (value: unknown[] | Promise<unknown[]>) => void,
    reject: (error: unknown) => void,
  ) {
    super(runtime, records, options?.timeoutMs === undefined ? undefined : sinceMs + options.timeoutMs - performance.now());
    this.options = options;
    this.sinceMs = sinceMs;
    this.resolve = resolve;
    this.reject = reject;
    options?.signal?.addEventListener("abort", this.onAbort, { once: true });
  }

  /** What it waited for is there. */
  protected look(): void {
    if (this.ended) return;
    this.options?.signal?.removeEventListener("abort", this.onAbort);
    this.ended = true;
    // The user's refs may be gone already: values are read while the waiter still holds the records.
    // As the task that waits: it waits again when bytes turn out to be gone, or one that was there has been lost meanwhile.
    const again = () => this.runtime.objects.getMany(this.records, this.options, this.sinceMs);
    this.resolve(this.task === null ? again() : runInTask(this.task, again));
    this.end();
  }

  protected timedOut(): void {
    this.fail(this.runtime.objects.timeoutError(this.records, this.options?.timeoutMs ?? 0));
  }

  protected fail(error: unknown): void {
    if (this.ended) return;
    this.options?.signal?.removeEventListener("abort", this.onAbort);
    this.end();
    this.reject(error);
  }
}

/** A get that waits for values. */
class GetWaiter extends LookWaiter {
  private remaining = 0;

  constructor(...args: ConstructorParameters<typeof LookWaiter>) {
    super(...args);
    for (const record of this.records) if (!isSettled(record)) this.remaining++;
    this.watch();
  }

  settled(record: ObjectRecord): void {
    if (this.ended) return;
    if (record.state === "failed") {
      const error = this.runtime.values.decode(record.value);
      if (error instanceof Promise) error.then((loaded) => this.fail(loaded));
      else this.fail(error);
    } else if (--this.remaining <= 0) this.look();
  }
}

/** A get whose values are there, some on other nodes. */
class FetchWaiter extends LookWaiter {
  private remaining = 0;

  constructor(...args: ConstructorParameters<typeof LookWaiter>) {
    super(...args);
    const over = (): void => {
      if (--this.remaining <= 0) this.look();
    };
    for (const record of this.records) {
      if (!this.runtime.objects.isElsewhere(record)) continue;
      this.remaining++;
      this.runtime.objects.fetch(record).then(over, (error) => this.fail(error));
    }
    if (this.remaining === 0) queueMicrotask(over); // it has come meanwhile
  }

  /** Nothing is waited for but bytes. */
  settled(): void {}
}

class WaitWaiter extends RecordsWaiter {
  private remaining: number;
  private readonly fetchLocal: boolean;
  private readonly done: () => void;

  constructor(
    runtime: Runtime,
    records: readonly ObjectRecord[],
    count: number,
    timeoutMs: number | undefined,
    fetchLocal: boolean,
    done: () => void,
  ) {
    super(runtime, records, timeoutMs);
    this.done = done;
    this.remaining = count;
    this.fetchLocal = fetchLocal;
    for (const record of records) if (isSettled(record)) this.settled(record);
    this.watch();
  }

  settled(record: ObjectRecord): void {
    if (this.ended) return;
    if (this.fetchLocal && this.runtime.objects.isElsewhere(record)) return this.fetch(record);
    this.remaining--;
    if (this.remaining <= 0) this.finish();
  }

  private fetch(record: ObjectRecord): void {
    const over = (): void => {
      if (this.ended) return;
      if (isSettled(record)) this.settled(record);
      else this.runtime.objects.addWaiter(record, this); // lost, and made again
    };
    // One that finds no room here is ready all the same: `get` says why it cannot be had.
    this.runtime.objects.fetch(record).then(over, () => {
      if (!this.ended && --this.remaining <= 0) this.finish();
    });
  }

  protected timedOut(): void {
    this.finish();
  }

  private finish(): void {
    this.end();
    this.done();
  }
}
