/** `put`, `get`, `wait`, `cancel`. */
import type { ObjectRecord } from "../core/object-record.ts";
import { checkFlag, checkNames } from "../runtime/owner/checks.ts";
import { ObjectRef } from "../runtime/owner/object-ref.ts";
import { ObjectRefGenerator } from "../runtime/owner/object-ref-generator.ts";
import type { Runtime } from "../runtime/owner/runtime.ts";
import { runtimeNow } from "./init.ts";
import type { GetOptions, Value, WaitOptions } from "./types.ts";

const getNames = new Set(["timeoutMs", "signal"]);
const waitNames = new Set(["numReturns", "timeoutMs", "fetchLocal"]);
const cancelNames = new Set(["force", "recursive"]);

/**
 * Stores a value and returns a ref to it, synchronously. Large typed arrays, Buffers and Arrow columns are written once into shared memory, where
 * every reader on the machine maps them without a copy. Throws TypeError on an ObjectRef, SerializationError on what cannot travel,
 * OutOfDiskError when neither memory nor disk has room.
 *
 * @example
 * const ref = shoal.put(new Float64Array(1_000_000));
 */
export function put<T>(value: T): ObjectRef<T> {
  const runtime = runtimeNow();
  runtime.assertOpen();
  return runtime.objects.put(value);
}

/** Waits for one value. Rejects with what the task failed with, or GetTimeoutError. */
export function get<T>(ref: ObjectRef<T>, options?: GetOptions): Promise<T>;
/**
 * Waits for all values of a list, in its order. Rejects on the first failure without waiting for the rest. `timeoutMs: 0` polls.
 *
 * @example
 * const [a, b] = await shoal.get([square.remote(2), square.remote(3)]);
 */
export function get<const T extends readonly ObjectRef<any>[]>(
  refs: T,
  options?: GetOptions,
): Promise<{ -readonly [K in keyof T]: Value<T[K]> }>;
/** Waits for one value of several possible types. */
export function get<R extends ObjectRef<any>>(ref: R, options?: GetOptions): Promise<Value<R>>;
export function get(refs: ObjectRef<any> | readonly ObjectRef<any>[], options?: GetOptions): Promise<any> {
  try {
    if (options !== undefined) checkGetOptions(options);
    const runtime = runtimeNow();
    if (ObjectRef.is(refs)) return runtime.objects.getOne(ObjectRef.recordOf(refs, runtime, "get"), options);
    if (!Array.isArray(refs)) throw new TypeError(`Cannot get ${describe(refs)}: expected an ObjectRef or an array of them`);
    return runtime.objects.getMany(recordsOf(refs, runtime, "get"), options);
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * Waits until `numReturns` (default 1) of the refs are ready or `timeoutMs` has passed. Returns the ready ones, at most `numReturns`, and the rest, both
 * in the order given. A ref is ready when `get` would not wait: the value is on this node, and those that are not are fetched; with `fetchLocal: false` when it
 * is made, wherever it is. Rejects with TypeError or RangeError on duplicates, a bad `numReturns` or a negative timeout.
 *
 * @example
 * const [ready, pending] = await shoal.wait(refs, { numReturns: 1, timeoutMs: 1000 });
 */
export function wait<T>(
  refs: readonly ObjectRef<T>[],
  options?: WaitOptions,
): Promise<[ready: ObjectRef<T>[], pending: ObjectRef<T>[]]>;
/** Waits for refs of several types. */
export function wait<R extends ObjectRef<any>>(refs: readonly R[], options?: WaitOptions): Promise<[ready: R[], pending: R[]]>;
export async function wait<R extends ObjectRef<any>>(
  refs: readonly R[],
  options: WaitOptions = {},
): Promise<[ready: R[], pending: R[]]> {
  if (!Array.isArray(refs)) throw new TypeError(`Cannot wait for ${describe(refs)}: expected an array of ObjectRefs`);
  checkNames("wait", options, waitNames);
  checkTimeout(options.timeoutMs);
  checkFlag("fetchLocal", options.fetchLocal);
  const numReturns = options.numReturns ?? 1;
  if (refs.length === 0) return [[], []];
  if (!Number.isInteger(numReturns) || numReturns < 1 || numReturns > refs.length) {
    throw new RangeError(
      `Cannot wait for ${numReturns} of ${refs.length} refs: numReturns must be an integer from 1 to their number`,
    );
  }
  const runtime = runtimeNow();
  const records = recordsOf(refs, runtime, "wait for");
  if (runtime.objects.hasRepeated(records)) throw new TypeError("Cannot wait for refs that contain one object twice");
  return runtime.objects.wait(refs, records, numReturns, options.timeoutMs, options.fetchLocal ?? true);
}

/**
 * Cancels the task that makes `ref`: if it waits, it never runs; if it runs, its `AbortSignal` (`getRuntimeContext().signal`) fires, and with `force` its
 * worker process is ended. Getting the ref rejects with TaskCancelledError. `recursive` (default) cancels the tasks it submitted as well. A finished
 * task is left alone. Rejects with TypeError for anything but a task's ref, and for `force` on an actor's call.
 */
export async function cancel(
  ref: ObjectRef<any> | ObjectRefGenerator<any>,
  options: { force?: boolean; recursive?: boolean } = {},
): Promise<void> {
  checkNames("cancel", options, cancelNames);
  checkFlag("force", options.force);
  checkFlag("recursive", options.recursive);
  const runtime = runtimeNow();
  const force = options.force ?? false;
  const recursive = options.recursive ?? true;
  let record: ObjectRecord;
  if (ref instanceof ObjectRefGenerator) record = ObjectRef.recordOf(ref.completed, runtime, "cancel");
  else if (ObjectRef.is(ref)) record = ObjectRef.recordOf(ref, runtime, "cancel");
  else throw new TypeError(`Cannot cancel ${describe(ref)}: expected an ObjectRef`);
  if (force && record.maker !== null && record.maker.actorId !== null) {
    throw new TypeError("Cannot cancel an actor's call by force: it would end the actor; use kill(actor)");
  }
  if (record.foreign !== null) runtime.borrows.cancel(record, force, recursive);
  else runtime.tasks.cancel(record, force, recursive);
}

function recordsOf(refs: readonly unknown[], runtime: Runtime, verb: string): ObjectRecord[] {
  const records: ObjectRecord[] = new Array(refs.length);
  for (let i = 0; i < refs.length; i++) {
    const ref = refs[i];
    if (!ObjectRef.is(ref)) throw new TypeError(`Cannot ${verb} ${describe(ref)} at index ${i}: expected an ObjectRef`);
    records[i] = ObjectRef.recordOf(ref, runtime, verb);
  }
  return records;
}

function checkGetOptions(options: GetOptions): void {
  checkNames("get", options, getNames);
  checkTimeout(options.timeoutMs);
  const { signal } = options as { signal?: { addEventListener?: unknown } | null };
  if (signal !== undefined && typeof signal?.addEventListener !== "function")
    throw new TypeError(`Cannot use ${describe(signal)} as option 'signal': expected an AbortSignal`);
}

function checkTimeout(timeoutMs: unknown): void {
  if (timeoutMs !== undefined && (typeof timeoutMs !== "number" || !(timeoutMs >= 0)))
    throw new RangeError(`Cannot wait ${String(timeoutMs)} ms: timeoutMs must be a number of at least 0`);
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "object") return value instanceof Promise ? "a Promise" : `a ${value.constructor?.name ?? "object"}`;
  return `${typeof value} ${String(value).slice(0, 40)}`;
}
