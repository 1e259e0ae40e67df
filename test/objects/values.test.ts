import { deepStrictEqual } from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as arrow from "apache-arrow";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { thrownBy } from "../support/wait-for.ts";

useSession();

const echo = shoal.remote((value: unknown) => value);

/** The value after put and get, and after a trip through a task as argument and result. */
async function trips<T>(value: T): Promise<T[]> {
  return (await shoal.get([shoal.put(value), echo.remote(value), echo.remote(shoal.put(value))])) as T[];
}

class Point {
  readonly x: number;
  y: number;
  constructor(x: number, y: number) {
    this.x = x;
    this.y = y;
  }
  get length(): number {
    return Math.hypot(this.x, this.y);
  }
  plus(other: Point): Point {
    return new Point(this.x + other.x, this.y + other.y);
  }
}
class Point3 extends Point {
  z = 0;
}

const large = 200_000;
const samples: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["booleans", [true, false]],
  [
    "numbers with all their oddities",
    [0, -0, 1.5, Number.NaN, Infinity, -Infinity, Number.MAX_SAFE_INTEGER, Number.MIN_VALUE, 2 ** 31, -(2 ** 31)],
  ],
  ["big integers", [0n, -1n, 2n ** 64n, -(2n ** 200n)]],
  ["strings", ["", "é", "日本語", "😀", "\0", "\ud800", "a".repeat(large)]],
  ["lists with holes", Object.assign(new Array(3), { 0: 1, 2: 3 })],
  ["nested containers", { a: [{ b: new Map([["c", new Set([1, [2, { d: null }]])]]) }] }],
  [
    "Map with keys of any kind",
    new Map<unknown, unknown>([
      [1, "a"],
      ["1", "b"],
      [Number.NaN, "c"],
      [null, "d"],
    ]),
  ],
  ["Set", new Set([1, "1", null, undefined])],
  ["Date", [new Date(0), new Date("2026-01-02T03:04:05.678Z")]],
  ["RegExp", [/a(b)?/giu, /^$/]],
  ["boxed primitives", [Object(1), Object("x"), Object(true)]],
  [
    "typed arrays",
    [
      new Int8Array([-1]),
      new Uint8ClampedArray([300]),
      new Int16Array([-2]),
      new Uint32Array([1]),
      new Float32Array([1.5]),
      new Float64Array([-0]),
      new BigInt64Array([-1n]),
      new BigUint64Array([1n]),
    ],
  ],
  ["large typed arrays", [new Float64Array(large).fill(1.5), new BigInt64Array(large).fill(7n), new Uint16Array(large).fill(9)]],
  ["ArrayBuffer", [new ArrayBuffer(0), new Uint8Array([1, 2, 3]).buffer, new Uint8Array(large).fill(3).buffer]],
  ["DataView", new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2)],
  ["Buffer", [Buffer.from("text"), Buffer.alloc(large, 5)]],
  ["an object without prototype", Object.assign(Object.create(null), { a: 1 })],
  ["keys in their order", { z: 1, a: 2, 1: 3, m: 4 }],
  ["URL", new URL("https://example.org/a?b=c#d")],
];

/** Mappings in this process that readers of stored objects get. */
const privateMappings = (): number =>
  readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => / ..-p /.test(line) && line.includes("/dev/shm/shoal-")).length;

describe("a value arrives as it was", () => {
  test.each(samples)("%s", async (_name, value) => {
    for (const back of await trips(value)) deepStrictEqual(back, value);
  });

  test("a Date that is no date", async () => {
    for (const back of await trips(new Date(Number.NaN))) expect(Number.isNaN(back.getTime())).toBe(true);
  });

  test("class instances keep their prototype, methods and accessors", async () => {
    const value = { point: new Point3(3, 4), list: [new Point(1, 2)] };
    for (const back of await trips(value)) {
      expect(back.point).toBeInstanceOf(Point3);
      expect(back.point).toBeInstanceOf(Point);
      expect(back.point.length).toBe(5);
      expect(back.point.plus(back.list[0]!)).toEqual(new Point(4, 6));
    }
    const use = shoal.remote((p: Point) => p.plus(p).length);
    expect(await shoal.get(use.remote(new Point(3, 4)))).toBe(10);
  });

  test("identity within one value is kept, cycles included", async () => {
    const shared = { n: 1 };
    const value: Record<string, unknown> = { a: shared, b: shared, map: new Map(), set: new Set() };
    value.self = value;
    (value.map as Map<unknown, unknown>).set("value", value);
    (value.set as Set<unknown>).add(value);
    for (const back of await trips(value)) {
      expect(back.a).toBe(back.b);
      expect(back.self).toBe(back);
      expect((back.map as Map<unknown, unknown>).get("value")).toBe(back);
      expect((back.set as Set<unknown>).has(back)).toBe(true);
    }
  });

  test("two views of one buffer stay views of one buffer", async () => {
    for (const length of [64, 8 * large]) {
      const buffer = new ArrayBuffer(length);
      const value = { bytes: new Uint8Array(buffer), tail: new Uint8Array(buffer, length - 8, 8) };
      for (const back of await trips(value)) {
        expect(back.tail.buffer).toBe(back.bytes.buffer);
        back.tail[7] = 42;
        expect(back.bytes[length - 1]).toBe(42);
      }
    }
  });

  test("errors keep class, message, stack, cause and own fields", async () => {
    class AppError extends RangeError {
      readonly status: number;
      constructor(message: string, status: number, cause: unknown) {
        super(message, { cause });
        this.name = "AppError";
        this.status = status;
      }
    }
    const value = new AppError("teapot", 418, new TypeError("inner"));
    for (const back of await trips(value)) {
      expect(back).toBeInstanceOf(RangeError);
      expect(back).toBeInstanceOf(AppError);
      expect([back.name, back.message, back.status, back.stack]).toEqual(["AppError", "teapot", 418, value.stack]);
      expect(back.cause).toBeInstanceOf(TypeError);
      expect((back.cause as Error).message).toBe("inner");
    }
  });

  test("refs, actor handles and remote functions can be used where they arrive", async () => {
    const signal = newSignal();
    const double = shoal.remote((x: number) => 2 * x);
    const use = shoal.remote(async (kit: { ref: shoal.ObjectRef<number>; actor: typeof signal; fn: typeof double }) => {
      await shoal.get(kit.actor.send.remote());
      return shoal.get(kit.fn.remote(kit.ref));
    });
    const kit = { ref: shoal.put(21), actor: signal, fn: double };
    expect(await shoal.get(use.remote(kit))).toBe(42);
    await shoal.get(signal.wait.remote()); // was sent
    for (const back of await trips(kit)) {
      expect(await shoal.get(back.fn.remote(back.ref))).toBe(42);
      await shoal.get(back.actor.wait.remote());
    }
  });

  test("plain functions and classes travel as values", async () => {
    const factor = 3;
    const apply = shoal.remote((fn: (x: number) => number, x: number) => fn(x));
    expect(await shoal.get(apply.remote((x) => x * factor, 4))).toBe(12);
    const make = shoal.remote((by: number) => (x: number) => x + by);
    expect((await shoal.get(make.remote(10)))(1)).toBe(11);
    const construct = shoal.remote((Class: typeof Point) => new Class(1, 1).length);
    expect(await shoal.get(construct.remote(Point))).toBe(Math.SQRT2);
  });

  test("a class with its own serializer travels by it, also with private fields", async () => {
    class Secret {
      #value: string;
      constructor(value: string) {
        this.#value = value;
      }
      reveal(): string {
        return this.#value;
      }
    }
    expect(thrownBy(() => shoal.put(new Secret("x")))).toBeInstanceOf(TypeError);
    shoal.registerSerializer(Secret, { serialize: (secret) => secret.reveal(), deserialize: (text: string) => new Secret(text) });
    expect((await shoal.get(shoal.put({ secret: new Secret("hush") }))).secret.reveal()).toBe("hush");
    const reveal = shoal.remote((secret: Secret) => secret.reveal());
    expect(await shoal.get(reveal.remote(new Secret("hush")))).toBe("hush");
    const wrap = shoal.remote((text: string) => new Secret(text));
    expect((await shoal.get(wrap.remote("made there"))).reveal()).toBe("made there");
  });

  test("an Arrow table arrives as a table, and its columns are not copied", async () => {
    const table = arrow.tableFromArrays({
      id: Int32Array.from({ length: large }, (_, i) => i),
      value: new Float64Array(large).fill(0.5),
    });
    const sum = shoal.remote((t: arrow.Table) => {
      const ids = t.getChild("id")!.toArray() as Int32Array;
      return {
        rows: t.numRows,
        last: ids[ids.length - 1],
        value: t.getChild("value")!.get(10) as number,
        bytes: ids.buffer.byteLength,
      };
    });
    expect(await shoal.get(sum.remote(table))).toMatchObject({ rows: large, last: large - 1, value: 0.5 });
    const before = privateMappings();
    const back = await shoal.get(shoal.put(table));
    expect(back).toBeInstanceOf(arrow.Table);
    expect(back.schema.fields.map((field) => field.name)).toEqual(["id", "value"]);
    expect(back.getChild("value")!.get(large - 1)).toBe(0.5);
    const [ids, values] = [
      back.getChild("id")!.data[0]!.values as Int32Array,
      back.getChild("value")!.data[0]!.values as Float64Array,
    ];
    expect([ids[large - 1], values[0]]).toEqual([large - 1, 0.5]);
    expect(privateMappings()).toBeGreaterThanOrEqual(before + 2); // each column lies on a mapping of the stored bytes
  });
});

describe("what cannot travel", () => {
  test.each<[string, () => unknown, RegExp]>([
    ["WeakMap", () => ({ x: new WeakMap() }), /x$/],
    ["WeakRef", () => [new WeakRef({})], /\[0\]$/],
    ["Promise", () => ({ later: Promise.resolve(1) }), /later$/],
    ["Symbol", () => ({ s: Symbol("local") }), /s$/],
    ["a generator object", () => ({ g: (function* () {})() }), /g$/],
    ["a socket", () => ({ db: { socket: process.stdout } }), /db\.socket/],
    [
      "an instance with private fields",
      () => ({
        list: [
          new (class Hidden {
            #x = 1;
            x() {
              return this.#x;
            }
          })(),
        ],
      }),
      /list\[0\]$/,
    ],
    ["in a Map", () => new Map([["key", new WeakSet()]]), /key/],
  ])("is a TypeError that names the path: %s", (_name, make, path) => {
    const error = thrownBy<shoal.SerializationError>(() => shoal.put(make()));
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toBeInstanceOf(shoal.SerializationError);
    expect(error.path).toMatch(path);
    expect(error.message).toContain(error.path);
  });

  test("says the argument's index, and nothing was submitted", async () => {
    const error = thrownBy<shoal.SerializationError>(() =>
      echo.remote.call(echo, ...([1, { db: new WeakMap() }] as unknown as [unknown])),
    );
    expect(error.path).toBe("args[1].db");
    expect(await shoal.get(echo.remote("fine"))).toBe("fine");
  });
});
