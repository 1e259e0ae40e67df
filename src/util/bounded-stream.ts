/**
 * An async iterator over results of work done elsewhere, with a bound on what is under way.
 *
 * The idea: pull items from a source, launch them in chunks, hand out results. The complication: the source, the work and the consumer
 * each have a pace of their own, and none may wait for another without need: a slow source must not hold back results that are there,
 * a slow consumer must stop the pulling. The answer: one loop pulls and launches while there is room, the iterator hands out what
 * has landed, and each wakes the other by a doorbell.
 */
import { Doorbell } from "./doorbell.ts";

/** One chunk under way. */
export interface Flight<R> {
  /** One result for each item of the chunk, in order; or a shorter list with `failure` set for the item after the last. */
  readonly landing: Promise<Landing<R>>;
  /** Gives it up. Called at most once, and only before it has landed. */
  cancel(): void;
}

export interface Landing<R> {
  readonly values: readonly R[];
  readonly failure?: { readonly error: unknown };
}

export interface BoundedStreamOptions<T, R> {
  readonly source: Iterable<T> | AsyncIterable<T>;
  /** Starts a chunk of 1 to `chunkSize` items. */
  launch(items: T[]): Flight<R>;
  /** Chunks pulled from the source and not handed out completely. May take time to find out. */
  maxInFlight(): number | Promise<number>;
  readonly chunkSize: number;
  /** Results in the order of the items, not in that of completion. */
  readonly ordered: boolean;
}

interface Slot<R> {
  readonly flight: Flight<R>;
  landing: Landing<R> | null;
}

/**
 * Results of `launch` over the items of `source`. Nothing is pulled before the first `next()`. At an error the results before it are handed
 * out, then the error, and all that is under way is cancelled; the same when the consumer leaves early.
 */
export function boundedStream<T, R>(options: BoundedStreamOptions<T, R>): AsyncIterableIterator<R> {
  const state = new StreamState(options);
  const results = state.results();
  return {
    next: () => results.next(),
    // The generator may be waiting for a slow task: it is told first, so that leaving never waits for one.
    return: (value?: unknown) => {
      state.stop();
      return results.return(value as undefined);
    },
    throw: (error?: unknown) => {
      state.stop();
      return results.throw(error);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

class StreamState<T, R> {
  private readonly options: BoundedStreamOptions<T, R>;
  private readonly source: Puller<T>;
  /** In the order of launch; a slot leaves it when its last value is handed out. */
  private readonly slots: Slot<R>[] = [];
  /** Unordered only: landed slots in the order of landing. */
  private readonly landed: Slot<R>[] = [];
  private readonly bell = new Doorbell();
  private stopped = false;
  private exhausted = false;
  private sourceFailure: { readonly error: unknown } | null = null;

  constructor(options: BoundedStreamOptions<T, R>) {
    this.options = options;
    this.source = new Puller(options.source);
  }

  stop(): void {
    this.stopped = true;
    this.bell.ring();
  }

  async *results(): AsyncGenerator<R, undefined, undefined> {
    try {
      const maxInFlight = await this.options.maxInFlight();
      void this.feed(maxInFlight);
      while (!this.stopped) {
        const slot = this.takeLanded();
        if (slot !== null) yield* this.handOut(slot);
        else if (this.exhausted && this.slots.length === 0) {
          if (this.sourceFailure !== null) throw this.sourceFailure.error;
          return;
        } else await this.bell.wait();
      }
    } finally {
      this.stop();
      for (const slot of this.slots) if (slot.landing === null) slot.flight.cancel();
      this.slots.length = 0;
      await this.source.close();
    }
  }

  private takeLanded(): Slot<R> | null {
    if (!this.options.ordered) return this.landed.shift() ?? null;
    const first = this.slots[0];
    return first !== undefined && first.landing !== null ? first : null;
  }

  private *handOut(slot: Slot<R>): Generator<R> {
    const { values, failure } = slot.landing as Landing<R>;
    for (let i = 0; i < values.length; i++) {
      // Room is made before the last value leaves, so that the workers are busy while the consumer looks at it.
      if (i === values.length - 1 && failure === undefined) this.release(slot);
      yield values[i] as R;
      if (this.stopped) return;
    }
    if (failure !== undefined) {
      this.release(slot);
      throw failure.error;
    }
  }

  private release(slot: Slot<R>): void {
    this.slots.splice(this.slots.indexOf(slot), 1);
    this.bell.ring();
  }

  /** Pulls and launches while there is room. Never throws. */
  private async feed(maxInFlight: number): Promise<void> {
    try {
      while (!this.stopped) {
        if (this.slots.length >= maxInFlight) {
          await this.bell.wait();
          continue;
        }
        if (!(await this.feedChunk())) break;
      }
    } catch (error) {
      this.sourceFailure = { error };
    } finally {
      this.exhausted = true;
      this.bell.ring();
    }
  }

  /** Resolves with false when there is nothing more to feed. */
  private async feedChunk(): Promise<boolean> {
    const items: T[] = [];
    try {
      return await this.source.pull(items, this.options.chunkSize);
    } finally {
      // Also when the source failed: its error has its place after the results of the items it gave.
      if (items.length > 0 && !this.stopped) this.launch(items);
    }
  }

  private launch(items: T[]): void {
    const slot: Slot<R> = { flight: this.options.launch(items), landing: null };
    this.slots.push(slot);
    const land = (landing: Landing<R>): void => {
      slot.landing = landing;
      if (!this.options.ordered) this.landed.push(slot);
      this.bell.ring();
    };
    slot.flight.landing.then(land, (error) => land({ values: [], failure: { error } }));
  }
}

/** Takes items from a source of either kind; at most one pull is under way. */
class Puller<T> {
  private readonly source: Iterable<T> | AsyncIterable<T>;
  private iterator: Iterator<T> | AsyncIterator<T> | null = null;
  private pulling = false;
  private done = false;

  constructor(source: Iterable<T> | AsyncIterable<T>) {
    this.source = source;
  }

  /** Appends up to `count` items; resolves with false when the source is at its end. An error of the source comes after the items before it. */
  async pull(items: T[], count: number): Promise<boolean> {
    this.iterator ??= iteratorOf(this.source);
    this.pulling = true;
    try {
      while (items.length < count) {
        const step = this.iterator.next();
        const result = step instanceof Promise || isThenable(step) ? await step : (step as IteratorResult<T>);
        if (result.done === true) {
          this.done = true;
          return false;
        }
        items.push(isThenable(result.value) ? await result.value : result.value);
      }
      return true;
    } catch (error) {
      this.done = true;
      throw error;
    } finally {
      this.pulling = false;
    }
  }

  /** Tells the source that nobody reads on. */
  async close(): Promise<void> {
    if (this.iterator === null || this.done) return;
    this.done = true;
    const closing = Promise.resolve(this.iterator.return?.());
    // A source that is in the middle of a pull may take for ever; its end is nobody's business any more.
    if (this.pulling) closing.catch(() => undefined);
    else await closing;
  }
}

function iteratorOf<T>(source: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> {
  const async = (source as AsyncIterable<T>)[Symbol.asyncIterator];
  return async === undefined ? (source as Iterable<T>)[Symbol.iterator]() : async.call(source);
}

function isThenable(value: unknown): value is PromiseLike<any> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
