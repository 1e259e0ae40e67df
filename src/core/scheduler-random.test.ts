/** Random events, sensible and senseless, in any order: the structure stays whole and everything is free again at the end. */
import { describe, expect, it } from "vitest";
import type { ActorId, JobId, LeaseId, NodeId, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { Resources, SchedulingSpec } from "../wire/messages.ts";
import { candidateOf } from "./placement.ts";
import {
  availableResources,
  createScheduler,
  nextWakeMs,
  type SchedulerState,
  step,
  totalResources,
  validate,
} from "./scheduler.ts";
import type { SchedulerEffect, SchedulerEvent } from "./scheduler-events.ts";

function randomOf(seed: number): (below: number) => number {
  let a = seed >>> 0;
  return (below) => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

const shapes: Resources[] = [
  { CPU: 1 },
  { CPU: 1 },
  { CPU: 2 },
  { CPU: 0.5 },
  {},
  { CPU: 1, GPU: 1 },
  { GPU: 0.3 },
  { GPU: 1 },
  { CPU: 4, memory: 1e9 },
  { slots: 0.1 },
  { CPU: 64 },
];

class RandomWorld {
  readonly state: SchedulerState;
  now = 0;
  private readonly random: (below: number) => number;
  private readonly starts: number[] = [];
  private readonly workers = new Set<WorkerId>();
  private readonly leases = new Map<LeaseId, WorkerId>();
  private readonly owners = new Set<WorkerId>(["d0", "d1", "d2", "far0", "far1"] as WorkerId[]);
  private readonly grants = new Map<string, number>();
  private readonly groups = new Set<PlacementGroupId>();
  private readonly actors = new Set<ActorId>();
  private ids = 0;

  /** No other node is ever heard of. */
  private readonly alone: boolean;

  constructor(seed: number) {
    this.alone = seed % 4 === 0;
    this.random = randomOf(seed);
    const nodes: Resources[] = [
      { CPU: 2, GPU: 2, memory: 4e9, slots: 1 },
      { CPU: 0, slots: 1 },
      { CPU: 0.5, GPU: 1 },
      { CPU: 8, GPU: 1.5, memory: 2e9 },
    ];
    const resources = nodes[this.random(4)];
    this.state = createScheduler({ nodeId: "n" as NodeId, resources, labels: { zone: "a" } });
  }

  send(event: SchedulerEvent): void {
    const effects = step(this.state, this.now, event);
    validate(this.state);
    for (const effect of effects) this.note(effect);
  }

  private note(effect: SchedulerEffect): void {
    if (effect.kind === "startWorker") this.starts.push(effect.token);
    else if (effect.kind === "grant") {
      expect(this.workers.has(effect.workerId)).toBe(true);
      this.leases.set(effect.leaseId, effect.ownerId);
      this.count(effect.ownerId, effect.classId, 1);
    } else if (effect.kind === "spill") {
      expect(effect.ownerId.startsWith("far")).toBe(false);
      expect(effect.nodeId).not.toBe("n");
      if (effect.count > 0) this.count(effect.ownerId, effect.classId, effect.count);
      else expect(effect.hard).toBe(false);
    } else if (effect.kind === "decline") {
      expect(effect.ownerId.startsWith("far")).toBe(true);
      this.count(effect.ownerId, effect.classId, effect.count);
    }
  }

  private count(ownerId: string, classId: number, count: number): void {
    expect(count).toBeGreaterThan(0);
    const key = `${ownerId} ${classId}`;
    this.grants.set(key, (this.grants.get(key) ?? 0) + count);
  }

  private pick<T>(from: Iterable<T>): T | undefined {
    const all = [...from];
    return all[this.random(all.length)];
  }

  private spec(): SchedulingSpec {
    const kind = this.random(10);
    const groupId = (kind < 3 ? this.pick(this.groups) : undefined) ?? ("nogroup" as PlacementGroupId);
    return {
      resources: shapes[this.random(shapes.length)],
      strategy:
        kind < 3
          ? { kind: "group", groupId, bundleIndex: this.random(4) - 1, captureChildTasks: false }
          : kind === 3
            ? { kind: "node", nodeId: this.random(2) === 0 ? "n" : "other", soft: this.random(2) === 0 }
            : { kind: "default" },
      labelSelector: this.random(10) === 0 ? { zone: this.random(2) === 0 ? "a" : "!a" } : {},
      runtimeEnv: this.random(5) === 0 ? { envVars: { A: String(this.random(2)) } } : null,
      label: `f${this.random(3)}`,
    };
  }

  private jobId = (): JobId => `job${this.random(3)}` as JobId;

  randomEvent(): void {
    const r = this.random(100);
    const lease = this.pick(this.leases.keys());
    const worker = this.pick(this.workers);
    const owner = this.pick(this.owners) as WorkerId;
    if (r < 15 && this.starts.length > 0) this.ready();
    else if (r < 18 && this.starts.length > 0)
      this.send({ kind: "startFailed", token: this.starts.shift() as number, permanent: this.random(4) === 0, text: "no" });
    else if (r < 24 && worker !== undefined) this.workerGone(worker);
    else if (r < 26 && worker !== undefined) this.send({ kind: "workerRetiring", workerId: worker });
    else if (r < 30 && worker !== undefined) this.send({ kind: "workerStays", workerId: worker });
    else if (r < 36)
      this.send({
        kind: "defineClass",
        ownerId: owner,
        jobId: this.jobId(),
        classId: this.random(6),
        spec: this.spec(),
        remote: owner.startsWith("far"),
      });
    else if (r < 56) this.demand(owner, this.random(6));
    else if (r < 68 && lease !== undefined) {
      this.send({ kind: "returnLease", ownerId: this.leases.get(lease) as WorkerId, leaseId: lease });
      if (this.random(5) > 0) this.leases.delete(lease);
    } else if (r < 78 && lease !== undefined) this.send({ kind: this.random(3) > 0 ? "blocked" : "unblocked", leaseId: lease });
    else if (r < 80) this.send({ kind: "ownerGone", ownerId: owner });
    else if (r < 84) this.placeActor();
    else if (r < 88) this.actorEvent();
    else if (r < 89)
      this.send({ kind: this.random(2) === 0 ? "jobEnded" : "jobStarted", jobId: this.jobId(), prestart: this.random(4) });
    else if (r < 92) this.createGroup();
    else if (r < 94) this.send({ kind: "removeGroup", groupId: this.pick(this.groups) ?? ("nogroup" as PlacementGroupId) });
    else if (r < 96) this.nodesChanged();
    else if (r < 97) this.groupPlaced();
    else {
      this.now += [1, 10, 30, 200, 1500, 70_000][this.random(6)];
      this.send({ kind: "tick" });
      expect(nextWakeMs(this.state) ?? Number.POSITIVE_INFINITY).toBeGreaterThan(this.now);
    }
  }

  private ready(): void {
    const workerId = `w${this.ids++}` as WorkerId;
    this.workers.add(workerId);
    this.owners.add(workerId);
    this.send({ kind: "workerReady", token: this.starts.shift() as number, workerId });
  }

  private workerGone(workerId: WorkerId): void {
    this.workers.delete(workerId);
    this.owners.delete(workerId);
    this.send({ kind: "workerGone", workerId });
  }

  private demand(ownerId: WorkerId, classId: number): void {
    const granted = this.grants.get(`${ownerId} ${classId}`) ?? 0;
    this.send({
      kind: "demand",
      ownerId,
      classId,
      wanted: this.random(3) === 0 ? 0 : this.random(6),
      grantsSeen: Math.max(0, granted - this.random(2)),
      hard: this.random(2) === 0,
    });
  }

  private placeActor(): void {
    const actorId = `a${this.random(20)}` as ActorId;
    this.actors.add(actorId);
    const placement = this.spec();
    this.send({
      kind: "placeActor",
      actorId,
      jobId: this.jobId(),
      placement,
      lifetimeResources: this.random(2) === 0 ? {} : { ...placement.resources, CPU: 0 },
    });
  }

  private actorEvent(): void {
    const actorId = this.pick(this.actors);
    if (actorId === undefined) return;
    const kind = this.random(4);
    if (kind === 0) this.send({ kind: "actorGone", actorId });
    else if (kind === 1) this.send({ kind: "actorBlocked", actorId, blocked: this.random(2) === 0 });
    else this.send({ kind: "actorReady", actorId });
  }

  private createGroup(): void {
    const groupId = `g${this.random(30)}` as PlacementGroupId;
    this.groups.add(groupId);
    const first = this.random(2);
    const bundles = Array.from({ length: 1 + this.random(3) }, () => shapes[this.random(shapes.length - 1)]);
    if (this.random(6) === 0) return this.send({ kind: "removeBundles", groupId, indexes: [this.random(3), this.random(3)] });
    this.send({
      kind: "createGroup",
      groupId,
      jobId: this.jobId(),
      bundles: bundles.map((resources, index) => ({ index: first + index, resources })),
      queue: this.random(2) === 0,
      strategy: this.random(5) === 0 ? "STRICT_SPREAD" : "PACK",
    });
  }

  private nodesChanged(): void {
    const names = this.alone ? [] : ["n", "m", "o", "p"].filter(() => this.random(4) > 0);
    this.send({
      kind: "nodesChanged",
      gone: [...this.state.others.keys()].filter((nodeId) => !names.includes(nodeId)),
      nodes: names.map((name) => {
        const resources = { CPU: 1 + this.random(4), GPU: this.random(2), slots: 1 };
        const available = { CPU: this.random(resources.CPU + 1), GPU: this.random(resources.GPU + 1), slots: this.random(2) };
        const labels = { zone: this.random(2) === 0 ? "a" : "b" };
        const view = candidateOf({ nodeId: name as NodeId, labels, resources, available, draining: this.random(6) === 0 });
        return { ...view, version: this.random(3) === 0 ? 1 : this.ids++ };
      }),
    });
  }

  private groupPlaced(): void {
    const groupId = `g${this.random(30)}` as PlacementGroupId;
    this.groups.add(groupId);
    const nodes = Array.from({ length: this.random(4) }, () => this.pick(["n", "m", "o", null]) as NodeId | null);
    const bundles = nodes.map(() => shapes[this.random(shapes.length - 1)]);
    this.send({ kind: "groupPlaced", groupId, nodes, ...(this.random(2) === 0 ? { bundles } : {}) });
  }

  /** Everybody leaves. */
  end(): void {
    for (const owner of [...this.owners]) this.send({ kind: "ownerGone", ownerId: owner });
    for (const actorId of this.actors) this.send({ kind: "actorGone", actorId });
    for (const groupId of this.groups) this.send({ kind: "removeGroup", groupId });
    for (const job of ["job0", "job1", "job2"]) this.send({ kind: "jobEnded", jobId: job as JobId });
    while (this.starts.length > 0) this.ready();
    for (const worker of [...this.workers]) this.workerGone(worker);
    for (let i = 0; i < 3; i++) {
      this.now = nextWakeMs(this.state) ?? this.now;
      this.send({ kind: "tick" });
    }
  }
}

describe("scheduler under random events", () => {
  it("stays whole after every step and ends with everything free and forgotten", () => {
    for (let seed = 1; seed <= 80; seed++) {
      const world = new RandomWorld(seed);
      try {
        for (let i = 0; i < 400; i++) world.randomEvent();
        world.end();
        const { state } = world;
        // What was sent to other nodes is forgotten after a while.
        if (state.sentTo.size > 0) step(state, world.now + 2_000, { kind: "tick" });
        expect(availableResources(state)).toEqual(totalResources(state));
        const { owners, leases, workers, pools, jobs, actors, groups, starts, infeasible, groupless, idleOrder, needy, watched } =
          state;
        const { places } = state;
        const left = {
          places,
          owners,
          leases,
          workers,
          pools,
          jobs,
          actors,
          groups,
          starts,
          infeasible,
          groupless,
          idleOrder,
          needy,
          watched,
        };
        expect(Object.entries(left).filter(([, collection]) => collection.size > 0)).toEqual([]);
        expect(nextWakeMs(state)).toBe(null);
      } catch (error) {
        throw new Error(`seed ${seed} at ${world.now} ms`, { cause: error });
      }
    }
  });
});
