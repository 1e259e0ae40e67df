/** Where tasks run in a cluster of several nodes: what each node's scheduler decides, seen by the user. */
import * as shoal from "shoal";
import { Cluster, type TestNode } from "shoal/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;

const whereAmI = shoal.remote(() => shoal.getRuntimeContext().nodeId);
/** Holds its resources until the signal is sent, then says where it was. */
const parkUntil = shoal.remote(async (signal: Signal) => {
  await shoal.get(signal.wait.remote());
  return shoal.getRuntimeContext().nodeId;
});
const waiters = (signal: Signal, count: number) =>
  waitFor(`${count} to wait`, async () => (await shoal.get(signal.waiters.remote())) === count);
const free = (resource: string, amount: number) =>
  waitFor(`${amount} ${resource} to be free`, async () => (await shoal.availableResources())[resource] === amount);
const countsOf = (nodes: readonly string[]) =>
  nodes.reduce((counts, node) => counts.set(node, (counts.get(node) ?? 0) + 1), new Map<string, number>());

describe("Tasks in a cluster", () => {
  const cluster = new Cluster();
  let head: TestNode;
  let gold: TestNode;
  let silver: TestNode;

  beforeAll(async () => {
    head = await cluster.addNode({ numCpus: 2, resources: { slot: 2 }, labels: { metal: "iron" } });
    gold = await cluster.addNode({ numCpus: 2, resources: { slot: 2, gold: 2 }, labels: { metal: "gold" } });
    silver = await cluster.addNode({ numCpus: 2, resources: { slot: 2, silver: 1 }, labels: { metal: "silver" } });
    await shoal.init({ address: cluster.address });
  });
  afterAll(async () => {
    await shoal.shutdown();
    await cluster.close();
  });

  test("use every CPU of every node, and no more at once", async () => {
    const signal = SignalActor.remote();
    const holding = shoal.remote(
      async (gate: Signal) => {
        await shoal.get(gate.wait.remote());
        return shoal.getRuntimeContext().nodeId;
      },
      { numCpus: 0, resources: { slot: 1 } },
    );
    const refs = Array.from({ length: 8 }, () => holding.remote(signal));
    await waiters(signal, 6);
    await shoal.get(signal.send.remote());
    const counts = countsOf(await shoal.get(refs.slice(0, 8)));
    expect(counts.size).toBe(3);
    for (const node of [head, gold, silver]) expect(counts.get(node.nodeId)).toBeGreaterThanOrEqual(2);
    await free("slot", 6);
  });

  test("go where the resource is that they ask for, and wait for it there", async () => {
    const refs = Array.from({ length: 6 }, () => whereAmI.options({ resources: { gold: 1 } }).remote());
    expect(new Set(await shoal.get(refs))).toEqual(new Set([gold.nodeId]));
  });

  test("with a node affinity run on that node; with a hard one to an unknown node they fail", async () => {
    const on = (nodeId: string, soft = false) =>
      shoal.get(whereAmI.options({ schedulingStrategy: shoal.nodeAffinity(nodeId, { soft }) }).remote());
    expect(await on(silver.nodeId)).toBe(silver.nodeId);
    expect(await on(head.nodeId)).toBe(head.nodeId);
    expect([head, gold, silver].map((node) => node.nodeId)).toContain(await on("0123456789abcdef", true));
    const error = await rejection(on("0123456789abcdef"));
    expect(error).toBeInstanceOf(shoal.TaskUnschedulableError);
    expect(error.message).toContain("node 0123456789abcdef, which it must run on, is not in the cluster");
  });

  test("with a label selector run on a node that has the labels", async () => {
    const on = (metal: string) => shoal.get(whereAmI.options({ labelSelector: { metal } }).remote());
    expect(await on("silver")).toBe(silver.nodeId);
    expect(await on("!in(silver, iron)")).toBe(gold.nodeId);
  });

  test("that SPREAD run on all nodes", async () => {
    await free("CPU", 6);
    const signal = SignalActor.remote();
    const refs = Array.from({ length: 3 }, () => parkUntil.options({ schedulingStrategy: "SPREAD", numCpus: 1 }).remote(signal));
    await waiters(signal, 3);
    await shoal.get(signal.send.remote());
    expect(countsOf(await shoal.get(refs)).size).toBe(3);
  });

  test("with large arguments run where those are", async () => {
    const make = shoal.remote(() => new Float64Array(500_000).fill(1), {
      schedulingStrategy: shoal.nodeAffinity(silver.nodeId),
    });
    const ref = make.remote();
    await shoal.wait([ref], { fetchLocal: false });
    await free("CPU", 6);
    const place = shoal.remote((array: Float64Array) => [shoal.getRuntimeContext().nodeId, array.length] as const);
    expect(await shoal.get(place.remote(ref))).toEqual([silver.nodeId, 500_000]);
  });

  test("submit tasks of their own to other nodes", async () => {
    const inner = whereAmI.options({ resources: { gold: 1 } });
    const outer = shoal.remote(async () => [shoal.getRuntimeContext().nodeId, await shoal.get(inner.remote())], {
      resources: { silver: 1 },
    });
    expect(await shoal.get(outer.remote())).toEqual([silver.nodeId, gold.nodeId]);
  });

  test("are cancelled by force on another node", async () => {
    const signal = SignalActor.remote();
    const ref = parkUntil.options({ resources: { gold: 1 }, maxRetries: 0 }).remote(signal);
    await waiters(signal, 1);
    await shoal.cancel(ref, { force: true });
    expect(await rejection(shoal.get(ref))).toBeInstanceOf(shoal.TaskCancelledError);
    await free("gold", 2);
  });

  test("run in the bundles of a group wherever they are", async () => {
    const group = shoal.placementGroup([{ slot: 1 }, { slot: 1 }, { slot: 1 }], { strategy: "STRICT_SPREAD" });
    expect(await group.wait({ timeoutMs: 10_000 })).toBe(true);
    const inside = (bundleIndex: number) =>
      whereAmI.options({
        numCpus: 0,
        resources: { slot: 1 },
        schedulingStrategy: shoal.placementGroupScheduling(group, { bundleIndex }),
      });
    const nodes = await shoal.get([0, 1, 2].map((index) => inside(index).remote()));
    expect(new Set(nodes).size).toBe(3);
    expect(await shoal.get([0, 1, 2].map((index) => inside(index).remote()))).toEqual(nodes);
    const any = await shoal.get(Array.from({ length: 9 }, () => inside(-1).remote()));
    expect(nodes).toEqual(expect.arrayContaining([...new Set(any)]));
    await shoal.removePlacementGroup(group);
    expect(await rejection(shoal.get(inside(1).remote()))).toBeInstanceOf(shoal.TaskUnschedulableError);
    await free("slot", 6);
  });
});

describe("A node of a cluster", () => {
  test("that joins gets what waits", async () => {
    await using cluster = new Cluster();
    await cluster.addNode({ numCpus: 1 });
    await shoal.init({ address: cluster.address });
    try {
      const rare = whereAmI.options({ resources: { rare: 1 } }).remote();
      const first = whereAmI.remote();
      await shoal.get(first);
      expect((await shoal.wait([rare], { timeoutMs: 0 }))[0]).toEqual([]);
      const node = await cluster.addNode({ numCpus: 1, resources: { rare: 1 } });
      expect(await shoal.get(rare)).toBe(node.nodeId);
    } finally {
      await shoal.shutdown();
    }
  });

  test("that dies costs its tasks a retry; those without one fail with NodeDiedError", async () => {
    await using cluster = new Cluster();
    await cluster.addNode({ numCpus: 1 });
    const doomed = await cluster.addNode({ numCpus: 2, resources: { spot: 2 } });
    await shoal.init({ address: cluster.address });
    try {
      const signal = SignalActor.options({ schedulingStrategy: shoal.nodeAffinity(cluster.nodes[0].nodeId) }).remote();
      const onSpot = parkUntil.options({ resources: { spot: 1 } });
      const retried = onSpot.remote(signal);
      const lost = onSpot.options({ maxRetries: 0 }).remote(signal);
      await waiters(signal, 2);
      await cluster.removeNode(doomed);
      const error = await rejection(shoal.get(lost));
      expect(error).toBeInstanceOf(shoal.NodeDiedError);
      expect(error.message).toContain(`its node ${doomed.nodeId} died or cannot be reached`);
      await shoal.get(signal.send.remote());
      const fresh = await cluster.addNode({ numCpus: 1, resources: { spot: 1 } });
      expect(await shoal.get(retried)).toBe(fresh.nodeId);
    } finally {
      await shoal.shutdown();
    }
  });
});

test("A task that waits for the only node that could run it goes to another that could and joins", async () => {
  const growing = new Cluster();
  try {
    await growing.addNode({ numCpus: 2 });
    await growing.addNode({ numCpus: 1, resources: { rare: 1 } });
    await shoal.init({ address: growing.address });
    const signal = SignalActor.remote();
    const rare = { numCpus: 0, resources: { rare: 1 } };
    const first = parkUntil.options(rare).remote(signal);
    await waiters(signal, 1);
    const second = whereAmI.options(rare).remote();
    expect((await shoal.wait([second], { timeoutMs: 500 }))[0]).toEqual([]);
    const third = await growing.addNode({ numCpus: 1, resources: { rare: 1 } });
    expect(await shoal.get(second, { timeoutMs: 20_000 })).toBe(third.nodeId);
    await shoal.get(signal.send.remote());
    await shoal.get(first);
  } finally {
    await shoal.shutdown();
    await growing.close();
  }
});
