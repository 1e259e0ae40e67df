/**
 * The actor behind a `Queue`. Items are boxed by the caller, so that a ref in the queue stays a ref. Those who wait do so here, in order
 * of arrival: an item goes to exactly one of them, and one whose time is up can no longer be given anything.
 */
import { getRuntimeContext } from "../index.ts";
import { WaitingLine } from "./waiting-line.ts";

export type Boxed = readonly [item: unknown];

interface Taker {
  box: Boxed | null;
}

export class QueueActor {
  private readonly maxSize: number;
  /** From `head` on; the part before it is cut off when it is the larger one. */
  private items: (Boxed | undefined)[] = [];
  private head = 0;
  private readonly takers = new WaitingLine<Taker>();
  private readonly putters = new WaitingLine<Boxed>();

  constructor(maxSize: number) {
    this.maxSize = maxSize;
  }

  /** False when there was no room in time. */
  async put(box: Boxed, timeoutMs: number | null): Promise<boolean> {
    if (this.room() > 0 && this.putters.length === 0) {
      this.accept(box);
      return true;
    }
    return timeoutMs === 0 ? false : this.putters.join(box, timeoutMs, getRuntimeContext().signal);
  }

  /** Null when there was nothing in time. */
  async get(timeoutMs: number | null): Promise<Boxed | null> {
    if (this.size() > 0) return this.take();
    if (timeoutMs === 0) return null;
    const taker: Taker = { box: null };
    return (await this.takers.join(taker, timeoutMs, getRuntimeContext().signal)) ? taker.box : null;
  }

  /** All or none: false when they do not all fit. */
  putBatch(boxes: readonly Boxed[]): boolean {
    if (this.room() < boxes.length) return false;
    for (const box of boxes) this.accept(box);
    return true;
  }

  /** All or none: the size when there are fewer. */
  getBatch(count: number): Boxed[] | number {
    if (this.size() < count) return this.size();
    return Array.from({ length: count }, () => this.take());
  }

  size(): number {
    return this.items.length - this.head;
  }

  private room(): number {
    return this.maxSize === 0 ? Number.POSITIVE_INFINITY : this.maxSize - this.size();
  }

  private accept(box: Boxed): void {
    const taker = this.takers.first;
    if (taker === undefined) this.items.push(box);
    else {
      taker.box = box;
      this.takers.serveFirst();
    }
  }

  private take(): Boxed {
    const box = this.items[this.head] as Boxed;
    this.items[this.head++] = undefined; // it may hold much
    if (this.head > 64 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    const next = this.putters.first;
    if (next !== undefined) {
      this.items.push(next);
      this.putters.serveFirst();
    }
    return box;
  }
}
