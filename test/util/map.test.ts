/** `map`: order, bounds, chunks, errors, leaving early. */
import * as shoal from "shoal";
import { map } from "shoal/util";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { TallyActor } from "../support/tally-actor.ts";
import { rejection, thrownBy, waitFor } from "../support/wait-for.ts";

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const result of results) all.push(result);
  return all;
}
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const double = (x: number) => x * 2;

useSession();

describe("map()", () => {
  test("gives the results in order, over arrays, sets, generators and async generators", async () => {
    const expected = range(20).map(double);
    async function* later() {
      for (const i of range(20)) yield i;
    }
    expect(await collect(map(double, range(20)))).toEqual(expected);
    expect(await collect(map(double, new Set(range(20))))).toEqual(expected);
    expect(await collect(map(double, range(20).values()))).toEqual(expected);
    expect(await collect(map(double, later()))).toEqual(expected);
    expect(await collect(map(double, []))).toEqual([]);
  });

  test("takes remote functions, with their options, and async functions", async () => {
    const task = shoal.remote(async (x: number) => [x, shoal.getRuntimeContext().taskName] as const, { name: "mapped" });
    expect(await collect(map(task, [1, 2]))).toEqual([
      [1, "mapped"],
      [2, "mapped"],
    ]);
    expect(await collect(map(async (x: number) => x + 1, [1, 2]))).toEqual([2, 3]);
  });

  test("takes refs among its items as their values", async () => {
    expect(await collect(map(double, [1, shoal.put(2), shoal.remote(double).remote(3)]))).toEqual([2, 4, 12]);
  });

  test("in chunks gives the same results with fewer tasks", async () => {
    const tally = TallyActor.remote();
    const task = async (x: number) => {
      tally.note.remote(shoal.getRuntimeContext().taskId);
      return x * 2;
    };
    expect(await collect(map(task, range(103), { chunkSize: 10 }))).toEqual(range(103).map(double));
    const ids = new Set(
      await waitFor("all notes", async () => {
        const notes = await shoal.get(tally.notes.remote());
        return notes.length === 103 && notes;
      }),
    );
    expect(ids.size).toBe(11);
  });

  test("unordered hands each result out as soon as it is there", async () => {
    const signal = SignalActor.remote();
    const task = async (x: number) => {
      if (x === 0) await shoal.get(signal.wait.remote());
      return x;
    };
    const seen: number[] = [];
    for await (const x of map(task, range(6), { ordered: false, maxInFlight: 3 })) {
      seen.push(x);
      if (seen.length === 5) await shoal.get(signal.send.remote());
    }
    expect(seen.toSorted()).toEqual(range(6));
    expect(seen.at(-1)).toBe(0);
  });

  test("pulls no further ahead of its consumer than maxInFlight, so the source may be endless", async () => {
    let pulled = 0;
    function* endless() {
      for (;;) yield pulled++;
    }
    let taken = 0;
    for await (const x of map(double, endless(), { maxInFlight: 4 })) {
      expect(x).toBe(taken * 2);
      taken += 1;
      expect(pulled - taken).toBeLessThanOrEqual(4);
      if (taken === 50) break;
    }
    expect(taken).toBe(50);
  });

  test("runs no more than maxInFlight tasks at once", async () => {
    const signal = SignalActor.remote();
    const park = shoal.remote(
      async (x: number) => {
        await shoal.get(signal.wait.remote());
        return x;
      },
      { numCpus: 0.1 },
    );
    const results = collect(map(park, range(10), { maxInFlight: 3 }));
    await waitFor("three tasks to wait", async () => (await shoal.get(signal.waiters.remote())) === 3);
    await shoal.get(signal.send.remote());
    expect(await results).toEqual(range(10));
  });

  test("gives the results before an error, then the error; of the function and of the source", async () => {
    const seen: number[] = [];
    const failing = (x: number) => {
      if (x === 3) throw new RangeError("three");
      return x;
    };
    for (const chunkSize of [1, 2, 5]) {
      seen.length = 0;
      const error = await rejection<shoal.TaskError>(
        (async () => {
          for await (const x of map(failing, range(10), { chunkSize })) seen.push(x);
        })(),
      );
      expect(error).toBeInstanceOf(shoal.TaskError);
      expect(error.cause).toBeInstanceOf(RangeError);
      expect(seen).toEqual([0, 1, 2]);
    }
    function* broken() {
      yield 1;
      throw new SyntaxError("source");
    }
    seen.length = 0;
    const error = await rejection(
      (async () => {
        for await (const x of map(double, broken())) seen.push(x);
      })(),
    );
    expect(error).toBeInstanceOf(SyntaxError);
    expect(seen).toEqual([2]);
  });

  test("closes its source and cancels what runs when the loop is left early", async () => {
    let closed = false;
    function* source() {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        closed = true;
      }
    }
    const signal = SignalActor.remote();
    const tally = TallyActor.remote();
    const task = async (x: number) => {
      if (x === 0) return x;
      shoal.getRuntimeContext().signal.addEventListener("abort", () => tally.add.remote("aborted"));
      await shoal.get(signal.wait.remote());
      return x;
    };
    for await (const x of map(task, source(), { maxInFlight: 3 })) {
      expect(x).toBe(0);
      await waitFor("a task to wait", async () => (await shoal.get(signal.waiters.remote())) > 0);
      break;
    }
    expect(closed).toBe(true);
    await waitFor("a task to be told", async () => (await shoal.get(tally.count.remote("aborted"))) > 0);
  });

  test("works inside a task", async () => {
    const inTask = shoal.remote(async () => {
      const all: number[] = [];
      for await (const x of map((y: number) => y + 1, [1, 2, 3])) all.push(x);
      return all;
    });
    expect(await shoal.get(inTask.remote())).toEqual([2, 3, 4]);
  });

  test("rejects what it cannot map", () => {
    expect(thrownBy(() => map(double, 5 as never))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => map("no" as never, [1]))).toBeInstanceOf(TypeError);
    expect(
      thrownBy(() =>
        map(
          function* () {
            yield 1;
          } as never,
          [1],
        ),
      ),
    ).toBeInstanceOf(TypeError);
    for (const options of [{ maxInFlight: 0 }, { chunkSize: 0 }, { chunkSize: 1.5 }]) {
      expect(thrownBy(() => map(double, [1], options))).toBeInstanceOf(RangeError);
    }
  });
});
