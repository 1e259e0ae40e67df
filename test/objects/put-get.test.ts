import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, type Signal } from "../support/board.ts";
import { inSession, useSession } from "../support/session.ts";
import { rejection, thrownBy } from "../support/wait-for.ts";

const kinds: [string, (i: number) => unknown][] = [
  ["integers", (i) => i],
  ["numbers", (i) => i / 7],
  ["big integers", (i) => 2n ** BigInt(i)],
  ["strings", (i) => "x".repeat(i)],
  ["bytes", (i) => new Uint8Array(i).fill(i)],
  ["lists", (i) => Array(i).fill(1)],
  ["objects", (i) => ({ [`key${i}`]: i })],
];

describe("put and get", () => {
  useSession();

  test.each(kinds)("a hundred %s come back as they were", async (_kind, make) => {
    for (let i = 0; i < 100; i++) expect(await shoal.get(shoal.put(make(i)))).toEqual(make(i));
  });

  test("of a list keep its order", async () => {
    const refs = Array.from({ length: 50 }, (_, i) => shoal.put(i));
    expect(await shoal.get(refs)).toEqual([...Array(50).keys()]);
    expect(await shoal.get([...refs].reverse())).toEqual([...Array(50).keys()].reverse());
  });

  test("a list may name a ref several times", async () => {
    const [a, b] = [shoal.put("a"), shoal.remote(() => "b").remote()];
    expect(await shoal.get([a, b, a, a, b])).toEqual(["a", "b", "a", "a", "b"]);
  });

  test("of an empty list is an empty list", async () => {
    expect(await shoal.get([])).toEqual([]);
  });

  test("each get gives a value of its own", async () => {
    const ref = shoal.put({ list: [1] });
    const [one, two] = [await shoal.get(ref), await shoal.get(ref)];
    one.list.push(2);
    expect(two.list).toEqual([1]);
    expect((await shoal.get(ref)).list).toEqual([1]);
  });

  test("put is synchronous, and takes the value as it is now", async () => {
    const value = { n: 1 };
    const ref = shoal.put(value);
    value.n = 2;
    expect(await shoal.get(ref)).toEqual({ n: 1 });
  });

  test("put of a ref is a TypeError", () => {
    expect(thrownBy(() => shoal.put(shoal.put(1)))).toBeInstanceOf(TypeError);
  });

  test("put of what cannot travel is a TypeError that names the path", () => {
    const error = thrownBy<shoal.SerializationError>(() => shoal.put({ a: [{ b: new WeakMap() }] }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.path).toMatch(/a\[0\]\.b$/);
  });

  test("get of something else is a TypeError", async () => {
    for (const value of [1, "x", null, undefined, {}, [1], [shoal.put(1), 2], new Set([shoal.put(1)])]) {
      expect(await rejection(Promise.resolve().then(() => shoal.get(value as never)))).toBeInstanceOf(TypeError);
    }
  });

  test("a disposed ref cannot be used, other refs to the object can", async () => {
    const ref = shoal.put([1, 2]);
    const other = await shoal.get(shoal.remote((box: shoal.ObjectRef<number[]>[]) => box[0]!).remote([ref]));
    ref[Symbol.dispose]();
    ref[Symbol.dispose]();
    expect(await rejection(Promise.resolve().then(() => shoal.get(ref)))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => shoal.remote((x: number[]) => x).remote(ref))).toBeInstanceOf(TypeError);
    expect(await shoal.get(other)).toEqual([1, 2]);
  });

  test("a ref prints its id", () => {
    const ref = shoal.put(1);
    expect(String(ref)).toBe(`ObjectRef(${ref.id})`);
    expect(ref.id).not.toBe(shoal.put(1).id);
  });
});

describe("how long get waits", () => {
  useSession();

  const afterSignal = shoal.remote(async (signal: Signal) => {
    await shoal.get(signal.wait.remote());
    return "done";
  });

  test("timeoutMs 0 polls", async () => {
    const signal = newSignal();
    const ref = afterSignal.remote(signal);
    const error = await rejection<shoal.GetTimeoutError>(shoal.get(ref, { timeoutMs: 0 }));
    expect(error).toBeInstanceOf(shoal.GetTimeoutError);
    expect(error.code).toBe("GET_TIMEOUT");
    expect(error.retryable).toBe(true);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(ref)).toBe("done");
    expect(await shoal.get(ref, { timeoutMs: 0 })).toBe("done");
    expect(await shoal.get(shoal.put(1), { timeoutMs: 0 })).toBe(1);
  });

  test("timeoutMs passes, the task goes on, and the error says what was waited for", async () => {
    const signal = newSignal();
    const ref = afterSignal.remote(signal);
    const start = performance.now();
    const error = await rejection<shoal.GetTimeoutError>(shoal.get([shoal.put(1), ref], { timeoutMs: 200 }));
    const waited = performance.now() - start;
    expect(error).toBeInstanceOf(shoal.GetTimeoutError);
    expect(error.timeoutMs).toBe(200);
    expect(error.message).toContain("200");
    expect(waited).toBeGreaterThanOrEqual(195);
    expect(waited).toBeLessThan(2_000);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(ref)).toBe("done");
  });

  test("an AbortSignal ends the wait with its reason; the task goes on", async () => {
    const signal = newSignal();
    const ref = afterSignal.remote(signal);
    const controller = new AbortController();
    const waiting = rejection(shoal.get(ref, { signal: controller.signal }));
    const reason = new Error("no longer wanted");
    controller.abort(reason);
    expect(await waiting).toBe(reason);
    expect(await rejection(shoal.get(ref, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(ref)).toBe("done");
  });

  test("options that make no sense are refused", async () => {
    const ref = shoal.put(1);
    for (const timeoutMs of [-1, Number.NaN, "1" as never]) {
      expect(await rejection(Promise.resolve().then(() => shoal.get(ref, { timeoutMs })))).toBeInstanceOf(Error);
    }
  });

  test("get inside a task has a timeout, too", async () => {
    const signal = newSignal();
    const impatient = shoal.remote(async (s: typeof signal) => {
      try {
        return await shoal.get(s.wait.remote(), { timeoutMs: 50 });
      } catch (error) {
        return error instanceof shoal.GetTimeoutError ? "timed out" : String(error);
      }
    });
    expect(await shoal.get(impatient.remote(signal))).toBe("timed out");
    await shoal.get(signal.send.remote());
  });
});

test("put and get work with no CPU at all", async () => {
  await inSession({ numCpus: 0 }, async () => {
    for (const [, make] of kinds) expect(await shoal.get(shoal.put(make(50)))).toEqual(make(50));
    const large = new Float64Array(100_000).fill(3);
    expect(await shoal.get(shoal.put(large))).toEqual(large);
  });
});
