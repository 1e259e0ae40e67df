import { EventEmitter } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assertNoPrivateInstanceMembers } from "./class-parts.ts";
import { bundleRoundTrip } from "./testing/bundle.ts";
import { FakeRef, RoundTrip } from "./testing/round-trip.ts";

let there: RoundTrip;
let bundle: string;

beforeAll(async () => {
  bundle = await bundleRoundTrip();
  there = new RoundTrip(join(bundle, "round-trip-child.mjs"));
});
afterAll(() => {
  there.close();
  rmSync(bundle, { recursive: true });
});

const step = 2;
class Base {
  static made = 0;
  #secret: number;
  constructor(secret = 1) {
    this.#secret = secret;
    Base.made++;
  }
  get secret() {
    return this.#secret;
  }
  #twice() {
    return this.#secret * step;
  }
  twice() {
    return this.#twice();
  }
  static create() {
    return new this(9);
  }
}
class Derived extends Base {
  field = () => this.secret;
  override twice() {
    return super.twice() + 1;
  }
}

describe("a class", () => {
  test("travels with its chain, private members, super, fields and static methods", async () => {
    const run = () => {
      const d = new Derived(5);
      return [d.twice(), d.field(), d instanceof Base, Derived.create().secret, Object.getPrototypeOf(Derived) === Base];
    };
    expect(await there.call(run)).toEqual([11, 5, true, 9, true]);
  });

  test("keeps static state as it was when captured", async () => {
    class Counted {
      static count = 1;
      static list: number[] = [];
      static readonly table = { size: step };
    }
    Counted.count = 41;
    Counted.list.push(7);
    (Counted as any).later = "added";
    expect(await there.call(() => [Counted.count, Counted.list, Counted.table.size, (Counted as any).later])).toEqual([
      41,
      [7],
      2,
      "added",
    ]);
  });

  test("with static blocks, private statics, and statics that are functions or instances of itself", async () => {
    class Registry {
      static readonly one = new Registry("one");
      static #all = new Map([["x", 1]]);
      static lookup = (name: string) => Registry.#all.get(name);
      static self = () => this;
      static size: number;
      readonly name: string;
      static {
        Registry.size = Registry.#all.size;
      }
      constructor(name: string) {
        this.name = name;
      }
    }
    expect(
      await there.call(() => [
        Registry.one.name,
        Registry.one instanceof Registry,
        Registry.lookup("x"),
        Registry.self() === Registry,
        Registry.size,
      ]),
    ).toEqual(["one", true, 1, true, 1]);
  });

  test("static values that cannot travel are made again by the class itself", async () => {
    class Cached {
      static cache = new WeakMap<object, number>();
      static remember(key: object) {
        Cached.cache.set(key, 3);
        return Cached.cache.get(key);
      }
    }
    expect(await there.call(() => Cached.remember({}))).toBe(3);
  });

  test("with computed names, accessors, iterators and async methods", async () => {
    const name = `dyn${step}`;
    const hidden = Symbol("hidden");
    class Odd {
      [name]() {
        return 1;
      }
      [hidden]() {
        return 2;
      }
      static [`make${step}`]() {
        return new Odd();
      }
      get [`got${step}`]() {
        return 3;
      }
      *[Symbol.iterator]() {
        yield 4;
      }
      async later() {
        return 5;
      }
      async *many() {
        yield 6;
      }
    }
    const run = async () => {
      const odd = (Odd as any).make2();
      return [odd.dyn2(), odd[hidden](), odd.got2, ...odd, await odd.later(), (await odd.many().next()).value];
    };
    expect(await there.call(run)).toEqual([1, 2, 3, 4, 5, 6]);
    const { methods, hasAsyncMethod, kind, name: className } = there.capture(Odd);
    expect({ methods, hasAsyncMethod, kind, className }).toEqual({
      methods: { dyn2: "function", later: "async", many: "async generator" },
      hasAsyncMethod: true,
      kind: "class",
      className: "Odd",
    });
  });

  test("inherited methods count, the constructor does not", () => {
    expect(there.capture(Derived).methods).toEqual({ twice: "function" });
    expect(there.capture(Derived).hasAsyncMethod).toBe(false);
  });

  test("with a base that is the language's, Node's, or made by a function", async () => {
    class Problem extends RangeError {
      code = 7;
    }
    class Emits extends EventEmitter {
      fire() {
        let got = 0;
        this.on("x", (n) => {
          got = n;
        });
        this.emit("x", step);
        return got;
      }
    }
    const mixed = <T extends new (...args: any[]) => object>(Parent: T) =>
      class extends Parent {
        mixed() {
          return "mixed";
        }
      };
    class Mixed extends mixed(Base) {}
    class Nothing extends (null as any) {
      static ok = true;
    }
    const run = () => [
      new Problem("x") instanceof RangeError,
      new Problem("x").code,
      new Emits().fire(),
      new Mixed().mixed(),
      (Nothing as any).ok,
    ];
    expect(await there.call(run)).toEqual([true, 7, 2, "mixed", true]);
  });

  test("classes that need each other, in a circle through inheritance", async () => {
    class Shape {
      toSquare(): Shape {
        return new Square(this.size());
      }
      size(): number {
        return 1;
      }
    }
    class Square extends Shape {
      side: number;
      constructor(side: number) {
        super();
        this.side = side;
      }
      override size() {
        return this.side;
      }
      static unit = new Square(1);
    }
    expect(await there.call(() => new Shape().toSquare() instanceof Square)).toBe(true);
    expect(await there.call(() => [Square.unit.size(), Square.unit instanceof Shape])).toEqual([1, true]);
  });

  test("is one class for all functions of a process", async () => {
    class Point {
      x = 1;
    }
    const keep = { held: undefined as unknown };
    const first = () => {
      (globalThis as any).heldPoint = new Point();
      return keep.held;
    };
    await there.call(first);
    expect(await there.call(() => (globalThis as any).heldPoint instanceof Point)).toBe(true);
  });

  test("shares variables with the functions beside it", async () => {
    let made = 0;
    const log: string[] = [];
    class Part {
      id = ++made;
      constructor() {
        log.push(`part ${this.id}`);
      }
    }
    class Whole {
      parts = [new Part(), new Part()];
      id = ++made;
    }
    const run = () => {
      made += 10;
      const whole = new Whole();
      const call = log.map((line) => line);
      return [whole.parts[1].id, whole.id, made, call, { made }];
    };
    expect(await there.call(run)).toEqual([12, 13, 13, ["part 11", "part 12"], { made: 13 }]);
  });

  test("instances in variables have their prototype and what they share", async () => {
    class Node {
      next: Node | null = null;
      value: number;
      constructor(value: number) {
        this.value = value;
      }
      sum(): number {
        return this.value + (this.next === null || this.next === (start as unknown) ? 0 : this.next.sum());
      }
    }
    const start = new Node(1);
    start.next = new Node(2);
    start.next.next = start;
    expect(await there.call(() => [start.sum(), start.next!.next === start, start instanceof Node])).toEqual([3, true, true]);
  });

  test("holds refs that its methods use", () => {
    const ref = new FakeRef(3);
    class UsesRef {
      ref() {
        return ref;
      }
    }
    expect(there.capture(UsesRef).holds).toEqual([ref]);
  });

  test("methods that were replaced or added later travel as they are", async () => {
    class Patched {
      a() {
        return "old";
      }
    }
    const tail = "!";
    Patched.prototype.a = () => `new${tail}`;
    (Patched.prototype as any).b = () => "added";
    expect(await there.method(Patched, "a")).toBe("new!");
    expect(await there.method(Patched, "b")).toBe("added");
  });

  test("two classes of the same text stay two classes", () => {
    const make = () => class Same {};
    expect(there.capture(make()).key).not.toBe(there.capture(make()).key);
  });

  test("anonymous classes keep the name they were given", async () => {
    const Named = class {};
    expect(await there.call(() => Named.name)).toBe("Named");
  });
});

describe("instances with private members", () => {
  test("are refused, naming the member, also an inherited one", () => {
    class Vault {
      #code = 1;
      static #shared = 2;
      read() {
        return this.#code + Vault.#shared;
      }
    }
    class Bank extends Vault {}
    class Open {
      static #hidden = 1;
      static read() {
        return Open.#hidden;
      }
    }
    expect(() => assertNoPrivateInstanceMembers(Vault, "args[0]")).toThrow(/args\[0\].*Vault.*#code/);
    expect(() => assertNoPrivateInstanceMembers(Bank, "args[0].bank")).toThrow(/args\[0\]\.bank.*by its base Vault.*#code/);
    expect(() => assertNoPrivateInstanceMembers(Open, "x")).not.toThrow();
    const vault = new Vault();
    expect(() => there.capture(() => vault.read())).toThrow(/vault.*#code/);
  });
});
