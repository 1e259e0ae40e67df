import { describe, expect, test } from "vitest";
import type { NodeId } from "../base/ids.ts";
import type { JoinInfo } from "../wire/node-messages.ts";
import {
  createMembership,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipState,
  nextWakeMs,
  step,
  validate,
} from "./membership.ts";

const timeoutMs = 10_000;
const announceMs = 50;

function info(nodeId: string, cpus = 2): JoinInfo {
  return {
    nodeId: nodeId as NodeId,
    hostname: nodeId,
    host: "10.0.0.1",
    port: 1,
    resources: { CPU: cpus },
    available: { CPU: cpus },
    labels: {},
    objectStoreMemory: 0,
    driverOnly: false,
    here: null,
  };
}

function machine() {
  const state: MembershipState = createMembership({ timeoutMs, announceMs });
  const at = (now: number, event: MembershipEvent): MembershipEffect[] => {
    const effects = step(state, now, event);
    validate(state);
    return effects;
  };
  const join = (now: number, nodeId: string, isHead = false) => at(now, { kind: "join", info: info(nodeId), isHead });
  const beat = (now: number, nodeId: string, cpus: number) =>
    at(now, { kind: "heartbeat", nodeId: nodeId as NodeId, available: { CPU: cpus }, pending: [], storeUsed: 0 });
  return { state, at, join, beat };
}

const kinds = (effects: readonly MembershipEffect[]): string[] => effects.map((effect) => effect.kind);

describe("membership", () => {
  test("a node is a member as soon as it is accepted, and everybody is told at once", () => {
    const { join } = machine();
    const effects = join(0, "aaaaaa0000000000");
    expect(kinds(effects)).toEqual(["accepted", "announce"]);
    expect(effects[1]).toMatchObject({ nodes: [{ nodeId: "aaaaaa0000000000", alive: true, available: { CPU: 2 } }] });
  });

  test("a second node whose processes' ids would begin alike is refused", () => {
    const { join } = machine();
    join(0, "aaaaaa0000000000");
    expect(join(1, "aaaaaa1111111111")[0]).toMatchObject({
      kind: "refused",
      reason: expect.stringContaining("aaaaaa0000000000"),
    });
  });

  test("silence for the timeout is death, a moment less is not; the head's own node is never silent", () => {
    const { state, at, join, beat } = machine();
    join(0, "aaaaaa0000000000", true);
    join(0, "bbbbbb0000000000");
    beat(1_000, "bbbbbb0000000000", 2);
    // The look that its joining asked for finds that it has been heard of since, and asks for the next.
    expect(nextWakeMs(state)).toBe(timeoutMs);
    expect(kinds(at(timeoutMs, { kind: "tick" }))).toEqual([]);
    expect(nextWakeMs(state)).toBe(1_000 + timeoutMs);
    expect(kinds(at(1_000 + timeoutMs - 1, { kind: "tick" }))).toEqual([]);
    const effects = at(1_000 + timeoutMs, { kind: "tick" });
    expect(kinds(effects)).toEqual(["dead", "announce"]);
    expect(effects[0]).toMatchObject({ nodeId: "bbbbbb0000000000", reason: "nothing was heard from it for 10 s" });
  });

  test("a broken connection is looked into once, and only a node whose daemon is gone is dead", () => {
    const { at, join } = machine();
    join(0, "aaaaaa0000000000");
    const nodeId = "aaaaaa0000000000" as NodeId;
    expect(kinds(at(1, { kind: "disconnected", nodeId, reason: "reset" }))).toEqual(["probe"]);
    expect(kinds(at(2, { kind: "disconnected", nodeId, reason: "reset" }))).toEqual([]);
    expect(kinds(at(3, { kind: "probed", nodeId, gone: false }))).toEqual([]);
    expect(kinds(at(4, { kind: "disconnected", nodeId, reason: "reset" }))).toEqual(["probe"]);
    expect(kinds(at(60, { kind: "probed", nodeId, gone: true }))).toEqual(["dead", "announce"]);
  });

  test("what was found of a broken connection does not count against a node that has come back since", () => {
    const { at, join } = machine();
    const nodeId = "aaaaaa0000000000" as NodeId;
    join(0, nodeId);
    at(1, { kind: "disconnected", nodeId, reason: "reset" });
    join(2, nodeId);
    expect(kinds(at(3, { kind: "probed", nodeId, gone: true }))).toEqual([]);
  });

  test("a node that lost its connection may come back before it is given up, but not after", () => {
    const { at, join } = machine();
    const nodeId = "aaaaaa0000000000" as NodeId;
    join(0, nodeId);
    at(1, { kind: "disconnected", nodeId, reason: "reset" });
    expect(kinds(join(2, nodeId))).toContain("accepted");
    at(3 + timeoutMs, { kind: "tick" });
    expect(join(4 + timeoutMs, nodeId)[0]).toMatchObject({ kind: "refused", reason: expect.stringContaining("declared dead") });
  });

  test("what is free is announced when it changed, at most every announceMs, and only what changed", () => {
    const { state, at, join, beat } = machine();
    join(0, "aaaaaa0000000000");
    join(1, "bbbbbb0000000000");
    expect(kinds(beat(2, "aaaaaa0000000000", 1))).toEqual([]);
    expect(nextWakeMs(state)).toBe(1 + announceMs);
    const effects = at(1 + announceMs, { kind: "tick" });
    expect(effects).toMatchObject([{ kind: "announce", nodes: [{ nodeId: "aaaaaa0000000000", available: { CPU: 1 } }] }]);
    expect((effects[0] as unknown as { nodes: unknown[] }).nodes).toHaveLength(1);
    expect(kinds(beat(200, "aaaaaa0000000000", 1))).toEqual([]);
  });

  test("a draining node is announced as such and ends by its own word", () => {
    const { at, join } = machine();
    const nodeId = "aaaaaa0000000000" as NodeId;
    join(0, nodeId);
    expect(at(1, { kind: "drain", nodeId })).toMatchObject([{ kind: "announce", nodes: [{ draining: true, alive: true }] }]);
    expect(at(2, { kind: "left", nodeId, reason: "drained" })).toMatchObject([
      { kind: "dead", reason: "drained" },
      { kind: "announce", nodes: [{ alive: false, deathReason: "drained" }] },
    ]);
  });

  test("news of a dead or unknown node changes nothing", () => {
    const { at, join, beat } = machine();
    const nodeId = "aaaaaa0000000000" as NodeId;
    join(0, nodeId);
    at(1, { kind: "left", nodeId, reason: "bye" });
    expect(beat(100, nodeId, 2)).toEqual([]);
    expect(beat(100, "cccccc0000000000", 2)).toEqual([]);
    expect(at(101, { kind: "disconnected", nodeId, reason: "x" })).toEqual([]);
  });
});
