import { beforeEach, describe, expect, it } from "vitest";
import type { NodeKey, WorkerId } from "../base/ids.ts";
import { holderOf, segmentName } from "../objects/segment-name.ts";
import type { Location } from "../objects/types.ts";
import type { ObjectRecord } from "./object-record.ts";
import { step } from "./ownership.ts";
import type { ReturnValue } from "./ownership-events.ts";
import { createOwnership, newOwned, type OwnershipState } from "./ownership-state.ts";
import { newStream, type StreamRecord } from "./stream-record.ts";
import type { TaskArg, TaskRecord } from "./task-record.ts";

const self = "aaaaaa0000000001" as WorkerId;
const [nodeB, nodeC] = ["bbbbbb", "cccccc"] as NodeKey[];
const unit: ReturnValue = { value: undefined, location: null, contains: null };

let state: OwnershipState;
beforeEach(() => {
  state = createOwnership(self);
});

function submitStream(maxRetries = 3, args: readonly TaskArg[] = []): TaskRecord {
  const completion = newOwned(state);
  const task: TaskRecord = {
    index: completion.index,
    definition: { id: 1, wire: {} as TaskRecord["definition"]["wire"], classId: 1, maxRetries },
    args,
    holds: null,
    returns: [completion],
    actorId: null,
    parent: "",
    state: "waiting",
    waitingFor: 0,
    attempt: 0,
    retriesLeft: maxRetries,
    oomRetriesLeft: 0,
    runner: null,
    stream: newStream(),
    classId: 0,
    cancelRequested: false,
  };
  completion.maker = task;
  step(state, { kind: "hold", record: completion });
  step(state, { kind: "submit", task });
  return task;
}

const start = (task: TaskRecord): void => step(state, { kind: "pushed", task, runner: null });
const streamOf = (task: TaskRecord): StreamRecord => task.stream as StreamRecord;

function yieldItem(task: TaskRecord, item: number, node: NodeKey | null): void {
  const location: Location | null =
    node === null
      ? null
      : {
          name: segmentName(self, task.index, 1000 * (task.attempt + 1) + item, `${node}0000000002` as WorkerId),
          offset: 0,
          bytes: 1000,
        };
  step(state, { kind: "item", task, attempt: task.attempt, item, value: { value: "small", location, contains: null } });
}

function end(task: TaskRecord): void {
  step(state, { kind: "replied", task, attempt: task.attempt, returns: [unit] });
}

/** A whole run: one item a node, "null" for a small one. */
function run(task: TaskRecord, ...nodes: (NodeKey | null)[]): void {
  start(task);
  for (const [item, node] of nodes.entries()) yieldItem(task, item, node);
  end(task);
}

/** Takes what is there, held by one ref each. */
function takeAll(task: TaskRecord): ObjectRecord[] {
  const taken = [...streamOf(task).ready];
  for (const _ of taken) step(state, { kind: "takeItem", task });
  return taken;
}

function loseNode(node: NodeKey): void {
  step(state, {
    kind: "nodeLost",
    isThere: (location) => holderOf(location) === node,
    error: (_record, why) => new TextEncoder().encode(why),
  });
}

const told = () => state.effects.splice(0).flatMap((e) => (e.kind === "consumed" ? [{ items: e.items, done: e.done }] : []));
const errorOf = (record: ObjectRecord): string => new TextDecoder().decode(record.value as Uint8Array);
const states = (records: readonly ObjectRecord[]): string[] => records.map((record) => record.state);

function dropAll(task: TaskRecord, records: readonly ObjectRecord[]): void {
  for (const record of [...records, ...task.returns]) step(state, { kind: "drop", record });
  expect(state.owned.size).toBe(0);
  expect(state.tasks.size).toBe(0);
}

describe("Items of a stream that are lost", () => {
  it("are made again by a further run, which is stopped when it has made the last", () => {
    const task = submitStream();
    run(task, nodeB, null, nodeC, nodeB, nodeC);
    const items = takeAll(task);
    loseNode(nodeB);
    expect(states(items)).toEqual(["pending", "inline", "stored", "pending", "stored"]);
    expect(task).toMatchObject({ state: "queued", attempt: 1, retriesLeft: 2 });
    told();
    start(task);
    for (const item of [0, 1, 2]) yieldItem(task, item, nodeC);
    expect(told()).toEqual([{ items: 5, done: false }]);
    yieldItem(task, 3, nodeC);
    expect(told()).toEqual([{ items: 5, done: true }]);
    end(task);
    expect(states(items)).toEqual(["stored", "inline", "stored", "stored", "stored"]);
    expect([streamOf(task).ready.length, streamOf(task).received]).toEqual([0, 5]);
    dropAll(task, items);
  });

  it("are let through to the last of them when the consumer has taken none", () => {
    const task = submitStream();
    run(task, nodeC, nodeC, nodeB);
    loseNode(nodeB);
    told();
    start(task);
    yieldItem(task, 0, nodeC);
    expect(told()).toEqual([{ items: 3, done: false }]);
    for (const item of [1, 2]) yieldItem(task, item, nodeC);
    end(task);
    const items = takeAll(task);
    expect(states(items)).toEqual(["stored", "stored", "stored"]);
    dropAll(task, items);
  });

  it("stop a run that is past them, which begins anew with one retry for all", () => {
    const task = submitStream(1);
    start(task);
    for (const item of [0, 1]) yieldItem(task, item, nodeB);
    const items = takeAll(task);
    told();
    loseNode(nodeB);
    expect(told()).toEqual(Array(2).fill({ items: 2, done: true }));
    end(task);
    expect(task).toMatchObject({ state: "queued", attempt: 1, retriesLeft: 0 });
    expect(streamOf(task).done).toBe(false);
    run(task, nodeC, nodeC, nodeC);
    items.push(...takeAll(task));
    expect(states(items)).toEqual(["stored", "stored", "stored"]);
    expect(streamOf(task).done).toBe(true);
    dropAll(task, items);
  });

  it("cost no second retry when the run was on the node that died", () => {
    const task = submitStream(1);
    start(task);
    yieldItem(task, 0, nodeB);
    loseNode(nodeB);
    step(state, { kind: "crashed", task, cause: "crash" });
    expect(task).toMatchObject({ state: "queued", attempt: 1, retriesLeft: 0 });
    run(task, nodeC);
    const items = takeAll(task);
    expect(states(items)).toEqual(["stored"]);
    dropAll(task, items);
  });

  it("do not stop a run that comes to them yet", () => {
    const task = submitStream(2);
    start(task);
    for (const item of [0, 1]) yieldItem(task, item, nodeB);
    step(state, { kind: "crashed", task, cause: "crash" });
    start(task);
    yieldItem(task, 0, nodeC);
    const items = takeAll(task);
    step(state, { kind: "lost", record: items[1]!, name: items[1]!.location!.name, error: () => new Uint8Array() });
    expect(task).toMatchObject({ state: "pushed", attempt: 1, retriesLeft: 1 });
    expect(streamOf(task).again).toBe(false);
    yieldItem(task, 1, nodeC);
    end(task);
    expect(states(items)).toEqual(["stored", "stored"]);
    dropAll(task, items);
  });

  it("open the window of a run that comes to them yet", () => {
    const task = submitStream();
    start(task);
    yieldItem(task, 0, null);
    for (const item of [1, 2]) yieldItem(task, item, nodeB);
    step(state, { kind: "crashed", task, cause: "crash" });
    start(task);
    told();
    yieldItem(task, 0, null);
    expect(told()).toEqual([{ items: 0, done: false }]);
    loseNode(nodeB);
    expect(told().at(-1)).toEqual({ items: 3, done: false });
    for (const item of [1, 2]) yieldItem(task, item, nodeC);
    end(task);
    dropAll(task, takeAll(task));
  });

  it("fail when no retries are left, also while the stream goes on", () => {
    const task = submitStream(0);
    start(task);
    yieldItem(task, 0, nodeB);
    loseNode(nodeB);
    yieldItem(task, 1, nodeC);
    end(task);
    const items = takeAll(task);
    expect(states(items)).toEqual(["failed", "stored"]);
    expect(errorOf(items[0]!)).toBe("the task that made it has no retries left");
    loseNode(nodeC);
    expect(errorOf(items[1]!)).toBe("the task that made it has no retries left");
    dropAll(task, items);
  });

  it("fail when the last run crashes, and when a run yields fewer", () => {
    for (const how of ["crash", "fewer"]) {
      const task = submitStream(1);
      run(task, nodeC, nodeB);
      const items = takeAll(task);
      loseNode(nodeB);
      if (how === "fewer") run(task, nodeC);
      else {
        start(task);
        step(state, { kind: "crashed", task, cause: "crash" });
        step(state, { kind: "fail", task, error: new TextEncoder().encode("crashed") });
      }
      expect(states(items)).toEqual(["stored", "failed"]);
      expect(errorOf(items[1]!)).toContain(how === "fewer" ? "yielded 1 items when it ran again" : "no retries left");
      dropAll(task, items);
    }
  });

  it("fail with what a further run throws, and after a cancel", () => {
    const task = submitStream();
    run(task, nodeB, nodeC);
    const items = takeAll(task);
    loseNode(nodeB);
    start(task);
    step(state, { kind: "threw", task, attempt: 1, error: new TextEncoder().encode("thrown"), retry: false });
    expect(errorOf(items[0]!)).toBe("thrown");
    loseNode(nodeC);
    start(task);
    const error = new TextEncoder().encode("cancelled");
    step(state, { kind: "cancel", task, force: false, recursive: false, error });
    expect(errorOf(items[1]!)).toBe("cancelled");
    end(task);
    dropAll(task, items);
  });

  it("of a cancelled run fail by that name, and nothing stays", () => {
    const argument = newOwned(state);
    step(state, { kind: "hold", record: argument });
    step(state, { kind: "put", record: argument, value: 1, location: null, contains: null });
    const task = submitStream(3, [argument]);
    start(task);
    yieldItem(task, 0, nodeB);
    yieldItem(task, 1, nodeC);
    const [first, second] = takeAll(task) as [ObjectRecord, ObjectRecord];
    step(state, { kind: "cancel", task, force: false, recursive: false, error: new Uint8Array() });
    loseNode(nodeB);
    expect(errorOf(first)).toBe("the task that made it was cancelled");
    step(state, { kind: "drop", record: second });
    end(task);
    dropAll(task, [first, argument]);
  });

  it("are made again when nobody reads the stream any more, and the run then ends", () => {
    const task = submitStream();
    start(task);
    yieldItem(task, 0, nodeB);
    yieldItem(task, 1, nodeB);
    const [first] = streamOf(task).ready as [ObjectRecord];
    step(state, { kind: "takeItem", task });
    step(state, { kind: "abandon", task });
    expect(told().at(-1)).toEqual({ items: 1, done: true });
    loseNode(nodeB);
    end(task);
    told();
    start(task);
    yieldItem(task, 0, nodeC);
    expect(told()).toEqual([{ items: 1, done: true }]);
    end(task);
    expect(first.state).toBe("stored");
    dropAll(task, [first]);
  });

  it("keep the arguments of their task until the last is gone", () => {
    const argument = newOwned(state);
    step(state, { kind: "put", record: argument, value: undefined, location: null, contains: null });
    const other = submitStream(3, []);
    run(other, nodeC);
    const [input] = takeAll(other) as [ObjectRecord];
    const task = submitStream(3, [input]);
    run(task, nodeB, nodeB);
    const items = takeAll(task);
    step(state, { kind: "drop", record: input });
    expect(input.state).toBe("released");
    loseNode(nodeB);
    expect([other.state, task.state]).toEqual(["queued", "waiting"]);
    run(other, nodeC);
    run(task, nodeC, nodeC);
    expect(states(items)).toEqual(["stored", "stored"]);
    step(state, { kind: "drop", record: other.returns[0]! });
    dropAll(task, items);
  });
});
