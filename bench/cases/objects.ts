/** The object store: Ray's microbenchmarks, and large arrays between processes. */
import { availableParallelism } from "node:os";
import * as shoal from "shoal";
import { collectGarbage, durations, median, rate } from "../harness.ts";
import type { Measurement, Scale } from "../measurement.ts";
import { canMeasureMemory, memoryOfTree, sharedBytesOf } from "../memory.ts";
import { type Case, inSession } from "./session.ts";

const putMany = shoal.remote(function putMany(count: number) {
  for (let i = 0; i < count; i++) shoal.put(0);
});

const putArrays = shoal.remote(function putArrays(count: number, length: number) {
  for (let i = 0; i < count; i++) shoal.put(new BigInt64Array(length))[Symbol.dispose]();
});

const createObjectContainingRefs = shoal.remote(function createObjectContainingRefs(count: number) {
  return Array.from({ length: count }, () => shoal.put(1));
});

const readEnds = shoal.remote(function readEnds(data: Float64Array) {
  return data[0] + data[data.length - 1];
});

const sum = shoal.remote(function sum(data: Float64Array) {
  let total = 0;
  for (let i = 0; i < data.length; i++) total += data[i];
  return total;
});

/** Milliseconds that the get took, and proof that it got the array. */
const timedGet = shoal.remote(async function timedGet([ref]: [shoal.ObjectRef<Float64Array>]) {
  const start = performance.now();
  const data = await shoal.get(ref);
  return [performance.now() - start, data[data.length - 1]];
});

export const objectCases: Readonly<Record<string, Case>> = {
  "single client get calls (Plasma Store)": inSession((scale) => {
    const ref = shoal.put(0);
    return rate(scale, () => shoal.get(ref));
  }),
  "single client put calls (Plasma Store)": inSession((scale) => rate(scale, () => void shoal.put(0))),
  "multi client put calls (Plasma Store)": inSession((scale) =>
    rate(scale, () => shoal.get(Array.from({ length: 10 }, () => putMany.remote(100))), 1000),
  ),
  "single client put gigabytes": inSession((scale) => {
    const array = new BigInt64Array((scale.small ? 1 : 100) * 1024 * 1024);
    // Python drops the ref at the end of the statement; here that is said.
    return rate(scale, () => shoal.put(array)[Symbol.dispose](), scale.small ? 0.008 : 0.8);
  }),
  "multi client put gigabytes": inSession((scale) => {
    const length = scale.small ? 128 * 1024 : 10 * 1024 * 1024;
    return rate(scale, () => shoal.get(Array.from({ length: 10 }, () => putArrays.remote(10, length))), scale.small ? 0.08 : 8);
  }),
  "single client get object containing 10k refs": inSession((scale) => {
    const ref = createObjectContainingRefs.remote(scale.small ? 100 : 10_000);
    return rate(scale, () => shoal.get(ref));
  }),
  "80 MB argument to 8 tasks": inSession(arrayToTasks),
  "put 800 MB, steady state": inSession(putSteady),
  "get 800 MB in another process": inSession(getElsewhere),
  "memory added by 8 readers of 800 MB": inSession(memoryAdded),
};

/** As much as an array of 800 MB, or 8 of it in the small run, of values that no page shares with another. */
function largeArray(scale: Scale): Float64Array {
  const array = new Float64Array(scale.small ? 1_000_000 : 100_000_000);
  for (let i = 0; i < array.length; i++) array[i] = i * 0.5;
  return array;
}

async function arrayToTasks(scale: Scale): Promise<Measurement> {
  const array = new Float64Array(scale.small ? 100_000 : 10_000_000).fill(0.5);
  const runs = await durations(scale, scale.small ? 1 : 30, async () => {
    using ref = shoal.put(array);
    await shoal.get(Array.from({ length: 8 }, () => readEnds.remote(ref)));
  });
  return { value: median(runs), runs };
}

async function putSteady(scale: Scale): Promise<Measurement> {
  const array = largeArray(scale);
  const copy = new Float64Array(array.length).fill(1);
  const gigabytes = array.byteLength / 1e9;
  const perSecond = (times: number[]): number[] => times.map((ms) => (gigabytes * 1000) / ms);
  const count = scale.small ? 1 : 7;
  const copies = perSecond(await durations(scale, count, () => copy.set(array)));
  const puts = perSecond(await durations(scale, count, () => shoal.put(array)[Symbol.dispose]()));
  const reference = median(copies);
  return { value: median(puts), runs: puts, reference, note: `plain copy in the same process ${reference.toFixed(2)} GB/s` };
}

async function getElsewhere(scale: Scale): Promise<Measurement> {
  const ref = shoal.put(largeArray(scale));
  const runs: number[] = [];
  for (let i = 0; i < (scale.small ? 2 : 21); i++) {
    const [ms] = await shoal.get(timedGet.remote([ref]));
    runs.push(ms);
  }
  return { value: median(runs.slice(1)), runs, note: `first ${runs[0].toFixed(2)} ms` };
}

async function memoryAdded(scale: Scale, cluster: shoal.ClusterContext): Promise<Measurement> {
  if (!canMeasureMemory) throw new Error("Cannot measure memory: this system has no /proc/*/smaps_rollup");
  // The workers that will read have started and compiled.
  const little = new Float64Array(100_000);
  for (let i = 0; i < 5; i++) await shoal.get(Array.from({ length: 2 * availableParallelism() }, () => sum.remote(little)));
  const ref = shoal.put(largeArray(scale));
  await collectGarbage();
  const inUse = (): number => memoryOfTree().privateBytes + sharedBytesOf(cluster.sessionDir);
  const before = inUse();
  const results = Array.from({ length: 8 }, () => sum.remote(ref));
  let peak = 0;
  let pending = results;
  while (pending.length > 0) {
    [, pending] = await shoal.wait(pending, { numReturns: pending.length, timeoutMs: 20 });
    peak = Math.max(peak, inUse());
  }
  await shoal.get(results);
  const bytes = scale.small ? 8e6 : 800e6;
  const megabytes = (value: number): string => `${(value / 1e6).toFixed(0)} MB`;
  return {
    value: (100 * (peak - before)) / bytes,
    runs: [],
    note: `${megabytes(before)} before, ${megabytes(peak)} at the peak`,
  };
}
