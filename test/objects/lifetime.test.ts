import * as shoal from "shoal";
import { afterEach, describe, expect, test } from "vitest";
import { newSignal } from "../support/board.ts";
import { collectGarbage } from "../support/garbage.ts";
import { disposeAll, fill, untilFreed, untilNothingIsSpilled, untilSpilled } from "../support/pressure.ts";
import { useSession } from "../support/session.ts";
import { storeUse } from "../support/store-use.ts";
import { rejection } from "../support/wait-for.ts";

const limit = 64_000_000;
const objectBytes = 40_000_000; // one fits, two do not
const session = useSession({ numCpus: 1, objectStoreMemory: limit });

const make = shoal.remote((bytes: number, mark: number) => new Uint8Array(bytes).fill(mark));
const last = shoal.remote((array: Uint8Array) => array[array.length - 1]);

/** What a test kept is gone before the next, which starts with an empty store. */
afterEach(() => untilNothingIsSpilled(session()));

describe("an object is kept while something refers to it", () => {
  test("a ref in the driver keeps what was put; releasing it frees", async () => {
    const ref = shoal.put(new Uint8Array(objectBytes).fill(5));
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    expect((await shoal.get(ref))[objectBytes - 1]).toBe(5);
    ref[Symbol.dispose]();
    await untilFreed(session(), objectBytes, "the object to be freed");
    expect((await shoal.get(pressure)).map((array) => array[0])).toEqual(pressure.map((_, i) => i));
    disposeAll(pressure);
  });

  test("a ref in the driver keeps a task's result; releasing it frees", async () => {
    const ref = make.remote(objectBytes, 6);
    await shoal.wait([ref]);
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    expect((await shoal.get(ref))[objectBytes - 1]).toBe(6);
    ref[Symbol.dispose]();
    await untilFreed(session(), objectBytes, "the result to be freed");
    disposeAll(pressure);
  });

  test("garbage collection frees what nobody disposes", async () => {
    let ref: shoal.ObjectRef<Uint8Array> | undefined = shoal.put(new Uint8Array(objectBytes));
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    expect(ref).toBeInstanceOf(shoal.ObjectRef);
    ref = undefined;
    await untilFreed(session(), objectBytes, "the collected object to be freed");
    disposeAll(pressure);
  });

  test("a result that nobody kept a ref to is never stored for long", async () => {
    for (let i = 0; i < 6; i++) make.remote(objectBytes, i)[Symbol.dispose]();
    await shoal.get(make.remote(1, 1)); // all of them have run: one CPU, in order
    await untilNothingIsSpilled(session());
  });

  test("using a disposed ref is an error, not a hang", async () => {
    const ref = shoal.put(new Uint8Array(objectBytes));
    ref[Symbol.dispose]();
    expect(await rejection(Promise.resolve().then(() => shoal.get(ref)))).toBeInstanceOf(TypeError);
    expect(ref.id).toBe("disposed");
  });
});

describe("a pending task keeps its arguments", () => {
  test("also when the driver has let go of them, under pressure, until it has run", async () => {
    const signal = newSignal();
    const gate = shoal.remote(async (s: typeof signal) => shoal.get(s.wait.remote())).remote(signal);
    const both = shoal.remote((array: Uint8Array, _gate: unknown) => array[array.length - 1]);
    const argument = shoal.put(new Uint8Array(objectBytes).fill(9));
    const result = both.remote(argument, gate);
    argument[Symbol.dispose]();
    await collectGarbage();
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(result)).toBe(9);
    await untilFreed(session(), objectBytes, "the argument to be freed after the task");
    disposeAll(pressure);
  });

  test("also one that was given as a value", async () => {
    const signal = newSignal();
    const gate = shoal.remote(async (s: typeof signal) => shoal.get(s.wait.remote())).remote(signal);
    const both = shoal.remote((array: Uint8Array, _gate: unknown) => array[array.length - 1]);
    const result = both.remote(new Uint8Array(objectBytes).fill(8), gate);
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(result)).toBe(8);
    await untilFreed(session(), objectBytes, "the argument to be freed after the task");
    disposeAll(pressure);
  });

  test("a failed task lets go of them, too", async () => {
    const fails = shoal.remote((array: Uint8Array): number => {
      throw new RangeError(String(array.length));
    });
    const argument = shoal.put(new Uint8Array(objectBytes));
    await rejection(shoal.get(fails.remote(argument)));
    argument[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilFreed(session(), objectBytes, "the argument to be freed after the failure");
    disposeAll(pressure);
  });

  test("a cancelled task lets go of them, too", async () => {
    const signal = newSignal();
    const never = shoal.remote((_array: Uint8Array, _gate: unknown) => 1);
    const argument = shoal.put(new Uint8Array(objectBytes));
    const gate = signal.wait.remote();
    const cancelled = never.remote(argument, gate);
    await shoal.cancel(cancelled);
    await rejection(shoal.get(cancelled));
    argument[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilFreed(session(), objectBytes, "the argument to be freed after the cancellation");
    disposeAll(pressure);
    await shoal.get(signal.send.remote());
  });

  test("a chain of large intermediate results keeps only what is still needed", async () => {
    const pass = shoal.remote((array: Uint8Array) => array.map((x) => x + 1));
    let ref = make.remote(20_000_000, 0);
    for (let i = 0; i < 8; i++) {
      const next = pass.remote(ref);
      ref[Symbol.dispose]();
      ref = next;
    }
    expect(await shoal.get(last.remote(ref))).toBe(8);
    ref[Symbol.dispose]();
    await untilNothingIsSpilled(session());
  });
});

test("many times the store's size, put and released one after the other, stays within the store", async () => {
  for (let i = 0; i < 40; i++) {
    using ref = shoal.put(new Uint8Array(8_000_000).fill(i));
    expect(await shoal.get(last.remote(ref))).toBe(i);
    const { shmBytes, spillBytes } = storeUse(session());
    expect(shmBytes).toBeLessThanOrEqual(limit);
    expect(spillBytes).toBeLessThanOrEqual(2 * 8_100_000); // while the reader's views wait for its garbage collector
  }
});

describe("an actor keeps the arguments of its constructor", () => {
  class Sized {
    readonly bytes: number;
    constructor(array: Uint8Array) {
      this.bytes = array.length;
    }
    size(): number {
      return this.bytes;
    }
  }

  test("until it has started, when it is not to be restarted", async () => {
    const ref = shoal.put(new Uint8Array(objectBytes));
    const actor = shoal.remote(Sized, { numCpus: 0 }).remote(ref);
    expect(await shoal.get(actor.size.remote())).toBe(objectBytes);
    ref[Symbol.dispose]();
    await untilFreed(session(), objectBytes, "the argument to be freed");
    expect(await shoal.get(actor.size.remote())).toBe(objectBytes);
  });

  test("until it is dead, when it may be restarted", async () => {
    const ref = shoal.put(new Uint8Array(objectBytes));
    const actor = shoal.remote(Sized, { numCpus: 0, maxRestarts: 2, maxTaskRetries: -1 }).remote(ref);
    expect(await shoal.get(actor.size.remote())).toBe(objectBytes);
    ref[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    disposeAll(pressure);
    await shoal.kill(actor, { noRestart: false });
    expect(await shoal.get(actor.size.remote())).toBe(objectBytes);
    await shoal.kill(actor);
    await untilFreed(session(), objectBytes, "the argument to be freed");
  });
});
