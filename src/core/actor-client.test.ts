import { expect, test } from "vitest";
import type { ActorId, WorkerId } from "../base/ids.ts";
import type { ActorView } from "../wire/messages.ts";
import { createActorClient, requeueFront, step } from "./actor-client.ts";
import type { TaskRecord } from "./task-record.ts";

const actorId = "actor" as ActorId;
const call = (index: number, state: string, attempt = 0): TaskRecord =>
  ({ actorId, index, state, attempt, retriesLeft: -1 }) as unknown as TaskRecord;

test("a call that runs again and waits in the queue already is sent once, in its place", () => {
  const client = createActorClient(actorId);
  const [first, again, last] = [call(1, "queued"), call(2, "queued", 1), call(3, "queued")];
  for (const task of [first, again, last]) step(client, { kind: "called", task });
  requeueFront(client, [again]);
  const view = { actorId, state: "ALIVE", incarnation: 0, workerId: "w" } as unknown as ActorView;
  step(client, { kind: "view", view });
  step(client, { kind: "connected", workerId: "w" as WorkerId });
  expect(client.effects.filter(({ kind }) => kind === "send")).toEqual(
    [first, again, last].map((task) => ({ kind: "send", task })),
  );
});

test.each([
  [
    "PENDING after ALIVE",
    { state: "ALIVE", incarnation: 0, workerId: "w" },
    { state: "PENDING", incarnation: 0, workerId: null },
  ],
  [
    "RESTARTING after ALIVE",
    { state: "ALIVE", incarnation: 1, workerId: "w" },
    { state: "RESTARTING", incarnation: 1, workerId: null },
  ],
  ["an earlier life", { state: "ALIVE", incarnation: 1, workerId: "w" }, { state: "ALIVE", incarnation: 0, workerId: "v" }],
])("a word of the head that was overtaken changes nothing: %s", (_name, newer, older) => {
  const client = createActorClient(actorId);
  const task = call(1, "queued");
  step(client, { kind: "called", task });
  step(client, { kind: "view", view: { actorId, ...newer } as unknown as ActorView });
  step(client, { kind: "view", view: { actorId, ...older } as unknown as ActorView });
  step(client, { kind: "connected", workerId: "w" as WorkerId });
  expect(client.view).toMatchObject(newer);
  expect(client.effects.at(-1)).toEqual({ kind: "send", task });
});

test("a new life that is told before the connection to the former is made is connected to", () => {
  const client = createActorClient(actorId);
  const task = call(1, "queued");
  step(client, { kind: "called", task });
  const view = (incarnation: number, workerId: string) =>
    ({ actorId, state: "ALIVE", incarnation, workerId }) as unknown as ActorView;
  step(client, { kind: "view", view: view(0, "old") });
  step(client, { kind: "view", view: view(1, "new") });
  step(client, { kind: "connected", workerId: "old" as WorkerId });
  step(client, { kind: "connected", workerId: "new" as WorkerId });
  expect(client.effects.map((effect) => (effect.kind === "connect" ? effect.view.workerId : effect.kind))).toEqual([
    "old",
    "new",
    "send",
  ]);
});
