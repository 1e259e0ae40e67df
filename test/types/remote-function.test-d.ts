/** What the compiler says about remote functions. Never run: `npm run typecheck` is the test. */

import type { ObjectRef, ObjectRefGenerator, RemoteFunction } from "shoal";
import * as shoal from "shoal";
import { expectTypeOf } from "vitest";

// A result has the function's own type, awaited.
const square = shoal.remote((x: number) => x * x);
const load = shoal.remote(async (path: string, size?: number) => ({ path, size }));
expectTypeOf(square.remote(2)).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(load.remote("a")).toEqualTypeOf<ObjectRef<{ path: string; size: number | undefined }>>();
expectTypeOf(await shoal.get(square.remote(2))).toEqualTypeOf<number>();

// A parameter takes the value or a ref to it, each by itself.
const add = shoal.remote((a: number, b: number) => a + b);
add.remote(1, 2);
add.remote(square.remote(1), 2);
add.remote(1, square.remote(2));
add.remote(square.remote(1), square.remote(2));
// @ts-expect-error a ref to something else
add.remote(load.remote("a"), 2);
// @ts-expect-error too few
add.remote(1);
// @ts-expect-error too many
add.remote(1, 2, 3);
// @ts-expect-error the wrong type
add.remote("1", 2);
// @ts-expect-error a function's own call signature is not there
add(1, 2);

// Optional and rest parameters.
load.remote("a", 1);
load.remote("a", undefined);
// @ts-expect-error the wrong type of an optional parameter
load.remote("a", "1");
const sum = shoal.remote((first: number, ...rest: number[]) => rest.reduce((a, b) => a + b, first));
sum.remote(1);
sum.remote(1, 2, square.remote(3), 4);
// @ts-expect-error the wrong type of a rest parameter
sum.remote(1, "2");

// A parameter that wants a ref inside a container gets one.
const inside = shoal.remote(async (list: ObjectRef<number>[]) => shoal.get(list));
expectTypeOf(inside.remote([square.remote(1)])).toEqualTypeOf<ObjectRef<number[]>>();

// A union is one parameter, not two.
const either = shoal.remote((x: number | string) => String(x));
either.remote(1);
either.remote("1");
either.remote(square.remote(1));

// numReturns: a list of refs, one by one typed by the tuple that the function returns.
const pair = shoal.remote((): [number, string] => [1, "a"]);
const [first, second] = pair.options({ numReturns: 2 }).remote();
expectTypeOf(first).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(second).toEqualTypeOf<ObjectRef<string>>();
expectTypeOf(pair.options({ numReturns: 0 }).remote()).toEqualTypeOf<undefined>();
expectTypeOf(pair.options({ numReturns: 1 }).remote()).toEqualTypeOf<ObjectRef<[number, string]>>();
expectTypeOf(pair.remote()).toEqualTypeOf<ObjectRef<[number, string]>>();

// Other options keep what numReturns said.
const [kept] = pair.options({ numReturns: 2 }).options({ name: "pair" }).remote();
expectTypeOf(kept).toEqualTypeOf<ObjectRef<number>>();

// Generators stream.
const count = shoal.remote(function* (n: number) {
  for (let i = 0; i < n; i++) yield i;
});
const countLater = shoal.remote(async function* (n: number) {
  for (let i = 0; i < n; i++) yield String(i);
});
expectTypeOf(count.remote(3)).toEqualTypeOf<ObjectRefGenerator<number>>();
expectTypeOf(countLater.remote(3)).toEqualTypeOf<ObjectRefGenerator<string>>();
for await (const ref of count.remote(3)) expectTypeOf(ref).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(count.options({ numReturns: "streaming" }).remote(3)).toEqualTypeOf<ObjectRefGenerator<number>>();

// Options are checked.
// @ts-expect-error not an option
square.options({ numCpu: 1 });
// @ts-expect-error not a strategy
square.options({ schedulingStrategy: "RANDOM" });
// @ts-expect-error a number
square.options({ numCpus: "1" });
square.options({ retryExceptions: [TypeError, RangeError], maxRetries: -1 });
expectTypeOf(square.options({ numCpus: 0.5 }).remote(1)).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(square).toExtend<RemoteFunction<[x: number], number>>();

// A function that never returns.
const fails = shoal.remote((): never => {
  throw new Error("always");
});
expectTypeOf(fails.remote()).toEqualTypeOf<ObjectRef<never>>();

// A function that returns anything.
const parse = shoal.remote((text: string) => JSON.parse(text));
expectTypeOf(parse.remote("1")).toEqualTypeOf<ObjectRef<any>>();
expectTypeOf(await shoal.get(parse.remote("1"))).toBeAny();
expectTypeOf(await shoal.get([parse.remote("1"), square.remote(1)])).toEqualTypeOf<[any, number]>();
expectTypeOf(parse.options({ name: "parse" }).remote("1")).toEqualTypeOf<ObjectRef<any>>();
const parseLater = shoal.remote(async (text: string) => JSON.parse(text));
expectTypeOf(await shoal.get(parseLater.remote("1"))).toBeAny();
const [part] = parse.options({ numReturns: 2 }).remote("[1, 2]");
expectTypeOf(await shoal.get(part)).toBeAny();
for await (const ref of parse.options({ numReturns: "streaming" }).remote("[1]")) expectTypeOf(await shoal.get(ref)).toBeAny();
expectTypeOf(await shoal.get(shoal.remote((): unknown => 1).remote())).toBeUnknown();

// Helpers with type parameters, which may hand on what `get` gives.
export async function mapAll<T, R>(fn: (x: T) => R, xs: readonly T[]): Promise<Awaited<R>[]> {
  const remoteFn = shoal.remote(fn, { numCpus: 0.5 });
  await shoal.wait(xs.map((x) => remoteFn.options({ name: "first" }).remote(x)));
  return shoal.get(xs.map((x) => remoteFn.remote(x)));
}
expectTypeOf(await mapAll((x: number) => `${x}`, [1])).toEqualTypeOf<string[]>();
const callOf = <A extends unknown[], R>(fn: RemoteFunction<A, R>) => fn;
expectTypeOf(callOf(square).remote(1)).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(callOf(count).remote(1)).toEqualTypeOf<ObjectRefGenerator<number>>();
expectTypeOf(shoal.remote(<T>(x: T) => [x]).remote(1)).toEqualTypeOf<ObjectRef<unknown[]>>();
