import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ActorId, PlacementGroupId } from "../../base/ids.ts";
import { newActorId, newPlacementGroupId } from "../../base/ids.ts";
import { Kind } from "../../wire/index.ts";
import type { ActorSpec, ActorStateName, ActorView } from "../../wire/messages.ts";
import { buildDaemon, command, DaemonUnderTest, leftOvers, newSession, TestPeer, until } from "./testing/daemon-under-test.ts";

let built: Awaited<ReturnType<typeof buildDaemon>>;
let daemon: DaemonUnderTest;
let driver: TestPeer;

beforeAll(async () => {
  built = await buildDaemon();
});
afterAll(() => built.remove());
beforeEach(async () => {
  daemon = new DaemonUnderTest(built.entry, newSession());
  await daemon.started();
  driver = new TestPeer(daemon.config);
  await driver.next(Kind.Welcome);
});
afterEach(async () => {
  driver.close();
  await daemon.end();
  expect(leftOvers(daemon.config)).toEqual([]);
});

function spec(overrides: Partial<ActorSpec> = {}): ActorSpec {
  return {
    actorId: newActorId(),
    className: "Counter",
    name: null,
    namespace: "space",
    getIfExists: false,
    detached: false,
    maxRestarts: 0,
    jobId: daemon.config.jobId,
    ownerId: driver.id,
    handleIndex: null,
    handleSpec: { methods: ["add"] },
    placement: { resources: { CPU: 1 }, strategy: { kind: "default" }, labelSelector: {}, runtimeEnv: null, label: "Counter" },
    lifetimeResources: {},
    start: {},
    ...overrides,
  };
}

/** The last view the driver was told of. */
const last = (actorId: ActorId): ActorView | undefined =>
  driver
    .of(Kind.ActorState)
    .map((message) => message[1])
    .filter((view) => view.actorId === actorId)
    .at(-1);

async function reaches(actorId: ActorId, state: ActorStateName, incarnation = 0): Promise<ActorView> {
  await until(
    `actor to be ${state} in life ${incarnation}`,
    () => last(actorId)?.state === state && last(actorId)?.incarnation === incarnation,
  );
  return last(actorId) as ActorView;
}

describe("node daemon: actors", () => {
  it("places an actor, restarts it when its process dies, and says how it ended", async () => {
    const actor = spec({ maxRestarts: 1 });
    expect(await driver.ask("createActor", actor)).toMatchObject({ state: "PENDING", actorId: actor.actorId });
    const first = await reaches(actor.actorId, "ALIVE");
    expect(first.handleSpec).toEqual({ methods: ["add"] });
    void command(first.address as string, { do: "exit", code: 9 });
    const second = await reaches(actor.actorId, "ALIVE", 1);
    expect(second.workerId).not.toBe(first.workerId);
    void command(second.address as string, { do: "kill", signal: "SIGKILL" });
    const dead = await reaches(actor.actorId, "DEAD", 1);
    expect(dead).toMatchObject({ deathReason: "out of restarts" });
    expect(dead.deathMessage).toContain("was killed by SIGKILL");
  });

  it("keeps names unique, finds actors by them, and frees them at death", async () => {
    const actor = spec({ name: "counter" });
    await driver.ask("createActor", actor);
    await expect(driver.ask("createActor", spec({ name: "counter" }))).rejects.toMatchObject({
      name: "ActorAlreadyExistsError",
      code: "ACTOR_ALREADY_EXISTS",
      fields: { actorName: "counter" },
    });
    expect((await driver.ask("createActor", spec({ name: "counter", getIfExists: true }))).actorId).toBe(actor.actorId);
    expect((await driver.ask("getActor", { name: "counter", namespace: "space" }))?.actorId).toBe(actor.actorId);
    expect(await driver.ask("getActor", { name: "counter", namespace: "elsewhere" })).toBe(null);
    await driver.ask("killActor", { actorId: actor.actorId, noRestart: true });
    expect(await driver.ask("getActor", { name: "counter", namespace: "space" })).toBe(null);
    expect(await driver.ask("subscribeActor", { actorId: actor.actorId })).toMatchObject({
      state: "DEAD",
      deathReason: "killed",
    });
  });

  it("passes on what the constructor threw", async () => {
    const actor = spec({ start: { fail: "RangeError: too large" }, maxRestarts: -1 });
    await driver.ask("createActor", actor);
    expect(await reaches(actor.actorId, "DEAD")).toMatchObject({
      deathReason: "constructor failed",
      deathMessage: "its constructor failed: RangeError: too large",
      deathCause: "serialized error",
    });
  });

  it("ends the actors of an actor that died, and gives their resources back", async () => {
    const parent = spec();
    await driver.ask("createActor", parent);
    const { workerId, address } = await reaches(parent.actorId, "ALIVE");
    const child = spec({ ownerId: workerId as never, lifetimeResources: { CPU: 1 } });
    await driver.ask("createActor", child);
    await reaches(child.actorId, "ALIVE");
    expect((await driver.ask("availableResources", {})).CPU).toBe(1);
    void command(address as string, { do: "exit", code: 0 });
    expect(await reaches(child.actorId, "DEAD")).toMatchObject({ deathReason: "owner died" });
    await until("the CPU to be free", async () => (await driver.ask("availableResources", {})).CPU === 2);
  });

  it("asks an actor out of scope to finish", async () => {
    const actor = spec();
    await driver.ask("createActor", actor);
    await reaches(actor.actorId, "ALIVE");
    await driver.ask("actorOutOfScope", { actorId: actor.actorId });
    expect(await reaches(actor.actorId, "DEAD")).toMatchObject({ deathReason: "out of scope" });
  });

  it("kill(noRestart: false) restarts it", async () => {
    const actor = spec({ maxRestarts: 1 });
    await driver.ask("createActor", actor);
    await reaches(actor.actorId, "ALIVE");
    await driver.ask("killActor", { actorId: actor.actorId, noRestart: false });
    expect((await reaches(actor.actorId, "ALIVE", 1)).restartsLeft).toBe(0);
  });
});

describe("node daemon: the cluster's state", () => {
  it("creates placement groups, waits for them and gives their resources back", async () => {
    const group = (bundles: Record<string, number>[], name: string | null = null) => ({
      groupId: newPlacementGroupId() as PlacementGroupId,
      bundles,
      strategy: "PACK" as const,
      name,
      detached: false,
      jobId: daemon.config.jobId,
    });
    const first = group([{ CPU: 1 }, { CPU: 1 }], "pair");
    await driver.ask("createPlacementGroup", first);
    expect(await driver.ask("waitPlacementGroup", { groupId: first.groupId })).toMatchObject({ state: "CREATED" });
    expect((await driver.ask("availableResources", {})).CPU).toBe(0);
    const second = group([{ CPU: 1 }]);
    await driver.ask("createPlacementGroup", second);
    const waiting = driver.ask("waitPlacementGroup", { groupId: second.groupId });
    expect(await driver.ask("getPlacementGroup", { name: "pair" })).toMatchObject({ groupId: first.groupId });
    await driver.ask("removePlacementGroup", { groupId: first.groupId });
    expect(await waiting).toMatchObject({ state: "CREATED" });
    expect(await driver.ask("getPlacementGroup", { name: "pair" })).toBe(null);
  });

  it("tells what the node has, by Ray's names", async () => {
    const [node] = await driver.ask("nodes", {});
    expect(node).toMatchObject({ alive: true, isHead: true, nodeId: driver.welcome?.nodeId });
    const total = await driver.ask("clusterResources", {});
    expect(total).toMatchObject({ CPU: 2, object_store_memory: 64 * 1024 * 1024, [`node:${node.nodeId}`]: 1 });
    expect(total.memory).toBeGreaterThan(0);
    expect(await driver.ask("status", {})).toMatchObject({ pending: [], actors: {} });
    expect(await driver.ask("memory", {})).toMatchObject([{ store: { objects: 0 } }]);
  });

  it("keeps keys by namespace", async () => {
    expect(await driver.ask("kvPut", { namespace: "a", key: "k1", value: 1 })).toBe(true);
    expect(await driver.ask("kvPut", { namespace: "a", key: "k1", value: 2, overwrite: false })).toBe(false);
    await driver.ask("kvPut", { namespace: "b", key: "k1", value: 3 });
    expect(await driver.ask("kvGet", { namespace: "a", key: "k1" })).toBe(1);
    expect(await driver.ask("kvKeys", { namespace: "a" })).toEqual(["k1"]);
    expect(await driver.ask("kvDel", { namespace: "a", key: "k1" })).toBe(true);
    expect(await driver.ask("kvGet", { namespace: "a", key: "k1" })).toBe(null);
  });

  it("collects task events from every process before it answers", async () => {
    const event = {
      taskId: "t",
      attempt: 0,
      name: "square",
      kind: "task",
      state: "FINISHED",
      startMs: 1,
      endMs: 2,
      pid: 3,
      workerId: "w",
    } as const;
    const drained = driver.ask("drainEvents", { jobId: daemon.config.jobId });
    const [, id] = await driver.next(Kind.FlushEvents);
    driver.send([Kind.Events, [event]]);
    driver.send([Kind.EventsFlushed, id]);
    await drained;
    expect(await driver.ask("timeline", { jobId: daemon.config.jobId })).toEqual([event]);
  });
});
