import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, newTally, type Signal, type Tally } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession();

const upTo = shoal.remote(function* (n: number) {
  for (let i = 0; i < n; i++) yield i;
});
const upToLater = shoal.remote(async function* (n: number) {
  for (let i = 0; i < n; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    yield i;
  }
});

/** Notes each item as it is made, and its end. */
const tallied = shoal.remote(async function* (tally: Tally, n: number) {
  try {
    for (let i = 0; i < n; i++) {
      await shoal.get(tally.add.remote("made"));
      yield i;
    }
  } finally {
    await shoal.get(tally.add.remote("ended"));
  }
});

async function valuesOf<T>(generator: AsyncIterable<shoal.ObjectRef<T>>): Promise<T[]> {
  const values: T[] = [];
  for await (const ref of generator) values.push(await shoal.get(ref));
  return values;
}

const count = (tally: Tally, key: string) => shoal.get(tally.count.remote(key));

describe("a streaming task", () => {
  test.each([
    ["generator", upTo],
    ["async generator", upToLater],
  ])("of a %s gives every item in order, then ends", async (_kind, fn) => {
    expect(await valuesOf(fn.remote(5))).toEqual([0, 1, 2, 3, 4]);
    expect(await valuesOf(fn.remote(0))).toEqual([]);
  });

  test("of a thousand items", async () => {
    expect(await valuesOf(upTo.remote(1_000))).toEqual([...Array(1_000).keys()]);
  });

  test("may mix small and large items of any kind", async () => {
    const mixed = shoal.remote(function* () {
      yield new Float64Array(40_000).fill(1);
      yield undefined;
      yield "text";
      yield new Uint8Array(1_000_000).fill(2);
    });
    const [large, nothing, text, bytes] = (await valuesOf(mixed.remote())) as [Float64Array, undefined, string, Uint8Array];
    expect([large.length, large[39_999], nothing, text, bytes.length, bytes[999_999]]).toEqual([
      40_000,
      1,
      undefined,
      "text",
      1_000_000,
      2,
    ]);
  });

  test("makes its items usable while it still runs, also by other tasks", async () => {
    const signal = newSignal();
    const stream = shoal
      .remote(async function* (gate: Signal) {
        yield 1;
        yield 2;
        await shoal.get(gate.wait.remote());
        yield 3;
      })
      .remote(signal);
    const double = shoal.remote((x: number) => 2 * x);
    const first = (await stream.next()).value!;
    const second = (await stream.next()).value!;
    expect(await shoal.get([double.remote(first), double.remote(second)])).toEqual([2, 4]);
    const third = stream.next();
    await shoal.get(signal.send.remote());
    expect(await shoal.get((await third).value!)).toBe(3);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test("answers several calls of next() that wait together, in order", async () => {
    const stream = upToLater.remote(3);
    const results = await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()]);
    expect(results.map((result) => result.done ?? false)).toEqual([false, false, false, true]);
    expect(await shoal.get(results.slice(0, 3).map((result) => result.value!))).toEqual([0, 1, 2]);
  });

  test("has a ref that is ready when the task has ended", async () => {
    const signal = newSignal();
    const stream = shoal
      .remote(async function* (gate: Signal) {
        yield 1;
        await shoal.get(gate.wait.remote());
      })
      .remote(signal);
    await stream.next();
    expect((await shoal.wait([stream.completed], { timeoutMs: 0 }))[0]).toEqual([]);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(stream.completed)).toBeUndefined();
  });

  test("takes its arguments as any task, also by ref", async () => {
    expect(await valuesOf(upTo.remote(shoal.put(3)))).toEqual([0, 1, 2]);
  });

  test("may yield refs, which stay refs", async () => {
    const outer = shoal.remote(function* () {
      yield shoal.put("inner");
    });
    const [inner] = await valuesOf(outer.remote());
    expect(await shoal.get(inner!)).toBe("inner");
  });

  test("inside a task streams to that task", async () => {
    const sum = shoal.remote(async () => {
      let total = 0;
      for await (const ref of upTo.remote(10)) total += await shoal.get(ref);
      return total;
    });
    expect(await shoal.get(sum.remote())).toBe(45);
  });

  test("chains: each stage consumes the one before", async () => {
    const plusOne = shoal.remote(async function* (source: shoal.ObjectRef<number>[]) {
      for (const ref of source) yield (await shoal.get(ref)) + 1;
    });
    const refs: shoal.ObjectRef<number>[] = [];
    for await (const ref of upTo.remote(10)) refs.push(ref);
    const next: shoal.ObjectRef<number>[] = [];
    for await (const ref of plusOne.remote(refs)) next.push(ref);
    expect(await shoal.get(next)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

describe("backpressure", () => {
  test("without it the producer runs ahead of its consumer to the end", async () => {
    const tally = newTally();
    const stream = tallied.remote(tally, 50);
    await waitFor("the producer to end", async () => (await count(tally, "ended")) === 1);
    expect(await count(tally, "made")).toBe(50);
    expect(await valuesOf(stream)).toEqual([...Array(50).keys()]);
  });

  test("of 2 lets exactly two items be made before one is consumed, and one more for each", async () => {
    const tally = newTally();
    const stream = tallied.options({ generatorBackpressure: 2 }).remote(tally, 6);
    await waitFor("two items", async () => (await count(tally, "made")) === 2);
    const ahead = shoal.remote(() => "another task has run meanwhile");
    await shoal.get(ahead.remote());
    expect(await count(tally, "made")).toBe(2);
    await stream.next();
    await waitFor("a third", async () => (await count(tally, "made")) === 3);
    await shoal.get(ahead.remote());
    expect(await count(tally, "made")).toBe(3);
    expect(await valuesOf(stream)).toEqual([1, 2, 3, 4, 5]);
    expect(await count(tally, "made")).toBe(6);
  });

  test("of 1 holds back a generator that is not async, too", async () => {
    const steps = shoal.remote(function* (tally: Tally, n: number) {
      for (let i = 0; i < n; i++) {
        tally.add.remote("made");
        yield i;
      }
    });
    const tally = newTally();
    const stream = steps.options({ generatorBackpressure: 1 }).remote(tally, 100);
    await stream.next();
    await waitFor("the second", async () => (await count(tally, "made")) === 2);
    expect((await valuesOf(stream)).length).toBe(99);
  });
});

describe("the end of a stream", () => {
  test("an error is the last ref, after the items made before it", async () => {
    const fails = shoal.remote(function* () {
      yield 1;
      yield 2;
      throw new RangeError("after two");
    });
    const stream = fails.remote();
    const refs: shoal.ObjectRef<number>[] = [];
    for await (const ref of stream) refs.push(ref);
    expect(refs.length).toBe(3);
    expect(await shoal.get(refs.slice(0, 2))).toEqual([1, 2]);
    const error = await rejection<shoal.TaskError>(shoal.get(refs[2]!));
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error.cause).toBeInstanceOf(RangeError);
    expect((await rejection(shoal.get(stream.completed))).message).toBe(error.message);
  });

  test("an error before the first item, and one of an argument", async () => {
    const fails = shoal.remote((): number => {
      throw new RangeError("argument");
    });
    const refs: shoal.ObjectRef<number>[] = [];
    for await (const ref of upTo.remote(fails.remote())) refs.push(ref);
    expect(refs.length).toBe(1);
    expect((await rejection(shoal.get(refs[0]!))).cause).toBeInstanceOf(RangeError);
  });

  test("leaving the loop tells the producer to stop, and its finally blocks run", async () => {
    const tally = newTally();
    for await (const ref of tallied.options({ generatorBackpressure: 2 }).remote(tally, 1_000_000)) {
      if ((await shoal.get(ref)) === 2) break;
    }
    await waitFor("the producer to end", async () => (await count(tally, "ended")) === 1);
    expect(await count(tally, "made")).toBeLessThan(10);
  });

  test("cancel in mid-stream: the items made stay, the next ref is cancelled, then it ends", async () => {
    const tally = newTally();
    const stream = tallied.options({ generatorBackpressure: 3 }).remote(tally, 1_000_000);
    const first = (await stream.next()).value!;
    await shoal.cancel(stream);
    const rest: shoal.ObjectRef<number>[] = [];
    for await (const ref of stream) rest.push(ref);
    const error = await rejection(shoal.get(rest.at(-1)!));
    expect(error).toBeInstanceOf(shoal.TaskCancelledError);
    expect(await rejection(shoal.get(stream.completed))).toBeInstanceOf(shoal.TaskCancelledError);
    expect(rest.length).toBeLessThan(10);
    expect(await shoal.get(first)).toBe(0);
  });

  test("a crash in mid-stream: the retry goes on where the consumer is, without gaps or doubles", async () => {
    const tally = newTally();
    const crashing = shoal.remote(async function* (t: Tally) {
      for (let i = 0; i < 6; i++) {
        yield i;
        if (i === 2 && (await shoal.get(t.add.remote("runs"))) <= 2) process.exit(1);
      }
    });
    expect(await valuesOf(crashing.remote(tally))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await count(tally, "runs")).toBe(3);
  });

  test("retryExceptions runs it again, too", async () => {
    const tally = newTally();
    const flaky = shoal.remote(
      async function* (t: Tally) {
        yield "a";
        if ((await shoal.get(t.add.remote("runs"))) === 1) throw new RangeError("once");
        yield "b";
      },
      { retryExceptions: true },
    );
    expect(await valuesOf(flaky.remote(tally))).toEqual(["a", "b"]);
  });
});
