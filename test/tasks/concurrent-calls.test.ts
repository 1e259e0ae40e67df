import * as shoal from "shoal";
import { expect, test } from "vitest";
import { useSession } from "../support/session.ts";

useSession();

const echo = shoal.remote((value: unknown) => value);

/** Many flows of API calls at once in the calling process; returns how many calls were right. */
async function exercise(flows: number, rounds: number): Promise<number> {
  let right = 0;
  const flow = async (id: number): Promise<void> => {
    for (let round = 0; round < rounds; round++) {
      const mark = id * 1_000 + round;
      const small = shoal.put(mark);
      const large = shoal.put(new Uint32Array(40_000).fill(mark));
      const [ready, pending] = await shoal.wait([echo.remote(mark), echo.remote(large)], { numReturns: 2 });
      const [value, array] = (await shoal.get(ready)) as [number, Uint32Array];
      const direct = await shoal.get([small, large] as const);
      if (pending.length === 0 && value === mark && array[39_999] === mark && direct[0] === mark && direct[1][0] === mark)
        right += 1;
    }
  };
  await Promise.all(Array.from({ length: flows }, (_, id) => flow(id)));
  return right;
}

test("ten flows of puts, gets, waits and tasks at once in the driver", async () => {
  expect(await exercise(10, 10)).toBe(100);
});

test("ten flows at once in a task", async () => {
  expect(await shoal.get(shoal.remote(exercise).remote(10, 5))).toBe(50);
});

test("ten flows at once in an actor", async () => {
  class Exerciser {
    async run(flows: number, rounds: number): Promise<number> {
      return exercise(flows, rounds);
    }
  }
  const actor = shoal.remote(Exerciser).remote();
  expect(await shoal.get([actor.run.remote(5, 5), actor.run.remote(5, 5)])).toEqual([25, 25]);
});

test("driver, task and actor at the same time", async () => {
  class Exerciser {
    async run(): Promise<number> {
      return exercise(4, 4);
    }
  }
  const results = await Promise.all([
    exercise(4, 4),
    shoal.get(shoal.remote(exercise).remote(4, 4)),
    shoal.get(shoal.remote(Exerciser).remote().run.remote()),
  ]);
  expect(results).toEqual([16, 16, 16]);
});
