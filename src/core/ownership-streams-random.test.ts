/** Streams under random losses, crashes and consumers: each item once and in order, all made again, and nobody waits for ever. */
import { expect, it } from "vitest";
import type { NodeKey, WorkerId } from "../base/ids.ts";
import { holderOf, segmentName } from "../objects/segment-name.ts";
import { isSettled, type ObjectRecord } from "./object-record.ts";
import { step } from "./ownership.ts";
import { createOwnership, newOwned } from "./ownership-state.ts";
import { newStream, type StreamRecord } from "./stream-record.ts";
import type { TaskRecord } from "./task-record.ts";

const self = "aaaaaa0000000001" as WorkerId;
const nodes = ["bbbbbb", "cccccc", "dddddd"] as NodeKey[];

function randomOf(seed: number): (below: number) => number {
  let a = seed * 0x9e3779b9;
  return (below) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function play(seed: number): { remakes: number } {
  const random = randomOf(seed);
  const state = createOwnership(self);
  const total = random(12);
  const limit = random(2) === 0 ? 0 : 1 + random(3);
  const small = Array.from({ length: total }, () => random(4) === 0);
  /** Such a consumer takes nothing while it waits for what it has. */
  const patient = random(2) === 0;
  const completion = newOwned(state);
  const stream: StreamRecord = newStream();
  const task: TaskRecord = {
    index: completion.index,
    definition: { id: 1, wire: {} as TaskRecord["definition"]["wire"], classId: 1, maxRetries: -1 },
    args: [],
    holds: null,
    returns: [completion],
    actorId: null,
    parent: "",
    state: "waiting",
    waitingFor: 0,
    attempt: 0,
    retriesLeft: -1,
    oomRetriesLeft: 0,
    runner: null,
    stream,
    classId: 0,
    cancelRequested: false,
  };
  completion.maker = task;
  step(state, { kind: "hold", record: completion });
  step(state, { kind: "submit", task });

  /** What the producer knows. */
  let run = { next: 0, consumed: 0, stop: false };
  /** Which item each record is: told by the order in which they come to be. */
  const numbers = new Map<ObjectRecord, number>();
  const held: ObjectRecord[] = [];
  let taken = 0;
  let remakes = 0;

  const drain = (): void => {
    for (const effect of state.effects.splice(0)) {
      if (effect.kind === "rebuilding") remakes++;
      if (effect.kind !== "consumed" || task.state !== "pushed") continue;
      if (effect.done) run.stop = true;
      else run.consumed = Math.max(run.consumed, effect.items);
    }
  };
  const produce = (): boolean => {
    if (task.state === "queued") {
      run = { next: 0, consumed: 0, stop: false };
      step(state, { kind: "pushed", task, runner: null });
    } else if (task.state !== "pushed") return false;
    else if (run.stop || run.next === total) {
      const returns = [{ value: undefined, location: null, contains: null }];
      step(state, { kind: "replied", task, attempt: task.attempt, returns });
    } else if (limit === 0 || run.next - run.consumed < limit) {
      const item = run.next++;
      const name = segmentName(self, task.index, 1000 * (task.attempt + 1) + item, `${nodes[random(3)]}0000000002` as WorkerId);
      const location = small[item] ? null : { name, offset: 0, bytes: 1 };
      const fresh = stream.received === item && !stream.abandoned && !stream.done;
      step(state, { kind: "item", task, attempt: task.attempt, item, value: { value: item, location, contains: null } });
      if (fresh) numbers.set(stream.ready.at(-1) as ObjectRecord, item);
    } else return false;
    return true;
  };
  const consume = (): boolean => {
    if (stream.ready.length === 0 || (patient && !held.every(isSettled))) return false;
    const record = stream.ready[0];
    step(state, { kind: "takeItem", task });
    expect(numbers.get(record)).toBe(taken++);
    held.push(record);
    return true;
  };
  const fault = (): void => {
    const error = (): Uint8Array => new Uint8Array();
    if (random(3) === 0 && task.state === "pushed") step(state, { kind: "crashed", task, cause: "crash" });
    else if (random(2) === 0) {
      const node = nodes[random(3)];
      step(state, { kind: "nodeLost", isThere: (location) => holderOf(location) === node, error });
    } else {
      const record = held[random(Math.max(1, held.length))];
      if (record?.location) step(state, { kind: "lost", record, name: record.location.name, error });
    }
  };
  const drop = (): void => {
    if (held.length > 0) step(state, { kind: "drop", record: held.splice(random(held.length), 1)[0] });
  };

  for (let i = random(80); i > 0; i--) {
    const what = random(10);
    if (what < 5) produce();
    else if (what < 8) consume();
    else if (what < 9) fault();
    else if (random(3) === 0) drop();
    else if (random(20) === 0) step(state, { kind: "abandon", task });
    drain();
  }
  // Faults are over: everything comes to rest.
  for (let i = 0; produce() || (!stream.abandoned && consume()); i++) {
    drain();
    expect(i).toBeLessThan(10_000);
  }
  expect(task.state).toBe("finished");
  if (!stream.abandoned) expect(taken).toBe(total);
  expect(held.map((record) => record.state)).toEqual(held.map((record) => (small[numbers.get(record)!] ? "inline" : "stored")));
  for (const record of [...held, completion]) step(state, { kind: "drop", record });
  expect([state.owned.size, state.tasks.size, stream.stored.size, stream.lost.size]).toEqual([0, 0, 0, 0]);
  return { remakes };
}

it("Streams with random losses bring each item once and in order, and come to rest (1000 seeds)", () => {
  let remakes = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    try {
      remakes += play(seed).remakes;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  expect(remakes).toBeGreaterThan(100);
});
