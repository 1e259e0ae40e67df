import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import { Cluster, type TestNode } from "shoal/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../support/wait-for.ts";

describe("a cluster of three nodes", () => {
  const cluster = new Cluster();
  let head: TestNode;
  let second: TestNode;
  let third: TestNode;

  beforeAll(async () => {
    head = await cluster.addNode({ numCpus: 1 });
    [second, third] = await Promise.all([
      cluster.addNode({ numCpus: 1, resources: { bird: 1 }, labels: { zone: "b" } }),
      cluster.addNode({ numCpus: 1, labels: { zone: "c" } }),
    ]);
    await shoal.init({ address: cluster.address });
  });
  afterAll(async () => {
    await shoal.shutdown();
    await cluster.close();
  });

  const whereAmI = shoal.remote(() => shoal.getRuntimeContext().nodeId);

  test("lists its nodes and the sum of what they have", async () => {
    const nodes = await shoal.nodes();
    expect(new Set(nodes.map((node) => node.nodeId))).toEqual(new Set([head.nodeId, second.nodeId, third.nodeId]));
    expect(nodes.filter((node) => node.isHead).map((node) => node.nodeId)).toEqual([head.nodeId]);
    expect(await shoal.clusterResources()).toMatchObject({ CPU: 3, bird: 1 });
  });

  test("runs a task where the resource is that it asks for", async () => {
    expect(await shoal.get(whereAmI.options({ resources: { bird: 1 } }).remote())).toBe(second.nodeId);
  });

  test("runs a task on the node it names, and on one with the labels it names", async () => {
    expect(await shoal.get(whereAmI.options({ schedulingStrategy: shoal.nodeAffinity(third.nodeId) }).remote())).toBe(
      third.nodeId,
    );
    expect(await shoal.get(whereAmI.options({ labelSelector: { zone: "c" } }).remote())).toBe(third.nodeId);
  });

  test("uses all nodes at once for tasks that need a CPU each", async () => {
    const place = mkdtempSync(join(tmpdir(), "shoal-meeting-"));
    // A task that waited for the others by get() would lend its CPU to one of them.
    const attend = shoal.remote(async () => {
      const here = shoal.getRuntimeContext();
      writeFileSync(join(place, here.taskId ?? ""), "");
      while (readdirSync(place).length < 3) await new Promise((resolve) => setImmediate(resolve));
      return here.nodeId;
    });
    try {
      const places = await shoal.get([attend.remote(), attend.remote(), attend.remote()]);
      expect(new Set(places).size).toBe(3);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  test("places actors on several nodes, and their calls and refs work across them", async () => {
    class Keeper {
      private readonly kept = new Map<string, shoal.ObjectRef<number[]>>();
      where(): string {
        return shoal.getRuntimeContext().nodeId;
      }
      keep(name: string, box: { ref: shoal.ObjectRef<number[]> }): void {
        this.kept.set(name, box.ref);
      }
      async sum(name: string): Promise<number> {
        return (await shoal.get(this.kept.get(name) as shoal.ObjectRef<number[]>)).reduce((a, b) => a + b, 0);
      }
    }
    const keepers = [head, second, third].map((node) =>
      shoal.remote(Keeper, { numCpus: 0, schedulingStrategy: shoal.nodeAffinity(node.nodeId) }).remote(),
    );
    expect(await shoal.get(keepers.map((keeper) => keeper.where.remote()))).toEqual([head.nodeId, second.nodeId, third.nodeId]);
    const ref = shoal.put([1, 2, 3]);
    await shoal.get(keepers.map((keeper) => keeper.keep.remote("a", { ref })));
    expect(await shoal.get(keepers.map((keeper) => keeper.sum.remote("a")))).toEqual([6, 6, 6]);
  });
});

describe("a node that dies", () => {
  test("takes nothing with it that can be done again", async () => {
    await using cluster = new Cluster();
    await cluster.addNode({ numCpus: 1 });
    const doomed = await cluster.addNode({ numCpus: 1, resources: { there: 1 } });
    await shoal.init({ address: cluster.address });
    try {
      class Counter {
        private n = 0;
        next(): number {
          return ++this.n;
        }
        where(): string {
          return shoal.getRuntimeContext().nodeId;
        }
      }
      const counter = shoal
        .remote(Counter, { numCpus: 0, resources: { there: 0.1 }, maxRestarts: 1, maxTaskRetries: 3 })
        .remote();
      const doomedActor = shoal.remote(Counter, { numCpus: 0, resources: { there: 0.1 } }).remote();
      expect(await shoal.get(counter.where.remote())).toBe(doomed.nodeId);
      expect(await shoal.get(doomedActor.where.remote())).toBe(doomed.nodeId);
      const big = shoal.remote((n: number) => new Float64Array(n).fill(1), { resources: { there: 0.1 } }).remote(200_000);
      await shoal.wait([big], { fetchLocal: false });

      await cluster.removeNode(doomed);
      await waitFor("the head to notice", async () => (await shoal.nodes()).some((node) => !node.alive));
      await expect(shoal.get(doomedActor.next.remote())).rejects.toBeInstanceOf(shoal.ActorDiedError);

      const again = await cluster.addNode({ numCpus: 1, resources: { there: 1 } });
      expect(await shoal.get(counter.next.remote())).toBe(1);
      expect(await shoal.get(counter.where.remote())).toBe(again.nodeId);
      expect((await shoal.get(big)).length).toBe(200_000);
    } finally {
      await shoal.shutdown();
    }
  });
});

describe("a head that leaves in good order", () => {
  test("ends the cluster: its nodes do not wait for it to come back", async () => {
    await using cluster = new Cluster({ headRestartMs: 600_000 });
    const head = await cluster.addNode({ numCpus: 1 });
    const other = await cluster.addNode({ numCpus: 1 });
    await cluster.removeNode(head, { graceful: true });
    await waitFor("the other node to end", () => !existsSync(`/proc/${other.pid}`));
    await waitFor("its files to be gone", () => !existsSync(other.sessionDir) && !existsSync(other.shmDir));
  });
});
