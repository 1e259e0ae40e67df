/** What the compiler says about actor classes and handles. Never run: `npm run typecheck` is the test. */

import type { ActorHandle, ObjectRef, ObjectRefGenerator } from "shoal";
import * as shoal from "shoal";
import { expectTypeOf } from "vitest";

class Counter {
  value: number;
  readonly label: string;
  constructor(start: number, label = "counter") {
    this.value = start;
    this.label = label;
  }
  add(by: number): number {
    this.value += by;
    return this.value;
  }
  async later(text: string): Promise<string> {
    return text;
  }
  *upTo(n: number): Generator<number> {
    for (let i = 0; i < n; i++) yield i;
  }
  pair(): [number, string] {
    return [this.value, this.label];
  }
}

// The constructor's parameters are those of remote(), each as a value or a ref.
const RemoteCounter = shoal.remote(Counter, { numCpus: 0, maxRestarts: 1 });
const counter = RemoteCounter.remote(1);
RemoteCounter.remote(shoal.put(1), "a");
expectTypeOf(counter).toEqualTypeOf<ActorHandle<Counter>>();
// @ts-expect-error too few
RemoteCounter.remote();
// @ts-expect-error the wrong type
RemoteCounter.remote("1");

// Methods by their own types.
expectTypeOf(counter.add.remote(1)).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(counter.later.remote("a")).toEqualTypeOf<ObjectRef<string>>();
expectTypeOf(counter.upTo.remote(3)).toEqualTypeOf<ObjectRefGenerator<number>>();
expectTypeOf(counter.pair.options({ numReturns: 2 }).remote()).toEqualTypeOf<[ObjectRef<number>, ObjectRef<string>]>();
counter.add.remote(counter.add.remote(1));
// @ts-expect-error no such method
counter.subtract.remote(1);
// @ts-expect-error the wrong type
counter.add.remote("1");
// @ts-expect-error too many
counter.add.remote(1, 2);
// @ts-expect-error a method is not called directly
counter.add(1);
// Fields stay in the actor.
expectTypeOf(counter.value).toBeNever();

// Options.
RemoteCounter.options({ name: "a", getIfExists: true, lifetime: "detached", concurrencyGroups: { io: 2 } }).remote(1);
counter.add.options({ concurrencyGroup: "io", maxTaskRetries: 2, retryExceptions: [TypeError] }).remote(1);
// @ts-expect-error not a lifetime
RemoteCounter.options({ lifetime: "forever" });
// @ts-expect-error not an option of a method
counter.add.options({ maxRestarts: 1 });

// Handles travel.
const use = shoal.remote(async (handle: ActorHandle<Counter>) => shoal.get(handle.add.remote(1)));
expectTypeOf(use.remote(counter)).toEqualTypeOf<ObjectRef<number>>();
expectTypeOf(await shoal.getActor<Counter>("a")).toEqualTypeOf<ActorHandle<Counter>>();
expectTypeOf(shoal.kill(counter, { noRestart: false })).toEqualTypeOf<Promise<void>>();

// A method that returns anything.
class Table {
  query(text: string): any {
    return text;
  }
  async queryLater(text: string): Promise<any> {
    return text;
  }
}
const table = shoal.remote(Table).remote();
expectTypeOf(await shoal.get(table.query.remote("a"))).toBeAny();
expectTypeOf(await shoal.get(table.queryLater.remote("a"))).toBeAny();
