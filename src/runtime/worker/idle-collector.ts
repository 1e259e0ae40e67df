/**
 * Lets go of what finished tasks and calls have dropped, when a worker has nothing to do.
 *
 * Refs and actor handles are counted down by finalizers, which wait for a garbage collection. A worker at work has them by itself; one that is idle
 * may, by the engine's version, never have another, and would keep other processes' memory and actors for as long as it lives. So some
 * time after its last run it collects once, unless its heap is so large that this would hold up the run that comes next.
 */
import { setTimeout } from "../../base/clock.ts";
import { collectGarbage } from "../owner/collect-garbage.ts";

/** Milliseconds without a run after which the worker counts as idle. */
const idleMs = 1_000;
/** Bytes in use above which it is left to the engine: a collection looks at each live object, about a millisecond a megabyte. */
const heapBytesMax = 64 * 1024 * 1024;

export class IdleCollector {
  private readonly isBusy: () => boolean;
  private readonly holdsRefs: () => boolean;
  private timer: NodeJS.Timeout | null = null;
  private runs = 0;

  /** `isBusy`: something runs or waits. `holdsRefs`: there is something that a collection could let go of. */
  constructor(isBusy: () => boolean, holdsRefs: () => boolean) {
    this.isBusy = isBusy;
    this.holdsRefs = holdsRefs;
  }

  /** A task or call has ended. */
  ran(): void {
    this.runs++;
    if (this.timer === null) this.look(this.runs);
  }

  private look(runsThen: number): void {
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.isBusy()) return; // the end of what runs looks again
      if (this.runs !== runsThen) return this.look(this.runs);
      if (this.holdsRefs() && process.memoryUsage().heapUsed <= heapBytesMax) collectGarbage();
    }, idleMs);
    this.timer.unref();
  }
}
