import { rmSync } from "node:fs";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newTally, type Tally } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { segmentFiles } from "../support/store-use.ts";
import { rejection } from "../support/wait-for.ts";

const session = useSession();

const bytes = 3_000_000;
const make = shoal.remote(
  async (tally: Tally, name: string, mark: number) => {
    await shoal.get(tally.add.remote(name));
    return new Uint8Array(3_000_000).fill(mark);
  },
  { maxCalls: 1 },
);
const plusOne = shoal.remote(
  async (tally: Tally, name: string, array: Uint8Array) => {
    await shoal.get(tally.add.remote(name));
    return array.map((x) => x + 1);
  },
  { maxCalls: 1 },
);

const runs = (tally: Tally, name: string) => shoal.get(tally.count.remote(name));

/** In a process of its own each time: a process that has read or written an object may still have it mapped when its file is gone. */
const firstOf = shoal.remote((array: Uint8Array) => array[0], { maxCalls: 1 });

/** Loses every stored object but those in `kept`: the files go, as if somebody had cleaned /dev/shm. */
function lose(kept: readonly string[] = []): void {
  for (const path of segmentFiles(session())) if (!kept.includes(path)) rmSync(path);
}

async function settled(...refs: shoal.ObjectRef<unknown>[]): Promise<void> {
  await shoal.wait(refs, { numReturns: refs.length });
}

describe("a lost large result", () => {
  test("is rebuilt by running its task again", async () => {
    const tally = newTally();
    const ref = make.remote(tally, "make", 7);
    await settled(ref);
    lose();
    const array = await shoal.get(ref);
    expect([array.length, array[0], array[bytes - 1]]).toEqual([bytes, 7, 7]);
    expect(await runs(tally, "make")).toBe(2);
  });

  test("is rebuilt for a task that takes it as argument", async () => {
    const tally = newTally();
    const ref = make.remote(tally, "make", 8);
    await settled(ref);
    lose();
    const next = await shoal.get(plusOne.remote(tally, "plus one", ref));
    expect(next[bytes - 1]).toBe(9);
    expect(await runs(tally, "make")).toBe(2);
  });

  test("is rebuilt for a borrower", async () => {
    const tally = newTally();
    const ref = make.remote(tally, "make", 9);
    await settled(ref);
    lose();
    const borrow = shoal.remote(async ([inner]: [shoal.ObjectRef<Uint8Array>]) => (await shoal.get(inner)).at(-1));
    expect(await shoal.get(borrow.remote([ref]))).toBe(9);
    expect(await runs(tally, "make")).toBe(2);
  });

  test("is rebuilt with all it was made from, each once", async () => {
    const tally = newTally();
    const first = make.remote(tally, "first", 1);
    const second = plusOne.remote(tally, "second", first);
    const third = plusOne.remote(tally, "third", second);
    await settled(first, second, third);
    lose();
    expect((await shoal.get(third))[bytes - 1]).toBe(3);
    expect((await shoal.get(second))[0]).toBe(2);
    for (const name of ["first", "second", "third"]) expect(await runs(tally, name)).toBe(2);
  });

  test("is rebuilt also from arguments whose refs are gone", async () => {
    const tally = newTally();
    const first = make.remote(tally, "first", 4);
    const second = plusOne.remote(tally, "second", first);
    await settled(first, second);
    first[Symbol.dispose]();
    lose();
    expect((await shoal.get(second))[0]).toBe(5);
    expect(await runs(tally, "first")).toBe(2);
  });

  test("is rebuilt from what was put, while that lives", async () => {
    const tally = newTally();
    const input = shoal.put(new Uint8Array(bytes).fill(20));
    const kept = segmentFiles(session());
    const ref = plusOne.remote(tally, "plus one", input);
    await settled(ref);
    lose(kept);
    expect((await shoal.get(ref))[bytes - 1]).toBe(21);
    expect(await runs(tally, "plus one")).toBe(2);
  });

  test("is lost once more than its task may be retried: the error says so", async () => {
    const tally = newTally();
    const ref = make.options({ maxRetries: 1 }).remote(tally, "make", 1);
    await settled(ref);
    lose();
    expect(await shoal.get(firstOf.remote(ref))).toBe(1);
    lose();
    const error = await rejection<shoal.ObjectReconstructionFailedError>(shoal.get(firstOf.remote(ref)));
    expect(error).toBeInstanceOf(shoal.ObjectReconstructionFailedError);
    expect(error).toBeInstanceOf(shoal.ObjectLostError);
    expect(error.reason).toMatch(/retr/i);
    expect(await runs(tally, "make")).toBe(2);
  });

  test("of a task that may not be retried is lost", async () => {
    const tally = newTally();
    const ref = make.options({ maxRetries: 0 }).remote(tally, "make", 1);
    await settled(ref);
    lose();
    const error = await rejection<shoal.ObjectLostError>(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.ObjectLostError);
    expect(error.objectId).toBe(ref.id);
    expect(await runs(tally, "make")).toBe(1);
  });
});

describe("a lost object that was put", () => {
  test("cannot be rebuilt, and says why", async () => {
    const ref = shoal.put(new Uint8Array(bytes).fill(1));
    lose();
    const error = await rejection<shoal.ObjectLostError>(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.ObjectLostError);
    expect(error.reason).toMatch(/put/);
    expect(error.objectId).toBe(ref.id);
  });

  test("takes with it what would have to be rebuilt from it", async () => {
    const tally = newTally();
    const input = shoal.put(new Uint8Array(bytes).fill(1));
    const ref = plusOne.remote(tally, "plus one", input);
    await settled(ref);
    lose();
    const error = await rejection(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.ObjectLostError);
    expect(await runs(tally, "plus one")).toBe(1);
  });
});

describe("lost items of a stream", () => {
  const count = 6;
  const produce = shoal.remote(async function* (tally: Tally, name: string) {
    await shoal.get(tally.add.remote(name));
    for (let i = 0; i < 6; i++) yield new Uint8Array(3_000_000).fill(i);
  });

  test("are made again by running the generator again, once for all", async () => {
    const tally = newTally();
    const refs: shoal.ObjectRef<Uint8Array>[] = [];
    for await (const ref of produce.remote(tally, "stream")) refs.push(ref);
    lose();
    expect((await shoal.get(refs, { timeoutMs: 30_000 })).map((item) => item[bytes - 1])).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await runs(tally, "stream")).toBe(2);
  });

  test("are made again while the producer waits for its consumer", async () => {
    const tally = newTally();
    const stream = produce.options({ generatorBackpressure: 2 }).remote(tally, "paused");
    const refs: shoal.ObjectRef<Uint8Array>[] = [(await stream.next()).value!, (await stream.next()).value!];
    lose();
    expect((await shoal.get(refs, { timeoutMs: 30_000 })).map((item) => item[0])).toEqual([0, 1]);
    for await (const ref of stream) refs.push(ref);
    expect(refs.length).toBe(count);
    expect((await shoal.get(refs, { timeoutMs: 30_000 })).map((item) => item[0])).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("cannot be made again when the task has no retries", async () => {
    const tally = newTally();
    const stream = produce.options({ maxRetries: 0 }).remote(tally, "once");
    const { value: ref } = await stream.next();
    await shoal.get(stream.completed);
    lose();
    const error = await rejection(shoal.get(ref!, { timeoutMs: 30_000 }));
    expect(error).toBeInstanceOf(shoal.ObjectReconstructionFailedError);
    expect(error.message).toContain("the task that made it has no retries left");
  });
});
