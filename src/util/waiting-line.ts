/** People in a line: each waits until it is served, its time is up, or it is told to leave. For use inside actors. */
import { timerMs } from "../base/timer-ms.ts";

interface Place<T> {
  readonly ask: T;
  leave(served: boolean): void;
}

export class WaitingLine<T> {
  private readonly places = new Set<Place<T>>();

  get length(): number {
    return this.places.size;
  }

  /** What the first in line asks for. */
  get first(): T | undefined {
    return this.places.values().next().value?.ask;
  }

  /** Resolves with true once `serveFirst` reaches this place; with false after `timeoutMs` (null: never) or when `signal` fires. */
  join(ask: T, timeoutMs: number | null, signal?: AbortSignal): Promise<boolean> {
    if (signal?.aborted === true) return Promise.resolve(false);
    return new Promise((resolve) => {
      const giveUp = (): void => place.leave(false);
      const timer = timeoutMs === null ? undefined : setTimeout(giveUp, timerMs(timeoutMs));
      const place: Place<T> = {
        ask,
        leave: (served) => {
          this.places.delete(place);
          clearTimeout(timer);
          signal?.removeEventListener("abort", giveUp);
          resolve(served);
        },
      };
      signal?.addEventListener("abort", giveUp);
      this.places.add(place);
    });
  }

  /** Serves the first in line; what it asks for must have been seen to, by `first`. */
  serveFirst(): void {
    this.places.values().next().value?.leave(true);
  }
}
