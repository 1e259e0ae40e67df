import { SourceMap } from "node:module";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeMappings, encodeMappings } from "./mappings.ts";

const segment = fc.record({
  column: fc.nat(5_000),
  source: fc.nat(3),
  sourceLine: fc.nat(100_000),
  sourceColumn: fc.nat(5_000),
});
const lines = fc.array(
  fc.array(segment, { maxLength: 5 }).map((list) => list.sort((a, b) => a.column - b.column)),
  { minLength: 1, maxLength: 6 },
);

test("decoding gives what was encoded", () => {
  fc.assert(
    fc.property(lines, (given) => {
      expect(decodeMappings(encodeMappings(given))).toEqual(given);
    }),
  );
});

test("Node reads them alike", () => {
  const mappings = encodeMappings([[], [{ column: 4, source: 0, sourceLine: 9, sourceColumn: 2 }]]);
  const map = new SourceMap({
    version: 3,
    file: "x",
    sources: ["a.ts"],
    sourcesContent: [],
    names: [],
    mappings,
    sourceRoot: "",
  });
  expect(map.findEntry(1, 6)).toMatchObject({ originalSource: "a.ts", originalLine: 9, originalColumn: 2 });
});

test("segments without a source are passed over", () => {
  expect(decodeMappings("A,EAAA;;C")).toEqual([[{ column: 2, source: 0, sourceLine: 0, sourceColumn: 0 }], [], []]);
});
