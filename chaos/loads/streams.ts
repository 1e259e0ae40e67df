/** Streaming tasks: each item once, in order, whatever happens to the producer. */
import * as shoal from "shoal";
import type { Kind } from "../round.ts";

const produce = shoal.remote(
  function* produce(count: number, first: number, largeEvery: number): Generator<number | Float64Array> {
    for (let i = 0; i < count; i++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      yield i % largeEvery === largeEvery - 1 ? new Float64Array(50_000).fill(first + i) : first + i;
    }
  },
  { maxRetries: -1 },
);

const largeEvery = 7;

export const streamKinds: readonly Kind[] = [
  {
    name: "streams",
    lanes: 1,
    async run(round) {
      const first = round.random.int(1_000_000);
      const count = 10 + round.random.int(40);
      const backpressure = round.random.chance(0.5) ? { generatorBackpressure: 4 } : {};
      const stream = produce.options(backpressure).remote(count, first, largeEvery) as shoal.ObjectRefGenerator<
        number | Float64Array
      >;
      const stopAt = round.random.chance(0.2) ? round.random.int(count) : count;
      let number = 0;
      for (; number < stopAt; number++) {
        const item = await round.within(`item ${number} of ${count}`, stream.next());
        round.check(`the stream has ended after ${number} of ${count} items`, item.done !== true);
        const ref = item.value as shoal.ObjectRef<number | Float64Array>;
        const value = await round.value(`item ${number}`, ref);
        const seen = typeof value === "number" ? value : value.every((one) => one === value[0]) ? value[0] : Number.NaN;
        round.right(`item ${number}`, seen, first + number);
      }
      if (stopAt < count) return void (await stream.return());
      const end = await round.within("the end of the stream", stream.next());
      round.check(`the stream goes on after ${count} items`, end.done === true);
    },
  },
];
