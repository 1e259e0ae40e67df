import { describe, expect, it } from "vitest";
import type { NodeId, NodeKey } from "../base/ids.ts";
import type { SchedulingSpec } from "../wire/messages.ts";
import { chooseNode, matchesLabels, type NodeCandidate } from "./placement.ts";
import { createNodePool, toDemand } from "./resources.ts";

const a = "a" as NodeId;

function node(nodeId: string, cpus: number, free = cpus, labels: Record<string, string> = {}): NodeCandidate {
  const pool = createNodePool({ CPU: cpus }, 4);
  pool.available.set("CPU", free * 10_000);
  return { nodeId: nodeId as NodeId, labels, total: pool.total, available: pool.available };
}

function choose(spec: Partial<SchedulingSpec>, nodes: NodeCandidate[]): string {
  const full: SchedulingSpec = {
    resources: { CPU: 1 },
    strategy: { kind: "default" },
    labelSelector: {},
    runtimeEnv: null,
    label: "f",
    ...spec,
  };
  const choice = chooseNode(full, toDemand(full.resources), a, nodes);
  return choice.kind === "node" ? choice.nodeId : choice.kind;
}

describe("chooseNode()", () => {
  it("stays local until the local node is half used, then takes the least used", () => {
    expect(choose({}, [node("a", 4, 3), node("b", 4, 4)])).toBe("a");
    expect(choose({}, [node("a", 4, 1), node("b", 4, 3), node("c", 4, 4)])).toBe("c");
  });

  it("takes a free node before a full one, and waits at one that could serve it when all are full", () => {
    expect(choose({}, [node("a", 4, 0), node("b", 4, 1)])).toBe("b");
    expect(choose({}, [node("a", 4, 0), node("b", 4, 0)])).toMatch(/a|b/);
    expect(choose({ resources: { CPU: 3 } }, [node("a", 2), node("b", 4, 0)])).toBe("b");
  });

  it("goes to the preferred node while that has room, unless it is to spread", () => {
    const nodes = [node("a", 4), node("b", 4, 1), node("c", 4, 3)];
    expect(choose({ prefer: "b" as NodeKey }, nodes)).toBe("b");
    expect(choose({ prefer: "b" as NodeKey }, [nodes[0], node("b", 4, 0)])).toBe("a");
    expect(choose({ prefer: "b" as NodeKey, strategy: { kind: "spread" } }, nodes)).toBe("a");
  });

  it("leaves draining nodes out", () => {
    expect(choose({}, [{ ...node("a", 4), draining: true }, node("b", 4, 0)])).toBe("b");
    expect(choose({}, [{ ...node("a", 4), draining: true }])).toBe("infeasible");
  });

  it("spreads over the least used nodes", () => {
    expect(choose({ strategy: { kind: "spread" } }, [node("a", 4, 3), node("b", 4, 4)])).toBe("b");
  });

  it("a hard affinity to a node that is not there can never be met, a soft one goes elsewhere", () => {
    expect(choose({ strategy: { kind: "node", nodeId: "x", soft: false } }, [node("a", 4)])).toBe("unschedulable");
    expect(choose({ strategy: { kind: "node", nodeId: "x", soft: true } }, [node("a", 4)])).toBe("a");
    expect(choose({ strategy: { kind: "node", nodeId: "b", soft: true } }, [node("a", 4), node("b", 4)])).toBe("b");
    expect(
      choose({ resources: { CPU: 8 }, strategy: { kind: "node", nodeId: "b", soft: true } }, [node("a", 8), node("b", 4)]),
    ).toBe("a");
  });

  it("a request larger than any node, or for labels no node has, waits", () => {
    expect(choose({ resources: { CPU: 8 } }, [node("a", 4), node("b", 4)])).toBe("infeasible");
    expect(choose({ labelSelector: { zone: "x" } }, [node("a", 4, 4, { zone: "y" })])).toBe("infeasible");
  });

  it("a request for labels no node has names the values that there are", () => {
    const nodes = [..."gfedcba"].map((zone) => node(`n${zone}`, 4, 4, { zone }));
    const spec: SchedulingSpec = {
      resources: { CPU: 1 },
      strategy: { kind: "default" },
      labelSelector: { zone: "x", disk: "ssd" },
      runtimeEnv: null,
      label: "f",
    };
    expect(chooseNode(spec, toDemand(spec.resources), a, nodes)).toEqual({
      kind: "infeasible",
      text: `no node has labels that match {"zone":"x","disk":"ssd"} ('zone' is a, b, c, d, e and 2 more; no node has a label 'disk')`,
    });
  });
});

describe("matchesLabels()", () => {
  it("knows v, !v, in(...) and !in(...)", () => {
    const labels = { zone: "a" };
    expect(matchesLabels({ zone: "a" }, labels)).toBe(true);
    expect(matchesLabels({ zone: "!a" }, labels)).toBe(false);
    expect(matchesLabels({ zone: "in(b, a)" }, labels)).toBe(true);
    expect(matchesLabels({ zone: "!in(b,a)" }, labels)).toBe(false);
    expect(matchesLabels({ disk: "!ssd" }, labels)).toBe(true);
    expect(matchesLabels({ disk: "ssd" }, labels)).toBe(false);
    expect(matchesLabels({ zone: "a", disk: "in(ssd)" }, labels)).toBe(false);
  });
});
