import { readFileSync } from "node:fs";
import * as shoal from "shoal";
import { expect, test } from "vitest";
import { newSignal, newTally } from "../support/board.ts";
import { descendantsOf } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { waitFor } from "../support/wait-for.ts";

useSession({ numCpus: 2 });

const length = 5_000_000; // 40 MB
const megabyte = 1_000_000;

/** Private memory of a process in bytes: what it alone holds. */
function privateBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kilobytes = (name: string) => Number(rollup.match(new RegExp(`${name}:\\s+(\\d+) kB`))?.[1] ?? 0);
  return (kilobytes("Private_Clean") + kilobytes("Private_Dirty")) * 1024;
}

const everyProcess = () => [process.pid, ...descendantsOf(process.pid).map(({ pid }) => pid)];
const allPrivate = () => everyProcess().reduce((sum, pid) => sum + privateBytes(pid), 0);

test("readers in all processes see the same physical memory", async () => {
  const [signal, tally] = [newSignal(), newTally()];
  const read = shoal.remote(
    async (array: Float64Array, gate: typeof signal, counts: typeof tally) => {
      const sum = array.reduce((a, b) => a + b, 0); // touches every page
      counts.add.remote("read");
      await shoal.get(gate.wait.remote());
      return sum + array[array.length - 1]!;
    },
    { numCpus: 0.25 },
  );
  const done = newSignal();
  await shoal.get(done.send.remote());
  await shoal.get([1, 2, 3, 4].map(() => read.remote(new Float64Array(1), done, newTally()))); // workers and their code are warm
  const ref = shoal.put(new Float64Array(length).fill(1));
  const before = allPrivate();
  const sums = Array.from({ length: 6 }, () => read.remote(ref, signal, tally));
  await waitFor("all to have read it", async () => (await shoal.get(tally.count.remote("read"))) === 6);
  const during = allPrivate();
  await shoal.get(signal.send.remote());
  expect(await shoal.get(sums)).toEqual(Array(6).fill(length + 1));
  // Copies would be 6 x 40 MB. New processes may come with the tasks, each about 15-30 MB of its own.
  expect(during - before).toBeLessThan(150 * megabyte);
  const view = await shoal.get(ref);
  const own = privateBytes(process.pid);
  expect(view.reduce((a, b) => a + b, 0)).toBe(length);
  expect(privateBytes(process.pid) - own).toBeLessThan(30 * megabyte);
});

test("a reader may write to what it got: nobody else sees it, and the object never changes", async () => {
  const ref = shoal.put(new Float64Array(length).fill(1));
  const scribble = shoal.remote((array: Float64Array, mark: number) => {
    const seen = array[0]! + array[length - 1]!;
    array.fill(mark);
    return { seen, now: array[0]! };
  });
  const mine = await shoal.get(ref);
  mine[0] = 99;
  expect(await shoal.get([10, 20, 30, 40].map((mark) => scribble.remote(ref, mark)))).toEqual(
    [10, 20, 30, 40].map((mark) => ({ seen: 2, now: mark })),
  );
  const again = await shoal.get(ref);
  expect([again[0], again[length - 1], mine[0], mine[1]]).toEqual([1, 1, 99, 1]);
});

test("two gets in one process are apart from each other", async () => {
  const ref = shoal.put(new Uint8Array(1_000_000).fill(1));
  const [one, two] = await shoal.get([ref, ref] as const);
  one[500_000] = 2;
  expect([two[500_000], (await shoal.get(ref))[500_000]]).toEqual([1, 1]);
});

test("small typed arrays and inner parts are private, too", async () => {
  const ref = shoal.put({ small: new Uint8Array(8), large: new Uint8Array(400_000) });
  const one = await shoal.get(ref);
  one.small[0] = 1;
  one.large[0] = 1;
  const two = await shoal.get(ref);
  expect([two.small[0], two.large[0]]).toEqual([0, 0]);
});

test.runIf(process.platform === "linux")(
  "get of a large array by another process copies nothing, however large it is",
  async () => {
    const look = shoal.remote(async (box: [shoal.ObjectRef<Float64Array>]) => {
      const { readFileSync } = await import("node:fs");
      const ownBytes = () => Number(/^RssAnon:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
      const before = ownBytes();
      const array = await shoal.get(box[0]);
      const sum = array[0] + array[array.length - 1];
      return { added: ownBytes() - before, sum };
    });
    const ref = shoal.put(new Float64Array(20_000_000).fill(1)); // 160 MB
    const results = await shoal.get([1, 2, 3, 4, 5].map(() => look.remote([ref])));
    for (const { added, sum } of results) {
      expect(sum).toBe(2);
      expect(added).toBeLessThan(16_000_000);
    }
  },
);

test("a result is written once, and read where it lies", async () => {
  const make = shoal.remote((n: number) => new Float64Array(n).fill(2));
  const array = await shoal.get(make.remote(length));
  expect([array.length, array[0], array[length - 1]]).toEqual([length, 2, 2]);
});
