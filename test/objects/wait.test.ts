import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, type Signal } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { rejection } from "../support/wait-for.ts";

useSession();

/** `take` so many tasks, each of which ends when its own signal is sent. */
async function gated(
  count: number,
): Promise<{ refs: shoal.ObjectRef<number>[]; signals: Signal[]; release: () => Promise<void> }> {
  const hold = shoal.remote(
    async (signal: Signal, i: number) => {
      await shoal.get(signal.wait.remote());
      return i;
    },
    { numCpus: 0 },
  );
  const signals = Array.from({ length: count }, () => newSignal());
  const refs = signals.map((signal, i) => hold.remote(signal, i));
  const release = async () => {
    await shoal.get(signals.map((signal) => signal.send.remote()));
    await shoal.get(refs);
  };
  return { refs, signals, release };
}

const refused = (refs: unknown, options?: unknown) =>
  rejection(Promise.resolve().then(() => shoal.wait(refs as never, options as never)));

describe("wait", () => {
  test("returns as soon as one is ready, unless told another number", async () => {
    const { refs, signals, release } = await gated(4);
    await shoal.get(signals[2]!.send.remote());
    const [ready, pending] = await shoal.wait(refs);
    expect(ready).toEqual([refs[2]]);
    expect(pending).toEqual([refs[0], refs[1], refs[3]]);
    await shoal.get(signals[0]!.send.remote());
    const [two, rest] = await shoal.wait(refs, { numReturns: 2 });
    expect(two).toEqual([refs[0], refs[2]]);
    expect(rest).toEqual([refs[1], refs[3]]);
    await release();
  });

  test("keeps the input order in both lists, and gives the very refs it was given", async () => {
    const { refs, signals, release } = await gated(4);
    await shoal.get(signals[3]!.send.remote());
    await shoal.get(refs[3]!);
    await shoal.get(signals[1]!.send.remote());
    const [ready, pending] = await shoal.wait(refs, { numReturns: 2 });
    expect(ready[0]).toBe(refs[1]);
    expect(ready[1]).toBe(refs[3]);
    expect(pending[0]).toBe(refs[0]);
    expect(pending[1]).toBe(refs[2]);
    await release();
  });

  test("never gives more than numReturns, however many are ready", async () => {
    const refs = Array.from({ length: 5 }, (_, i) => shoal.put(i));
    const [ready, pending] = await shoal.wait(refs, { numReturns: 3 });
    expect(ready).toEqual(refs.slice(0, 3));
    expect(pending).toEqual(refs.slice(3));
  });

  test("with a timeout gives what is ready by then, and no error", async () => {
    const { refs, signals, release } = await gated(2);
    await shoal.get(signals[1]!.send.remote());
    await shoal.get(refs[1]!);
    const start = performance.now();
    const [ready, pending] = await shoal.wait(refs, { numReturns: 2, timeoutMs: 200 });
    const waited = performance.now() - start;
    expect(ready).toEqual([refs[1]]);
    expect(pending).toEqual([refs[0]]);
    expect(waited).toBeGreaterThanOrEqual(195);
    expect(waited).toBeLessThan(1_000);
    await release();
  });

  test("with timeoutMs 0 looks once", async () => {
    const { refs, release } = await gated(1);
    expect(await shoal.wait(refs, { timeoutMs: 0 })).toEqual([[], refs]);
    const there = shoal.put(1);
    expect(await shoal.wait([there], { timeoutMs: 0 })).toEqual([[there], []]);
    await release();
  });

  test("counts a failed ref as ready", async () => {
    const failed = shoal
      .remote((): number => {
        throw new Error("failed");
      })
      .remote();
    expect(await shoal.wait([failed])).toEqual([[failed], []]);
  });

  test("of an empty list gives two empty lists", async () => {
    expect(await shoal.wait([])).toEqual([[], []]);
  });

  test("refuses duplicates, bad numbers, negative timeouts and what is no ref", async () => {
    const [a, b] = [shoal.put(1), shoal.put(2)];
    expect(await refused([a, b, a])).toBeInstanceOf(Error);
    for (const numReturns of [0, -1, 3, 1.5, Number.NaN])
      expect(await refused([a, b], { numReturns }), String(numReturns)).toBeInstanceOf(Error);
    expect(await refused([a], { timeoutMs: -1 })).toBeInstanceOf(Error);
    for (const refs of [a, 1, null, "x", [1], [a, "x"]]) expect(await refused(refs)).toBeInstanceOf(TypeError);
  });

  test("several waits and gets on one ref all complete", async () => {
    const { refs, release } = await gated(1);
    const ref = refs[0]!;
    const waiter = shoal.remote(
      async (box: shoal.ObjectRef<number>[]) => {
        await shoal.wait(box);
        return shoal.get(box[0]!);
      },
      { numCpus: 0 },
    );
    const everyone = Promise.all([
      ...Array.from({ length: 20 }, () => shoal.get(ref)),
      ...Array.from({ length: 20 }, async () => (await shoal.wait([ref]))[0].length - 1),
      ...Array.from({ length: 4 }, () => shoal.get(waiter.remote([ref]))),
    ]);
    await release();
    expect(await everyone).toEqual(Array(44).fill(0));
  });

  test("in a task works on refs that the driver owns", async () => {
    const { refs, signals, release } = await gated(3);
    const first = shoal.remote(async (list: shoal.ObjectRef<number>[]) => {
      const [ready, pending] = await shoal.wait(list);
      return { got: await shoal.get(ready[0]!), pending: pending.length };
    });
    const result = first.remote(refs);
    await shoal.get(signals[1]!.send.remote());
    expect(await shoal.get(result)).toEqual({ got: 1, pending: 2 });
    await release();
  });

  test("a thousand refs, one by one", async () => {
    const double = shoal.remote((x: number) => 2 * x);
    let pending: shoal.ObjectRef<number>[] = Array.from({ length: 1_000 }, (_, i) => double.remote(i));
    let sum = 0;
    while (pending.length > 0) {
      const [ready, rest] = await shoal.wait(pending);
      sum += await shoal.get(ready[0]!);
      pending = rest;
    }
    expect(sum).toBe(999_000);
  });
});
