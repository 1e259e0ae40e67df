/** What the compiler says about refs, get, put, wait and cancel. Never run: `npm run typecheck` is the test. */

import type { ClusterContext, ObjectRef, Value } from "shoal";
import * as shoal from "shoal";
import { expectTypeOf } from "vitest";

const number = shoal.put(1);
const text = shoal.put("a");
expectTypeOf(number).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf<Value<ObjectRef<Map<string, number>>>>().toEqualTypeOf<Map<string, number>>();

// get: one, a list, a tuple with its places kept.
expectTypeOf(shoal.get(number)).toEqualTypeOf<Promise<number>>();
expectTypeOf(await shoal.get([number, number].map((ref) => ref))).toEqualTypeOf<number[]>();
expectTypeOf(await shoal.get([number, text] as const)).toExtend<readonly [number, string]>();
const [one, two] = await shoal.get([number, text] as [ObjectRef<number>, ObjectRef<string>]);
expectTypeOf(one).toEqualTypeOf<number>();
expectTypeOf(two).toEqualTypeOf<string>();
shoal.get(number, { timeoutMs: 0, signal: new AbortController().signal });
// @ts-expect-error not a ref
shoal.get(1);
// @ts-expect-error milliseconds are called timeoutMs
shoal.get(number, { timeout: 1 });

// A ref is no promise.
// @ts-expect-error no then
number.then;

// Released at the end of a block.
{
  using ref = shoal.put(new Float64Array(1));
  expectTypeOf(ref).toEqualTypeOf<ObjectRef<Float64Array<ArrayBuffer>>>();
}

const [ready, pending] = await shoal.wait([number, number], { numReturns: 1, timeoutMs: 10, fetchLocal: true });
expectTypeOf(ready).toEqualTypeOf<ObjectRef<number>[]>();
expectTypeOf(pending).toEqualTypeOf<ObjectRef<number>[]>();

expectTypeOf(shoal.cancel(number, { force: true, recursive: false })).toEqualTypeOf<Promise<void>>();
// @ts-expect-error not a ref
shoal.cancel("task");

// The context of a session ends it when its block ends.
{
  await using context = await shoal.init({ numCpus: 2, resources: { tape: 1 }, labels: { zone: "a" } });
  expectTypeOf(context).toEqualTypeOf<ClusterContext>();
  expectTypeOf(context.dashboardUrl).toEqualTypeOf<string | undefined>();
}
// @ts-expect-error not an option
await shoal.init({ numCPUs: 2 });

// Errors have their fields, and literal codes.
const error = new Error() as unknown;
if (error instanceof shoal.TaskError) {
  expectTypeOf<typeof error.code>().toEqualTypeOf<"TASK_FAILED">();
  expectTypeOf(error.functionName).toEqualTypeOf<string>();
  expectTypeOf(error.pid).toEqualTypeOf<number>();
}
if (error instanceof shoal.SerializationError) {
  expectTypeOf(error).toExtend<TypeError>();
  expectTypeOf(error.path).toEqualTypeOf<string>();
}
if (error instanceof shoal.WorkerCrashedError) expectTypeOf(error.signal).toEqualTypeOf<string | null>();

// Serializers are typed by their class.
class Money {
  readonly cents: number;
  constructor(cents: number) {
    this.cents = cents;
  }
}
shoal.registerSerializer(Money, { serialize: (money: Money) => money.cents, deserialize: (cents: number) => new Money(cents) });

// One of several types: the value is one of theirs.
const either = (Math.random() < 0.5 ? number : text) as ObjectRef<number> | ObjectRef<string>;
expectTypeOf(await shoal.get(either)).toEqualTypeOf<number | string>();
expectTypeOf(await shoal.get([either, number])).toEqualTypeOf<[number | string, number]>();
const mixed = [number, text];
expectTypeOf(await shoal.get(mixed)).toEqualTypeOf<(number | string)[]>();
const [[firstReady]] = await shoal.wait(mixed);
expectTypeOf(await shoal.get(firstReady)).toEqualTypeOf<number | string>();
await shoal.wait([number, text]);
expectTypeOf(await shoal.get<number>(number)).toEqualTypeOf<number>();
const describe = shoal.remote((value: number | string) => `${value}`);
expectTypeOf(describe.remote(either)).toEqualTypeOf<ObjectRef<string>>();
expectTypeOf(describe.remote(number)).toEqualTypeOf<ObjectRef<string>>();
