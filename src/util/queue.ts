/** `Queue`: first in, first out, between any processes of the cluster. */
import { type ActorHandle, type ActorOptions, get, kill, remote } from "../index.ts";
import { type Boxed, QueueActor } from "./queue-actor.ts";
import { QueueEmptyError, QueueFullError } from "./queue-errors.ts";
import { outcomeOfWait, type WaitOptions, waitingCallsMax, within } from "./waiting-call.ts";

export interface QueueOptions {
  /** Items it holds at most. Default 0: no bound. */
  maxSize?: number;
  /** Of the actor that holds the items, e.g. a `name` with `getIfExists`. */
  actorOptions?: ActorOptions;
}

/**
 * A queue held by an actor of its own. Pass it to tasks and actors as an argument or in a closure: all use the same one. Items travel by value; put
 * refs into it for large ones.
 *
 * @example
 * const queue = new Queue<string>({ maxSize: 10 });
 * await queue.put("first");
 * console.log(await queue.get()); // first
 */
export class Queue<T = any> {
  /** 0: no bound. */
  readonly maxSize: number;
  readonly actor: ActorHandle<QueueActor>;

  constructor(options: QueueOptions = {}) {
    const { maxSize = 0, actorOptions } = options;
    if (!Number.isSafeInteger(maxSize) || maxSize < 0)
      throw new RangeError(`Cannot use ${String(maxSize)} as maxSize: expected a whole number from 0`);
    this.maxSize = maxSize;
    this.actor = remote(QueueActor, { numCpus: 0, maxConcurrency: waitingCallsMax, ...actorOptions }).remote(maxSize);
  }

  /** Appends an item; waits for room. @throws QueueFullError when there was none in time. */
  async put(item: T, options: WaitOptions = {}): Promise<void> {
    const accepted = await outcomeOfWait(options, (timeoutMs) => this.actor.put.remote([item], timeoutMs));
    if (!accepted)
      throw new QueueFullError(
        `Cannot put an item into the queue ${within(options.timeoutMs)}: it holds ${this.maxSize}, its maximum`,
      );
  }

  /** Takes the first item; waits for one. @throws QueueEmptyError when there was none in time. */
  async get(options: WaitOptions = {}): Promise<T> {
    const box = await outcomeOfWait(options, (timeoutMs) => this.actor.get.remote(timeoutMs));
    if (box === null) throw new QueueEmptyError(`Cannot get an item of the queue ${within(options.timeoutMs)}: it is empty`);
    return box[0] as T;
  }

  /** `put` that does not wait for room. */
  putNowait(item: T): Promise<void> {
    return this.put(item, { timeoutMs: 0 });
  }

  /** `get` that does not wait for an item. */
  getNowait(): Promise<T> {
    return this.get({ timeoutMs: 0 });
  }

  /** Appends all of `items`, or none. @throws QueueFullError when they do not fit. */
  async putNowaitBatch(items: readonly T[]): Promise<void> {
    const accepted = await get(this.actor.putBatch.remote(items.map((item): Boxed => [item])));
    if (!accepted)
      throw new QueueFullError(`Cannot put ${items.length} items into the queue at once: it holds at most ${this.maxSize}`);
  }

  /** Takes the first `count` items, or none. @throws QueueEmptyError when there are fewer. */
  async getNowaitBatch(count: number): Promise<T[]> {
    if (!Number.isSafeInteger(count) || count < 0)
      throw new RangeError(`Cannot get ${String(count)} items of the queue: expected a whole number from 0`);
    const boxes = await get(this.actor.getBatch.remote(count));
    if (typeof boxes === "number") throw new QueueEmptyError(`Cannot get ${count} items of the queue at once: it has ${boxes}`);
    return boxes.map(([item]) => item as T);
  }

  /** Items in the queue now. */
  size(): Promise<number> {
    return get(this.actor.size.remote());
  }

  async empty(): Promise<boolean> {
    return (await this.size()) === 0;
  }

  async full(): Promise<boolean> {
    return this.maxSize > 0 && (await this.size()) >= this.maxSize;
  }

  /** Ends the queue, with all that is in it. Who waits at it, or uses it later, gets an ActorDiedError. */
  async shutdown(): Promise<void> {
    await kill(this.actor);
  }
}
