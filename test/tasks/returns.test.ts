import * as shoal from "shoal";
import { expect, test } from "vitest";
import { newTally } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession();

const triple = shoal.remote((a: number): [number, string, boolean] => [a, String(a), a > 0]);

test("numReturns 3 gives three refs, each usable by itself", async () => {
  const [number, text, flag] = triple.options({ numReturns: 3 }).remote(5);
  expect(await shoal.get(text)).toBe("5");
  expect(await shoal.get(flag)).toBe(true);
  expect(await shoal.get(triple.remote(number))).toEqual([5, "5", true]);
});

test("numReturns 1 gives the whole value as one ref", async () => {
  expect(await shoal.get(triple.options({ numReturns: 1 }).remote(1))).toEqual([1, "1", true]);
});

test("numReturns 0 gives undefined, and the call runs", async () => {
  const tally = newTally();
  const note = shoal.remote(async (t: typeof tally) => shoal.get(t.add.remote("ran")));
  expect(note.options({ numReturns: 0 }).remote(tally)).toBeUndefined();
  await waitFor("the call to run", async () => (await shoal.get(tally.count.remote("ran"))) === 1);
});

test("numReturns given to remote() holds until options() says otherwise", async () => {
  const pair = shoal.remote(() => [1, 2] as [number, number], { numReturns: 2 } as const) as unknown as shoal.RemoteFunction<
    [],
    [number, number],
    2
  >;
  const refs = pair.remote();
  expect(await shoal.get([...refs])).toEqual([1, 2]);
});

test("the results may be large, each in shared memory", async () => {
  const arrays = shoal.remote(
    () => [new Float64Array(50_000).fill(1), new Float64Array(50_000).fill(2)] as [Float64Array, Float64Array],
  );
  const [one, two] = arrays.options({ numReturns: 2 }).remote();
  const [a, b] = await shoal.get([one, two] as const);
  expect([a.length, a[49_999], b.length, b[0]]).toEqual([50_000, 1, 50_000, 2]);
});

test("the wrong number of returned values is an error of every ref", async () => {
  const refs = triple.options({ numReturns: 2 }).remote(1);
  for (const ref of refs as shoal.ObjectRef<unknown>[]) {
    const error = await rejection(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error.message).toMatch(/2/);
    expect(error.message).toMatch(/3/);
  }
});

test("something that is not a list is no several values", async () => {
  const one = shoal.remote(() => 1 as unknown as number[]);
  const [ref] = one.options({ numReturns: 2 }).remote();
  expect(await rejection(shoal.get(ref!))).toBeInstanceOf(shoal.TaskError);
});

test("a returned ref stays a ref: results are not unwrapped", async () => {
  const inner = shoal.remote(() => 42);
  const outer = shoal.remote(() => inner.remote());
  const ref = await shoal.get(outer.remote());
  expect(ref).toBeInstanceOf(shoal.ObjectRef);
  expect(await shoal.get(ref)).toBe(42);
});

test("a ref is not a promise", async () => {
  const ref = shoal.put(1);
  expect((ref as { then?: unknown }).then).toBeUndefined();
  expect(await ref).toBe(ref);
});

test("a returned value that cannot travel is a TaskError with the TypeError as cause", async () => {
  const bad = shoal.remote(() => ({ inner: [new WeakSet()] as unknown }));
  const error = await rejection<shoal.TaskError>(shoal.get(bad.remote()));
  expect(error).toBeInstanceOf(shoal.TaskError);
  expect(error.cause).toBeInstanceOf(TypeError);
  expect((error.cause as shoal.SerializationError).path).toMatch(/inner\[0\]$/);
});
