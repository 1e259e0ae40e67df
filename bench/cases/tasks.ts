/** Tasks: Ray's microbenchmarks, tasks that do nothing (the pools run the same), and very many of them. */
import * as shoal from "shoal";
import { collectGarbage, durations, latency, rate } from "../harness.ts";
import type { Measurement, Scale } from "../measurement.ts";
import { type Case, inSession } from "./session.ts";
import { smallValue, smallValues } from "./small-value.ts";

const noop = shoal.remote(function noop() {});

/** Submits from a process of its own. Its method awaits, one call at a time as in Ray's threaded actor. */
class Submitter {
  async smallValueBatch(count: number): Promise<void> {
    await smallValues(count);
  }
}

export const taskCases: Readonly<Record<string, Case>> = {
  "single client tasks and get batch": inSession((scale) => rate(scale, () => smallValues(scale.small ? 20 : 1000))),
  "single client wait 1k refs": inSession((scale) => rate(scale, () => waitForEach(scale.small ? 20 : 1000))),
  "single client tasks sync": inSession((scale) => rate(scale, () => shoal.get(smallValue.remote()))),
  "single client tasks async": inSession((scale) => {
    const count = scale.small ? 20 : 1000;
    return rate(scale, () => smallValues(count), count);
  }),
  "multi client tasks async": inSession((scale) => {
    const count = scale.small ? 20 : 10_000;
    const Client = shoal.remote(Submitter, { numCpus: 0, maxConcurrency: 1 });
    const clients = Array.from({ length: scale.small ? 2 : 4 }, () => Client.remote());
    return rate(scale, () => shoal.get(clients.map((client) => client.smallValueBatch.remote(count))), count * clients.length);
  }),
  "no-op tasks in batches": inSession((scale) => {
    const count = scale.small ? 20 : 1000;
    return rate(scale, () => shoal.get(Array.from({ length: count }, () => noop.remote())), count);
  }),
  "no-op task alone, p50": inSession(async (scale) =>
    latency(await durations(scale, scale.small ? 5 : 20_000, () => shoal.get(noop.remote()))),
  ),
  "1,000,000 queued tasks": inSession(manyQueued),
};

async function waitForEach(count: number): Promise<void> {
  let pending = Array.from({ length: count }, () => smallValue.remote());
  // Once asked for, an object is fetched whatever later waits say.
  for (let i = 0; i < count; i++) [, pending] = await shoal.wait(pending, { fetchLocal: i === 0 });
}

/** The loop that submits never yields, so all tasks are queued when it ends. */
async function manyQueued(scale: Scale): Promise<Measurement> {
  const count = scale.small ? 1000 : 1_000_000;
  await shoal.get(noop.remote());
  await collectGarbage();
  const bytesBefore = memoryInUse();
  const start = performance.now();
  const refs: shoal.ObjectRef<void>[] = new Array(count);
  for (let i = 0; i < count; i++) refs[i] = noop.remote();
  const submittedMs = performance.now() - start;
  const bytes = memoryInUse() - bytesBefore;
  const values = await shoal.get(refs);
  if (values.length !== count) throw new Error(`Cannot count ${values.length} results as ${count}`);
  const totalMs = performance.now() - start;
  const perSecond = Math.round((count * 1000) / totalMs).toLocaleString("en");
  return {
    value: bytes / count,
    runs: [],
    note: `submitted in ${(submittedMs / 1000).toFixed(1)} s, all done in ${(totalMs / 1000).toFixed(1)} s (${perSecond} /s)`,
  };
}

/** Garbage included: what has not been collected is memory too. */
function memoryInUse(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
