import { describe, expect, it } from "vitest";
import type { ActorId, JobId, NodeId, WorkerId } from "../base/ids.ts";
import type { ActorSpec, ActorView, ProcessExit } from "../wire/messages.ts";
import {
  createActorRegistry,
  findByName,
  gracefulEndMs,
  nextWakeMs,
  type RegistryState,
  step,
  validate,
  viewOf,
} from "./actor-registry.ts";
import type { RegistryEffect, RegistryEvent, SavedActor } from "./actor-registry-events.ts";

const nodeId = "n1" as NodeId;
const owner = "owner" as WorkerId;
const jobId = "job" as JobId;

function spec(actorId: string, overrides: Partial<ActorSpec> = {}): ActorSpec {
  const placement = {
    resources: { CPU: 1 },
    strategy: { kind: "default" as const },
    labelSelector: {},
    runtimeEnv: null,
    label: "Counter",
  };
  return {
    actorId: actorId as ActorId,
    className: "Counter",
    name: null,
    namespace: "space",
    getIfExists: false,
    detached: false,
    maxRestarts: 0,
    jobId,
    ownerId: owner,
    handleIndex: null,
    handleSpec: null,
    placement,
    lifetimeResources: {},
    start: null,
    ...overrides,
  };
}

const crash: ProcessExit = {
  pid: 7,
  exitCode: null,
  signal: "SIGKILL",
  outOfMemory: false,
  intended: false,
  text: "was killed by SIGKILL",
};

class Story {
  readonly state: RegistryState = createActorRegistry();
  readonly log: RegistryEffect[] = [];
  now = 1000;

  /** Returns the effects, without what is only done for the next head. */
  do(event: RegistryEvent): RegistryEffect[] {
    const effects = step(this.state, this.now, event);
    validate(this.state);
    this.log.push(...effects);
    return effects.filter(({ kind }) => kind !== "save" && kind !== "forget");
  }

  place(actorId: string, workerId: string): RegistryEffect[] {
    const place = { nodeId, workerId: workerId as WorkerId, address: `/sock/${workerId}`, pid: 7, gpuIds: [] };
    return this.do({ kind: "placed", actorId: actorId as ActorId, place });
  }

  ready(actorId: string, incarnation = 0): RegistryEffect[] {
    return this.do({ kind: "ready", actorId: actorId as ActorId, incarnation, error: null, errorText: "" });
  }

  alive(actor: ActorSpec, workerId: string): void {
    this.do({ kind: "create", spec: actor });
    this.place(actor.actorId, workerId);
    this.ready(actor.actorId);
    expect(this.view(actor.actorId).state).toBe("ALIVE");
  }

  died(workerId: string, exit: ProcessExit = crash): RegistryEffect[] {
    return this.do({ kind: "workerDied", workerId: workerId as WorkerId, exit });
  }

  view(actorId: string): ActorView {
    return viewOf(this.state.actors.get(actorId as ActorId)!);
  }
}

const kinds = (effects: readonly RegistryEffect[]): string[] => effects.map((effect) => effect.kind);

describe("actor registry", () => {
  it("creates, places, starts and publishes an actor", () => {
    const story = new Story();
    expect(kinds(story.do({ kind: "create", spec: spec("a") }))).toEqual(["created", "place"]);
    expect(kinds(story.place("a", "w1"))).toEqual(["start"]);
    expect(story.view("a").address).toBe(null);
    expect(kinds(story.ready("a"))).toEqual(["settled", "publish"]);
    expect(story.view("a")).toMatchObject({ state: "ALIVE", address: "/sock/w1", incarnation: 0, workerId: "w1" });
  });

  it("keeps names unique in a namespace and frees them at death", () => {
    const story = new Story();
    story.alive(spec("a", { name: "x" }), "w1");
    expect(story.do({ kind: "create", spec: spec("b", { name: "x" }) })).toMatchObject([
      { kind: "created", outcome: "taken", view: { actorId: "a" } },
    ]);
    expect(story.do({ kind: "create", spec: spec("b", { name: "x", getIfExists: true }) })).toMatchObject([
      { outcome: "existing", view: { actorId: "a" } },
    ]);
    expect(story.do({ kind: "create", spec: spec("c", { name: "x", namespace: "other" }) })[0]).toMatchObject({ outcome: "new" });
    story.do({ kind: "kill", actorId: "a" as ActorId, noRestart: true });
    expect(findByName(story.state, "space", "x")).toBe(null);
    expect(story.do({ kind: "create", spec: spec("b", { name: "x" }) })[0]).toMatchObject({ outcome: "new" });
  });

  it("restarts a crashed actor as often as allowed, under the same id and a new incarnation", () => {
    const story = new Story();
    story.alive(spec("a", { maxRestarts: 2 }), "w1");
    for (let life = 1; life <= 2; life++) {
      expect(kinds(story.died(`w${life}`))).toEqual(["unplace", "publish", "place"]);
      expect(story.view("a")).toMatchObject({ state: "RESTARTING", incarnation: life, restartsLeft: 2 - life, address: null });
      story.place("a", `w${life + 1}`);
      story.ready("a", life);
    }
    story.died("w3");
    expect(story.view("a")).toMatchObject({ state: "DEAD", deathReason: "out of restarts" });
    expect(story.view("a").deathMessage).toContain("was killed by SIGKILL");
  });

  it("restarts without end when maxRestarts is -1", () => {
    const story = new Story();
    story.alive(spec("a", { maxRestarts: -1 }), "w0");
    for (let life = 1; life < 20; life++) {
      story.died(`w${life - 1}`);
      story.place("a", `w${life}`);
      story.ready("a", life);
    }
    expect(story.view("a")).toMatchObject({ state: "ALIVE", incarnation: 19, restartsLeft: -1 });
  });

  it("takes a process that dies before its constructor is through for a crash", () => {
    const story = new Story();
    story.do({ kind: "create", spec: spec("a", { maxRestarts: 1 }) });
    story.place("a", "w1");
    story.died("w1");
    expect(story.view("a")).toMatchObject({ state: "RESTARTING", incarnation: 1 });
    story.place("a", "w2");
    expect(story.ready("a", 0)).toEqual([]); // news of the first start, overtaken
    story.ready("a", 1);
    expect(story.view("a").state).toBe("ALIVE");
  });

  it("is dead for good when its constructor fails, whatever its restarts", () => {
    const story = new Story();
    story.do({ kind: "create", spec: spec("a", { maxRestarts: -1 }) });
    story.place("a", "w1");
    const effects = story.do({
      kind: "ready",
      actorId: "a" as ActorId,
      incarnation: 0,
      error: new Uint8Array([1]),
      errorText: "Error: no",
    });
    expect(effects[0]).toMatchObject({ kind: "endProcess", how: "now" });
    expect(story.view("a")).toMatchObject({ state: "DEAD", deathReason: "constructor failed", deathCause: new Uint8Array([1]) });
    expect(story.died("w1")).toEqual([]);
  });

  it("kill() ends it at once and forbids a restart; kill(noRestart: false) uses one up", () => {
    const story = new Story();
    story.alive(spec("a", { maxRestarts: 1 }), "w1");
    const restart = story.do({ kind: "kill", actorId: "a" as ActorId, noRestart: false });
    expect(kinds(restart)).toEqual(["endProcess", "unplace", "publish", "place"]);
    story.died("w1", { ...crash, intended: true });
    expect(story.view("a").state).toBe("RESTARTING");
    story.place("a", "w2");
    story.ready("a", 1);
    story.do({ kind: "kill", actorId: "a" as ActorId, noRestart: true });
    expect(story.view("a")).toMatchObject({ state: "DEAD", deathReason: "killed" });
    story.died("w2", { ...crash, intended: true });
    expect(story.view("a").state).toBe("DEAD");
  });

  it("exitActor() is no crash", () => {
    const story = new Story();
    story.alive(spec("a", { maxRestarts: -1 }), "w1");
    story.do({ kind: "exiting", actorId: "a" as ActorId, incarnation: 0 });
    expect(story.view("a").state).toBe("ALIVE");
    story.died("w1", { ...crash, exitCode: 0, signal: null });
    expect(story.view("a")).toMatchObject({ state: "DEAD", deathReason: "exited" });
  });

  it("lets an actor that went out of scope finish, and ends it by force when it does not", () => {
    const story = new Story();
    story.alive(spec("a"), "w1");
    expect(story.do({ kind: "outOfScope", actorId: "a" as ActorId })).toMatchObject([{ kind: "endProcess", how: "finish" }]);
    expect(nextWakeMs(story.state)).toBe(story.now + gracefulEndMs);
    story.now += gracefulEndMs;
    expect(story.do({ kind: "tick" })[0]).toMatchObject({ kind: "endProcess", how: "now" });
    expect(story.view("a")).toMatchObject({ state: "DEAD", deathReason: "out of scope" });
    expect(nextWakeMs(story.state)).toBe(null);
  });

  it("gives up the placement of an actor that went out of scope before it had a process", () => {
    const story = new Story();
    story.do({ kind: "create", spec: spec("a") });
    expect(kinds(story.do({ kind: "outOfScope", actorId: "a" as ActorId }))).toEqual(["unplace", "publish"]);
    expect(story.place("a", "w1")).toMatchObject([{ kind: "endProcess", workerId: "w1", how: "now" }]);
  });

  it("ends the actors of a dead owner, and of actors they own in turn, but not detached ones", () => {
    const story = new Story();
    story.alive(spec("parent", { maxRestarts: 1 }), "w1");
    story.alive(spec("child", { ownerId: "w1" as WorkerId, maxRestarts: -1 }), "w2");
    story.alive(spec("grandchild", { ownerId: "w2" as WorkerId }), "w3");
    story.alive(spec("free", { ownerId: "w1" as WorkerId, detached: true, name: "free" }), "w4");
    story.died("w1");
    expect(story.view("parent").state).toBe("RESTARTING");
    expect(story.view("child")).toMatchObject({ state: "DEAD", deathReason: "owner died" });
    story.died("w2", { ...crash, intended: true });
    expect(story.view("grandchild")).toMatchObject({ state: "DEAD", deathReason: "owner died" });
    expect(story.view("free").state).toBe("ALIVE");
  });

  it("ends all but the detached actors of a job that ended", () => {
    const story = new Story();
    story.alive(spec("a"), "w1");
    story.alive(spec("b", { detached: true, name: "b" }), "w2");
    story.do({ kind: "jobEnded", jobId });
    expect(story.view("a").state).toBe("DEAD");
    expect(story.view("b").state).toBe("ALIVE");
  });

  it("leaves what a detached actor owns when its job has ended, and ends it with its owner", () => {
    const story = new Story();
    story.alive(spec("keeper", { detached: true, name: "keeper", maxRestarts: 1 }), "w1");
    story.alive(spec("child", { ownerId: "w1" as WorkerId }), "w2");
    story.alive(spec("grandchild", { ownerId: "w2" as WorkerId }), "w3");
    story.alive(spec("other"), "w4");
    story.alive(spec("child of other", { ownerId: "w4" as WorkerId }), "w5");
    story.do({ kind: "jobEnded", jobId });
    expect(["child", "grandchild", "other", "child of other"].map((id) => story.view(id).state)).toEqual([
      "ALIVE",
      "ALIVE",
      "DEAD",
      "DEAD",
    ]);
    story.died("w1");
    expect(["keeper", "child"].map((id) => story.view(id).state)).toEqual(["RESTARTING", "DEAD"]);
    story.died("w2", { ...crash, intended: true });
    expect(story.view("grandchild")).toMatchObject({ state: "DEAD", deathReason: "owner died" });
  });

  it("says out of memory, node died and unschedulable where that is the reason", () => {
    const story = new Story();
    story.alive(spec("a"), "w1");
    story.died("w1", { ...crash, outOfMemory: true, text: "was ended by the memory monitor" });
    expect(story.view("a").deathReason).toBe("out of memory");
    story.alive(spec("b"), "w2");
    story.do({ kind: "nodeDied", nodeId, text: "no heartbeat" });
    expect(story.view("b").deathReason).toBe("node died");
    story.do({ kind: "create", spec: spec("c") });
    story.do({ kind: "unplaceable", actorId: "c" as ActorId, reason: "unschedulable", text: "no such node" });
    expect(story.view("c")).toMatchObject({ deathReason: "unschedulable", deathMessage: "no such node" });
  });

  it("saves what a later head must know, and forgets it with the actor", () => {
    const story = new Story();
    story.alive(spec("a", { maxRestarts: 1 }), "w1");
    story.died("w1");
    story.do({ kind: "kill", actorId: "a" as ActorId, noRestart: true });
    const states = story.log.flatMap((effect) =>
      effect.kind === "save" ? [[effect.saved.state, effect.saved.incarnation, effect.saved.place?.workerId]] : [],
    );
    expect(states).toEqual([
      ["PENDING", 0, undefined],
      ["PENDING", 0, "w1"],
      ["ALIVE", 0, "w1"],
      ["RESTARTING", 1, undefined],
    ]);
    expect(story.log.filter(({ kind }) => kind === "forget")).toHaveLength(1);
  });

  describe("when a node joins again", () => {
    const place = { nodeId, workerId: "w1" as WorkerId, address: "/sock", pid: 7, gpuIds: [] };
    const has = (actor: ActorSpec, incarnation: number, alive: boolean): RegistryEvent => ({
      kind: "recovered",
      spec: actor,
      incarnation,
      place,
      alive,
    });

    it("repeats that an actor is alive, or is to finish, where the node has not heard it", () => {
      const story = new Story();
      const actor = spec("a");
      story.alive(actor, "w1");
      expect(story.do(has(actor, 0, false))).toEqual([{ kind: "settled", actorId: "a", nodeId }]);
      expect(story.do(has(actor, 0, true))).toEqual([]);
      story.do({ kind: "outOfScope", actorId: actor.actorId });
      expect(story.do(has(actor, 0, true))).toMatchObject([{ kind: "endProcess", workerId: "w1", how: "finish" }]);
    });

    it("ends the process of an actor that has been ordered to start anew, wherever that has got to", () => {
      const story = new Story();
      const actor = spec("a", { maxRestarts: 1 });
      story.alive(actor, "w1");
      story.do({ kind: "kill", actorId: actor.actorId, noRestart: false });
      expect(story.do(has(actor, 0, true))).toMatchObject([{ kind: "endProcess", workerId: "w1", how: "now" }]);
      expect(story.view("a")).toMatchObject({ state: "RESTARTING", incarnation: 1 });
      story.place("a", "w2");
      expect(story.do(has(actor, 0, true))).toMatchObject([{ kind: "endProcess", workerId: "w1", how: "now" }]);
      expect(story.view("a").workerId).toBe("w2");
    });
  });

  describe("after an earlier head", () => {
    const place = (workerId: string) => ({ nodeId, workerId: workerId as WorkerId, address: "/sock", pid: 7, gpuIds: [] });
    const saved = (actorId: string, changes: Partial<SavedActor> = {}): SavedActor => ({
      spec: spec(actorId, { name: actorId, maxRestarts: 1 }),
      state: "ALIVE",
      incarnation: 2,
      restartsLeft: 1,
      place: place("w1"),
      ...changes,
    });
    const has = (actorId: string, incarnation: number, workerId: string, alive = true): RegistryEvent => ({
      kind: "recovered",
      spec: spec(actorId, { name: actorId, maxRestarts: 1 }),
      incarnation,
      place: place(workerId),
      alive,
    });

    it("an actor is where it was, under its name", () => {
      const story = new Story();
      story.do({ kind: "restored", saved: saved("a") });
      expect(findByName(story.state, "space", "a")).not.toBeNull();
      expect(kinds(story.do(has("a", 2, "w1")))).toEqual([]);
      expect(kinds(story.do({ kind: "absent", nodeId, present: new Set(["a" as ActorId]) }))).toEqual([]);
      expect(kinds(story.do({ kind: "placeRestored" }))).toEqual([]);
      expect(story.view("a")).toMatchObject({ state: "ALIVE", incarnation: 2, workerId: "w1" });
      story.do({ kind: "ownerGone", ownerId: owner });
      expect(story.view("a").state).toBe("DEAD");
    });

    it("one that its node does not have has ended, and restarts if it may", () => {
      const story = new Story();
      story.do({ kind: "restored", saved: saved("a") });
      story.do({ kind: "restored", saved: saved("b", { restartsLeft: 0, place: place("w2") }) });
      story.do({ kind: "absent", nodeId, present: new Set() });
      expect(story.view("a")).toMatchObject({ state: "RESTARTING", incarnation: 3, restartsLeft: 0 });
      expect(story.view("b")).toMatchObject({ state: "DEAD", deathReason: "out of restarts" });
    });

    it("one that was being placed is placed anew, and one whose place is lost too, as another life", () => {
      const story = new Story();
      story.do({ kind: "restored", saved: saved("a", { state: "PENDING", incarnation: 0, place: null }) });
      story.do({ kind: "restored", saved: saved("b", { place: null }) });
      expect(kinds(story.do({ kind: "placeRestored" }))).toEqual(["place", "place"]);
      expect(story.view("b")).toMatchObject({ state: "RESTARTING", incarnation: 3 });
    });

    it("one that the store knows less of than its node is as the node says", () => {
      const story = new Story();
      story.do({ kind: "restored", saved: saved("a") });
      story.do(has("a", 3, "w5"));
      story.do(has("unknown", 0, "w6"));
      story.do(has("starting", 0, "w7", false));
      expect(story.view("a")).toMatchObject({ state: "ALIVE", incarnation: 3, workerId: "w5" });
      expect(story.view("unknown")).toMatchObject({ state: "ALIVE", workerId: "w6" });
      expect(story.view("starting")).toMatchObject({ state: "PENDING" });
      expect(kinds(story.ready("starting"))).toEqual(["settled", "publish"]);
    });

    it("a process whose actor has ended, or lives elsewhere, is ended", () => {
      const story = new Story();
      story.alive(spec("a", { maxRestarts: 1 }), "w1");
      story.do({ kind: "kill", actorId: "a" as ActorId, noRestart: true });
      expect(story.do(has("a", 0, "w1"))).toMatchObject([{ kind: "endProcess", workerId: "w1", how: "now" }]);
      story.do({ kind: "restored", saved: saved("b", { place: place("w2") }) });
      expect(story.do(has("b", 1, "w3"))).toMatchObject([{ kind: "endProcess", workerId: "w3", how: "now" }]);
    });
  });

  it("holds its invariants under any order of events", () => {
    let seed = 12345;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * below);
    };
    const story = new Story();
    let workers = 0;
    for (let i = 0; i < 4000; i++) {
      story.now += random(20_000);
      const known = [...story.state.actors.keys()];
      const actorId = (random(10) === 0 || known.length === 0 ? "nobody" : known[random(known.length)]) as ActorId;
      const record = story.state.actors.get(actorId);
      const incarnation = (record?.incarnation ?? 0) - random(2);
      const running = [...story.state.byWorker.keys()];
      switch (random(10)) {
        case 0:
        case 1:
          story.do({
            kind: "create",
            spec: spec(`a${i}`, {
              name: random(2) === 0 ? `n${random(5)}` : null,
              maxRestarts: random(3) - 1,
              detached: random(4) === 0,
              ownerId: (running[0] ?? owner) as WorkerId,
            }),
          });
          break;
        case 2:
        case 3:
          story.place(actorId, `w${workers++}`);
          break;
        case 4:
          story.do({ kind: "ready", actorId, incarnation, error: random(5) === 0 ? 1 : null, errorText: "x" });
          break;
        case 5:
          if (running.length > 0) story.died(running[random(running.length)], { ...crash, intended: random(4) === 0 });
          break;
        case 6:
          story.do({ kind: "kill", actorId, noRestart: random(2) === 0 });
          break;
        case 7:
          story.do({ kind: "outOfScope", actorId });
          break;
        case 8:
          story.do({ kind: "exiting", actorId, incarnation });
          break;
        default:
          story.do({ kind: "tick" });
      }
    }
    const endings = new Set([...story.state.actors.values()].map((record) => record.death?.reason));
    expect(endings.size).toBeGreaterThan(5);
  });
});
