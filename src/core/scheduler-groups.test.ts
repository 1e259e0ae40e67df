import { describe, expect, it } from "vitest";
import type { ActorId, NodeId } from "../base/ids.ts";
import { availableResources, describe as describeScheduler } from "./scheduler.ts";
import { Harness, inGroup, specOf } from "./scheduler-harness.ts";

function ready(resources: Record<string, number>): Harness {
  const node = new Harness(resources);
  node.job("job1", 1);
  node.startAll();
  return node;
}

describe("placement groups", () => {
  it("reserve all bundles or none", () => {
    const node = ready({ CPU: 4 });
    expect(node.of("groupCreated", node.createGroup("a", [{ CPU: 1 }, { CPU: 2 }]))).toHaveLength(1);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    node.createGroup("b", [{ CPU: 1 }, { CPU: 1 }]);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    const effects = node.removeGroup("a");
    expect(effects.map((effect) => effect.kind)).toEqual(["groupRemoved", "groupCreated"]);
    expect(availableResources(node.state)).toEqual({ CPU: 2 });
  });

  it("of every strategy fit on one node, but STRICT_SPREAD with several bundles waits", () => {
    const node = ready({ CPU: 8 });
    for (const strategy of ["PACK", "STRICT_PACK", "SPREAD"] as const)
      expect(node.of("groupCreated", node.createGroup(strategy, [{ CPU: 1 }, { CPU: 1 }], strategy))).toHaveLength(1);
    expect(node.of("groupCreated", node.createGroup("one", [{ CPU: 1 }], "STRICT_SPREAD"))).toHaveLength(1);
    expect(node.createGroup("two", [{ CPU: 0.1 }, { CPU: 0.1 }], "STRICT_SPREAD")).toEqual([]);
    expect(node.of("warn", node.advance(5000))[0].text).toBe(
      "placement group two cannot be placed: STRICT_SPREAD asks for 2 nodes and there is 1. It waits until there are more",
    );
  });

  it("give their tasks resources from the bundle asked for, or from any", () => {
    const node = ready({ CPU: 4, GPU: 2 });
    node.createGroup("a", [{ CPU: 1 }, { CPU: 1, GPU: 1 }]);
    const [first] = node.run("driver", 1, specOf({ CPU: 1 }, { strategy: inGroup("a", 1) }), 2);
    expect(node.leases.size).toBe(1);
    const second = node.run("driver", 2, specOf({ CPU: 1 }, { strategy: inGroup("a") }), 2);
    expect(second.length).toBe(1);
    expect(availableResources(node.state)).toEqual({ CPU: 2, GPU: 1 });
    node.giveBack(first);
    expect(node.leases.size).toBe(2);
    expect(availableResources(node.state)).toEqual({ CPU: 2, GPU: 1 });
  });

  it("give the GPUs they reserved", () => {
    const node = ready({ CPU: 4, GPU: 3 });
    node.createGroup("a", [{ GPU: 1 }]);
    node.createGroup("b", [{ GPU: 2 }]);
    const [lease] = node.run("driver", 1, specOf({ GPU: 2 }, { strategy: inGroup("b", 0) }), 1);
    expect(lease.gpuIds).toEqual([1, 2]);
  });

  it("let blocked tasks lend their CPU to others of the group only", () => {
    const node = ready({ CPU: 2 });
    node.createGroup("a", [{ CPU: 1 }]);
    const [lease] = node.run("driver", 1, specOf({ CPU: 1 }, { strategy: inGroup("a") }), 1);
    node.block(lease);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    expect(node.run("driver", 2, specOf({ CPU: 1 }, { strategy: inGroup("a") }), 1)).toHaveLength(1);
  });

  it("refuse what they can never hold", () => {
    const node = ready({ CPU: 4 });
    node.createGroup("a", [{ CPU: 1 }, { CPU: 2 }]);
    node.run("driver", 1, specOf({ CPU: 2 }, { strategy: inGroup("a", 0) }), 1);
    node.run("driver", 2, specOf({ CPU: 3 }, { strategy: inGroup("a") }), 1);
    node.run("driver", 3, specOf({ CPU: 1 }, { strategy: inGroup("a", 2) }), 1);
    expect(node.of("unschedulable").map((effect) => effect.text)).toEqual([
      "it asks for more than bundle 0 of placement group a holds",
      "it asks for more than any bundle of placement group a holds",
      "placement group a has no bundle 2, only 2",
    ]);
  });

  it("keep tasks waiting until they are created, and for a moment when nobody knows them yet", () => {
    const node = ready({ CPU: 1 });
    node.createGroup("a", [{ CPU: 1 }]);
    node.createGroup("b", [{ CPU: 1 }]);
    node.run("driver", 1, specOf({ CPU: 1 }, { strategy: inGroup("b") }), 1);
    node.run("driver", 2, specOf({ CPU: 1 }, { strategy: inGroup("c") }), 1);
    node.run("driver", 3, specOf({ CPU: 1 }, { strategy: inGroup("d") }), 1);
    node.removeGroup("a");
    const [lease] = [...node.leases.values()];
    expect(lease.classId).toBe(1);
    node.removeGroup("b");
    node.send({ kind: "workerGone", workerId: lease.workerId });
    node.createGroup("c", [{ CPU: 1 }]);
    node.startAll();
    expect(node.of("grant").at(-1)?.classId).toBe(2);
    node.advance(2000);
    expect(node.of("unschedulable").map((effect) => [effect.classId, effect.text])).toEqual([
      [3, "placement group d does not exist"],
    ]);
  });

  it("that are removed end their tasks, waiting tasks and actors, and give everything back once", () => {
    const node = ready({ CPU: 4 });
    node.createGroup("a", [{ CPU: 2 }, { CPU: 2 }]);
    const spec = specOf({ CPU: 1 }, { strategy: inGroup("a") });
    const [lease] = node.run("driver", 1, spec, 1);
    node.placeActor("actor1", spec, { CPU: 1 });
    node.startAll();
    node.send({ kind: "actorReady", actorId: "actor1" as ActorId });
    node.run("driver", 2, specOf({ CPU: 2 }, { strategy: inGroup("a", 0) }), 1);
    node.placeActor("actor2", specOf({ CPU: 2 }, { strategy: inGroup("a", 0) }));
    const effects = node.removeGroup("a");
    expect(node.of("stopWorker", effects).map((stop) => stop.workerId)).toEqual([lease.workerId]);
    expect(node.of("groupRemoved", effects)).toEqual([{ kind: "groupRemoved", groupId: "a", actorIds: ["actor1"] }]);
    expect(node.of("actorUnplaceable", effects)).toMatchObject([{ actorId: "actor2", text: "placement group a was removed" }]);
    expect(node.of("unschedulable", effects)).toMatchObject([{ classId: 2, text: "placement group a was removed" }]);
    expect(availableResources(node.state)).toEqual({ CPU: 2 });
    node.send({ kind: "workerGone", workerId: lease.workerId });
    node.send({ kind: "actorGone", actorId: "actor1" as ActorId });
    expect(availableResources(node.state)).toEqual({ CPU: 4 });
    expect(node.removeGroup("a")).toEqual([]);
    expect(node.of("unschedulable", node.demand("driver", 1, 1))).toHaveLength(1);
  });
});

describe("actors", () => {
  it("take a CPU to start, and nothing once they have started", () => {
    const node = ready({ CPU: 1 });
    node.placeActor("actor1", specOf({ CPU: 1 }));
    node.placeActor("actor2", specOf({ CPU: 1 }));
    node.startAll();
    expect(node.of("actorPlaced").map((placed) => placed.actorId)).toEqual(["actor1"]);
    node.send({ kind: "actorReady", actorId: "actor1" as ActorId });
    node.startAll();
    expect(node.of("actorPlaced").map((placed) => placed.actorId)).toEqual(["actor1", "actor2"]);
    node.send({ kind: "actorReady", actorId: "actor2" as ActorId });
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
  });

  it("get a process that has run nothing else", () => {
    const node = ready({ CPU: 2 });
    const [lease] = node.run("driver", 1, specOf({ CPU: 1 }), 1);
    node.giveBack(lease);
    node.placeActor("actor1", specOf({ CPU: 1 }));
    node.startAll();
    expect(node.of("actorPlaced")[0].workerId).not.toBe(lease.workerId);
  });

  it("keep GPUs while they live", () => {
    const node = ready({ CPU: 1, GPU: 1 });
    node.placeActor("actor1", specOf({ CPU: 1, GPU: 0.5 }), { GPU: 0.5 });
    node.startAll();
    expect(node.of("actorPlaced")[0].gpuIds).toEqual([0]);
    node.send({ kind: "actorReady", actorId: "actor1" as ActorId });
    expect(availableResources(node.state)).toEqual({ CPU: 1, GPU: 0.5 });
    node.send({ kind: "workerGone", workerId: node.of("actorPlaced")[0].workerId });
    expect(availableResources(node.state)).toEqual({ CPU: 1, GPU: 1 });
  });

  it("whose constructor waits for a task lend their CPU to it", () => {
    const node = ready({ CPU: 1 });
    node.placeActor("actor1", specOf({ CPU: 1 }));
    node.send({ kind: "actorBlocked", actorId: "actor1" as ActorId, blocked: true });
    expect(node.run(node.of("actorPlaced")[0].workerId, 1, specOf({ CPU: 1 }), 1)).toHaveLength(1);
    node.send({ kind: "actorBlocked", actorId: "actor1" as ActorId, blocked: false });
    expect(availableResources(node.state)).toEqual({ CPU: -1 });
    node.send({ kind: "actorReady", actorId: "actor1" as ActorId });
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
  });

  it("that end while they wait, or while their process starts, leave nothing", () => {
    const node = new Harness({ CPU: 1 });
    node.job();
    node.placeActor("actor1", specOf({ CPU: 1 }));
    node.placeActor("actor2", specOf({ CPU: 1 }));
    node.send({ kind: "actorGone", actorId: "actor2" as ActorId });
    node.send({ kind: "actorGone", actorId: "actor1" as ActorId });
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    node.startAll();
    expect(node.of("actorPlaced")).toEqual([]);
    expect(describeScheduler(node.state).demands).toEqual([]);
  });

  it("are placed anew after a crash though the old process is not reported yet", () => {
    const node = ready({ CPU: 1 });
    node.placeActor("actor1", specOf({ CPU: 1 }), { CPU: 1 });
    node.send({ kind: "actorReady", actorId: "actor1" as ActorId });
    const effects = node.placeActor("actor1", specOf({ CPU: 1 }), { CPU: 1 });
    expect(node.of("stopWorker", effects)).toHaveLength(1);
    node.startAll();
    node.send({ kind: "workerGone", workerId: node.of("actorPlaced")[0].workerId });
    expect(node.of("actorPlaced")).toHaveLength(2);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
  });
});

describe("requests that cannot be met", () => {
  it("on a node that is not in the cluster fail at once when the affinity is hard", () => {
    const node = ready({ CPU: 1 });
    node.run("driver", 1, specOf({ CPU: 1 }, { strategy: { kind: "node", nodeId: "elsewhere" as NodeId, soft: false } }), 1);
    expect(node.of("unschedulable")[0].text).toBe("node elsewhere, which it must run on, is not in the cluster");
    expect(
      node.run("driver", 2, specOf({ CPU: 1 }, { strategy: { kind: "node", nodeId: "elsewhere" as NodeId, soft: true } }), 1),
    ).toHaveLength(1);
  });

  it("because they are too large are reported after 5 s and then every minute, once for all alike", () => {
    const node = ready({ CPU: 2 });
    for (let i = 0; i < 3; i++) node.run(`owner${i}`, 1, specOf({ CPU: 8 }, { label: "big" }), 10);
    expect(node.of("warn", node.advance(4999))).toEqual([]);
    const [warning] = node.of("warn", node.advance(1));
    expect(warning).toEqual({
      kind: "warn",
      jobId: "job1",
      text: "big (3 of them) cannot be placed: it asks for {CPU: 8}, and the cluster has one node with {CPU: 2}. It waits until a node that fits joins",
    });
    expect(node.of("warn", node.advance(59_999))).toEqual([]);
    expect(node.of("warn", node.advance(1))).toHaveLength(1);
    for (let i = 0; i < 3; i++) node.demand(`owner${i}`, 1, 0);
    expect(node.of("warn", node.advance(600_000))).toEqual([]);
  });

  it("because of labels are reported with the labels that exist", () => {
    const node = new Harness({ CPU: 2 }, { labels: { zone: "b" } });
    node.job();
    node.run("driver", 1, specOf({ CPU: 1 }, { labelSelector: { zone: "in(a)" } }), 1);
    expect(node.of("warn", node.advance(5000))[0].text).toContain(
      'asks for {CPU: 1} on a node with labels {"zone":"in(a)"}, and the cluster has one node with {CPU: 2} and labels {"zone":"b"}',
    );
  });

  it("now are reported after a minute with who holds what they wait for, but not while their owner has some", () => {
    const node = ready({ CPU: 2 });
    node.placeActor("actor1", specOf({ CPU: 1 }, { label: "Counter" }), { CPU: 1 });
    node.startAll();
    node.run("driver", 1, specOf({ CPU: 1 }, { label: "slow" }), 10);
    expect(node.of("warn", node.advance(200_000))).toEqual([]);
    node.run("driver", 2, specOf({ CPU: 2 }, { label: "wide" }), 1);
    expect(node.of("warn", node.advance(59_000))).toEqual([]);
    expect(node.of("warn", node.advance(1000)).map((warn) => warn.text)).toEqual([
      "wide has waited 60 s for {CPU: 2} of the node. CPU: 2 in all, tasks hold 1 (slow), actors hold 1 (Counter)",
    ]);
    expect(node.of("warn", node.advance(119_000))).toEqual([]);
    expect(node.of("warn", node.advance(1000))).toHaveLength(1);
  });
});
