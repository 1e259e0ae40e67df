/** For tests: a scheduler with short ways to send it events, checked after every step. */
import type { ActorId, JobId, LeaseId, NodeId, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { GroupStrategy, Resources, RuntimeEnvSpec, SchedulingSpec, StrategySpec } from "../wire/messages.ts";
import { candidateOf } from "./placement.ts";
import { createScheduler, nextWakeMs, type SchedulerOptions, type SchedulerState, step, validate } from "./scheduler.ts";
import type { SchedulerEffect, SchedulerEvent } from "./scheduler-events.ts";

export type EffectOf<Kind extends SchedulerEffect["kind"]> = SchedulerEffect & { kind: Kind };

export const defaultStrategy: StrategySpec = { kind: "default" };

export function specOf(resources: Resources, extra: Partial<SchedulingSpec> = {}): SchedulingSpec {
  return { resources, strategy: defaultStrategy, labelSelector: {}, runtimeEnv: null, label: "f", ...extra };
}

export const inGroup = (groupId: string, bundleIndex = -1): StrategySpec => ({
  kind: "group",
  groupId: groupId as PlacementGroupId,
  bundleIndex,
  captureChildTasks: false,
});

export class Harness {
  readonly state: SchedulerState;
  now = 0;
  /** Every effect so far. */
  readonly log: SchedulerEffect[] = [];
  /** Process starts asked for and not answered, in order. */
  readonly starts: EffectOf<"startWorker">[] = [];
  /** Leases granted and not ended, by id. */
  readonly leases = new Map<LeaseId, EffectOf<"grant">>();
  private views = 0;
  private workers = 0;

  constructor(resources: Resources, options: Partial<SchedulerOptions> = {}) {
    this.state = createScheduler({ nodeId: "node1" as NodeId, resources, ...options });
  }

  send(event: SchedulerEvent): SchedulerEffect[] {
    const effects = step(this.state, this.now, event);
    validate(this.state);
    for (const effect of effects) {
      this.log.push(effect);
      if (effect.kind === "startWorker") this.starts.push(effect);
      if (effect.kind === "grant") this.leases.set(effect.leaseId, effect);
    }
    return effects;
  }

  /** Lets the time pass with every tick the scheduler asks for on the way. */
  advance(ms: number): SchedulerEffect[] {
    const from = this.log.length;
    const until = this.now + ms;
    for (let wakeMs = nextWakeMs(this.state); wakeMs !== null && wakeMs <= until; wakeMs = nextWakeMs(this.state)) {
      this.now = Math.max(this.now, wakeMs);
      this.send({ kind: "tick" });
    }
    this.now = until;
    return this.log.slice(from);
  }

  job(jobId = "job1", prestart = 0): void {
    this.send({ kind: "jobStarted", jobId: jobId as JobId, prestart });
  }

  /** Answers all process starts asked for, and those asked for meanwhile. Returns the new workers. */
  startAll(): WorkerId[] {
    const started: WorkerId[] = [];
    for (let start = this.starts.shift(); start !== undefined; start = this.starts.shift()) {
      const workerId = `worker${++this.workers}` as WorkerId;
      started.push(workerId);
      this.send({ kind: "workerReady", token: start.token, workerId });
    }
    return started;
  }

  define(owner: string, classId: number, spec: SchedulingSpec, jobId = "job1", remote = false): void {
    this.send({ kind: "defineClass", ownerId: owner as WorkerId, jobId: jobId as JobId, classId, spec, remote });
  }

  /** The owner has seen all grants so far and wants this many more. */
  demand(owner: string, classId: number, wanted: number, hard = false): SchedulerEffect[] {
    let seen = 0;
    for (const effect of this.log) {
      if (effect.kind !== "grant" && effect.kind !== "spill" && effect.kind !== "decline") continue;
      if (effect.ownerId === owner && effect.classId === classId) seen += effect.kind === "grant" ? 1 : effect.count;
    }
    return this.send({ kind: "demand", ownerId: owner as WorkerId, classId, wanted, grantsSeen: seen, hard });
  }

  /** What the head says of the other nodes: all there are; `free` left out: all of it. A name with "!" in front is draining. */
  nodes(
    ...nodes: readonly [name: string, total: Resources, free?: Resources, labels?: Record<string, string>][]
  ): SchedulerEffect[] {
    const named = new Set(nodes.map(([name]) => name.replace("!", "")));
    return this.send({
      kind: "nodesChanged",
      gone: [...this.state.others.keys()].filter((nodeId) => !named.has(nodeId)),
      nodes: nodes.map(([name, resources, available = resources, labels = {}]) => ({
        ...candidateOf({
          nodeId: name.replace("!", "") as NodeId,
          labels,
          resources,
          available,
          draining: name.startsWith("!"),
        }),
        version: ++this.views,
      })),
    });
  }

  /** "count@node" of each spill, with "!" when hard. */
  spills(effects: readonly SchedulerEffect[] = this.log): string[] {
    return this.of("spill", effects).map(({ count, nodeId, hard }) => `${count}@${nodeId}${hard ? "!" : ""}`);
  }

  groupPlaced(groupId: string, nodes: (string | null)[], bundles?: Resources[]): SchedulerEffect[] {
    return this.send({
      kind: "groupPlaced",
      groupId: groupId as PlacementGroupId,
      nodes: nodes as (NodeId | null)[],
      ...(bundles === undefined ? {} : { bundles }),
    });
  }

  /** Asks for some of a group's bundles, by their index in the group, to be kept now. */
  reserve(groupId: string, bundles: Record<number, Resources>): SchedulerEffect[] {
    return this.send({
      kind: "createGroup",
      groupId: groupId as PlacementGroupId,
      jobId: "job1" as JobId,
      bundles: Object.entries(bundles).map(([index, resources]) => ({ index: Number(index), resources })),
      strategy: "PACK",
      queue: false,
    });
  }

  /** Defines a class, asks for `wanted` leases and starts the processes they need. */
  run(owner: string, classId: number, spec: SchedulingSpec, wanted: number, jobId = "job1"): EffectOf<"grant">[] {
    this.define(owner, classId, spec, jobId);
    const from = this.log.length;
    this.demand(owner, classId, wanted);
    this.startAll();
    return this.log.slice(from).filter((effect) => effect.kind === "grant");
  }

  giveBack(lease: EffectOf<"grant">): SchedulerEffect[] {
    this.leases.delete(lease.leaseId);
    return this.send({ kind: "returnLease", ownerId: lease.ownerId, leaseId: lease.leaseId });
  }

  block(lease: EffectOf<"grant">): SchedulerEffect[] {
    return this.send({ kind: "blocked", leaseId: lease.leaseId });
  }

  unblock(lease: EffectOf<"grant">): SchedulerEffect[] {
    return this.send({ kind: "unblocked", leaseId: lease.leaseId });
  }

  placeActor(actorId: string, placement: SchedulingSpec, lifetimeResources: Resources = {}, jobId = "job1"): SchedulerEffect[] {
    return this.send({ kind: "placeActor", actorId: actorId as ActorId, jobId: jobId as JobId, placement, lifetimeResources });
  }

  createGroup(groupId: string, bundles: Resources[], strategy: GroupStrategy = "PACK"): SchedulerEffect[] {
    return this.send({
      kind: "createGroup",
      groupId: groupId as PlacementGroupId,
      jobId: "job1" as JobId,
      bundles: bundles.map((resources, index) => ({ index, resources })),
      strategy,
      queue: true,
    });
  }

  removeGroup(groupId: string): SchedulerEffect[] {
    return this.send({ kind: "removeGroup", groupId: groupId as PlacementGroupId });
  }

  of<Kind extends SchedulerEffect["kind"]>(kind: Kind, effects: readonly SchedulerEffect[] = this.log): EffectOf<Kind>[] {
    return effects.filter((effect): effect is EffectOf<Kind> => effect.kind === kind);
  }
}

export const envOf = (value: string): RuntimeEnvSpec => ({ envVars: { NAME: value } });
