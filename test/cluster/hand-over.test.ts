/** A node that leaves in good order hands the objects over that only it has. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as shoal from "shoal";
import type { TestNode } from "shoal/testing";
import { describe, expect, test } from "vitest";
import { inCluster, openMarks } from "../support/cluster-driver.ts";
import { markedRun } from "../support/marked-run.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const there = { resources: { there: 0.01 }, numCpus: 0 };
const leaving = { numCpus: 1, resources: { there: 1 } };

/** Leaves a mark for each run. */
const numbers = shoal.remote(async (dir: string, name: string, length: number, value: number) => {
  await markedRun(dir, name, "");
  return new Float64Array(length).fill(value);
});

class Maker {
  make(length: number, value: number): Float64Array {
    return new Float64Array(length).fill(value);
  }
}

/** Owns the results of tasks that it starts. */
class Owner {
  private refs: shoal.ObjectRef<Float64Array>[] = [];
  async ask(task: typeof numbers, dir: string, name: string, length: number, value: number, maxRetries = 0): Promise<void> {
    const ref = task.options({ resources: { there: 0.01 }, numCpus: 0, maxRetries }).remote(dir, name, length, value);
    await shoal.wait([ref], { fetchLocal: false });
    this.refs.push(ref);
  }
  /** Computes for so long, and answers nobody meanwhile. */
  compute(dir: string, ms: number): void {
    writeFileSync(join(dir, "computing"), "set\n");
    for (const until = performance.now() + ms; performance.now() < until; );
  }
  async last(): Promise<number> {
    return (await shoal.get(this.refs[0])).at(-1) as number;
  }
}

async function deathOf(node: TestNode): Promise<string> {
  const view = await waitFor("the head to say that the node is gone", async () =>
    (await shoal.nodes()).find((other) => other.nodeId === node.nodeId && !other.alive),
  );
  return view.deathReason ?? "";
}

const workersOf = async ({ nodeId }: TestNode): Promise<{ state: string }[]> => {
  const runtime = (globalThis as any)[Symbol.for("shoal.runtime")];
  return (await runtime.daemon.request("listWorkers", {})).filter((worker: { nodeId: string }) => worker.nodeId === nodeId);
};

const stored = async (refs: readonly shoal.ObjectRef<unknown>[]): Promise<void> => {
  await shoal.wait([...refs], { numReturns: refs.length, fetchLocal: false });
};

describe("Hand-over: a node that is asked to leave", () => {
  test("gives large results to other nodes: they are got afterwards, and no task runs again", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 0 }));
      const node = seen(await cluster.addNode(leaving));
      await shoal.init({ address: cluster.address });
      const refs = [1, 2, 3].map((n) => numbers.options(there).remote(marks.dir, `task${n}`, 200_000, n));
      await stored(refs);
      await cluster.removeNode(node, { graceful: true });
      expect(await deathOf(node)).toMatch(/^drained: .*SIGTERM; handed over 3 objects \(4\.8 MB\)$/);
      expect((await shoal.get(refs)).map((array) => array.at(-1))).toEqual([1, 2, 3]);
      for (const n of [1, 2, 3]) expect(marks.count(`task${n}-started`)).toBe(1);
    });
  });

  test("gives away what no task could make again: an actor's results, items of a stream, results owned by an actor elsewhere", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(leaving));
      const second = seen(await cluster.addNode({ numCpus: 1, resources: { second: 1 } }));
      await shoal.init({ address: cluster.address });
      const maker = shoal.remote(Maker, { ...there, maxRestarts: 0 }).remote();
      const made = maker.make.remote(200_000, 4);
      const stream = shoal
        .remote(
          function* (length: number) {
            for (let n = 5; n < 7; n++) yield new Float64Array(length).fill(n);
          },
          { ...there, maxRetries: 0 },
        )
        .remote(200_000);
      const items: shoal.ObjectRef<Float64Array>[] = [];
      for await (const item of stream) items.push(item);
      const owner = shoal.remote(Owner, { resources: { second: 0.01 }, numCpus: 0 }).remote();
      await shoal.get(owner.ask.remote(numbers, marks.dir, "owned", 200_000, 8));
      await stored([made, ...items]);
      await shoal.kill(maker);
      await cluster.removeNode(node, { graceful: true });
      expect(await deathOf(node)).toMatch(/handed over 4 objects \(6\.4 MB\)$/);
      expect((await shoal.get([made, ...items])).map((array) => array.at(-1))).toEqual([4, 5, 6]);
      expect(await shoal.get(owner.last.remote())).toBe(8);
      expect(marks.count("owned-started")).toBe(1);
      expect(second.pid).toBeGreaterThan(0);
    });
  });

  test("gives away what has been spilled to its disk, too", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 0 }));
      const node = seen(await cluster.addNode({ ...leaving, objectStoreMemory: 40_000_000 }));
      await shoal.init({ address: cluster.address });
      const refs = [1, 2, 3, 4, 5, 6].map((n) => numbers.options(there).remote(marks.dir, `task${n}`, 1_250_000, n));
      await stored(refs);
      const spilled = () => readdirSync(join(node.sessionDir, "spill")).filter((name) => !name.startsWith("tmp."));
      await waitFor("objects to be on disk", () => spilled().length > 0);
      await cluster.removeNode(node, { graceful: true });
      expect(await deathOf(node)).toMatch(/handed over 6 objects \(60\.0 MB\)$/);
      for (const [i, ref] of refs.entries()) {
        expect((await shoal.get(ref)).at(-1)).toBe(i + 1);
        expect(marks.count(`task${i + 1}-started`)).toBe(1);
      }
    });
  });

  test("passes on what it has taken over from another", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 0, objectStoreMemory: 40_000_000 }));
      const first = seen(await cluster.addNode(leaving));
      await shoal.init({ address: cluster.address });
      const ref = numbers.options(there).remote(marks.dir, "task", 200_000, 9);
      await stored([ref]);
      const second = seen(await cluster.addNode({ numCpus: 0 })); // has more room than the head
      await cluster.removeNode(first, { graceful: true });
      expect(await deathOf(first)).toMatch(/handed over 1 object \(1\.6 MB\)$/);
      await cluster.removeNode(second, { graceful: true });
      expect(await deathOf(second)).toMatch(/handed over 1 object \(1\.6 MB\)$/);
      expect((await shoal.get(ref)).at(-1)).toBe(9);
      expect(marks.count("task-started")).toBe(1);
    });
  });

  test.each([
    { drainMs: 30_000, computesMs: 4_000, says: "handed over 1 object (1.6 MB)", runs: 1 },
    { drainMs: 2_000, computesMs: 6_000, says: "left 1 file whose owners did not answer", runs: 2 },
  ])(
    "waits for an owner that does not answer as it computes, $drainMs ms at most",
    async ({ drainMs, computesMs, says, runs }) => {
      using marks = openMarks();
      await inCluster({}, async (cluster, seen) => {
        seen(await cluster.addNode({ numCpus: 0 }));
        const node = seen(await cluster.addNode({ ...leaving, env: { SHOAL_DRAIN_MS: String(drainMs) } }));
        seen(await cluster.addNode({ numCpus: 1, resources: { second: 1 } }));
        await shoal.init({ address: cluster.address });
        const owner = shoal.remote(Owner, { resources: { second: 0.01 }, numCpus: 0 }).remote();
        await shoal.get(owner.ask.remote(numbers, marks.dir, "owned", 200_000, 8, 3));
        await waitFor("the lease to be given back, which would be waited for, too", async () =>
          (await workersOf(node)).every(({ state }) => state !== "leased"),
        );
        const computing = owner.compute.remote(marks.dir, computesMs);
        await marks.seen("computing");
        await cluster.removeNode(node, { graceful: true });
        expect(await deathOf(node)).toBe(`drained: the daemon was sent SIGTERM; ${says}`);
        seen(await cluster.addNode(leaving));
        await shoal.get(computing);
        expect(await shoal.get(owner.last.remote())).toBe(8);
        expect(marks.count("owned-started")).toBe(runs);
      });
    },
  );

  test("is done by a head that others wait for, too", async () => {
    using marks = openMarks();
    using files = openMarks();
    await inCluster({ storeFile: join(files.dir, "store") }, async (cluster, seen) => {
      const head = seen(await cluster.addNode(leaving));
      const node = seen(await cluster.addNode({ numCpus: 0 }));
      await shoal.init({ address: cluster.addressOf(node), logToDriver: false });
      const ref = numbers.options({ ...there, maxRetries: 0 }).remote(marks.dir, "task", 200_000, 2);
      await stored([ref]);
      await cluster.removeNode(head, { graceful: true });
      expect((await shoal.get(ref)).at(-1)).toBe(2);
      expect(marks.count("task-started")).toBe(1);
    });
  });

  test("leaves what fits nowhere, or was not taken by the deadline, to lineage", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 0, objectStoreMemory: 20_000_000 }));
      const node = seen(await cluster.addNode({ ...leaving, env: { SHOAL_DRAIN_MS: "1500" } }));
      await shoal.init({ address: cluster.address });
      const large = numbers.options(there).remote(marks.dir, "large", 4_000_000, 1);
      const final = numbers.options({ ...there, maxRetries: 0 }).remote(marks.dir, "final", 3_000_000, 2);
      await stored([large, final]);
      const second = seen(await cluster.addNode(leaving));
      await waitFor("all to know of the second node", async () => (await shoal.nodes()).length === 3);
      cluster.freeze(second); // it has room, but does not answer
      await cluster.removeNode(node, { graceful: true });
      cluster.thaw(second);
      expect(await deathOf(node)).toMatch(
        /^drained: .*SIGTERM; left 1 object \(32\.0 MB\) to lineage, lost 1 object \(24\.0 MB\) that no task can make again$/,
      );
      expect(await rejection(shoal.get(final))).toBeInstanceOf(shoal.ObjectReconstructionFailedError);
      expect((await shoal.get(large)).at(-1)).toBe(1);
      expect(marks.count("large-started")).toBe(2);
    });
  });
});
