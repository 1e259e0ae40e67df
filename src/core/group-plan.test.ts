import { describe, expect, it } from "vitest";
import type { NodeId } from "../base/ids.ts";
import type { GroupStrategy, Resources } from "../wire/messages.ts";
import { planGroup } from "./group-plan.ts";
import { candidateOf, type NodeCandidate } from "./placement.ts";
import { toDemand } from "./resources.ts";

function node(nodeId: string, resources: Resources, available: Resources = resources, draining = false): NodeCandidate {
  return candidateOf({ nodeId: nodeId as NodeId, labels: {}, resources, available, draining });
}

function plan(
  strategy: GroupStrategy,
  bundles: Resources[],
  nodes: NodeCandidate[],
  placed?: (string | null)[],
): string | readonly string[] {
  const planned = planGroup(
    bundles.map((bundle) => toDemand(bundle)),
    strategy,
    nodes,
    0,
    placed as (NodeId | null)[] | undefined,
  );
  return planned.kind === "placed" ? planned.nodes : planned.kind;
}

const cpu = { CPU: 1 };

describe("planGroup()", () => {
  it("PACK takes one node if one has room for all", () => {
    expect(plan("PACK", [cpu, cpu, cpu], [node("a", { CPU: 2 }), node("b", { CPU: 4 })])).toEqual(["b", "b", "b"]);
  });

  it("PACK takes few nodes when none has room for all", () => {
    const nodes = [node("a", { CPU: 1 }), node("b", { CPU: 1 }), node("c", { CPU: 3 }), node("d", { CPU: 2 })];
    const packed = plan("PACK", [cpu, cpu, cpu, cpu, cpu], nodes);
    expect(new Set(packed)).toEqual(new Set(["c", "d"]));
  });

  it("PACK puts a large bundle where it fits before small ones fill the place", () => {
    expect(plan("PACK", [cpu, { CPU: 3 }, cpu], [node("a", { CPU: 3 }), node("b", { CPU: 2 })])).toEqual(["b", "a", "b"]);
  });

  it("SPREAD takes as many nodes as there are, and doubles up when there are too few", () => {
    const nodes = [node("a", { CPU: 4 }), node("b", { CPU: 4 })];
    expect(plan("SPREAD", [cpu, cpu], nodes)).toEqual(["a", "b"]);
    const three = plan("SPREAD", [cpu, cpu, cpu], nodes) as string[];
    expect([...three].sort()).toEqual(["a", "a", "b"]);
    expect(plan("SPREAD", [cpu, cpu, cpu], [nodes[0], node("b", { CPU: 4 }, { CPU: 0 })])).toEqual(["a", "a", "a"]);
  });

  it("STRICT_PACK wants one node for all", () => {
    expect(plan("STRICT_PACK", [cpu, cpu], [node("a", { CPU: 1 }), node("b", { CPU: 2 })])).toEqual(["b", "b"]);
    expect(plan("STRICT_PACK", [cpu, cpu], [node("a", { CPU: 1 }), node("b", { CPU: 2 }, { CPU: 1 })])).toBe("wait");
    expect(plan("STRICT_PACK", [cpu, cpu], [node("a", { CPU: 1 }), node("b", { CPU: 1 })])).toBe("infeasible");
  });

  it("STRICT_SPREAD wants a node for each and finds them whenever they exist", () => {
    const nodes = [node("a", { CPU: 2, GPU: 1 }), node("b", { CPU: 2 })];
    expect(plan("STRICT_SPREAD", [cpu, { CPU: 1, GPU: 1 }], nodes)).toEqual(["b", "a"]);
    expect(plan("STRICT_SPREAD", [{ CPU: 0.1 }, { GPU: 1 }], nodes)).toEqual(["b", "a"]);
    expect(plan("STRICT_SPREAD", [cpu, cpu, cpu], nodes)).toBe("infeasible");
    expect(plan("STRICT_SPREAD", [cpu, cpu], [nodes[0], node("b", { CPU: 2 }, { CPU: 0 })])).toBe("wait");
  });

  it("leaves draining nodes out", () => {
    expect(plan("PACK", [cpu], [node("a", { CPU: 4 }, { CPU: 4 }, true), node("b", { CPU: 1 })])).toEqual(["b"]);
    expect(plan("PACK", [cpu], [node("a", { CPU: 4 }, { CPU: 4 }, true)])).toBe("infeasible");
  });

  it("places anew only what has lost its place, under the same strategy", () => {
    const nodes = [node("a", { CPU: 2 }, { CPU: 1 }), node("b", { CPU: 2 })];
    expect(plan("STRICT_SPREAD", [cpu, cpu], nodes, ["a", null])).toEqual(["a", "b"]);
    expect(plan("STRICT_SPREAD", [cpu, cpu], [nodes[0]], ["a", null])).toBe("infeasible");
    expect(plan("PACK", [cpu, cpu], nodes, ["a", null])).toEqual(["a", "a"]);
    expect(plan("SPREAD", [cpu, cpu], nodes, ["a", null])).toEqual(["a", "b"]);
    expect(plan("STRICT_PACK", [cpu, { CPU: 2 }], nodes, ["a", null])).toBe("infeasible");
  });
});
