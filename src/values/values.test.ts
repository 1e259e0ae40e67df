import { EventEmitter } from "node:events";
import { inspect, isDeepStrictEqual, types } from "node:util";
import vm from "node:vm";
import { describe, expect, it } from "vitest";
import {
  deserialize,
  flatten,
  fromWire,
  isSerialized,
  peekFunctions,
  registerSerializer,
  serialize,
  toWire,
  unregisterSerializer,
} from "./index.ts";
import { FakeHooks, FakeRef } from "./testing/fake-hooks.ts";

const hooks = new FakeHooks();

function roundTrip<T>(value: T, mode: "copy" | "alias" = "copy"): T {
  return deserialize(flatten(serialize(value, hooks, "value")), hooks, mode) as T;
}

class Point {
  x: number;
  parent: unknown;
  constructor(x: number, parent?: unknown) {
    this.x = x;
    this.parent = parent;
  }
  get double(): number {
    return this.x * 2;
  }
}
class Tagged extends Map<string, number> {
  tag = "t";
}
class Stack extends Array<number> {}

describe("values", () => {
  const plain: [string, unknown][] = [
    ["integers", [0, 1, -1, 127, 128, 255, 256, -128, 65536, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53, -(2 ** 53)]],
    ["other numbers", { a: -0, b: Number.NaN, c: Infinity, d: -Infinity, e: 1.5, f: 5e-324, g: 1.7976931348623157e308 }],
    [
      "number arrays of every width",
      [blocks(100), blocks(-30_000), blocks(1e9), blocks(0.5), [...blocks(1), -0], [...blocks(1), Number.NaN]],
    ],
    [
      "strings",
      [
        "",
        "a",
        "é",
        "日本",
        "😀",
        "\ud800",
        "x\udc00y",
        "\ufeff",
        "\0",
        "a".repeat(31),
        "a".repeat(32),
        "é".repeat(49),
        "z".repeat(70_000),
      ],
    ],
    ["long strings of every kind", ["é".repeat(70_000), "\ud800".repeat(70_000), "日".repeat(200_000)]],
    ["undefined and null", { a: undefined, b: null, c: [undefined, null] }],
    ["bigints", [0n, 1n, -1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, -(3n ** 500n)]],
    ["nested records", [{ id: 1, sub: { a: [1, 2] } }, { id: 2, sub: { a: [] } }, { id: 3 }, {}]],
    ["a __proto__ key", JSON.parse('{"__proto__": {"a": 1}, "b": 2}')],
    [
      "holes and extra properties",
      [
        withoutFirst([1, 2, 3]),
        Object.assign([1, 2], { index: 4 }),
        /b/.exec("abc"),
        new Array(5),
        Object.assign(withoutFirst([0, 1]), { a: 1 }),
      ],
    ],
    [
      "maps and sets",
      new Map<unknown, unknown>([
        ["a", new Set([1, "b", Number.NaN])],
        [{ key: 1 }, new Map()],
        [undefined, null],
      ]),
    ],
    ["dates", [new Date(0), new Date(8.64e15)]],
    ["regular expressions", [/a+/gi, /\//u, /(?:)/, /[\]]/y]],
    ["boxed primitives", [new Number(-0), new String("s"), new Boolean(false), Object(5n)]],
    ["symbols", [Symbol.for("shared"), Symbol.iterator, Symbol.asyncIterator]],
    ["URLs", [new URL("https://user:p@host:81/a?b#c")]],
    ["null-prototype objects", Object.assign(Object.create(null), { a: Object.create(null) })],
    ["dictionaries", Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key${i}`, { [`k${i}`]: i }]))],
    ["views", [...views()]],
    ["class instances", [new Point(1, new Point(2)), new Tagged([["a", 1]]), Stack.of(1, 2, 3)]],
    ["refs", Array.from({ length: 30 }, (_, i) => new FakeRef(i))],
  ];
  for (const [name, value] of plain) {
    for (const mode of ["copy", "alias"] as const) {
      it(`keeps ${name} (${mode})`, () => {
        const read = roundTrip(value, mode);
        expect(isDeepStrictEqual(read, value), inspect(read)).toBe(true);
        // `inspect` also tells classes, holes and accessors apart.
        expect(inspect(read, { depth: 9 })).toBe(inspect(value, { depth: 9 }));
      });
    }
  }

  function blocks(value: number): number[] {
    return new Array<number>(20).fill(value);
  }

  function withoutFirst(array: unknown[]): unknown[] {
    delete array[0];
    return array;
  }

  function* views(): Generator<object> {
    const bytes = Uint8Array.from({ length: 48 }, (_, i) => i * 7);
    for (const View of [
      Int8Array,
      Uint8Array,
      Uint8ClampedArray,
      Int16Array,
      Uint16Array,
      Int32Array,
      Uint32Array,
      Float32Array,
      Float64Array,
    ]) {
      yield new View(bytes.buffer.slice(0));
      yield new View(0);
    }
    yield new BigInt64Array(bytes.buffer.slice(0));
    yield new BigUint64Array(bytes.buffer.slice(0), 8, 2);
    yield new DataView(bytes.buffer.slice(0));
    yield Buffer.from("hello");
    yield Buffer.alloc(0);
    yield new ArrayBuffer(7);
    if ("Float16Array" in globalThis) yield (globalThis as any).Float16Array.of(0.5, -1);
  }

  it("keeps an invalid date", () => {
    expect(roundTrip(new Date(Number.NaN)).getTime()).toBe(Number.NaN);
  });

  it("keeps cycles and shared identity, also through maps, sets, instances and views", () => {
    const shared = { s: 1 };
    const view = new Uint8Array(8);
    const value: any = { shared: [shared, shared], map: new Map([[shared, shared]]), set: new Set([shared]), view, same: view };
    value.self = value;
    value.map.set("self", value.map);
    value.point = new Point(1, value);
    const read = roundTrip(value);
    expect(read.self).toBe(read);
    expect(read.shared[0]).toBe(read.shared[1]);
    expect(read.map.get(read.shared[0])).toBe(read.shared[0]);
    expect(read.set.has(read.shared[0])).toBe(true);
    expect(read.map.get("self")).toBe(read.map);
    expect(read.point.parent).toBe(read);
    expect(read.view).toBe(read.same);
  });

  it("takes chains of any length", () => {
    let list: any = null;
    for (let i = 0; i < 50_000; i++) list = i % 3 === 0 ? { next: list } : i % 3 === 1 ? [list] : new Point(i, list);
    let read: any = roundTrip(list);
    let length = 0;
    for (; read !== null; length++) read = Array.isArray(read) ? read[0] : read instanceof Point ? read.parent : read.next;
    expect(length).toBe(50_000);
    let map: any = new Map();
    for (let i = 0; i < 2_000; i++) map = i % 2 ? new Map([["m", map]]) : new Set([map]);
    expect(isDeepStrictEqual(inspect(roundTrip(map), { depth: 3 }), inspect(map, { depth: 3 }))).toBe(true);
  });

  it("keeps a long sparse array without filling it", () => {
    const sparse: unknown[] = [];
    sparse[4_000_000_000] = "end";
    sparse[3] = 1;
    const read = roundTrip(Object.assign(sparse, { note: "n" }));
    expect([read.length, Object.keys(read)]).toEqual([4_000_000_001, ["3", "4000000000", "note"]]);
    const short: unknown[] = new Array(3000);
    expect([roundTrip(short).length, Object.keys(roundTrip(short))]).toEqual([3000, []]);
  });

  it("reads getters, leaves methods of classes and symbol keys alone", () => {
    const value = {
      get a() {
        return 5;
      },
      [Symbol("hidden")]: 1,
    }; // prettier-ignore
    expect(Object.getOwnPropertyDescriptor(roundTrip(value), "a")).toEqual({
      value: 5,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    expect(roundTrip(new Point(4)).double).toBe(8);
  });

  it("survives getters that change the object while it is read", () => {
    const make = () =>
      ({
        a: 1,
        get b() {
          delete (this as any).c;
          (this as any).d = 1;
          return 2;
        },
        c: 3,
      }) as any; // prettier-ignore
    const [first, second] = roundTrip([make(), make()]);
    for (const read of [first, second]) expect([read.a, read.b, read.c]).toEqual([1, 2, undefined]);
  });

  it("captures the value at the call, except buffers, which `writeTo` reads", () => {
    const value = { list: [1], bytes: new Uint8Array(4) };
    const serialized = serialize(value, hooks, "value");
    value.list.push(2);
    value.bytes[0] = 9;
    expect(deserialize(flatten(serialized), hooks, "copy")).toEqual({ list: [1], bytes: new Uint8Array([9, 0, 0, 0]) });
  });

  it("serializes inside a getter and inside a serializer", () => {
    const value = {
      before: 1,
      get inner() {
        return flatten(serialize({ x: [this.before] }, hooks, "inner"));
      },
      after: [2],
    }; // prettier-ignore
    const read = roundTrip(value);
    expect(deserialize(read.inner, hooks, "copy")).toEqual({ x: [1] });
    expect(read.after).toEqual([2]);
  });

  it("keeps functions through the hooks and names them for loading", () => {
    const fn = () => 1;
    const flat = flatten(serialize({ deep: [fn, fn], point: new Point(1) }, hooks, "value"));
    expect(peekFunctions(flat)).toEqual([expect.stringMatching(/^fn:/), expect.stringMatching(/^Point:/)]);
    expect((deserialize(flat, hooks, "copy") as any).deep).toEqual([fn, fn]);
    expect(peekFunctions(flatten(serialize({ a: 1 }, hooks, "value")))).toEqual([]);
  });

  it("keeps objects of another realm as ours", () => {
    const foreign = vm.runInNewContext(
      "({ list: [1, { a: 2 }], map: new Map([[1, 2]]), date: new Date(5), view: new Uint8Array([1]), error: new TypeError('t') })",
    );
    const read = roundTrip(foreign);
    expect(read.list).toEqual([1, { a: 2 }]);
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(read.map).toBeInstanceOf(Map);
    expect(read.date).toBeInstanceOf(Date);
    expect(read.view).toBeInstanceOf(Uint8Array);
    expect(read.error).toBeInstanceOf(TypeError);
  });

  it("keeps fields whose names are accessors or read-only in the class", () => {
    class Shadowed {
      constructor() {
        Object.defineProperty(this, "x", { value: 9, enumerable: true });
      }
      get x(): number {
        return 1;
      }
    }
    expect(roundTrip(new Shadowed()).x).toBe(9);
  });

  it("keeps the environment and classes of the old style", () => {
    expect(roundTrip(process.env)).toEqual({ ...process.env });
    function Old(this: { a: number }): void {
      this.a = 1;
    }
    Old.prototype.plus = function (this: { a: number }, b: number): number {
      return this.a + b;
    };
    const read = roundTrip(new (Old as unknown as new () => { a: number; plus(b: number): number })());
    expect([read.plus(2), read instanceof Old]).toEqual([3, true]);
  });

  it("keeps subclasses of built-ins as both", () => {
    class Samples extends Float32Array {
      note = "n";
    }
    const samples = roundTrip(new Samples([1, 2]));
    expect([samples instanceof Samples, samples.note, [...samples]]).toEqual([true, "n", [1, 2]]);
    class Emitter extends EventEmitter {
      count = 0;
    }
    const emitter = new Emitter();
    emitter.on("tick", () => {});
    expect(roundTrip(emitter).listenerCount("tick")).toBe(1);
  });

  it("keeps a prototype that belongs to no class", () => {
    const base = { greet: "hi" };
    const read = roundTrip([Object.create(base, { own: { value: 1, enumerable: true } }), base]);
    expect(read[0].greet).toBe("hi");
    expect(Object.getPrototypeOf(read[0])).toBe(read[1]);
  });

  it("registered serializers decide how their class travels, subclasses included", () => {
    class Money {
      #cents: number;
      constructor(cents: number) {
        this.#cents = cents;
      }
      get cents(): number {
        return this.#cents;
      }
    }
    class Euro extends Money {}
    registerSerializer(Money, { serialize: (money) => ({ cents: money.cents }), deserialize: ({ cents }) => new Money(cents) });
    const money = new Money(250);
    const read = roundTrip({ a: money, b: [money], c: new Euro(3) });
    expect(read.a).toBeInstanceOf(Money);
    expect(read.a.cents).toBe(250);
    expect(read.b[0]).toBe(read.a);
    expect(read.c.cents).toBe(3);
    class Loop {}
    registerSerializer(Loop, { serialize: (loop) => ({ loop }), deserialize: () => new Loop() });
    expect(() => roundTrip({ l: new Loop() })).toThrow("leads back to itself");
    for (const Class of [Money, Loop]) unregisterSerializer(Class);
  });
});

describe("memory", () => {
  it("sends only the bytes that a view shows", () => {
    expect(flatten(serialize(Buffer.from("0123456789"), hooks, "v")).length).toBeLessThan(64);
    const [a, b] = [Buffer.from("first"), Buffer.alloc(3000), Buffer.from("second")].filter((_, i) => i !== 1);
    expect(flatten(serialize([a, b], hooks, "v")).length).toBeLessThan(100);
    expect(flatten(serialize(new Float64Array(1e6).subarray(500, 510), hooks, "v")).length).toBeLessThan(200);
  });

  it("views of one ArrayBuffer still share one, also with the buffer itself and in the pool", () => {
    for (const mode of ["copy", "alias"] as const) {
      const buffer = new ArrayBuffer(64);
      const [x, y] = roundTrip([new Uint8Array(buffer, 5, 20), new Float64Array(buffer, 8, 4)] as const, mode);
      expect(x.buffer).toBe(y.buffer);
      y.fill(0.5);
      expect(x[3 + 6]).toBe(0xe0);
      const [z, whole] = roundTrip([new Int16Array(buffer, 2, 3), buffer] as const, mode);
      expect([z.buffer === whole, z.byteOffset, whole.byteLength]).toEqual([true, 2, 64]);
      const text = Buffer.from("hello world");
      const [all, part] = roundTrip([text, text.subarray(6)] as const, mode);
      all[6] = 0x57;
      expect(part.toString()).toBe("World");
    }
  });

  it("alias mode builds large views on the bytes, and copies small ones", () => {
    const flat = flatten(serialize({ large: new Float64Array(20_000).fill(2), small: new Uint8Array(2000) }, hooks, "v"));
    const read = deserialize(flat, hooks, "alias") as { large: Float64Array; small: Uint8Array };
    expect(read.large.buffer).toBe(flat.buffer);
    expect(read.small.buffer.byteLength).toBe(2000);
    const copied = deserialize(flat, hooks, "copy") as { large: Float64Array };
    flat.fill(0, 5000);
    expect([read.large[700], copied.large[700], copied.large.buffer.byteLength]).toEqual([0, 2, 160_000]);
  });

  it("a caller that maps ranges by themselves gets exact ArrayBuffers without a copy", () => {
    const bare = new ArrayBuffer(200_000);
    new Uint8Array(bare).fill(3);
    const serialized = serialize([bare, new Float64Array(50_000).fill(4)], hooks, "v");
    const flat = flatten(serialized);
    const mapped: number[] = [];
    const read = deserialize(flat, hooks, "alias", (byteOffset, byteLength) => {
      expect(byteOffset % serialized.align).toBe(0);
      mapped.push(byteLength);
      return flat.buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
    }) as [ArrayBuffer, Float64Array];
    expect(mapped).toEqual([200_000, 400_000]);
    expect([read[0].byteLength, read[1].byteOffset, read[1].buffer.byteLength, read[1][9]]).toEqual([200_000, 0, 400_000, 4]);
    const refused = deserialize(flat, hooks, "alias", () => undefined) as [ArrayBuffer, Float64Array];
    expect([refused[0].byteLength, refused[1][9]]).toEqual([200_000, 4]);
  });

  it("parts make the same flat form as `writeTo`, with gaps of less than a page", () => {
    const serialized = serialize(
      [new Float64Array(20_000).fill(1), new Uint8Array(1500).fill(2), new Float64Array(20_000).fill(3)],
      hooks,
      "v",
    );
    const target = new Uint8Array(serialized.bytes);
    let end = 0;
    for (const { offset, bytes } of serialized.parts()) {
      expect(offset - end).toBeGreaterThanOrEqual(0);
      expect(offset - end).toBeLessThan(4096);
      target.set(bytes, offset);
      end = offset + bytes.length;
    }
    expect(target).toEqual(flatten(serialized));
  });

  it("padding does not show what the target held before", () => {
    const serialized = serialize([new Float64Array(20_000), new Uint8Array(1500)], hooks, "v");
    const target = new Uint8Array(serialized.bytes).fill(0xee);
    serialized.writeTo(target);
    expect(target.includes(0xee)).toBe(false);
  });
});

describe("values in messages", () => {
  it("primitives travel as themselves unless MessagePack would change them", () => {
    for (const value of [undefined, null, true, 0, 1.5, Number.NaN, 2 ** 60, "text", ""])
      expect(toWire(value, hooks, "v")).toBe(value);
    for (const value of [-0, 5n, "\ud800", "x".repeat(70_000), [], new Uint8Array(2)]) {
      const wire = toWire(value, hooks, "v");
      expect(wire).toBeInstanceOf(Uint8Array);
      expect(fromWire(wire, hooks)).toEqual(value);
    }
    expect(isSerialized(undefined)).toBe(false);
  });
});

describe("engine objects", () => {
  it("decoded errors are errors to the engine", () => {
    expect(types.isNativeError(roundTrip(new RangeError("r")))).toBe(true);
  });
});
