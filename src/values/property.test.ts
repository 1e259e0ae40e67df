import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError, deserialize, flatten, peekFunctions, serialize } from "./index.ts";
import { FakeHooks, FakeRef } from "./testing/fake-hooks.ts";

const hooks = new FakeHooks();

class Node {
  value: unknown;
  links: unknown[] = [];
  constructor(value: unknown) {
    this.value = value;
  }
}

const codeUnits = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((codes) => String.fromCharCode(...codes));
const key = fc.oneof(
  fc.string({ maxLength: 6 }),
  codeUnits,
  fc.constantFrom("__proto__", "constructor", "length", "0", "toString", ""),
);

const leaf = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(fc.integer(), fc.double(), fc.constantFrom(-0, 0, 127, 128, 2 ** 31, -(2 ** 31))) },
  { weight: 3, arbitrary: fc.oneof(fc.string(), codeUnits, fc.string({ unit: "binary" })) },
  fc.constantFrom<unknown[]>(undefined, null, true, false, Symbol.for("s"), Symbol.iterator),
  fc.oneof(fc.bigInt(), fc.bigInt({ min: -(2n ** 70n), max: 2n ** 200n })),
  fc.date({ noInvalidDate: true }),
  fc.oneof(fc.uint8Array(), fc.float64Array(), fc.int32Array(), fc.bigInt64Array(), fc.uint16Array()),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.slice().buffer),
  fc.constantFrom(/x/g, /[a]+/u),
  fc.nat().map((id) => new FakeRef(id, `owner${id % 3}`)),
);

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 8 }),
    fc.array(tie("value"), { maxLength: 8 }).map((items) => {
      if (items.length > 2) delete items[1];
      return items;
    }),
    fc.dictionary(key, tie("value"), { maxKeys: 8, noNullPrototype: false }),
    fc.array(fc.record({ id: fc.integer(), name: fc.string(), more: tie("value") }), { maxLength: 6 }),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 5 }).map((entries) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 5 }).map((items) => new Set(items)),
    fc.array(fc.integer({ min: -40_000, max: 40_000 }), { maxLength: 40 }),
    fc.array(fc.double(), { maxLength: 40 }),
    tie("value").map((inner) => new Node(inner)),
    tie("value").map((cause) => Object.assign(new TypeError("t", { cause }), { extra: [cause] })),
  ),
}));

/** A graph: nodes of several kinds and random edges between them, so that objects are shared and cycles are common. */
const graph = fc
  .tuple(
    fc.array(fc.constantFrom("object", "array", "map", "set", "node"), { minLength: 1, maxLength: 25 }),
    fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 60 }),
  )
  .map(([kinds, edges]) => {
    const nodes = kinds.map((kind) =>
      kind === "object"
        ? ({} as any)
        : kind === "array"
          ? []
          : kind === "map"
            ? new Map()
            : kind === "set"
              ? new Set()
              : new Node(1),
    );
    edges.forEach(([from, to], i) => {
      const source = nodes[from % nodes.length];
      const target = nodes[to % nodes.length];
      if (Array.isArray(source)) source.push(target);
      else if (source instanceof Map) source.set(i % 2 ? target : i, target);
      else if (source instanceof Set) source.add(target);
      else if (source instanceof Node) source.links.push(target);
      else source[`k${i}`] = target;
    });
    return nodes;
  });

/** Writes a graph down with a number for each object, so that two graphs are the same in shape and identity when the texts are. */
function describeGraph(root: unknown): string {
  const numbers = new Map<object, number>();
  const lines: string[] = [];
  const name = (item: unknown): string => {
    if (typeof item !== "object" || item === null) return String(item);
    let number = numbers.get(item);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(item, number);
      const parts =
        item instanceof Map
          ? [...item].flat()
          : item instanceof Set
            ? [...item]
            : Array.isArray(item)
              ? item
              : Object.entries(item).flat();
      const at = lines.push("") - 1;
      lines[at] = `${number} ${item.constructor.name}: ${parts.map(name).join(" ")}`;
    }
    return `#${number}`;
  };
  name(root);
  return lines.join("\n");
}

describe("any value", () => {
  for (const mode of ["copy", "alias"] as const) {
    it(`comes back as it was (${mode})`, () => {
      fc.assert(
        fc.property(value, (original) => {
          const serialized = serialize(original, hooks, "v");
          const flat = flatten(serialized);
          expect(flat.length).toBe(serialized.bytes);
          expect(peekFunctions(flat)).toEqual(serialized.functions);
          const read = deserialize(flat, hooks, mode);
          return isDeepStrictEqual(read, original);
        }),
        { numRuns: 700 },
      );
    });
  }

  it("keeps which objects are the same", () => {
    fc.assert(
      fc.property(graph, (nodes) => {
        const read = deserialize(flatten(serialize(nodes, hooks, "v")), hooks, "copy");
        expect(describeGraph(read)).toBe(describeGraph(nodes));
      }),
      { numRuns: 300 },
    );
  });

  it("is written the same way by an encoder that was used before", () => {
    fc.assert(
      fc.property(value, graph, (first, second) => {
        const before = flatten(serialize(first, hooks, "v"));
        serialize(second, hooks, "v");
        expect(flatten(serialize(first, hooks, "v"))).toEqual(before);
      }),
      { numRuns: 200 },
    );
  });
});

describe("altered bytes", () => {
  /** Hooks that take what they are given, as only the codec's own checks are looked at. */
  const lax = new FakeHooks();
  lax.decodeSpecial = () => new FakeRef(0);
  lax.decodeClass = () => Node;

  function decodesOrFails(bytes: Uint8Array, mode: "copy" | "alias"): void {
    try {
      deserialize(bytes, lax, mode);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
    try {
      peekFunctions(bytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }

  it("decode to something or fail with a DecodeError", () => {
    const change = fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0xff, 0x7f, 0x80, 0xc7, 0x90, 0x93, 0x9f)));
    fc.assert(
      fc.property(
        value,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.nat(),
        fc.boolean(),
        (original, changes, cut, truncate) => {
          let flat = flatten(serialize(original, hooks, "v")).slice();
          for (const [at, byte] of changes) flat[8 + (at % Math.max(1, flat.length - 8))] = byte;
          if (truncate) flat = flat.slice(0, cut % flat.length);
          decodesOrFails(flat, cut % 2 ? "copy" : "alias");
        },
      ),
      { numRuns: 1500 },
    );
  });

  it("of any kind decode to something or fail with a DecodeError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(3), (body, flags) => {
        const bytes = new Uint8Array(8 + body.length);
        bytes.set(body, 8);
        bytes.set([0x53, 1, flags, 0]);
        new DataView(bytes.buffer).setUint32(4, 8 + Math.ceil(body.length / 2), true);
        decodesOrFails(bytes, "copy");
        new DataView(bytes.buffer).setUint32(4, bytes.length, true);
        decodesOrFails(bytes, "copy");
      }),
      { numRuns: 1500 },
    );
  });

  const claims: [string, number[]][] = [
    ["an array of 2^50 elements", [0x92, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]],
    ["a string of 4 GiB", [0x8a, 0xff, 0xff, 0xff, 0xff]],
    ["a map of a million entries", [0x99, 0xc0, 0x84, 0x3d]],
    ["a number block of a million", [0x97, 0xc0, 0x84, 0x3d]],
    ["nesting without end", new Array<number>(100_000).fill(0x92).flatMap((tag) => [tag, 1])],
    ["a reference to nothing", [0x8e, 5]],
    ["an object that contains itself as its payload", [0xc3, 0, 0xcb, 0, 0x8e, 0]],
    ["a class that is not in the table", [0xc4, 9, 1, 0]],
    ["a view of a store that is not there", [0x9f, 1, 0, 0, 4]],
    ["a tag that does not exist", [0xff]],
    ["an unclosed regular expression", [0x9c, 0xa1, 0x28, 0xa0]],
    ["a tail", [0, 0]],
  ];
  for (const [name, body] of claims) {
    it(`claiming ${name} fail at once`, () => {
      const bytes = Uint8Array.from([0x53, 1, 0, 0, 0, 0, 0, 0, ...body]);
      new DataView(bytes.buffer).setUint32(4, bytes.length, true);
      expect(() => deserialize(bytes, lax, "copy")).toThrow(DecodeError);
    });
  }

  it("claiming a huge sparse array cost no memory", () => {
    const bytes = Uint8Array.from([0x53, 1, 0, 0, 16, 0, 0, 0, 0x93, 0x80, 0x80, 0x80, 0x08, 0, 1, 0]);
    const before = process.memoryUsage().heapUsed;
    expect((deserialize(bytes, lax, "copy") as unknown[]).length).toBe(2 ** 24);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(50e6);
  });

  it("of another version say so", () => {
    const flat = flatten(serialize([], hooks, "v")).slice();
    flat[1] = 9;
    expect(() => deserialize(flat, hooks, "copy")).toThrow("format 9");
    expect(() => deserialize(new Uint8Array(0), hooks, "copy")).toThrow(DecodeError);
  });
});
