import { describe, expect, it } from "vitest";
import type { LeaseId, NodeId, WorkerId } from "../base/ids.ts";
import { addClass, createSubmitter, leaseOf, type SubmitterEffect, type SubmitterEvent, step } from "./submitter.ts";
import type { TaskRecord } from "./task-record.ts";

const b = "b" as NodeId;
const c = "c" as NodeId;

/** A submitter with one class, and what it says to daemons: "wanted/seen" to its own, "wanted/seen@node" to others, "!" when hard. */
class Caller {
  readonly state = createSubmitter();
  private tasks = 0;

  constructor() {
    addClass(this.state, 0, { resources: {}, strategy: { kind: "default" }, labelSelector: {}, runtimeEnv: null, label: "f" });
  }

  get cls() {
    return this.state.classes.get(0)!;
  }

  step(event: SubmitterEvent): SubmitterEffect[] {
    step(this.state, 0, event);
    return this.state.effects.splice(0);
  }

  enqueue(count: number): void {
    for (let i = 0; i < count; i++) {
      const task = { index: this.tasks++, state: "queued", classId: 0, definition: { maxRetries: 3 } } as unknown as TaskRecord;
      this.step({ kind: "enqueue", task, first: false });
    }
  }

  /** Ends the turn and says what the daemons are told. */
  turn(): string[] {
    const told: string[] = [];
    for (const effect of this.step({ kind: "turnEnd" })) {
      if (effect.kind !== "demand") continue;
      const { at, wanted } = effect;
      if (at === null) told.push(`${wanted}/${effect.class.grantsSeen}`);
      else told.push(`${wanted}/${at.grantsSeen}@${at.nodeId}${at.hard ? "!" : ""}`);
    }
    return told;
  }

  grant(leaseId: number, from?: NodeId): SubmitterEffect[] {
    const workerId = `${from ?? "own"}${leaseId}` as WorkerId;
    return this.step({ kind: "granted", classId: 0, leaseId: leaseId as LeaseId, workerId, address: "", gpuIds: [], from });
  }

  spill(nodeId: NodeId, count: number, hard = false): void {
    this.step({ kind: "spill", classId: 0, nodeId, count, hard });
  }
}

describe("leases from other nodes", () => {
  it("are asked of the node that the own daemon names, and count as granted at home", () => {
    const caller = new Caller();
    caller.enqueue(5);
    expect(caller.turn()).toEqual(["5/0"]);
    caller.spill(b, 3);
    expect(caller.turn()).toEqual(["3/0@b"]);
    caller.grant(1, b);
    expect(caller.turn()).toEqual([]);
    caller.grant(1);
    expect(caller.cls).toMatchObject({ told: 1, grantsSeen: 4 });
    expect(caller.cls.remotes).toMatchObject([{ share: 2, told: 2, grantsSeen: 1 }]);
  });

  it("that are declined are asked for at home again", () => {
    const caller = new Caller();
    caller.enqueue(4);
    caller.turn();
    caller.spill(b, 4);
    expect(caller.turn()).toEqual(["4/0@b"]);
    caller.step({ kind: "decline", classId: 0, nodeId: b, count: 3 });
    expect(caller.turn()).toEqual(["3/4"]);
    caller.spill(b, 2, true);
    expect(caller.turn()).toEqual(["3/3@b!"]);
  });

  it("are no longer asked for when fewer are wanted", () => {
    const caller = new Caller();
    caller.enqueue(3);
    caller.turn();
    caller.spill(b, 2);
    caller.spill(c, 1);
    expect(caller.turn()).toEqual(["2/0@b", "1/0@c"]);
    caller.grant(1);
    caller.grant(2);
    expect(caller.turn()).toEqual(["1/0@b", "0/0@c"]);
    caller.grant(3);
    expect(caller.turn()).toEqual(["0/0@b"]);
  });

  it("that are named when nothing is wanted any more are not asked for", () => {
    const caller = new Caller();
    caller.enqueue(1);
    caller.turn();
    caller.grant(1);
    caller.spill(b, 1);
    expect(caller.turn()).toEqual([]);
    expect(caller.cls.remotes).toMatchObject([{ share: 0, told: 0 }]);
  });

  it("have ids of their own: those of two daemons may be the same", () => {
    const caller = new Caller();
    caller.enqueue(3);
    caller.grant(7);
    caller.grant(7, b);
    caller.grant(7, c);
    expect(caller.state.leases.size).toBe(3);
    const lease = leaseOf(caller.state, 7 as LeaseId, b)!;
    caller.step({ kind: "recall", leaseId: 7 as LeaseId, from: b });
    const effects = caller.step({ kind: "done", lease, task: [...lease.inFlight][0], durationMs: 1 });
    expect(effects).toContainEqual({ kind: "returnLease", lease });
    expect(leaseOf(caller.state, 7 as LeaseId, null)?.recalled).toBe(false);
  });

  it("need not wait at a node any more that the own daemon names with none", () => {
    const caller = new Caller();
    caller.enqueue(3);
    caller.turn();
    caller.spill(b, 3, true);
    expect(caller.turn()).toEqual(["3/0@b!"]);
    caller.spill(b, 0);
    expect(caller.turn()).toEqual(["3/0@b"]);
    caller.step({ kind: "decline", classId: 0, nodeId: b, count: 3 });
    expect(caller.turn()).toEqual(["3/3"]);
    caller.spill(c, 0);
    expect(caller.turn()).toEqual([]);
  });

  it("are lost with the node: what ran there uses a retry, and what was asked there is asked at home", () => {
    const caller = new Caller();
    caller.enqueue(4);
    caller.turn();
    caller.spill(b, 3);
    caller.turn();
    caller.grant(1, b);
    caller.grant(1);
    const effects = caller.step({ kind: "nodeLost", nodeId: b, dead: true });
    expect(effects.filter((effect) => effect.kind === "crashed")).toMatchObject([{ cause: "crash", task: { index: 0 } }]);
    expect(leaseOf(caller.state, 1 as LeaseId, null)).toBeDefined();
    expect(caller.turn()).toEqual(["2/4"]);
  });

  it("that a lost connection takes are asked for nowhere until the node is known to be dead, or may be asked again", () => {
    const caller = new Caller();
    caller.enqueue(3);
    caller.turn();
    caller.spill(b, 3);
    caller.turn();
    caller.step({ kind: "nodeLost", nodeId: b, dead: false });
    expect(caller.turn()).toEqual([]);
    caller.step({ kind: "nodeAgain", nodeId: b });
    expect(caller.turn()).toEqual(["3/3"]);
    caller.spill(b, 1);
    expect(caller.turn()).toEqual(["1/0@b"]);
  });

  it("stay, and are returned, when they were granted on a new connection before the node may be asked again", () => {
    const caller = new Caller();
    caller.step({ kind: "nodeLost", nodeId: b, dead: false });
    caller.enqueue(1);
    caller.turn();
    caller.spill(b, 1);
    caller.turn();
    caller.grant(1, b);
    caller.step({ kind: "nodeAgain", nodeId: b });
    expect(leaseOf(caller.state, 1 as LeaseId, b)).toBeDefined();
  });
});
