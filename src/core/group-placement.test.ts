import { describe, expect, it } from "vitest";
import type { ActorId, JobId, NodeId, PlacementGroupId } from "../base/ids.ts";
import {
  createGroupPlacement,
  type GroupPlacementEffect,
  type GroupPlacementEvent,
  type GroupSpec,
  step,
  validate,
} from "./group-placement.ts";
import { candidateOf } from "./placement.ts";

const a = "a" as NodeId;
const b = "b" as NodeId;
const groupId = "g" as PlacementGroupId;
const spec: GroupSpec = {
  groupId,
  bundles: [{ CPU: 1 }, { CPU: 1 }],
  strategy: "STRICT_SPREAD",
  name: null,
  detached: false,
  jobId: "job" as JobId,
};

class Story {
  readonly state = createGroupPlacement();

  /** Effects by kind, node and what they are about, without what is only done for the next head. */
  do(event: GroupPlacementEvent): string[] {
    const node = (nodeId: NodeId) => ({ nodeId, resources: { CPU: 1 }, available: { CPU: 1 }, labels: {} });
    const view = { candidates: [b, a].map((nodeId) => candidateOf(node(nodeId))), living: new Set([a, b]), random: () => 0 };
    const effects = step(this.state, 0, event, view);
    validate(this.state);
    return effects.filter(({ kind }) => kind !== "save").map(textOf);
  }

  tries(): number {
    return this.state.groups.get(groupId)?.attempt ?? 0;
  }

  placed(): void {
    this.do({ kind: "place", spec });
    for (const nodeId of [a, b]) this.do({ kind: "reserved", nodeId, groupId, attempt: 1 });
  }

  /** Node b joins again with these bundles. */
  back(indexes: readonly number[], known: readonly PlacementGroupId[] = [groupId]): string[] {
    return this.do({ kind: "nodeBack", nodeId: b, bundles: new Map(indexes.length === 0 ? [] : [[groupId, indexes]]), known });
  }
}

function textOf(effect: GroupPlacementEffect): string {
  if (effect.kind === "reserve") return `reserve ${effect.nodeId} ${effect.indexes} try ${effect.attempt}`;
  if (effect.kind === "release") return `release ${effect.nodeId} ${effect.indexes ?? "all"}`;
  if (effect.kind === "announce") return `announce ${effect.nodeId ?? "to all"} ${effect.nodes.map((nodeId) => nodeId ?? "-")}`;
  return effect.kind === "gone" ? `gone with ${effect.actorIds.length} actors` : effect.kind;
}

describe("a placement group that a node had no room for after all", () => {
  const refuse = (story: Story): string[] => story.do({ kind: "refused", nodeId: b, groupId, attempt: story.tries() });

  it("is tried again at the node's next news, although that shows what it showed before", () => {
    const story = new Story();
    story.do({ kind: "place", spec });
    expect(refuse(story)).toEqual(["release a 0"]);
    expect(story.do({ kind: "nodeHeard", nodeId: a })).toEqual([]);
    expect(story.do({ kind: "nodeHeard", nodeId: b })).toEqual(["reserve a 0 try 2", "reserve b 1 try 2"]);
    expect(story.do({ kind: "nodeHeard", nodeId: b })).toEqual([]);
  });

  it("is tried once for each refusal", () => {
    const story = new Story();
    story.do({ kind: "place", spec });
    for (let tries = 2; tries < 5; tries++) {
      refuse(story);
      expect(story.do({ kind: "nodeHeard", nodeId: b })).toContain(`reserve b 1 try ${tries}`);
    }
    refuse(story);
    story.do({ kind: "remove", groupId });
    expect(story.do({ kind: "nodeHeard", nodeId: b })).toEqual([]);
  });
});

describe("a placement group that is removed while it is tried", () => {
  it("is gone when those that had reserved have answered, and those that had not have refused", () => {
    const story = new Story();
    story.do({ kind: "place", spec });
    expect(story.do({ kind: "remove", groupId })).toEqual(["release a all", "release b all"]);
    expect(story.do({ kind: "refused", nodeId: b, groupId, attempt: 1 })).toEqual([]);
    expect(story.do({ kind: "removed", nodeId: a, groupId, actorIds: [] })).toEqual(["announce to all ", "gone with 0 actors"]);
  });
});

describe("placement groups, when a node joins again", () => {
  it("that were being reserved there are tried anew: the order or the answer may be lost", () => {
    const story = new Story();
    expect(story.do({ kind: "place", spec })).toEqual(["reserve a 0 try 1", "reserve b 1 try 1"]);
    story.do({ kind: "reserved", nodeId: a, groupId, attempt: 1 });
    const effects = story.back([1]);
    expect(effects).toContain("release a 0");
    expect(effects).toContain("release b 1");
    expect(effects.slice(-2)).toEqual(["reserve a 0 try 2", "reserve b 1 try 2"]);
    expect(story.do({ kind: "reserved", nodeId: b, groupId, attempt: 1 })).toEqual([]);
  });

  it("that are placed are told again, and a bundle that is missing gets a new place", () => {
    const story = new Story();
    story.placed();
    expect(story.back([1])).toEqual(["announce b a,b"]);
    expect(story.back([])).toEqual(["announce to all a,-", "rescheduling", "announce b a,-", "reserve b 1 try 2"]);
  });

  it("that have lost all their places are told too", () => {
    const story = new Story();
    story.placed();
    story.do({ kind: "hold" });
    for (const nodeId of [a, b]) story.do({ kind: "nodeGone", nodeId });
    expect(story.back([])).toEqual(["announce b -,-"]);
  });

  it("that are being removed are ordered to be removed again; those that are gone, too", () => {
    const story = new Story();
    story.placed();
    story.do({ kind: "remove", groupId });
    expect(story.back([1])).toEqual(["release b all"]);
    story.do({ kind: "removed", nodeId: a, groupId, actorIds: ["x" as ActorId] });
    expect(story.back([])).toEqual(["release b all", "announce to all ", "gone with 1 actors", "release b all"]);
    expect(story.back([])).toEqual(["release b all"]);
    expect(story.back([], [])).toEqual([]);
  });
});
