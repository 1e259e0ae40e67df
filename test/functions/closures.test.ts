import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { rejection, thrownBy } from "../support/wait-for.ts";

useSession();

const early = shoal.remote((x: number) => late(x) + laterConstant); // both are defined below
function late(x: number): number {
  return x < 1 ? 0 : x + even(x - 1);
}
function even(x: number): number {
  return x < 1 ? 0 : late(x - 1);
}
const laterConstant = 1_000;
const calls = shoal.remote(async (x: number): Promise<number> => shoal.get(calledLater.remote(x)));
const calledLater = shoal.remote((x: number) => x + 1);

describe("forms of functions", () => {
  test("one written with `function` has no `this`", async () => {
    const plain = shoal.remote(function (this: unknown, _x?: number) {
      return this === undefined;
    });
    const later = shoal.remote(async function (this: unknown) {
      return this === undefined;
    });
    // The first call loads the function; a later one, and one with a ref, are begun in other ways.
    const first = await shoal.get(plain.remote());
    expect([first, ...(await shoal.get([plain.remote(), plain.remote(shoal.put(1)), later.remote()]))]).toEqual(
      Array(4).fill(true),
    );
  });

  test("arrow, function expression, declaration, method, async, generator", async () => {
    function declared(x: number) {
      return x + 1;
    }
    const object = {
      method(x: number) {
        return x + 2;
      },
      async later(x: number) {
        return x + 3;
      },
      "quoted name": (x: number) => x + 4,
      *many(x: number) {
        yield x + 5;
      },
      [`computed${1}`](x: number) {
        return x + 6;
      },
      get accessor() {
        return (x: number) => x + 7;
      },
    };
    class Holder {
      static counted(x: number) {
        return x + 8;
      }
    }
    const fns = [
      declared,
      object.method,
      object.later,
      object["quoted name"],
      (object as any).computed1,
      object.accessor,
      Holder.counted,
    ];
    const results = await shoal.get(fns.map((fn: (x: number) => number | Promise<number>) => shoal.remote(fn).remote(0)));
    expect(results).toEqual([1, 2, 3, 4, 6, 7, 8]);
    const stream = shoal.remote(object.many).remote(0);
    expect(await shoal.get((await stream.next()).value!)).toBe(5);
  });

  test("defaults, destructuring, rest and arguments", async () => {
    const base = 5;
    const a = shoal.remote(({ x = base, ...rest }: { x?: number; y?: number }, [z] = [base]) => [x, rest.y, z]);
    expect(await shoal.get(a.remote({ y: 2 }))).toEqual([5, 2, 5]);
    const b = shoal.remote(function (..._all: number[]) {
      // biome-ignore lint/complexity/noArguments: the subject
      return arguments.length;
    });
    expect(await shoal.get(b.remote(1, 2, 3))).toBe(3);
  });

  test("a function that wraps itself in another's scope: defined in a function, in a block, in a loop", async () => {
    function make(n: number) {
      const inner = n * 2;
      return shoal.remote((x: number) => x + inner + n);
    }
    expect(await shoal.get([make(1).remote(0), make(10).remote(0)])).toEqual([3, 30]);
    const made: shoal.ObjectRef<number>[] = [];
    for (let i = 0; i < 5; i++) made.push(shoal.remote(() => i * 100).remote());
    for (const word of ["a", "bb"]) made.push(shoal.remote(() => word.length).remote());
    expect(await shoal.get(made)).toEqual([0, 100, 200, 300, 400, 1, 2]);
  });
});

describe("what a function refers to", () => {
  test("helpers and constants that are defined later, calling each other", async () => {
    expect(await shoal.get(early.remote(4))).toBe(4 + 2 + 1_000);
  });

  test("remote functions that are defined later", async () => {
    expect(await shoal.get(calls.remote(1))).toBe(2);
  });

  test("itself, by its own name and by its remote one", async () => {
    const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));
    expect(await shoal.get(shoal.remote(factorial).remote(6))).toBe(720);
    const named = shoal.remote(function fib(n: number): number {
      return n < 2 ? n : fib(n - 1) + fib(n - 2);
    });
    expect(await shoal.get(named.remote(12))).toBe(144);
    const down = shoal.remote(async (n: number): Promise<number> => (n === 0 ? 0 : 1 + (await shoal.get(down.remote(n - 1)))));
    expect(await shoal.get(down.remote(4))).toBe(4);
  });

  test("data of every kind", async () => {
    const map = new Map([["a", { deep: [1, 2n, new Date(5)] }]]);
    const array = new Float64Array(50_000).fill(2);
    const pattern = /(\d+)/g;
    let changing = 1;
    const cyclic: { self?: unknown; n: number } = { n: 3 };
    cyclic.self = cyclic;
    let nothing: undefined;
    const symbol = Symbol.for("shared");
    const look = shoal.remote(() => [
      map.get("a")!.deep[1],
      array[49_999],
      "12 and 34".match(pattern),
      changing,
      cyclic.self === cyclic,
      nothing,
      symbol === Symbol.for("shared"),
    ]);
    expect(await shoal.get(look.remote())).toEqual([2n, 2, ["12", "34"], 1, true, undefined, true]);
    changing = 2;
    expect(changing).toBe(2);
    expect((await shoal.get(look.remote()))[3]).toBe(1); // a snapshot, taken at the first call
  });

  test("a class with its base classes, static state, accessors and private members", async () => {
    let log = "";
    class Base {
      static count = 5;
      static #hidden = 7;
      #secret: number;
      constructor(secret: number) {
        this.#secret = secret;
        log += "base ";
      }
      get secret() {
        return this.#secret;
      }
      set secret(value: number) {
        this.#secret = value;
      }
      #half() {
        return this.#secret / 2;
      }
      half() {
        return this.#half();
      }
      static hidden() {
        return Base.#hidden + Base.count;
      }
      static {
        Base.count += 1;
      }
    }
    class Middle extends Base {
      field = "initial";
      override half() {
        return super.half() + 1;
      }
    }
    class Last extends Middle {
      static override count = 50;
      *[Symbol.iterator]() {
        yield this.secret;
        yield this.half();
      }
    }
    const use = shoal.remote(() => {
      const last = new Last(8);
      last.secret = 20;
      return {
        list: [...last],
        hidden: Last.hidden(),
        count: Last.count,
        baseCount: Base.count,
        field: last.field,
        is: last instanceof Base,
        name: Last.name,
        log,
      };
    });
    expect(await shoal.get(use.remote())).toEqual({
      list: [20, 11],
      hidden: 13,
      count: 50,
      baseCount: 6,
      field: "initial",
      is: true,
      name: "Last",
      log: "base ",
    });
  });

  test("an instance of its own class, with the prototype", async () => {
    class Rate {
      readonly percent: number;
      constructor(percent: number) {
        this.percent = percent;
      }
      of(x: number) {
        return (x * this.percent) / 100;
      }
    }
    const rate = new Rate(20);
    const tax = shoal.remote((x: number) => (rate instanceof Rate ? rate.of(x) : Number.NaN));
    expect(await shoal.get(tax.remote(50))).toBe(10);
  });

  test("helpers with closures of their own, shared by two functions", async () => {
    const rates = { usd: 2 };
    const convert = (x: number, currency: keyof typeof rates) => x * rates[currency];
    const table = { convert, name: "table" };
    const one = shoal.remote((x: number) => convert(x, "usd"));
    const two = shoal.remote((x: number) => `${table.name} ${table.convert(x, "usd")}`);
    expect(await shoal.get([one.remote(2), two.remote(3)] as const)).toEqual([4, "table 6"]);
  });

  test("refs, actor handles and remote functions", async () => {
    const ref = shoal.put([1, 2, 3]);
    const signal = newSignal();
    const square = shoal.remote((x: number) => x * x);
    const use = shoal.remote(async () => {
      await shoal.get(signal.send.remote());
      return shoal.get((await shoal.get(ref)).map((x) => square.remote(x)));
    });
    expect(await shoal.get(use.remote())).toEqual([1, 4, 9]);
    await shoal.get(signal.wait.remote());
  });

  test("built-in functions and globals, by whatever name", async () => {
    const { max } = Math;
    const parse = JSON.parse;
    const has = Object.prototype.hasOwnProperty;
    const log = console.log;
    const use = shoal.remote((text: string) => [
      max(1, 2),
      parse(text).a,
      has.call({ b: 1 }, "b"),
      typeof log,
      typeof fetch,
      new URL("http://a/b").pathname,
      Buffer.from("x").length,
    ]);
    expect(await shoal.get(use.remote('{"a":3}'))).toEqual([2, 3, true, "function", "function", "/b", 1]);
  });

  test("names that are shadowed, and names that only look like variables", async () => {
    const value = "outer";
    const key = "not this one";
    const use = shoal.remote((input: { key: string }) => {
      const inner = (() => {
        const value = "inner";
        return value;
      })();
      const { key } = input;
      for (;;) break;
      const object = { value: 1, key: `${value}-${key}` };
      try {
        throw new Error("x");
      } catch (value) {
        return [inner, object.key, (value as Error).message, typeof undefinedName];
      }
    });
    expect(key).toBe("not this one");
    expect(await shoal.get(use.remote({ key: "k" }))).toEqual(["inner", "outer-k", "x", "undefined"]);
  });

  test("what a bound function is bound to", async () => {
    const bound = function (this: { n: number }, x: number, y: number) {
      return this.n + x + y;
    }.bind({ n: 1 }, 10);
    expect(await shoal.get(shoal.remote(bound).remote(100))).toBe(111);
  });

  test("an object with methods that use this", async () => {
    const counter = {
      n: 1,
      next() {
        this.n += 1;
        return this.n;
      },
    };
    const use = shoal.remote(() => [counter.next(), counter.next()]);
    const [a, b] = await shoal.get(use.remote());
    expect(b! - a!).toBe(1);
    expect(counter.n).toBe(1);
  });
});

declare const undefinedName: unknown;

describe("versions of functions", () => {
  test("of one name: each call uses the version that was current when it was made", async () => {
    const results: number[] = [];
    const pending: shoal.ObjectRef<number>[][] = [];
    let f = shoal.remote(() => 1);
    pending.push(Array.from({ length: 10 }, () => f.remote()));
    f = shoal.remote(() => 2);
    pending.push(Array.from({ length: 10 }, () => f.remote()));
    f = shoal.remote(() => 3);
    pending.push(Array.from({ length: 10 }, () => f.remote()));
    f = shoal.remote(() => 4);
    pending.push(Array.from({ length: 10 }, () => f.remote()));
    f = shoal.remote(() => 5);
    pending.push(Array.from({ length: 10 }, () => f.remote()));
    for (const refs of pending) results.push(...new Set(await shoal.get(refs)));
    expect(results).toEqual([1, 2, 3, 4, 5]);
  });

  test("redefinition takes effect, also of what it calls", async () => {
    const make = (helper: (x: number) => number) =>
      shoal.remote(function work(x: number) {
        return helper(x);
      });
    const first = make((x) => x + 1);
    const second = make((x) => x * 100);
    expect(await shoal.get([first.remote(2), second.remote(2), first.remote(3)])).toEqual([3, 200, 4]);
  });

  test("of the same source with different closures", async () => {
    const versions = [1, 2, 3].map((n) => shoal.remote((x: number) => x * n));
    expect(await shoal.get(versions.map((fn) => fn.remote(10)))).toEqual([10, 20, 30]);
  });

  test("made by new Function and eval", async () => {
    const made = new Function("x", "return x + 1") as (x: number) => number;
    expect(await shoal.get(shoal.remote(made).remote(1))).toBe(2);
    // biome-ignore lint/security/noGlobalEval: the subject
    const indirect = eval;
    const evaluated = indirect("(x) => x * 3") as (x: number) => number;
    expect(await shoal.get(shoal.remote(evaluated).remote(2))).toBe(6);
  });
});

describe("what cannot travel", () => {
  test("is an error at the call that names the function, the variable and the kind of thing", () => {
    const pool = { connections: [{ socket: process.stdout }] };
    const load = shoal.remote(function load() {
      return pool.connections.length;
    });
    const error = thrownBy<shoal.SerializationError>(() => load.remote());
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toBeInstanceOf(shoal.SerializationError);
    expect(error.message).toContain("load");
    expect(error.message).toMatch(/pool.*connections\[0\]\.socket/);
  });

  test("also deep in a helper", () => {
    const cache = new WeakMap<object, number>();
    const helper = (key: object) => cache.get(key);
    const work = shoal.remote(function work() {
      return helper({});
    });
    const error = thrownBy(() => work.remote());
    expect(error.message).toContain("work");
    expect(error.message).toContain("cache");
    expect(error.message).toContain("WeakMap");
  });

  test("in an actor's class, too", () => {
    const timers = new WeakRef({});
    class Holder {
      look() {
        return timers.deref();
      }
    }
    const error = thrownBy(() => shoal.remote(Holder).remote());
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain("Holder");
    expect(error.message).toContain("timers");
  });

  test("a function that fails to travel can be mended and called again", async () => {
    const box: { bad?: WeakMap<object, object>; good: number } = { bad: new WeakMap(), good: 1 };
    const use = shoal.remote(() => box.good);
    expect(thrownBy(() => use.remote())).toBeInstanceOf(TypeError);
    delete box.bad;
    expect(await shoal.get(use.remote())).toBe(1);
  });

  test("a global that exists only in the driver is a ReferenceError there, as in any program", async () => {
    const use = shoal.remote(() => (globalThis as { onlyInDriver?: number }).onlyInDriver);
    (globalThis as { onlyInDriver?: number }).onlyInDriver = 1;
    expect(await shoal.get(use.remote())).toBeUndefined();
    delete (globalThis as { onlyInDriver?: number }).onlyInDriver;
    const missing = shoal.remote(() => undefinedName);
    expect((await rejection(shoal.get(missing.remote()))).cause).toBeInstanceOf(ReferenceError);
  });
});
