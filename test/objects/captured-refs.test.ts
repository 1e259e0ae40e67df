import * as shoal from "shoal";
import { expect, test } from "vitest";
import { collectGarbage } from "../support/garbage.ts";
import { collectEverywhere, disposeAll, fill, untilSpilled } from "../support/pressure.ts";
import { useSession } from "../support/session.ts";

const objectBytes = 40_000_000;
const session = useSession({ numCpus: 1, objectStoreMemory: 64_000_000 });

test("a captured ref keeps its object for the function that captured it", async () => {
  const ref = shoal.put(new Uint8Array(objectBytes).fill(11));
  const read = shoal.remote(async () => (await shoal.get(ref)).at(-1));
  expect(await shoal.get(read.remote())).toBe(11);
  ref[Symbol.dispose]();
  await collectEverywhere(); // the worker's view of the array as well: what is mapped is not spilled
  const pressure = fill(objectBytes);
  await untilSpilled(session(), objectBytes);
  expect(await shoal.get(read.remote())).toBe(11);
  disposeAll(pressure);
});

test("a ref captured by an actor's class, too", async () => {
  const ref = shoal.put(new Uint8Array(objectBytes).fill(12));
  class Reader {
    async last(): Promise<number> {
      return (await shoal.get(ref)).at(-1)!;
    }
  }
  const reader = shoal.remote(Reader).remote();
  expect(await shoal.get(reader.last.remote())).toBe(12);
  ref[Symbol.dispose]();
  await collectGarbage();
  const pressure = fill(objectBytes);
  await untilSpilled(session(), objectBytes);
  expect(await shoal.get(reader.last.remote())).toBe(12);
  disposeAll(pressure);
});
