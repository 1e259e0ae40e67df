/** The actor that tests park tasks on: what waits is released by `send`, so that no test has to guess how long something takes. */
import { remote } from "shoal";

class Signal {
  waiting = 0;
  sent = false;
  release: (() => void)[] = [];

  /** Resolves when the signal has been sent; at once if it was sent before. */
  async wait(): Promise<void> {
    if (this.sent) return;
    this.waiting += 1;
    await new Promise<void>((resolve) => this.release.push(resolve));
    this.waiting -= 1;
  }

  /** Releases everything that waits, now and later. */
  async send(): Promise<void> {
    this.sent = true;
    for (const release of this.release.splice(0)) release();
  }

  /** Makes later waits block again. */
  async reset(): Promise<void> {
    this.sent = false;
  }

  /** How many wait now. */
  async waiters(): Promise<number> {
    return this.waiting;
  }
}

/** Takes no CPU, so that a waiting test never starves what it waits for. */
export const SignalActor = remote(Signal, { numCpus: 0, maxConcurrency: 10_000 });
