/** Actors in everyday use: state, order, arguments, handles that travel, classes of every shape. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, thrownBy } from "../support/wait-for.ts";

class Counter {
  n: number;
  constructor(start = 0) {
    this.n = start;
  }
  add(by = 1): number {
    this.n += by;
    return this.n;
  }
  pid(): number {
    return process.pid;
  }
  fail(): never {
    throw new RangeError("no further");
  }
}

const beforeInit = shoal.remote(Counter);

useSession();

describe("An actor", () => {
  test("keeps its state between calls, in a process of its own", async () => {
    const counter = shoal.remote(Counter).remote(10);
    expect(await shoal.get([counter.add.remote(), counter.add.remote(5)])).toEqual([11, 16]);
    const [first, again] = await shoal.get([counter.pid.remote(), counter.pid.remote()]);
    expect(first).toBe(again);
    expect(first).not.toBe(process.pid);
  });

  test("of a class wrapped before init() works like any other", async () => {
    expect(await shoal.get(beforeInit.remote(1).add.remote(1))).toBe(2);
  });

  test("that starts while its caller is busy can be called: what comes at once is read in its order", async () => {
    const signal = SignalActor.remote();
    const done = join(mkdtempSync(join(tmpdir(), "shoal-busy-")), "done");
    const use = shoal.remote(
      async (signal: ReturnType<typeof SignalActor.remote>, done: string) => {
        await shoal.get(signal.send.remote());
        const found = async (): Promise<shoal.ActorHandle<Counter>> =>
          shoal.getActor<Counter>("made-by-a-busy-one").catch(() => found());
        await shoal.get((await found()).add.remote());
        writeFileSync(done, "");
      },
      { numCpus: 0 },
    );
    const used = use.remote(signal, done);
    await shoal.get(signal.wait.remote());
    const counter = shoal.remote(Counter, { name: "made-by-a-busy-one", numCpus: 0 }).remote();
    await new Promise((resolve) => setImmediate(resolve)); // what was sent is on its way
    while (!existsSync(done)); // busy
    expect(await shoal.get(counter.add.remote())).toBe(2);
    expect(await shoal.get(counter.add.remote())).toBe(3);
    await shoal.get(used);
    rmSync(dirname(done), { recursive: true });
  });

  test("has nothing in common with another actor of its class", async () => {
    const [a, b] = [beforeInit.remote(), beforeInit.remote()];
    await shoal.get(a.add.remote(7));
    expect(await shoal.get(b.add.remote(1))).toBe(1);
    expect(await shoal.get(a.pid.remote())).not.toBe(await shoal.get(b.pid.remote()));
  });

  test("runs the calls of one caller in the order they were made", async () => {
    const counter = beforeInit.remote();
    const refs = Array.from({ length: 1_000 }, () => counter.add.remote());
    expect(await shoal.get(refs)).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
  });

  test("keeps the order when an early call waits for an argument that takes time", async () => {
    class Log {
      seen: unknown[] = [];
      note(value: unknown): unknown[] {
        this.seen.push(value);
        return this.seen;
      }
    }
    const signal = SignalActor.remote();
    const late = shoal.remote(async (gate: typeof signal) => {
      await shoal.get(gate.wait.remote());
      return "first";
    });
    const log = shoal.remote(Log).remote();
    const slow = late.remote(signal);
    log.note.remote(slow);
    const last = log.note.remote("second");
    await shoal.get(signal.send.remote());
    expect(await shoal.get(last)).toEqual(["first", "second"]);
  });

  test("takes refs as constructor and method arguments and sees their values", async () => {
    const five = shoal.remote(() => 5);
    const counter = beforeInit.remote(five.remote());
    expect(await shoal.get(counter.add.remote(shoal.put(2)))).toBe(7);
  });

  test("sees arguments as they were at the call", async () => {
    class Sum {
      of(values: number[]): number {
        return values.reduce((a, b) => a + b, 0);
      }
    }
    const values = [1, 2, 3];
    const sum = shoal.remote(Sum).remote().of.remote(values);
    values.push(1_000);
    expect(await shoal.get(sum)).toBe(6);
  });

  test("takes and returns large arrays", async () => {
    class Keeper {
      kept: Float64Array = new Float64Array();
      keep(values: Float64Array): number {
        this.kept = values;
        return values.length;
      }
      half(): Float64Array {
        return this.kept.map((value) => value / 2);
      }
    }
    const keeper = shoal.remote(Keeper).remote();
    const values = new Float64Array(500_000).fill(8);
    expect(await shoal.get(keeper.keep.remote(values))).toBe(500_000);
    const half = await shoal.get(keeper.half.remote());
    expect(half.length).toBe(500_000);
    expect(half.every((value) => value === 4)).toBe(true);
  });

  test("lives on after a method threw, and the error says where", async () => {
    const counter = beforeInit.remote();
    const error = await rejection<shoal.TaskError>(shoal.get(counter.fail.remote()));
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error.cause).toBeInstanceOf(RangeError);
    expect(error.message).toContain("no further");
    expect(error.message).toMatch(/Counter\.fail/);
    expect(error.pid).toBe(await shoal.get(counter.pid.remote()));
    expect(await shoal.get(counter.add.remote())).toBe(1);
  });

  test("returns several values with numReturns, and none with 0", async () => {
    class Pairs {
      both(): [number, string] {
        return [1, "one"];
      }
    }
    const pairs = shoal.remote(Pairs).remote();
    const [number, word] = pairs.both.options({ numReturns: 2 }).remote();
    expect(await shoal.get([number, word])).toEqual([1, "one"]);
    expect(pairs.both.options({ numReturns: 0 }).remote()).toBeUndefined();
  });
});

describe("A handle", () => {
  test("can be passed to tasks and to actors, which call the same actor", async () => {
    class Forward {
      target: shoal.ActorHandle<Counter>;
      constructor(target: shoal.ActorHandle<Counter>) {
        this.target = target;
      }
      async pass(by: number): Promise<number> {
        return shoal.get(this.target.add.remote(by));
      }
    }
    const counter = beforeInit.remote();
    const task = shoal.remote((handle: shoal.ActorHandle<Counter>) => shoal.get(handle.add.remote(1)));
    expect(await shoal.get(task.remote(counter))).toBe(1);
    expect(await shoal.get(shoal.remote(Forward).remote(counter).pass.remote(10))).toBe(11);
    expect(await shoal.get(counter.add.remote(0))).toBe(11);
  });

  test("travels inside values and through put", async () => {
    const counter = beforeInit.remote();
    const task = shoal.remote(async (box: { handles: shoal.ActorHandle<Counter>[] }) => shoal.get(box.handles[0]!.add.remote(3)));
    expect(await shoal.get(task.remote({ handles: [counter] }))).toBe(3);
    const back = await shoal.get(shoal.put({ counter }));
    expect(await shoal.get(back.counter.add.remote(4))).toBe(7);
  });

  test("can be captured by a function", async () => {
    const counter = beforeInit.remote();
    const task = shoal.remote(() => shoal.get(counter.add.remote(2)));
    expect(await shoal.get(task.remote())).toBe(2);
  });

  test("keeps each caller's order when several call at once", async () => {
    class Log {
      seen: [string, number][] = [];
      note(who: string, i: number): void {
        this.seen.push([who, i]);
      }
      all(): [string, number][] {
        return this.seen;
      }
    }
    const log = shoal.remote(Log).remote();
    const caller = shoal.remote(async (target: typeof log, who: string) => {
      await shoal.get(Array.from({ length: 100 }, (_, i) => target.note.remote(who, i)));
    });
    await shoal.get([caller.remote(log, "a"), caller.remote(log, "b")]);
    const seen = await shoal.get(log.all.remote());
    for (const who of ["a", "b"]) {
      expect(seen.filter(([name]) => name === who).map(([, i]) => i)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    }
  });

  test("has only the methods of the class: an unknown one fails at once, here", () => {
    const counter = beforeInit.remote() as any;
    expect(thrownBy(() => counter.nope.remote())).toBeInstanceOf(TypeError);
  });

  test("is no promise, so it can be awaited and returned from async functions", async () => {
    const make = async () => beforeInit.remote(1);
    const counter = await make();
    expect(await shoal.get(counter.add.remote())).toBe(2);
  });

  test("can be printed, compared as JSON and inspected without calling the actor", async () => {
    const counter = beforeInit.remote();
    expect(() => `${String(counter)} ${JSON.stringify(counter)}`).not.toThrow();
    const { inspect } = await import("node:util");
    expect(inspect(counter)).toContain("Counter");
  });

  test("rejects calling a method or the class directly, and says what to write", () => {
    const counter = beforeInit.remote() as any;
    expect(thrownBy(() => counter.add(1)).message).toContain(".remote(");
    expect(thrownBy(() => counter.add(1))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => (beforeInit as any)())).toBeInstanceOf(TypeError);
    expect(thrownBy(() => (beforeInit as any)()).message).toContain(".remote(");
    expect(thrownBy(() => new (beforeInit as any)())).toBeInstanceOf(TypeError);
  });
});

describe("Options of an actor", () => {
  test("that do not exist or have a wrong value are rejected when given", () => {
    for (const options of [
      { foo: 1 },
      { maxRestarts: -2 },
      { maxRestarts: 1.5 },
      { maxTaskRetries: -2 },
      { maxConcurrency: 0 },
      { maxPendingCalls: 0 },
      { lifetime: "forever" },
      { getIfExists: true },
      { name: "" },
      { numCpus: -1 },
      { numCpus: "1" },
      { resources: { CPU: 1 } },
      { concurrencyGroups: { io: 0 } },
      { numReturns: 2 },
    ]) {
      const error = thrownBy(() =>
        shoal
          .remote(Counter)
          .options(options as any)
          .remote(),
      );
      expect(error instanceof TypeError || error instanceof RangeError, JSON.stringify(options)).toBe(true);
      expect(error.message).toContain(Object.keys(options)[0]);
    }
    expect(() => shoal.remote(Counter, { foo: 1 } as any)).toThrow(/foo/);
  });

  test("given by .options() do not change the class they were asked of", async () => {
    const named = beforeInit.options({ name: "calls-options" });
    named.remote();
    const other = beforeInit.remote();
    expect(await shoal.get(other.add.remote())).toBe(1);
    expect(await shoal.get((await shoal.getActor<Counter>("calls-options")).add.remote())).toBe(1);
  });
});
