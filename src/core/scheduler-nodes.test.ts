import { describe, expect, it } from "vitest";
import type { ActorId, NodeId, NodeKey, PlacementGroupId, WorkerId } from "../base/ids.ts";
import { availableResources, describe as describeScheduler } from "./scheduler.ts";
import { Harness, inGroup, specOf } from "./scheduler-harness.ts";

const oneCpu = specOf({ CPU: 1 });

function ready(cpus: number, extra: Record<string, number> = {}): Harness {
  const node = new Harness({ CPU: cpus, ...extra });
  node.job("job1", Math.max(1, cpus));
  node.startAll();
  return node;
}

const onNode = (nodeId: string, soft = false) =>
  specOf({ CPU: 1 }, { strategy: { kind: "node", nodeId: nodeId as NodeId, soft } });

describe("leases in a cluster", () => {
  it("stay on the node until it is half used, then go to the least used one, and wait here when all is taken", () => {
    const node = ready(4);
    node.nodes(["b", { CPU: 4 }]);
    expect(node.run("driver", 1, oneCpu, 2)).toHaveLength(2);
    expect(node.spills()).toEqual([]);
    const effects = node.demand("driver", 1, 5);
    expect(node.spills(effects)).toEqual(["3@b"]);
    expect(node.of("grant", effects)).toHaveLength(2);
    expect(node.spills(node.demand("driver", 1, 4))).toEqual(["1@b"]);
    expect(describeScheduler(node.state).demands).toMatchObject([{ count: 3, why: "waiting" }]);
  });

  it("that wait go to a node as soon as a view shows room there, less what was sent meanwhile", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 2 }, { CPU: 0 }]);
    node.run("driver", 1, oneCpu, 4);
    expect(node.spills()).toEqual([]);
    expect(node.spills(node.nodes(["b", { CPU: 2 }, { CPU: 2 }]))).toEqual(["2@b"]);
    expect(node.spills(node.demand("driver", 1, 1))).toEqual([]);
    expect(node.spills(node.nodes(["b", { CPU: 2 }, { CPU: 1 }]))).toEqual(["1@b"]);
    expect(describeScheduler(node.state).demands).toEqual([]);
  });

  it("of a view that is not newer are not sent twice", () => {
    const node = ready(1);
    const view = { nodeId: "b" as NodeId, labels: {}, total: new Map([["CPU", 20_000]]), version: 7, draining: false };
    const nodes = [{ ...view, available: new Map([["CPU", 10_000]]) }];
    node.send({ kind: "nodesChanged", nodes, gone: [] });
    node.run("driver", 1, oneCpu, 3);
    expect(node.spills()).toEqual(["1@b"]);
    node.send({ kind: "nodesChanged", nodes, gone: [] });
    expect(node.spills()).toEqual(["1@b"]);
  });

  it("are shared among the claims that wait, one each in turn", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 2 }, { CPU: 0 }]);
    node.run("driver1", 1, oneCpu, 3);
    node.define("driver2", 1, oneCpu);
    node.demand("driver2", 1, 3);
    const effects = node.nodes(["b", { CPU: 2 }]);
    expect(node.of("spill", effects).map(({ ownerId, count }) => [ownerId, count])).toEqual([
      ["driver2", 1],
      ["driver1", 1],
    ]);
  });

  it("that only other nodes could ever serve wait there, at the least used", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 1, gold: 1 }, { CPU: 1, gold: 0 }], ["c", { CPU: 1, gold: 4 }, { CPU: 1, gold: 2 }]);
    const gold = specOf({ CPU: 0, gold: 1 });
    node.define("driver", 1, gold);
    expect(node.spills(node.demand("driver", 1, 4))).toEqual(["1@b!", "1@c!", "2@c"]);
    node.nodes(["b", { CPU: 1, gold: 1 }, { CPU: 1, gold: 0 }], ["c", { CPU: 1, gold: 4 }, { CPU: 1, gold: 0 }]);
    node.define("driver", 2, gold);
    expect(node.spills(node.demand("driver", 2, 5)).sort()).toEqual(["1@b!", "4@c!"]);
  });

  it("that wait where alone they can be served need not any more when another node that could serve them joins", () => {
    const node = ready(1);
    const large = specOf({ CPU: 4 });
    node.nodes(["b", { CPU: 4 }, { CPU: 0 }]);
    node.run("driver", 1, large, 2);
    expect(node.spills()).toEqual(["2@b!"]);
    expect(node.spills(node.nodes(["b", { CPU: 4 }, { CPU: 0 }], ["c", { CPU: 2 }]))).toEqual([]);
    expect(node.spills(node.nodes(["b", { CPU: 4 }, { CPU: 0 }], ["c", { CPU: 2 }], ["d", { CPU: 4 }]))).toEqual(["0@b"]);
    expect(node.spills(node.demand("driver", 1, 2))).toEqual(["1@d", "1@b!"].sort());
  });

  it("with a hard affinity go to that node whether it is busy or not, and fail when it is not there or leaves", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 1 }, { CPU: 0 }]);
    node.define("driver", 1, onNode("b"));
    expect(node.spills(node.demand("driver", 1, 2))).toEqual(["2@b!"]);
    node.define("driver", 2, onNode("c"));
    expect(node.of("unschedulable", node.demand("driver", 2, 1))).toMatchObject([
      { classId: 2, text: "node c, which it must run on, is not in the cluster" },
    ]);
    node.nodes(["!b", { CPU: 1 }]);
    expect(node.of("unschedulable", node.demand("driver", 1, 1))).toMatchObject([
      { classId: 1, text: "node b, which it must run on, is leaving the cluster" },
    ]);
  });

  it("with a soft affinity go there too, and elsewhere when the node is gone", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 1 }, { CPU: 0 }]);
    node.define("driver", 1, onNode("b", true));
    expect(node.spills(node.demand("driver", 1, 1))).toEqual(["1@b!"]);
    node.nodes();
    expect(node.of("grant", node.demand("driver", 1, 1))).toHaveLength(1);
  });

  it("with an affinity to this node wait here though others are free", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 8 }]);
    expect(node.run("driver", 1, onNode("node1"), 3)).toHaveLength(1);
    node.nodes(["b", { CPU: 8 }]);
    expect(node.spills()).toEqual([]);
  });

  it("with labels go to the nodes that have them", () => {
    const node = new Harness({ CPU: 4 }, { labels: { zone: "a" } });
    node.job();
    node.nodes(["b", { CPU: 4 }, { CPU: 4 }, { zone: "b" }], ["c", { CPU: 4 }, { CPU: 4 }, { zone: "c" }]);
    node.define("driver", 1, specOf({ CPU: 1 }, { labelSelector: { zone: "!in(a,c)" } }));
    expect(node.spills(node.demand("driver", 1, 3))).toEqual(["3@b"]);
  });

  it("that SPREAD go to all nodes in turn, this one included", () => {
    const node = ready(4);
    node.nodes(["b", { CPU: 4 }], ["c", { CPU: 4 }]);
    const effects = node.run("driver", 1, specOf({ CPU: 1 }, { strategy: { kind: "spread" } }), 6);
    expect(node.spills().sort()).toEqual(["2@b", "2@c"]);
    expect(effects).toHaveLength(2);
  });

  it("go to the node that has most of their arguments while it has room", () => {
    const node = ready(4);
    node.nodes(["b", { CPU: 2 }], ["c", { CPU: 8 }]);
    node.define("driver", 1, specOf({ CPU: 1 }, { prefer: "b" as NodeKey }));
    const effects = node.demand("driver", 1, 4);
    expect(node.spills(effects)).toEqual(["2@b"]);
    expect(node.of("grant", effects)).toHaveLength(2);
  });

  it("without GPUs leave nodes with GPUs to others while there is room elsewhere", () => {
    const node = ready(2);
    node.nodes(["g", { CPU: 8, GPU: 2 }], ["c", { CPU: 4 }]);
    node.define("driver", 1, oneCpu);
    expect(node.spills(node.demand("driver", 1, 7))).toEqual(["4@c", "1@g"]);
  });

  it("that no node can serve are reported with what there is, and go to a node that joins", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 2 }], ["c", { CPU: 2 }]);
    node.run("driver", 1, specOf({ CPU: 8 }, { label: "big" }), 2);
    expect(node.of("warn", node.advance(5000)).map((warn) => warn.text)).toEqual([
      "big cannot be placed: it asks for {CPU: 8}, and none of the cluster's 3 nodes has that ({CPU: 1}; {CPU: 2}). It waits until a node that fits joins",
    ]);
    expect(node.spills(node.nodes(["b", { CPU: 2 }], ["d", { CPU: 16 }]))).toEqual(["2@d"]);
    expect(node.of("warn", node.advance(200_000))).toEqual([]);
  });

  it("never go to a node that drains, and leave this one when it drains itself", () => {
    const node = ready(1);
    node.nodes(["!b", { CPU: 8 }], ["c", { CPU: 1 }, { CPU: 0 }]);
    const [lease] = node.run("driver", 1, oneCpu, 3);
    expect(node.spills()).toEqual([]);
    expect(node.spills(node.nodes(["!node1", { CPU: 1 }], ["!b", { CPU: 8 }], ["c", { CPU: 1 }, { CPU: 0 }]))).toEqual(["2@c!"]);
    node.giveBack(lease);
    expect(node.of("grant", node.demand("driver", 1, 1))).toEqual([]);
    node.nodes(["!node1", { CPU: 1 }]);
    node.demand("driver", 1, 2);
    expect(describeScheduler(node.state).demands).toMatchObject([{ count: 2, why: "infeasible" }]);
    expect(node.of("warn", node.advance(5000)).map((warn) => warn.text)).toEqual([
      "f cannot be placed: every node of the cluster is leaving. It waits until another joins",
    ]);
    node.nodes(["!node1", { CPU: 1 }], ["!b", { CPU: 8 }], ["c", { CPU: 0 }]);
    expect(node.of("warn", node.advance(60_000)).map((warn) => warn.text)).toEqual([
      "f cannot be placed: it asks for {CPU: 1}, and no node that stays has that ({}). It waits until a node that fits joins",
    ]);
  });

  it("that ask for no CPU do not go back and forth", () => {
    const node = ready(1);
    node.nodes(["b", { CPU: 1 }]);
    node.define("driver", 1, specOf({ CPU: 0 }));
    const first = node.demand("driver", 1, 100);
    expect(node.spills(first)).toEqual(["4@b"]);
    expect(node.spills(node.demand("driver", 1, 100))).toEqual([]);
  });
});

describe("owners of other nodes", () => {
  it("get what can be granted at once and are declined the rest", () => {
    const node = ready(2);
    node.nodes(["b", { CPU: 8 }]);
    node.define("far", 1, oneCpu, "job1", true);
    const effects = node.demand("far", 1, 5);
    expect(node.of("grant", effects)).toHaveLength(2);
    expect(node.of("decline", effects)).toEqual([{ kind: "decline", ownerId: "far", classId: 1, count: 3 }]);
    expect(node.spills()).toEqual([]);
    expect(describeScheduler(node.state).demands).toEqual([]);
    node.giveBack([...node.leases.values()][0]);
    expect(node.of("grant", node.demand("far", 1, 1))).toHaveLength(1);
  });

  it("wait for processes that are starting for them", () => {
    const node = new Harness({ CPU: 2 });
    node.define("far", 1, oneCpu, "job1", true);
    expect(node.of("decline", node.demand("far", 1, 3))).toMatchObject([{ count: 1 }]);
    node.startAll();
    expect(node.leases.size).toBe(2);
  });

  it("that ask hard wait like those of this node", () => {
    const node = ready(1);
    const [lease] = node.run("driver", 1, oneCpu, 1);
    node.define("far", 1, oneCpu, "job2", true);
    expect(node.of("decline", node.demand("far", 1, 2, true))).toEqual([]);
    node.giveBack(lease);
    node.startAll();
    expect([...node.leases.values()].map((granted) => granted.ownerId)).toEqual(["far"]);
    node.send({ kind: "ownerGone", ownerId: "far" as WorkerId });
    expect(describeScheduler(node.state).demands).toEqual([]);
  });

  it("get nothing from a node that drains", () => {
    const node = ready(1);
    node.run("driver", 1, oneCpu, 1);
    node.define("far", 1, oneCpu, "job1", true);
    node.demand("far", 1, 2, true);
    expect(node.of("decline", node.nodes(["!node1", { CPU: 1 }]))).toMatchObject([{ count: 2 }]);
    expect(node.of("decline", node.demand("far", 1, 1, true))).toMatchObject([{ count: 1 }]);
  });
});

describe("placement groups over nodes", () => {
  const inFirst = specOf({ CPU: 1 }, { strategy: inGroup("g", 0) });
  const inSecond = specOf({ CPU: 1 }, { strategy: inGroup("g", 1) });
  const inAny = specOf({ CPU: 1 }, { strategy: inGroup("g") });

  it("keep some of their bundles here, now or not at all", () => {
    const node = ready(2);
    expect(node.of("groupCreated", node.reserve("g", { 1: { CPU: 1 }, 3: { CPU: 1 } }))).toHaveLength(1);
    expect(node.reserve("h", { 0: { CPU: 1 } })).toEqual([{ kind: "groupRefused", groupId: "h" }]);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
    node.removeGroup("g");
    expect(node.of("groupCreated", node.reserve("h", { 0: { CPU: 1 } }))).toHaveLength(1);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
  });

  it("serve their tasks from the bundle with that number in the group, here or where it is", () => {
    const node = ready(2);
    node.nodes(["b", { CPU: 2 }]);
    node.groupPlaced("g", [null, null], [{ CPU: 1 }, { CPU: 1 }]);
    node.reserve("g", { 1: { CPU: 1 } });
    node.define("driver", 1, inFirst);
    node.define("driver", 2, inSecond);
    node.demand("driver", 1, 3);
    node.demand("driver", 2, 3);
    node.advance(60_000);
    expect(node.of("grant")).toEqual([]);
    expect(node.of("unschedulable")).toEqual([]);
    const effects = node.groupPlaced("g", ["b", "node1"], [{ CPU: 1 }, { CPU: 1 }]);
    expect(node.spills(effects)).toEqual(["3@b!"]);
    expect(node.of("grant", effects).map((grant) => grant.classId)).toEqual([2]);
  });

  it("spread tasks of any bundle in proportion to the room", () => {
    const node = ready(2);
    node.nodes(["b", { CPU: 4 }]);
    node.reserve("g", { 0: { CPU: 1 } });
    node.groupPlaced("g", ["node1", "b", "b"], [{ CPU: 1 }, { CPU: 2 }, { CPU: 1 }]);
    node.define("driver", 1, inAny);
    const effects = node.demand("driver", 1, 4);
    expect(node.spills(effects)).toEqual(["3@b!"]);
    expect(node.of("grant", effects)).toHaveLength(1);
    expect(node.spills(node.demand("driver", 1, 8))).toEqual(["6@b!"]);
    expect(node.spills(node.demand("driver", 1, 6))).toEqual(["3@b!"]);
  });

  it("refuse what no bundle holds, wherever it is", () => {
    const node = ready(2);
    node.nodes(["b", { CPU: 4 }]);
    node.groupPlaced("g", ["b", "b"], [{ CPU: 1 }, { CPU: 2 }]);
    node.run("driver", 1, specOf({ CPU: 2 }, { strategy: inGroup("g", 0) }), 1);
    node.run("driver", 2, specOf({ CPU: 3 }, { strategy: inGroup("g") }), 1);
    node.run("driver", 3, specOf({ CPU: 1 }, { strategy: inGroup("g", 2) }), 1);
    expect(node.of("unschedulable").map((effect) => effect.text)).toEqual([
      "it asks for more than bundle 0 of placement group g holds",
      "it asks for more than any bundle of placement group g holds",
      "placement group g has no bundle 2, only 2",
    ]);
  });

  it("let tasks wait while a bundle is placed anew, and take further bundles of theirs in", () => {
    const node = ready(2);
    node.nodes(["b", { CPU: 2 }]);
    node.reserve("g", { 0: { CPU: 1 } });
    node.groupPlaced("g", ["node1", "b"], [{ CPU: 1 }, { CPU: 1 }]);
    node.nodes();
    node.groupPlaced("g", ["node1", null], [{ CPU: 1 }, { CPU: 1 }]);
    node.define("driver", 1, inSecond);
    expect(node.demand("driver", 1, 1)).toEqual([]);
    expect(node.of("groupCreated", node.reserve("g", { 1: { CPU: 1 } }))).toHaveLength(1);
    const effects = node.groupPlaced("g", ["node1", "node1"], [{ CPU: 1 }, { CPU: 1 }]);
    expect(node.of("grant", effects)).toHaveLength(1);
    expect(availableResources(node.state)).toEqual({ CPU: 0 });
  });

  it("of which a reservation is undone live on and may be reserved again", () => {
    const node = ready(2);
    node.groupPlaced("g", [null, null]);
    node.reserve("g", { 0: { CPU: 1 }, 1: { CPU: 1 } });
    const undo = (indexes: number[]) => node.send({ kind: "removeBundles", groupId: "g" as PlacementGroupId, indexes });
    undo([1]);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
    undo([0]);
    expect(availableResources(node.state)).toEqual({ CPU: 2 });
    expect(describeScheduler(node.state).groups).toEqual([]);
    expect(node.of("groupCreated", node.reserve("g", { 0: { CPU: 2 } }))).toHaveLength(1);
  });

  it("send tasks of other nodes back when the bundle is not here", () => {
    const node = ready(2);
    node.reserve("g", { 0: { CPU: 1 } });
    node.groupPlaced("g", ["node1", "b"], [{ CPU: 1 }, { CPU: 1 }]);
    node.define("far", 1, inSecond, "job1", true);
    node.define("far", 2, inFirst, "job1", true);
    expect(node.of("decline", node.demand("far", 1, 2, true))).toMatchObject([{ count: 2 }]);
    expect(node.of("grant", node.demand("far", 2, 2, true))).toHaveLength(1);
    expect(node.of("decline")).toHaveLength(1);
  });

  it("that are removed refuse who waits, on nodes without a bundle as well", () => {
    const node = ready(2);
    node.groupPlaced("g", [null]);
    node.define("driver", 1, inFirst);
    node.demand("driver", 1, 1);
    expect(node.of("unschedulable", node.groupPlaced("g", []))).toMatchObject([{ text: "placement group g was removed" }]);
    node.groupPlaced("g", ["b"]);
    expect(node.of("unschedulable", node.demand("driver", 1, 1))).toMatchObject([{ text: "placement group g was removed" }]);
    expect(node.reserve("g", { 0: { CPU: 1 } })).toEqual([{ kind: "groupRefused", groupId: "g" }]);
  });

  it("hold actors in the bundle here", () => {
    const node = ready(2);
    node.reserve("g", { 2: { CPU: 1 } });
    node.groupPlaced("g", ["b", "b", "node1"], [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }]);
    node.placeActor("actor1", specOf({ CPU: 1 }, { strategy: inGroup("g", 2) }), { CPU: 1 });
    node.startAll();
    expect(node.of("actorPlaced").map((placed) => placed.actorId)).toEqual(["actor1" as ActorId]);
    expect(availableResources(node.state)).toEqual({ CPU: 1 });
  });
});
