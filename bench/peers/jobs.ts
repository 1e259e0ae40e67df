/** The same jobs on thread pools. One outcome per pool and job; started as measure.ts is. */
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { Piscina } from "piscina";
import Tinypool from "tinypool";
import type { PeerJob } from "../catalog.ts";
import { durations, latency, median, rate } from "../harness.ts";
import { type Measurement, printOutcome, type Scale, scales } from "../measurement.ts";

interface Pool {
  run(task: unknown, options: { name: string }): Promise<unknown>;
  destroy(): Promise<void>;
}

const filename = fileURLToPath(new URL("peer-worker.mjs", import.meta.url));
const threads = cpus().length;
const size = { filename, minThreads: threads, maxThreads: threads };

/** Threads start when the pool does and stay. */
const pools: Readonly<Record<string, () => Pool>> = {
  piscina: () => new Piscina(size),
  "piscina, 16 tasks a thread": () => new Piscina({ ...size, concurrentTasksPerWorker: 16 }),
  tinypool: () => new Tinypool({ ...size, runtime: "worker_threads" }),
};

const jobs: Readonly<Record<PeerJob, (pool: Pool, scale: Scale) => Promise<Measurement>>> = {
  batch: (pool, scale) => {
    const count = scale.small ? 20 : 1000;
    return rate(scale, () => Promise.all(Array.from({ length: count }, () => pool.run(undefined, { name: "noop" }))), count);
  },
  latency: async (pool, scale) =>
    latency(await durations(scale, scale.small ? 5 : 20_000, () => pool.run(undefined, { name: "noop" }))),
  array: async (pool, scale) => {
    const array = new Float64Array(scale.small ? 100_000 : 10_000_000).fill(0.5);
    const cloned = await durations(scale, scale.small ? 1 : 10, () => toEight(pool, array));
    const shared = await durations(scale, scale.small ? 1 : 10, () => {
      const copy = new Float64Array(new SharedArrayBuffer(array.byteLength));
      copy.set(array);
      return toEight(pool, copy);
    });
    return { value: median(cloned), runs: cloned, note: `${median(shared).toFixed(1)} ms copied to a SharedArrayBuffer first` };
  },
};

function toEight(pool: Pool, array: Float64Array): Promise<unknown> {
  return Promise.all(Array.from({ length: 8 }, () => pool.run(array, { name: "readEnds" })));
}

const [scaleName, ...names] = process.argv.slice(2);
const scale = scales[scaleName as keyof typeof scales];

for (const job of names as PeerJob[]) {
  for (const [poolName, open] of Object.entries(pools)) {
    const name = `${job}/${poolName}`;
    const pool = open();
    try {
      printOutcome({ name, measurement: await jobs[job](pool, scale) });
    } catch (error) {
      printOutcome({ name, failure: (error as Error).message });
    } finally {
      await pool.destroy();
    }
  }
}
