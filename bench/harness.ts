/**
 * How Shoal and the pools are timed: Ray's method. After a warm-up, runs of at least two seconds, each of which looks at the clock once per tenth of what
 * the warm-up did; the result is the median of the runs, where Ray takes the mean.
 *
 * A loop of `await`s on what is there already never returns to the event loop, where finalizers run and sockets are read. So the clock is looked at from a
 * new turn of the loop, at least every thousand operations.
 */
import { setImmediate } from "node:timers/promises";
import * as v8 from "node:v8";
import * as vm from "node:vm";
import type { Measurement, Scale } from "./measurement.ts";

const stepMax = 1000;

/** Operations per second of `action`, which does `count` of them. */
export async function rate(scale: Scale, action: () => unknown, count = 1): Promise<Measurement> {
  const warmedUp = await repeatFor(scale.warmUpMs, 1, action);
  const step = Math.min(stepMax, Math.floor(warmedUp.calls / 10) + 1);
  const runs: number[] = [];
  for (let i = 0; i < scale.runCount; i++) {
    const { calls, ms } = await repeatFor(scale.runMs, step, action);
    runs.push((calls * count * 1000) / ms);
  }
  return { value: median(runs), runs };
}

async function repeatFor(atLeastMs: number, step: number, action: () => unknown): Promise<{ calls: number; ms: number }> {
  const start = performance.now();
  let calls = 0;
  let ms = 0;
  do {
    for (let i = 0; i < step; i++) await action();
    calls += step;
    await setImmediate();
    ms = performance.now() - start;
  } while (ms < atLeastMs);
  return { calls, ms };
}

/** Milliseconds of each of `count` calls, the first few left out. */
export async function durations(scale: Scale, count: number, action: () => unknown): Promise<number[]> {
  const warmUps = scale.small ? 1 : Math.max(2, Math.floor(count / 10));
  const times: number[] = [];
  for (let i = 0; i < warmUps + count; i++) {
    const start = performance.now();
    await action();
    if (i >= warmUps) times.push(performance.now() - start);
    if (i % stepMax === 0) await setImmediate();
  }
  return times;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value that a share `q` of the values lies below; between two neighbours linearly. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * q;
  const below = sorted[Math.floor(position)];
  return below + (sorted[Math.ceil(position)] - below) * (position % 1);
}

/** Median and 99th percentile in microseconds. */
export function latency(times: readonly number[]): Measurement {
  const us = (ms: number): number => ms * 1000;
  return { value: us(median(times)), runs: [], note: `p99 ${us(quantile(times, 0.99)).toFixed(0)} us` };
}

let gc: (() => void) | null = null;

/** Collects garbage and lets finalizers run, whatever flags the process was started with. */
export async function collectGarbage(): Promise<void> {
  if (gc === null) {
    v8.setFlagsFromString("--expose-gc");
    gc = vm.runInNewContext("gc") as () => void;
  }
  for (let i = 0; i < 2; i++) {
    gc();
    await setImmediate();
  }
}
