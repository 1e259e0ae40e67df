/** Behaviours of Ray that need several nodes (reference numbers in docs/ray-parity.md). */
import * as shoal from "shoal";
import { Cluster, type TestNode } from "shoal/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../support/wait-for.ts";

const megabyte = 1_000_000;

class Counter {
  private n = 0;
  next(): number {
    return ++this.n;
  }
  where(): string {
    return shoal.getRuntimeContext().nodeId;
  }
}

describe("actors on nodes that are removed", () => {
  test("all start again elsewhere, and no call with retries fails", async () => {
    await using cluster = new Cluster();
    await cluster.addNode({ numCpus: 2 });
    const removable = await Promise.all([1, 2].map(() => cluster.addNode({ numCpus: 2, resources: { slot: 8 } })));
    await cluster.addNode({ numCpus: 2, resources: { slot: 16 } });
    await shoal.init({ address: cluster.address });
    try {
      const Restartable = shoal.remote(Counter, { numCpus: 0, resources: { slot: 1 }, maxRestarts: -1, maxTaskRetries: -1 });
      const counters = Array.from({ length: 12 }, () => Restartable.remote());
      const places = await shoal.get(counters.map((counter) => counter.where.remote()));
      expect(removable.filter(({ nodeId }) => places.includes(nodeId)).length).toBeGreaterThan(0);
      for (const node of removable) {
        await cluster.killNode(node);
        for (const count of await shoal.get(counters.map((counter) => counter.next.remote()))) expect(count).toBeGreaterThan(0);
      }
      const later = await shoal.get(counters.map((counter) => counter.where.remote()));
      for (const { nodeId } of removable) expect(later).not.toContain(nodeId);
    } finally {
      await shoal.shutdown();
    }
  });
});

describe("across three nodes", () => {
  const cluster = new Cluster();
  let nodes: TestNode[];

  beforeAll(async () => {
    const head = await cluster.addNode({ numCpus: 2, objectStoreMemory: 100 * megabyte });
    nodes = [head, await cluster.addNode({ numCpus: 2, objectStoreMemory: 100 * megabyte, resources: { far: 10 } })];
    nodes.push(await cluster.addNode({ numCpus: 2, objectStoreMemory: 200 * megabyte }));
    await shoal.init({ address: cluster.address });
  });
  afterAll(async () => {
    await shoal.shutdown();
    await cluster.close();
  });

  test("a chain of actors streams 40 MB items from one to the next", async () => {
    class Stage {
      private readonly add: number;
      constructor(add: number) {
        this.add = add;
      }
      *source(count: number, length: number) {
        for (let i = 0; i < count; i++) yield new Float64Array(length).fill(i);
      }
      pass(item: Float64Array): Float64Array {
        return item.map((value) => value + this.add);
      }
    }
    const stages = [0, 1, 2, 0].map((at, i) =>
      shoal.remote(Stage, { numCpus: 0, schedulingStrategy: shoal.nodeAffinity(nodes[at].nodeId) }).remote(10 ** i),
    );
    const sums: number[] = [];
    for await (const item of stages[0].source.remote(3, 5_000_000)) {
      using first = stages[1].pass.remote(item);
      using second = stages[2].pass.remote(first);
      using third = stages[3].pass.remote(second);
      const value = await shoal.get(third);
      expect(value).toHaveLength(5_000_000);
      sums.push(value[0], value[value.length - 1]);
    }
    expect(sums).toEqual([1110, 1110, 1111, 1111, 1112, 1112]);
  });

  test("200 arguments of 1 MB each pass through stores of 100 MB, and no lease stays behind", async () => {
    const total = shoal.remote((...parts: Uint8Array[]) => parts.reduce((sum, part) => sum + part[0] + part.length, 0), {
      resources: { far: 1 },
    });
    const parts = Array.from({ length: 200 }, (_, i) => shoal.put(new Uint8Array(megabyte).fill(i % 7)));
    const expected = parts.reduce((sum, _part, i) => sum + (i % 7) + megabyte, 0);
    expect(await shoal.get(total.remote(...parts))).toBe(expected);
    await waitFor("every resource to be free again", async () => {
      const [all, free] = await Promise.all([shoal.clusterResources(), shoal.availableResources()]);
      return all.CPU === free.CPU && all.far === free.far;
    });
  });

  test("what an actor on a lost node returned is made again, if the actor may restart and its tasks run again", async () => {
    class Maker {
      make(length: number): Float64Array {
        return new Float64Array(length).fill(3);
      }
    }
    const doomed = await cluster.addNode({ numCpus: 1, resources: { doomed: 10 } });
    const make = (options: shoal.ActorOptions) =>
      shoal.remote(Maker, { numCpus: 0, resources: { doomed: 1 }, ...options }).remote();
    const patient = make({ maxRestarts: 1, maxTaskRetries: 1 });
    const single = make({ maxRestarts: 1, maxTaskRetries: 0 });
    const [kept, lost] = [patient.make.remote(200_000), single.make.remote(200_000)];
    await shoal.wait([kept, lost], { numReturns: 2, fetchLocal: false });
    await cluster.killNode(doomed);
    await cluster.addNode({ numCpus: 1, resources: { doomed: 10 } });
    expect((await shoal.get(kept))[199_999]).toBe(3);
    await expect(shoal.get(lost)).rejects.toBeInstanceOf(shoal.ObjectLostError);
  });
});
