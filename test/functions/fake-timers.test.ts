import * as shoal from "shoal";
import { map } from "shoal/util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { useSession } from "../support/session.ts";

useSession();

class Counter {
  n = 0;
  add(k: number): number {
    this.n += k;
    return this.n;
  }
}

const double = shoal.remote((x: number) => 2 * x);

describe("with fake timers in the test", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: [...faked], now: 0 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("tasks and actors answer", async () => {
    expect(await shoal.get([1, 2].map((x) => double.remote(x)))).toEqual([2, 4]);
    const counter = shoal.remote(Counter).remote();
    expect(await shoal.get([counter.add.remote(1), counter.add.remote(2)])).toEqual([1, 3]);
    const results: number[] = [];
    for await (const y of map((x: number) => x + 1, [1, 2, 3])) results.push(y);
    expect(results).toEqual([2, 3, 4]);
    expect((await shoal.get(shoal.put(new Float64Array(100_000)))).length).toBe(100_000);
  });

  test("time limits are those of the real clock", async () => {
    const never = shoal.remote(() => new Promise<void>(() => {})).remote();
    await expect(shoal.get(never, { timeoutMs: 20 })).rejects.toThrow(shoal.GetTimeoutError);
    expect(await shoal.wait([never], { timeoutMs: 20 })).toEqual([[], [never]]);
    await shoal.cancel(never, { force: true });
    await expect(shoal.get(never)).rejects.toThrow(shoal.TaskCancelledError);
  });
});

test("a task that replaces timers stops nothing that comes after it in its process", async () => {
  const replace = shoal.remote(() => {
    for (const name of ["setTimeout", "setImmediate", "queueMicrotask"]) (globalThis as Record<string, unknown>)[name] = () => 0;
  });
  const one = { numCpus: 2 }; // one process for all
  await shoal.get(replace.options(one).remote());
  expect(await shoal.get([1, 2, 3].map((x) => double.options(one).remote(x)))).toEqual([2, 4, 6]);
});

const faked = [
  "setTimeout",
  "clearTimeout",
  "setImmediate",
  "clearImmediate",
  "setInterval",
  "Date",
  "performance",
  "queueMicrotask",
] as const;
