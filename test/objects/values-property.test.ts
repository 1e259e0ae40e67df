import { deepStrictEqual } from "node:assert/strict";
import { inspect } from "node:util";
import fc from "fast-check";
import * as shoal from "shoal";
import { expect, test } from "vitest";
import { useSession } from "../support/session.ts";

useSession();

const echo = shoal.remote((value: unknown) => value);

/** Nested values of every kind that structured clone takes; but no Date that is no date, of which `deepStrictEqual` says that it differs from itself. */
const anything = fc
  .anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withSparseArray: true,
    withNullPrototype: true,
    maxDepth: 4,
  })
  .filter((value) => !inspect(value, { depth: Number.POSITIVE_INFINITY }).includes("Invalid Date"));

/** Some with a typed array large enough to go through shared memory, at any depth. */
const withLargeParts = fc.record({
  before: anything,
  nested: fc.array(
    fc.record({
      array: fc
        .tuple(fc.integer({ min: 1, max: 60_000 }), fc.double())
        .map(([length, fill]) => new Float64Array(length).fill(fill)),
      beside: anything,
    }),
    { maxLength: 4 },
  ),
  text: fc.tuple(fc.string({ unit: "grapheme" }), fc.integer({ min: 0, max: 20_000 })).map(([text, times]) => text.repeat(times)),
});

test("random nested values come back equal from put and get", async () => {
  await fc.assert(
    fc.asyncProperty(anything, async (value) => deepStrictEqual(await shoal.get(shoal.put(value)), value)),
    { numRuns: 500 },
  );
});

test("random nested values come back equal from a task", async () => {
  await fc.assert(
    fc.asyncProperty(anything, async (value) => deepStrictEqual(await shoal.get(echo.remote(value)), value)),
    { numRuns: 200 },
  );
});

test("random large values come back equal from put, as argument and as result", async () => {
  await fc.assert(
    fc.asyncProperty(withLargeParts, async (value) => {
      using ref = shoal.put(value);
      const [there, back] = await shoal.get([ref, echo.remote(ref)] as const);
      deepStrictEqual(there, value);
      deepStrictEqual(back, value);
    }),
    { numRuns: 60 },
  );
});

test("the check can fail: a changed value is seen", async () => {
  const value = await shoal.get(shoal.put({ a: [1, -0] }));
  expect(() => deepStrictEqual(value, { a: [1, 0] })).toThrow();
});
