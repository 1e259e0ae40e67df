/**
 * Waits until everything workers printed before is forwarded. There is no asking a pipe whether it is empty, but a turn of the event loop
 * polls every pipe: a full turn in which none of them gave a chunk, and none is held back for a slow reader, found them empty. What a
 * worker has printed is in its pipe, as it writes blocking; a line without an end is as good as it gets, for the session is about to end.
 */
import { once } from "node:events";
import type { Daemon } from "./daemon.ts";

/** A worker that prints without end must not hold up a shutdown. */
const flushMs = 2_000;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function flushLogs(daemon: Daemon): Promise<void> {
  const until = Date.now() + flushMs;
  for (let seen = -1, now = chunks(daemon); Date.now() < until; seen = now, now = chunks(daemon)) {
    if (seen === now && !anyPaused(daemon)) break;
    // Two turns: the first may have polled before this request came.
    await turn();
    await turn();
  }
  for (const worker of daemon.pool.all()) worker.output?.flushPartialLines();
  daemon.logs.flush();
  await Promise.race([
    Promise.all([...daemon.pool.all()].map((worker) => worker.output?.flushFiles())),
    once(AbortSignal.timeout(flushMs), "abort"),
  ]);
}

function chunks(daemon: Daemon): number {
  let sum = 0;
  for (const worker of daemon.pool.all()) sum += worker.output?.chunks ?? 0;
  return sum;
}

function anyPaused(daemon: Daemon): boolean {
  for (const worker of daemon.pool.all()) if (worker.output?.isPaused) return true;
  return false;
}
