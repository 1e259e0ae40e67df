import { beforeEach, describe, expect, it } from "vitest";
import type { NodeKey, ObjectIndex, WorkerId } from "../base/ids.ts";
import { copyLocation, holderOf, segmentName } from "../objects/segment-name.ts";
import type { Location } from "../objects/types.ts";
import type { ObjectRecord } from "./object-record.ts";
import { step } from "./ownership.ts";
import type { OwnershipEffect } from "./ownership-events.ts";
import { createOwnership, newOwned, type OwnershipState, resolveRef } from "./ownership-state.ts";
import type { TaskArg, TaskRecord } from "./task-record.ts";

const self = "aaaaaa0000000001" as WorkerId;
const [nodeB, nodeC, nodeD] = ["bbbbbb", "cccccc", "dddddd"] as NodeKey[];
const worker = (node: NodeKey): WorkerId => `${node}0000000002` as WorkerId;

let state: OwnershipState;
beforeEach(() => {
  state = createOwnership(self);
});

function effects(): OwnershipEffect[] {
  return state.effects.splice(0);
}

const freed = (): string[] => effects().flatMap((effect) => (effect.kind === "free" ? [effect.location.name] : []));

function locationOn(node: NodeKey, record: ObjectRecord, attempt = 0): Location {
  return { name: segmentName(self, record.index, attempt, worker(node)), offset: 0, bytes: 1000 };
}

/** An object of ours, held by one ref. */
function putOn(node: NodeKey, contains: readonly ObjectRecord[] | null = null): ObjectRecord {
  const record = newOwned(state);
  step(state, { kind: "hold", record });
  step(state, { kind: "put", record, value: undefined, location: locationOn(node, record), contains });
  effects();
  return record;
}

function submit(args: readonly TaskArg[], maxRetries = 3): TaskRecord {
  const record = newOwned(state);
  const task: TaskRecord = {
    index: record.index,
    definition: { id: 1, wire: {} as TaskRecord["definition"]["wire"], classId: 1, maxRetries },
    args,
    holds: null,
    returns: [record],
    actorId: null,
    parent: "",
    state: "waiting",
    waitingFor: 0,
    attempt: 0,
    retriesLeft: maxRetries,
    oomRetriesLeft: 0,
    runner: null,
    stream: null,
    classId: 0,
    cancelRequested: false,
  };
  record.maker = task;
  step(state, { kind: "hold", record });
  step(state, { kind: "submit", task });
  return task;
}

/** Runs the task on the node: its result is stored there. */
function runOn(node: NodeKey, task: TaskRecord): ObjectRecord {
  const [record] = task.returns;
  step(state, { kind: "pushed", task, runner: null });
  const location = locationOn(node, record, task.attempt);
  step(state, { kind: "replied", task, attempt: task.attempt, returns: [{ value: undefined, location, contains: null }] });
  effects();
  return record;
}

function loseNode(node: NodeKey): void {
  step(state, {
    kind: "nodeLost",
    isThere: (location) => holderOf(location) === node,
    error: (record, why) => new TextEncoder().encode(`${record.index}: ${why}`),
  });
}

const errorOf = (record: ObjectRecord): string => new TextDecoder().decode(record.value as Uint8Array);
const copied = (record: ObjectRecord, node: NodeKey): Location => {
  const copy = copyLocation(record.location as Location, node);
  step(state, { kind: "copyMade", index: record.index, copy });
  return copy;
};

describe("Copies of an object", () => {
  it("are freed with it", () => {
    const record = putOn(nodeB);
    const copies = [copied(record, nodeC), copied(record, nodeD)];
    copied(record, nodeD);
    const original = record.location as Location;
    step(state, { kind: "drop", record });
    expect(freed()).toEqual([original.name, ...copies.map((copy) => copy.name)]);
    expect(state.owned.size).toBe(0);
  });

  it("are freed at once when the object is gone, or another by now", () => {
    const record = putOn(nodeB);
    const early = copyLocation(record.location as Location, nodeC);
    step(state, { kind: "drop", record });
    effects();
    step(state, { kind: "copyMade", index: record.index, copy: early });
    expect(freed()).toEqual([early.name]);

    const task = submit([]);
    const made = runOn(nodeB, task);
    const stale = copyLocation(made.location as Location, nodeC);
    step(state, { kind: "lost", record: made, name: (made.location as Location).name, error: () => new Uint8Array() });
    effects();
    step(state, { kind: "copyMade", index: made.index, copy: stale });
    expect(freed()).toEqual([stale.name]);
    runOn(nodeB, task);
    step(state, { kind: "copyMade", index: made.index, copy: stale });
    expect(freed()).toEqual([stale.name]);
  });

  it("take the place of an original that is reported lost", () => {
    const record = putOn(nodeB);
    const copy = copied(record, nodeC);
    const original = record.location as Location;
    step(state, { kind: "lost", record, name: original.name, error: () => new Uint8Array() });
    expect(record).toMatchObject({ state: "stored", location: copy });
    expect(freed()).toEqual([original.name]);
    step(state, { kind: "lost", record, name: original.name, error: () => new Uint8Array() }); // a second reader of the same loss
    expect(record).toMatchObject({ state: "stored", location: copy });
    step(state, { kind: "lost", record, name: copy.name, error: (why) => new TextEncoder().encode(why) });
    expect(record.state).toBe("failed");
  });
});

describe("The death of a node", () => {
  it("moves objects to copies on living nodes and forgets copies on it", () => {
    const [onB, onC] = [putOn(nodeB), putOn(nodeC)];
    const copy = copied(onB, nodeD);
    copied(onC, nodeB);
    loseNode(nodeB);
    expect(onB).toMatchObject({ state: "stored", location: copy });
    expect(onC).toMatchObject({ state: "stored", copies: [] });
    expect(freed()).toEqual([]);
    step(state, { kind: "drop", record: onC });
    expect(freed()).toEqual([locationOn(nodeC, onC).name]);
  });

  it("runs the tasks again whose results were there, arguments first", () => {
    const first = submit([]);
    const a = runOn(nodeB, first);
    const second = submit([a]);
    const b = runOn(nodeB, second);
    loseNode(nodeB);
    expect([a.state, b.state]).toEqual(["pending", "pending"]);
    expect([first.state, second.state]).toEqual(["queued", "waiting"]);
    runOn(nodeC, first);
    expect(second.state).toBe("queued");
    runOn(nodeC, second);
    expect([a.state, b.state]).toEqual(["stored", "stored"]);
    for (const record of [a, b]) step(state, { kind: "drop", record });
    expect(state.owned.size).toBe(0);
  });

  it("fails what was put there, and what has no retries left", () => {
    const put = putOn(nodeB);
    const noRetries = runOn(nodeB, submit([], 0));
    loseNode(nodeB);
    expect(put.state).toBe("failed");
    expect(errorOf(put)).toContain("made by put");
    expect(noRetries.state).toBe("failed");
    expect(errorOf(noRetries)).toContain("no retries left");
    expect(freed()).toEqual([]); // the dead node's bytes are gone by themselves
  });

  it("keeps to the counts when lost objects contain each other", () => {
    const inner = putOn(nodeB);
    const outer = putOn(nodeB, [inner]);
    step(state, { kind: "drop", record: inner });
    expect(inner.state).toBe("stored");
    loseNode(nodeB);
    expect(outer.state).toBe("failed");
    expect(state.owned.has(inner.index)).toBe(false);
    step(state, { kind: "drop", record: outer });
    expect(state.owned.size).toBe(0);
  });

  it("leaves what is elsewhere alone", () => {
    const task = submit([]);
    const [onC, made] = [putOn(nodeC), runOn(nodeC, task)];
    loseNode(nodeB);
    expect([onC.state, made.state, task.state]).toEqual(["stored", "stored", "finished"]);
    expect(effects()).toEqual([]);
  });

  it("has borrowed objects asked for again", () => {
    const owner = worker(nodeC);
    const borrowed = resolveRef(state, owner, 5 as ObjectIndex, "");
    step(state, { kind: "hold", record: borrowed });
    step(state, { kind: "want", record: borrowed });
    const location: Location = { name: segmentName(owner, 5, 0, worker(nodeB)), offset: 0, bytes: 1000 };
    step(state, { kind: "resolved", record: borrowed, outcome: "stored", value: undefined, location });
    effects();
    loseNode(nodeB);
    expect(borrowed).toMatchObject({ state: "pending", location: null, requested: false });
    step(state, { kind: "want", record: borrowed });
    expect(effects()).toEqual([{ kind: "fetch", record: borrowed }]);
  });
});
