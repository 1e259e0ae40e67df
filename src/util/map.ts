/** `map`: a function over a stream of any length, run by the cluster, in bounded memory. */
import { cancel, clusterResources, get, type ObjectRef, type RemoteFunction, remote, TaskError } from "../index.ts";
import { nameOf, remoteSpecOf } from "../runtime/owner/remote-function.ts";
import { boundedStream, type Flight, type Landing } from "./bounded-stream.ts";
import { type ProgressBar, progress } from "./progress.ts";

export interface MapOptions {
  /** Chunks that may be pulled from the source and not handed out yet. Default: four for each CPU of the cluster. */
  maxInFlight?: number;
  /** Results in the order of the items (default), or each as soon as it is there. */
  ordered?: boolean;
  /** Items that one task handles; more than 1 pays for items that take less than about a millisecond. Default 1. */
  chunkSize?: number;
  /** Draws a bar: `true`, its label, or a bar of your own, which is then advanced by each result and left open. */
  progress?: boolean | string | ProgressBar;
}

type Source<T> = Iterable<T> | AsyncIterable<T>;

/**
 * Runs `fn` over the items of `source` in tasks, and iterates over the results.
 *
 * No more than `maxInFlight` chunks are pulled ahead of what the consumer took, so the source may be endless and the results
 * larger than memory. Nothing starts before the iteration does. When `fn` or the source throws, the results before that
 * place come first, then the error, and what is under way is cancelled; leaving the loop early cancels it too.
 *
 * @param fn A function, or a remote function whose options (retries, resources, ...) then hold for the tasks.
 * @param source Any iterable or async iterable: an array, a generator, a stream, a file's lines.
 * @returns An async iterator that can be used once.
 * @throws TypeError for a generator function, RangeError for a bound that is not a positive whole number.
 *
 * @example
 * for await (const length of map((text: string) => text.length, ["a", "bb", "ccc"])) console.log(length); // 1 2 3
 */
export function map<T, R>(
  fn: RemoteFunction<[T], R>,
  source: Source<T | ObjectRef<Awaited<T>>>,
  options?: MapOptions,
): AsyncIterableIterator<Awaited<R>>;
export function map<T, R>(
  fn: (item: T) => R,
  source: Source<T | ObjectRef<Awaited<T>>>,
  options?: MapOptions,
): AsyncIterableIterator<Awaited<R>>;
export function map<T, R>(
  fn: ((item: T) => R) | RemoteFunction<[T], R>,
  source: Source<any>,
  options: MapOptions = {},
): AsyncIterableIterator<Awaited<R>> {
  const { maxInFlight, ordered = true, chunkSize = 1 } = options;
  if (maxInFlight !== undefined) checkCount("maxInFlight", maxInFlight);
  checkCount("chunkSize", chunkSize);
  checkSource(source);
  const launch = chunkSize === 1 ? launcherOfItems<T, R>(fn) : launcherOfChunks<T, R>(fn);
  const results = boundedStream<T, Awaited<R>>({
    source,
    launch,
    maxInFlight: () => maxInFlight ?? defaultInFlight(),
    chunkSize,
    ordered,
  });
  return options.progress === undefined || options.progress === false ? results : withProgress(results, source, options.progress);
}

/** Two tasks to run and two to be ready for each CPU: a worker never waits for the driver, and little is lost on an early leave. */
async function defaultInFlight(): Promise<number> {
  const { CPU = 1 } = await clusterResources();
  return Math.max(2, Math.ceil(CPU * 4));
}

function launcherOfItems<T, R>(fn: ((item: T) => R) | RemoteFunction<[T], R>): (items: T[]) => Flight<Awaited<R>> {
  const task = remoteForm(fn);
  return (items) => {
    const ref = task.remote(items[0] as T) as ObjectRef<Awaited<R>>;
    return { landing: get(ref).then((value) => ({ values: [value] })), cancel: () => giveUp(ref) };
  };
}

function launcherOfChunks<T, R>(fn: ((item: T) => R) | RemoteFunction<[T], R>): (items: T[]) => Flight<Awaited<R>> {
  const spec = remoteSpecOf(remoteForm(fn));
  if (spec === undefined || spec.fn === null) {
    throw new TypeError("Cannot map a remote function that came from another process in chunks: leave chunkSize at 1");
  }
  const task = remote(chunkOf(spec.fn as (item: T) => R), { ...spec.options, name: nameOf(spec) });
  return (items) => {
    const ref = task.remote(...items) as ObjectRef<Awaited<R>[]>;
    return { landing: get(ref).then((values) => ({ values }), landingOfFailedChunk<Awaited<R>>), cancel: () => giveUp(ref) };
  };
}

/**
 * The function over several items, as arguments of their own so that refs among them are resolved. When `fn` throws, the results before it
 * must not be lost, so they travel on the error, in a carrier that looks like the user's error and has it as its cause.
 */
function chunkOf<T, R>(fn: (item: T) => R): (...items: T[]) => Promise<Awaited<R>[]> {
  return async (...items: T[]) => {
    const values: Awaited<R>[] = [];
    try {
      for (const item of items) values.push(await fn(item));
    } catch (error) {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      throw Object.defineProperties(new Error(message, { cause: error }), {
        name: { value: name, enumerable: true },
        stack: { value: stack },
        mapped: { value: values, enumerable: true },
      });
    }
    return values;
  };
}

function landingOfFailedChunk<R>(error: unknown): Landing<R> {
  const carrier = error instanceof TaskError ? (error.cause as { mapped?: R[]; cause?: unknown }) : undefined;
  if (carrier === undefined || !Array.isArray(carrier.mapped)) return { values: [], failure: { error } };
  const { message, functionName, nodeId, pid, remoteStack } = error as TaskError;
  return {
    values: carrier.mapped,
    failure: { error: new TaskError(message, { functionName, nodeId, pid, remoteStack, cause: carrier.cause }) },
  };
}

function remoteForm<T, R>(fn: ((item: T) => R) | RemoteFunction<[T], R>): RemoteFunction<[T], R> {
  const spec = remoteSpecOf(fn);
  if (spec?.isGenerator === true || (typeof fn === "function" && /GeneratorFunction$/.test(fn.constructor.name))) {
    throw new TypeError(
      `Cannot map generator function '${(fn as { name?: string }).name ?? ""}' over items: a mapped function returns one value for each item`,
    );
  }
  if (spec !== undefined) return fn as RemoteFunction<[T], R>;
  if (typeof fn !== "function")
    throw new TypeError(`Cannot map a ${typeof fn} over items: expected a function or a remote function`);
  return remote(fn) as unknown as RemoteFunction<[T], R>;
}

/** Nobody waits for the outcome: a task that is done already, or a session that is gone, is as good as cancelled. */
function giveUp(ref: ObjectRef<any>): void {
  cancel(ref).catch(() => undefined);
}

async function* withProgress<R>(
  results: AsyncIterableIterator<R>,
  source: Source<unknown>,
  wanted: true | string | ProgressBar,
): AsyncIterableIterator<R> {
  const own = typeof wanted !== "object";
  const bar = own ? progress(sizeOf(source), { label: typeof wanted === "string" ? wanted : "map" }) : wanted;
  try {
    for await (const result of results) {
      bar.update(1);
      yield result;
    }
  } finally {
    if (own) await bar.close();
  }
}

function sizeOf(source: Source<unknown>): number | undefined {
  const { length, size } = source as { length?: unknown; size?: unknown };
  if (typeof length === "number") return length;
  return typeof size === "number" ? size : undefined;
}

function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`Cannot use ${String(value)} as ${name}: expected a whole number from 1`);
}

function checkSource(source: Source<unknown>): void {
  if (source !== null && source !== undefined && (Symbol.asyncIterator in Object(source) || Symbol.iterator in Object(source)))
    return;
  throw new TypeError(
    `Cannot map over a ${source === null ? "null" : typeof source} as a source: expected an iterable or async iterable`,
  );
}
