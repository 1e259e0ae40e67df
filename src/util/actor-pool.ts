/** `ActorPool`: spreads calls over a fixed set of actors, one call at a time to each. */
import { performance } from "../base/clock.ts";
import { ActorDiedError, type ActorHandle, cancel, GetTimeoutError, get, type ObjectRef } from "../index.ts";
import { boundedStream, type Landing } from "./bounded-stream.ts";
import { Doorbell } from "./doorbell.ts";

/** Makes the call: `(actor, value) => actor.method.remote(value)`. */
export type PoolCall<C, T, R> = (actor: ActorHandle<C>, value: T) => ObjectRef<R>;

export interface GetNextOptions {
  /** Reject with GetTimeoutError after so many milliseconds. */
  timeoutMs?: number;
  /** After a timeout: forget the result waited for, so that the next call is about the one behind it. Default false. */
  ignoreIfTimedOut?: boolean;
}

/** A call from its submission to its outcome. */
interface Job<C, R> {
  readonly start: (actor: ActorHandle<C>) => ObjectRef<R>;
  readonly outcome: Promise<R>;
  readonly resolve: (value: R) => void;
  readonly reject: (error: unknown) => void;
  /** Set while it runs. */
  ref: ObjectRef<R> | null;
  settled: boolean;
}

/**
 * Actors that share work. A call goes to whichever actor is free; each actor has one call at a time. An actor that died leaves the pool, and
 * its call fails; when the last one has died, so do the calls that wait.
 *
 * @example
 * const pool = new ActorPool([Doubler.remote(), Doubler.remote()]);
 * for await (const value of pool.map((actor, value: number) => actor.double.remote(value), [1, 2, 3])) console.log(value); // 2 4 6
 */
export class ActorPool<C, R = any> {
  readonly #actors = new Set<ActorHandle<C>>();
  readonly #idle: ActorHandle<C>[] = [];
  readonly #waiting: Job<C, any>[] = [];
  /** Of `submit`, in its order, until `getNext` or `getNextUnordered` takes them. */
  readonly #results: Job<C, R>[] = [];
  readonly #settled = new Doorbell();
  /** Set while the pool has no actor left because the last one died. */
  #death: ActorDiedError | null = null;

  /** @throws TypeError when `actors` is empty. */
  constructor(actors: Iterable<ActorHandle<C>>) {
    for (const actor of actors) this.push(actor);
    if (this.#actors.size === 0) throw new TypeError("Cannot make a pool of no actors: expected at least one handle");
  }

  /** Results in the order of the values. Values are pulled as actors become free, a few ahead, so their source may be endless. */
  map<T, Out>(call: PoolCall<C, T, Out>, values: Iterable<T> | AsyncIterable<T>): AsyncIterableIterator<Out> {
    return this.#stream(call, values, true);
  }

  /** Results as they come. */
  mapUnordered<T, Out>(call: PoolCall<C, T, Out>, values: Iterable<T> | AsyncIterable<T>): AsyncIterableIterator<Out> {
    return this.#stream(call, values, false);
  }

  /** Makes the call as soon as an actor is free. Take the result with `getNext` or `getNextUnordered`. */
  submit<T>(call: PoolCall<C, T, R>, value: T): void {
    this.#results.push(this.#enqueue((actor) => call(actor, value)));
  }

  /** True while there are submitted calls whose result was not taken. */
  hasNext(): boolean {
    return this.#results.length > 0;
  }

  /**
   * The result of the earliest submitted call whose result was not taken.
   *
   * @throws RangeError when there is none, GetTimeoutError after `timeoutMs`, or the call's own error.
   */
  async getNext(options: GetNextOptions = {}): Promise<R> {
    const job = this.#results.shift();
    if (job === undefined) throw noneLeft();
    if (await this.#settledInTime(() => job.settled, options)) return job.outcome;
    if (options.ignoreIfTimedOut !== true) this.#results.unshift(job);
    throw timedOut(options);
  }

  /** The result of whichever submitted call is done first. Throws as `getNext` does. */
  async getNextUnordered(options: GetNextOptions = {}): Promise<R> {
    if (!this.hasNext()) throw noneLeft();
    const done = (job: Job<C, R>): boolean => job.settled;
    if (await this.#settledInTime(() => this.#results.length === 0 || this.#results.some(done), options)) {
      const index = this.#results.findIndex(done);
      if (index === -1) throw noneLeft();
      return (this.#results.splice(index, 1)[0] as Job<C, R>).outcome;
    }
    if (options.ignoreIfTimedOut === true) this.#results.shift();
    throw timedOut(options);
  }

  /** True when a call submitted now starts at once. */
  hasFree(): boolean {
    return this.#idle.length > 0 && this.#waiting.length === 0;
  }

  /** Takes an idle actor out of the pool; `undefined` when all are busy. */
  popIdle(): ActorHandle<C> | undefined {
    if (!this.hasFree()) return undefined;
    const actor = this.#idle.pop() as ActorHandle<C>;
    this.#actors.delete(actor);
    return actor;
  }

  /** Adds an actor. @throws TypeError when it is in the pool already. */
  push(actor: ActorHandle<C>): void {
    if (this.#actors.has(actor)) throw new TypeError("Cannot push an actor into a pool that has it already");
    this.#actors.add(actor);
    this.#idle.push(actor);
    this.#death = null;
    this.#startWaiting();
  }

  #stream<T, Out>(
    call: PoolCall<C, T, Out>,
    values: Iterable<T> | AsyncIterable<T>,
    ordered: boolean,
  ): AsyncIterableIterator<Out> {
    return boundedStream<T, Out>({
      source: values,
      chunkSize: 1,
      ordered,
      maxInFlight: () => Math.max(2, this.#actors.size * 2),
      launch: (items) => {
        const job = this.#enqueue((actor) => call(actor, items[0] as T));
        const landing = job.outcome.then((value): Landing<Out> => ({ values: [value] }));
        return { landing, cancel: () => this.#giveUp(job) };
      },
    });
  }

  #enqueue<Out>(start: (actor: ActorHandle<C>) => ObjectRef<Out>): Job<C, Out> {
    let resolve!: (value: Out) => void;
    let reject!: (error: unknown) => void;
    const outcome = new Promise<Out>((onValue, onError) => {
      resolve = onValue;
      reject = onError;
    });
    // Whoever takes the result meets the error; until then it is nobody's unhandled rejection.
    outcome.catch(() => undefined);
    const job: Job<C, Out> = { start, outcome, resolve, reject, ref: null, settled: false };
    this.#waiting.push(job);
    this.#startWaiting();
    return job;
  }

  #startWaiting(): void {
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      void this.#run(this.#idle.shift() as ActorHandle<C>, this.#waiting.shift() as Job<C, unknown>);
    }
    if (this.#death === null) return;
    for (const job of this.#waiting.splice(0)) {
      job.reject(this.#death);
      job.settled = true;
    }
  }

  async #run<Out>(actor: ActorHandle<C>, job: Job<C, Out>): Promise<void> {
    let death: ActorDiedError | null = null;
    try {
      job.ref = job.start(actor);
      job.resolve(await get(job.ref));
    } catch (error) {
      job.reject(error);
      if (error instanceof ActorDiedError) death = error;
    }
    job.ref = null;
    job.settled = true;
    if (death === null) {
      if (this.#actors.has(actor)) this.#idle.push(actor);
    } else if (this.#actors.delete(actor) && this.#actors.size === 0) this.#death = death;
    this.#startWaiting();
    this.#settled.ring();
  }

  #giveUp(job: Job<C, any>): void {
    const index = this.#waiting.indexOf(job);
    if (index !== -1) this.#waiting.splice(index, 1);
    else if (job.ref !== null) cancel(job.ref).catch(() => undefined);
  }

  async #settledInTime(condition: () => boolean, { timeoutMs }: GetNextOptions): Promise<boolean> {
    const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
    while (!condition()) {
      if (!(await this.#settled.waitUntil(deadline))) return condition();
    }
    return true;
  }
}

function noneLeft(): RangeError {
  return new RangeError("Cannot get a further result of the pool: none is left, as hasNext() says");
}

function timedOut({ timeoutMs = 0, ignoreIfTimedOut }: GetNextOptions): GetTimeoutError {
  const after = ignoreIfTimedOut === true ? "; it will not be returned any more" : "";
  return new GetTimeoutError(`Cannot get the next result of the pool within ${timeoutMs} ms: no call is done${after}`, {
    timeoutMs,
  });
}
