/**
 * Virtual time: what happens when, in one order that depends on nothing but the seed. Also the log of a run, whose fingerprint tells
 * whether two runs were the same.
 */
import { Random } from "./random.ts";

interface Planned {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | null;
}

export interface Timer {
  cancel(): void;
}

/** Work that never ends is a bug too. */
const eventsMax = 400_000;

export class World {
  readonly random: Random;
  now = 0;
  /** Kept only when asked for: a thousand runs keep fingerprints. */
  readonly lines: string[] | null;
  private readonly heap: Planned[] = [];
  private order = 0;
  private events = 0;
  private hash = 0x811c9dc5;

  private readonly eventsMax: number;

  /** `most`: events a run may have. */
  constructor(seed: number, keepLog: boolean, most = eventsMax) {
    this.eventsMax = most;
    this.random = new Random(seed);
    this.lines = keepLog ? [] : null;
  }

  get fingerprint(): string {
    return `${(this.hash >>> 0).toString(16)}-${this.events}`;
  }

  log(who: string, text: string): void {
    const line = `${this.now.toFixed(3).padStart(12)} ${who.padEnd(8)} ${text}`;
    let hash = this.hash;
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193);
    this.hash = hash;
    this.lines?.push(line);
  }

  after(ms: number, run: () => void): Timer {
    return this.at(this.now + ms, run);
  }

  at(atMs: number, run: () => void): Timer {
    const planned: Planned = { atMs: Math.max(atMs, this.now), order: this.order++, run };
    this.push(planned);
    return {
      cancel: () => {
        planned.run = null;
      },
    };
  }

  /** Runs what is planned until `until` is true, nothing is left, or the time is `limitMs`. Returns whether `until` became true. */
  run(until: () => boolean, limitMs: number): boolean {
    while (!until()) {
      const next = this.heap[0];
      if (next === undefined || next.atMs > limitMs) {
        this.now = Math.max(this.now, limitMs);
        return until();
      }
      this.pop();
      if (next.run === null) continue;
      this.now = next.atMs;
      if (++this.events > this.eventsMax) throw new Error(`The run does not come to an end: ${this.eventsMax} events`);
      next.run();
    }
    return true;
  }

  private push(planned: Planned): void {
    const { heap } = this;
    let at = heap.push(planned) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(planned, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = planned;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop() as Planned;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order;
}
