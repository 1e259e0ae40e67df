import { EventEmitter, once } from "node:events";
import fs, { readFileSync, rmSync } from "node:fs";
import * as path from "node:path";
import { promisify } from "node:util";
import { parse as acornParse } from "acorn";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { revive } from "./revive.ts";
import { bundleRoundTrip } from "./testing/bundle.ts";
import { FakeRef, fakeRemote, RoundTrip } from "./testing/round-trip.ts";

let there: RoundTrip;
let bundle: string;

beforeAll(async () => {
  bundle = await bundleRoundTrip();
  there = new RoundTrip(path.join(bundle, "round-trip-child.mjs"));
});
afterAll(() => {
  there.close();
  rmSync(bundle, { recursive: true });
});

const top = { limit: 3 };
let counter = 0;
function increment(): number {
  return ++counter;
}
const isEven = (n: number): boolean => n === 0 || isOdd(n - 1);
function isOdd(n: number): boolean {
  return n !== 0 && isEven(n - 1);
}

describe("variables", () => {
  test("of every primitive kind, written as they are", async () => {
    const negativeZero = -0;
    const nan = Number.NaN;
    const infinite = -Infinity;
    const big = 12345678901234567890n;
    const text = 'a "quoted"\n\u2028 line';
    const long = "x".repeat(5_000);
    const none = null;
    const values = await there.call(() => [negativeZero, nan, infinite, big, text, long.length, none]);
    expect(values).toEqual([-0, Number.NaN, -Infinity, 12345678901234567890n, text, 5_000, null]);
  });

  test("symbols: well-known, registered, and one's own, which stay one symbol", async () => {
    const own = Symbol("own");
    const iterator = Symbol.iterator;
    const registered = Symbol.for("x");
    const key = () => own;
    class Tagged {
      [own] = 7;
    }
    const result = await there.call(() => [
      new Tagged()[own],
      key() === own,
      iterator === Symbol.iterator,
      registered === Symbol.for("x"),
      own.description,
    ]);
    expect(result).toEqual([7, true, true, true, "own"]);
  });

  test("objects keep what they share", async () => {
    const shared = { n: 1 };
    const left = { shared };
    const right = [shared];
    expect(await there.call(() => [left.shared === shared, right[0] === shared])).toEqual([true, true]);
  });

  test("with the name of an import are themselves", async () => {
    const shown = await Promise.resolve().then(async () => {
      const fs = { readFileSync: () => "mine" };
      const acornParse = () => "my own";
      return there.call(() => [fs.readFileSync(), acornParse()]);
    });
    expect(shown).toEqual(["mine", "my own"]);
    expect(await there.call(() => [typeof fs.readFileSync, acornParse("1", { ecmaVersion: 6 }).type])).toEqual([
      "function",
      "Program",
    ]);
  });

  test("that two functions share are shared there", async () => {
    let n = 5;
    const bump = () => ++n;
    const reset = () => {
      n = 0;
      return n;
    };
    expect(await there.call(() => [bump(), bump(), n, reset(), n, bump()])).toEqual([6, 7, 7, 0, 0, 1]);
  });

  test("at the top of a module are shared, too, and stay from call to call", async () => {
    const count = () => [increment(), increment(), counter];
    expect(await there.call(count)).toEqual([1, 2, 2]);
    expect(await there.call(count)).toEqual([3, 4, 4]);
    expect(counter).toBe(0);
  });

  test("of two runs of one function are not mixed up", async () => {
    const makeCounter = () => {
      let n = 0;
      const next = () => ++n;
      return next;
    };
    const a = makeCounter();
    const b = makeCounter();
    expect(await there.call(() => [a(), a(), b()])).toEqual([1, 2, 1]);
  });

  test("of the same name in two modules or functions are kept apart", async () => {
    const one = (() => {
      const value = 1;
      return () => value;
    })();
    const two = (() => {
      const value = 2;
      return () => ({ value });
    })();
    const value = 3;
    expect(await there.call(() => [one(), two().value, value])).toEqual([1, 2, 3]);
  });

  test("are assigned by destructuring, loops and compound operators when renamed", async () => {
    const other = (() => {
      const x = "other";
      return () => x;
    })();
    let x = 1;
    let y = 2;
    const run = () => {
      ({ x, y = 9 } = { x: 10 } as { x: number; y?: number });
      [x = 3] = [x + 1];
      for (x of [x, x + 1]) y += x;
      x **= 2;
      return { x, y, other: other() };
    };
    expect(await there.call(run)).toEqual({ x: 144, y: 32, other: "other" });
    y = x;
  });

  test("whose names are reserved words or globals elsewhere", async () => {
    const run = (() => {
      const URL = "shadow";
      const undefinedish = undefined;
      const $shoal = 1;
      const $f0 = 2;
      return () => [URL, undefinedish, $shoal, $f0, typeof URL];
    })();
    expect(await there.call(run)).toEqual(["shadow", undefined, 1, 2, "string"]);
  });

  test("of which only the type is asked need not travel", async () => {
    const socket = process.stdout;
    expect(await there.call(() => [typeof socket, typeof neverDeclared])).toEqual(["object", "undefined"]);
  });

  test("that are frozen stay so", async () => {
    const frozen = Object.freeze([1]);
    expect(await there.call(() => Object.isFrozen(frozen))).toBe(true);
  });

  test("in default parameters, computed properties and templates", async () => {
    const n = 2;
    const key = "k";
    const tag = (strings: TemplateStringsArray, ...values: number[]) => strings.raw.join("|") + values.join();
    const run = (x = n, { y = x * n } = {}) => ({ [key]: tag`a${x}b\n${y}` });
    expect(await there.call(run)).toEqual({ k: "a|b\\n|2,4" });
  });

  test("large arrays are usable in place", async () => {
    const table = new Float64Array(100_000).fill(0.5);
    expect(await there.call(() => table.reduce((sum, x) => sum + x, 0))).toBe(50_000);
  });
});

declare const neverDeclared: unknown;

describe("functions", () => {
  test("mutual recursion, by any name", async () => {
    expect(await there.call(() => [isEven(10), isOdd(10)])).toEqual([true, false]);
    const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
    expect(await there.call(factorial, 5)).toBe(120);
    expect(
      await there.call(function fib(n: number): number {
        return n < 2 ? n : fib(n - 1) + fib(n - 2);
      }, 10),
    ).toBe(55);
  });

  test("generators, async functions and async generators", async () => {
    function* numbers() {
      yield* [1, 2];
    }
    async function* later() {
      for (const n of numbers()) yield n * top.limit;
    }
    const collect = async () => {
      const all: number[] = [];
      for await (const n of later()) all.push(n);
      return all;
    };
    expect(await there.call(collect)).toEqual([3, 6]);
    expect(there.capture(numbers).kind).toBe("generator");
    expect(there.capture(later).kind).toBe("async generator");
    expect(there.capture(collect).kind).toBe("async");
    expect(there.capture(() => 1).kind).toBe("function");
  });

  test("methods, accessors and functions in objects", async () => {
    const object = {
      base: 1,
      plain(x: number) {
        return x + top.limit;
      },
      async *many() {
        yield 1;
      },
      get value() {
        return this.base + top.limit;
      },
      [`computed ${"name"}`]() {
        return 4;
      },
      nested: { deep: () => object.plain(10) },
    };
    expect(await there.call(object.plain, 1)).toBe(4);
    expect(await there.call((object as any)["computed name"])).toBe(4);
    expect(await there.call(() => [object.plain(1), object.nested.deep(), object.base])).toEqual([4, 13, 1]);
    const getter = Object.getOwnPropertyDescriptor(object, "value")!.get!;
    expect(await there.call(() => getter.call({ base: 7 }))).toBe(10);
  });

  test("properties of a function travel with it", async () => {
    const fn = Object.assign(() => fn.settings.size, { settings: { size: 12 } });
    expect(await there.call(fn)).toBe(12);
  });

  test("names are kept", async () => {
    const named = { "an odd name": () => 1 }["an odd name"];
    const renamed = Object.defineProperty(function original() {}, "name", { value: "changed" });
    const anonymous = (
      () => () =>
        1
    )();
    expect(await there.call(() => [named.name, renamed.name, anonymous.name])).toEqual(["an odd name", "changed", ""]);
    expect(there.capture(anonymous).name).toBe("anonymous");
  });

  test("bound functions, with what they are bound to", async () => {
    function add(this: { base: number }, a: number, b: number) {
      return this.base + a + b;
    }
    const bound = add.bind({ base: 100 }, 10);
    expect(await there.call(bound, 1)).toBe(111);
    const inside = { bound };
    expect(await there.call(() => [inside.bound(2), bound.name])).toEqual([112, "bound add"]);
  });

  test("constructor functions with prototypes", async () => {
    function Animal(this: any, name: string) {
      this.name = name;
    }
    Animal.prototype.speak = function () {
      return `${this.name} speaks`;
    };
    const make = () => new (Animal as any)("Rex").speak();
    expect(await there.call(make)).toBe("Rex speaks");
  });

  test("arguments, new.target and this of their own", async () => {
    function own(this: unknown) {
      // biome-ignore lint/complexity/noArguments: the subject
      return [arguments.length, new.target === undefined, typeof this];
    }
    expect(await there.call(() => own.call(undefined as never))).toEqual([0, true, "undefined"]);
  });

  test("made by new Function", async () => {
    const made = new Function("x", "return x * 2") as (x: number) => number;
    expect(await there.call(made, 4)).toBe(8);
  });

  test("that are the language's or Node's own, under any name", async () => {
    const { max } = Math;
    const slice = Array.prototype.slice;
    const wait = promisify(setTimeout);
    const timers = { setTimeout, wait: typeof wait };
    const hasOwn = Object.prototype.hasOwnProperty;
    const emit = EventEmitter.prototype.emit;
    const environment = process.env;
    const read = fs.promises.readFile;
    expect(
      await there.call(() => [
        max(1, 2),
        slice.call([1, 2, 3], 1),
        timers.setTimeout === setTimeout,
        hasOwn.call({ a: 1 }, "a"),
        emit === EventEmitter.prototype.emit,
        environment === process.env,
        typeof read,
      ]),
    ).toEqual([2, [2, 3], true, true, true, true, "function"]);
    expect(await there.call(Math.max as (...all: number[]) => number, 1, 5)).toBe(5);
    expect(await there.call(path.join as (...all: string[]) => string, "a", "b")).toBe("a/b");
  });

  test("imports: built in, packages, named, default, whole", async () => {
    const run = () => [
      readFileSync === fs.readFileSync,
      path.basename("/x/y"),
      typeof once,
      acornParse("1", { ecmaVersion: 6 }).type,
    ];
    expect(await there.call(run)).toEqual([true, "y", "function", "Program"]);
  });

  test("import() and import.meta mean the user's file", async () => {
    const run = async () => {
      const { limitsOf } = await import("./testing/fixtures/plain.mjs" as string);
      return [limitsOf(), import.meta.url.endsWith("/closures.test.ts"), (await import("node:os")).EOL, import.meta.dirname];
    };
    expect(await there.call(run)).toEqual(["plain", true, "\n", import.meta.dirname]);
  });
});

describe("handles of the runtime", () => {
  test("travel by the runtime's own way, and are held", async () => {
    const ref = new FakeRef(5);
    const list = [{ ref }];
    const fn = () => [ref, list[0].ref];
    expect(await there.call(fn)).toEqual([{ ref: 5 }, { ref: 5 }]);
    expect(there.capture(fn).holds).toContain(ref);
    class Holder {
      get() {
        return ref;
      }
    }
    expect(there.capture(() => new Holder()).holds).toContain(ref);
  });

  test("a remote function that calls itself, directly and in a circle", async () => {
    const ping: any = fakeRemote(() => [ping, pong]);
    const pong: any = fakeRemote(() => ping);
    const [toPing, toPong] = (await there.call(ping.inner)) as any;
    expect(toPing.remoteKey).toBe(there.capture(ping.inner).key);
    expect(await there.call(pong.inner)).toEqual({ remoteKey: toPing.remoteKey });
    expect(toPong.remoteKey).toBe(there.capture(pong.inner).key);
  });
});

describe("keys", () => {
  test("are those of source and values", () => {
    const make = (n: number) => () => n;
    expect(there.capture(make(1)).key).toBe(there.capture(make(1)).key);
    expect(there.capture(make(1)).key).not.toBe(there.capture(make(2)).key);
  });

  test("one function is captured once", () => {
    let n = 1;
    const fn = () => n;
    const captured = there.capture(fn);
    n = 2;
    expect(there.capture(fn)).toBe(captured);
  });

  test("the process that captured a function revives the original", async () => {
    const fn = () => 1;
    class C {}
    expect(await revive(there.capture(fn).key, there.context)).toBe(fn);
    expect(await revive(there.capture(C).key, there.context)).toBe(C);
  });

  test("a function made where it arrived can travel on", async () => {
    const outer = (n: number) => {
      const helper = () => path.join("a", String(n * top.limit));
      return () => [helper(), import.meta.url.endsWith(".test.ts")];
    };
    expect(await there.call(outer as (n: number) => any, 2)).toMatchObject({ again: ["a/6", true] });
  });
});
