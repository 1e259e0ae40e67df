import * as shoal from "shoal";
import { expect, test } from "vitest";
import { collectGarbage } from "../support/garbage.ts";
import { useSession } from "../support/session.ts";
import { storeUse } from "../support/store-use.ts";
import { waitFor } from "../support/wait-for.ts";

const limit = 40_000_000;
const session = useSession({ numCpus: 2, objectStoreMemory: limit });

/** Watches shared memory until stopped; returns the most it saw. */
function watchSharedMemory(): () => number {
  let most = 0;
  const look = () => {
    most = Math.max(most, storeUse(session()).shmBytes);
  };
  const watching = setInterval(look, 5);
  return () => {
    look();
    clearInterval(watching);
    return most;
  };
}

/** Bytes that depend on `seed` everywhere, so that pages of different objects cannot be confused. */
function pattern(length: number, seed: number): Uint32Array {
  const array = new Uint32Array(length / 4);
  for (let i = 0; i < array.length; i++) array[i] = Math.imul(i ^ seed, 2_654_435_761);
  return array;
}

const holdsPattern = (array: Uint32Array, seed: number): boolean =>
  array.every((x, i) => x === Math.imul(i ^ seed, 2_654_435_761) >>> 0);

const allGone = (what: string) =>
  waitFor(what, async () => {
    await collectGarbage();
    return storeUse(session()).spillBytes === 0;
  });

test("five times the store's limit is put and read back, every byte, with shared memory never above the limit", async () => {
  const stop = watchSharedMemory();
  const refs: shoal.ObjectRef<Uint32Array>[] = [];
  for (let i = 0; i < 50; i++) {
    refs.push(shoal.put(pattern(4_000_000, i)));
    await new Promise((resolve) => setImmediate(resolve)); // let the watcher look
  }
  expect(storeUse(session()).spillBytes).toBeGreaterThan(150_000_000);
  for (const [i, ref] of refs.entries()) {
    expect(holdsPattern(await shoal.get(ref), i), `object ${i}`).toBe(true);
    await collectGarbage();
  }
  expect(stop()).toBeLessThanOrEqual(limit);
  for (const ref of refs) ref[Symbol.dispose]();
  await allGone("the spilled objects to leave the disk");
});

test("tasks read spilled arguments and return more than fits", async () => {
  const stop = watchSharedMemory();
  const double = shoal.remote((array: Float64Array) => array.map((x) => 2 * x));
  const inputs = Array.from({ length: 16 }, (_, i) => shoal.put(new Float64Array(500_000).fill(i)));
  const outputs = inputs.map((ref) => double.remote(ref));
  for (const [i, ref] of outputs.entries()) {
    const array = await shoal.get(ref);
    expect([array[0], array[499_999]]).toEqual([2 * i, 2 * i]);
    await collectGarbage();
  }
  expect(stop()).toBeLessThanOrEqual(limit);
  for (const ref of [...inputs, ...outputs]) ref[Symbol.dispose]();
  await allGone("inputs and outputs to leave the disk");
});

test("one object larger than the whole store is stored and read, by driver and task", async () => {
  const bytes = 100_000_000;
  const ref = shoal.put(pattern(bytes, 1));
  expect(holdsPattern(await shoal.get(ref), 1)).toBe(true);
  const ends = shoal.remote((array: Uint32Array) => [array.length, array[0], array[array.length - 1]]);
  const original = pattern(bytes, 1);
  expect(await shoal.get(ends.remote(ref))).toEqual([bytes / 4, original[0], original[original.length - 1]]);
  const make = shoal.remote((n: number) => new Uint8Array(n).fill(3));
  const result = make.remote(90_000_000);
  expect((await shoal.get(result))[89_999_999]).toBe(3);
  expect(storeUse(session()).shmBytes).toBeLessThanOrEqual(limit);
  ref[Symbol.dispose]();
  result[Symbol.dispose]();
  await allGone("the large object to leave the disk");
});

test("a list larger than the store is got at once", async () => {
  const refs = Array.from({ length: 25 }, (_, i) => shoal.put(new Uint8Array(4_000_000).fill(i)));
  const all = await shoal.get(refs);
  expect(all.map((array) => array[3_999_999])).toEqual([...Array(25).keys()]);
  for (const ref of refs) ref[Symbol.dispose]();
});

test("what a reader holds stays as it is while its object is spilled and freed", async () => {
  const ref = shoal.put(pattern(8_000_000, 42));
  const view = await shoal.get(ref);
  const pressure = Array.from({ length: 20 }, (_, i) => shoal.put(new Uint8Array(4_000_000).fill(i)));
  await waitFor("something to be spilled", () => storeUse(session()).spillBytes > 0);
  expect(holdsPattern(view, 42)).toBe(true);
  ref[Symbol.dispose]();
  for (const other of pressure) other[Symbol.dispose]();
  const reuse = Array.from({ length: 8 }, (_, i) => shoal.put(pattern(4_000_000, 100 + i)));
  expect(holdsPattern(view, 42)).toBe(true);
  for (const [i, other] of reuse.entries()) expect(holdsPattern(await shoal.get(other), 100 + i)).toBe(true);
  for (const other of reuse) other[Symbol.dispose]();
});

test("puts, gets and tasks at the same time beyond the limit do not lock one another out", async () => {
  const sum = shoal.remote((array: Uint8Array) => array.reduce((a, b) => a + b, 0));
  const flow = async (id: number): Promise<number> => {
    let right = 0;
    for (let i = 0; i < 6; i++) {
      const refs = [0, 1, 2].map((k) => shoal.put(new Uint8Array(3_000_000).fill(id + k)));
      const sums = await shoal.get(refs.map((ref) => sum.remote(ref)));
      if (sums.every((value, k) => value === 3_000_000 * (id + k))) right += 1;
      for (const ref of refs) ref[Symbol.dispose]();
    }
    return right;
  };
  expect(await Promise.all([1, 2, 3, 4].map(flow))).toEqual([6, 6, 6, 6]);
});
