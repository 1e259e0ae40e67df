/** Waiting for a condition, instead of sleeping: probes until it holds, and says at the deadline what it waited for. */

/** For probes that only look; one that starts a process passes a longer one. */
const probeIntervalMs = 20;

/**
 * Returns the first truthy result of `probe`. Fails after `timeoutMs` with `what`, which completes "Waited in vain for ...", and the last
 * result or error of the probe.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 15_000,
  intervalMs = probeIntervalMs,
): Promise<Exclude<T, null | undefined | false>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const result = await probe();
      if (result) return result as Exclude<T, null | undefined | false>;
      last = result;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`Waited in vain for ${what} during ${timeoutMs} ms; last: ${String(last)}`);
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}

/** The error `promise` rejects with; fails when it resolves. */
export async function rejection<E extends Error = Error>(promise: PromiseLike<unknown>): Promise<E> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error as E;
  }
  throw new Error(`Expected a rejection, but the promise resolved to ${String(value)}`);
}

/** The error `action` throws; fails when it returns. */
export function thrownBy<E extends Error = Error>(action: () => unknown): E {
  let value: unknown;
  try {
    value = action();
  } catch (error) {
    return error as E;
  }
  throw new Error(`Expected a throw, but the call returned ${String(value)}`);
}
