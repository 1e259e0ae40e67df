/** Calls that wait inside an actor, such as a queue's: how long, and how their caller takes them back. */
import { cancel, get, type ObjectRef, TaskCancelledError } from "../index.ts";

export interface WaitOptions {
  /** Give up after so many milliseconds; 0: at once. Default: wait without end. */
  timeoutMs?: number;
  /** Give up when it fires; rejects with its reason. */
  signal?: AbortSignal;
}

/** `maxConcurrency` of actors whose calls wait for other calls: one call too many would block those it waits for. */
export const waitingCallsMax = 1_000_000;

/**
 * The result of a call that waits in an actor for at most `timeoutMs` (null: without end), and that answers false or null when it gave up.
 * When the signal fires the call is cancelled there, but what it had done by then counts, so that nothing handed out is lost.
 */
export async function outcomeOfWait<R>(options: WaitOptions, start: (timeoutMs: number | null) => ObjectRef<R>): Promise<R> {
  const { timeoutMs, signal } = options;
  const bound = boundOf(timeoutMs);
  if (signal === undefined) return get(start(bound));
  signal.throwIfAborted();
  const ref = start(bound);
  const onAbort = (): void => void cancel(ref).catch(() => undefined);
  signal.addEventListener("abort", onAbort);
  try {
    const result = await get(ref);
    if (result === null || result === false) signal.throwIfAborted();
    return result;
  } catch (error) {
    throw signal.aborted && error instanceof TaskCancelledError ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** For messages. */
export function within(timeoutMs: number | undefined): string {
  return timeoutMs === 0 || timeoutMs === undefined ? "at once" : `within ${timeoutMs} ms`;
}

function boundOf(timeoutMs: number | undefined): number | null {
  if (timeoutMs === undefined || timeoutMs === Number.POSITIVE_INFINITY) return null;
  if (typeof timeoutMs !== "number" || !(timeoutMs >= 0))
    throw new RangeError(`Cannot wait ${String(timeoutMs)} ms: expected a number from 0`);
  return timeoutMs;
}
