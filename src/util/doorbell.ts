import { clearTimeout, performance, setTimeout } from "../base/clock.ts";
import { timerMs } from "../base/timer-ms.ts";

/**
 * Wakes whoever waits for "something changed". Waiters check their condition, then wait, then check again; as nothing else runs between a
 * check and `wait()`, no ring is missed.
 */
export class Doorbell {
  private ringing: (() => void) | null = null;
  private waiting: Promise<void> | null = null;

  /** Wakes all who wait now. */
  ring(): void {
    const wake = this.ringing;
    this.ringing = null;
    this.waiting = null;
    wake?.();
  }

  /** Resolves at the next ring. */
  wait(): Promise<void> {
    this.waiting ??= new Promise((resolve) => {
      this.ringing = resolve;
    });
    return this.waiting;
  }

  /** Resolves with true at the next ring, with false when `deadline` (of `performance.now()`) comes first. */
  async waitUntil(deadline: number): Promise<boolean> {
    if (deadline === Number.POSITIVE_INFINITY) return this.wait().then(() => true);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, timerMs(Math.max(0, deadline - performance.now())), false);
    });
    try {
      return await Promise.race([this.wait().then(() => true), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
