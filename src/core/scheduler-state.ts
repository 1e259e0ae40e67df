/**
 * The records of a node's scheduler. Every one says which collection holds it when.
 *
 * A claim (an owner's scheduling class with unmet demand, an actor to place, a placement group to create) waits in a queue of its
 * shape until its resources are free. Then resources are *booked* and the booking waits for a worker process; with the worker it turns
 * into a lease or an actor. So the number of processes to start is the number of bookings without a worker, never more.
 */
import type { ActorId, JobId, LeaseId, NodeId, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { GroupStrategy, Resources, RuntimeEnvSpec, SchedulingSpec } from "../wire/messages.ts";
import type { Fifo } from "./fifo.ts";
import { type Allocation, createNodePool, type ResourceDemand, type ResourcePool } from "./resources.ts";
import type { SchedulerEffect } from "./scheduler-events.ts";

export interface SchedulerConfig {
  readonly nodeId: NodeId;
  /** By Ray's names: CPU, GPU, memory (bytes), custom. CPU may be 0 or a fraction. */
  readonly resources: Resources;
  readonly labels: Readonly<Record<string, string>>;
  /** Blocked processes may be this many times the CPUs less one before further tasks run inside them. */
  readonly poolFactor: number;
  /** An idle worker beyond the CPUs is asked to exit after this long. */
  readonly idleWorkerMs: number;
  /** A lease that is surely busy is called back for others only after its owner has had it this long. */
  readonly recallAfterMs: number;
  /** A called-back lease that runs a long task is not waited for longer than this before another is called back too. */
  readonly recallPatienceMs: number;
  /** A claim that waits this long has freed resources held back for it. */
  readonly holdBackAfterMs: number;
  /** Longest first hold; doubled at each further one. */
  readonly holdBackMs: number;
  /** First report of a request that is larger than the node; then every `infeasibleAgainMs`. */
  readonly infeasibleAfterMs: number;
  readonly infeasibleAgainMs: number;
  /** First report of a request that merely waits; each further one after twice the time. */
  readonly waitingAfterMs: number;
  /** A demand for a placement group nobody has heard of fails after this long: its creation may still be under way. */
  readonly unknownGroupMs: number;
}

const defaults = {
  poolFactor: 2,
  idleWorkerMs: 1000,
  recallAfterMs: 20,
  recallPatienceMs: 100,
  holdBackAfterMs: 100,
  holdBackMs: 10_000,
  infeasibleAfterMs: 5000,
  infeasibleAgainMs: 60_000,
  waitingAfterMs: 60_000,
  unknownGroupMs: 2000,
};

export type SchedulerOptions = Pick<SchedulerConfig, "nodeId" | "resources"> & Partial<SchedulerConfig>;

/** Where resources come from: the node, or a created placement group with a pool for each bundle. */
export interface Source {
  readonly groupId: PlacementGroupId | null;
  pools: ResourcePool[];
  /** Numbers of the bundles in the whole group, one for each pool; of a group that waits, one for each it will have. */
  indexes: number[];
  /** Claims that wait for resources, by shape. A shape without claims is removed. */
  readonly shapes: Map<string, ShapeQueue>;
  /** Leases and bookings whose resources come from here. */
  readonly leases: Set<Lease>;
  readonly bookings: Set<Booking>;
  /** Grows when resources come back: shapes that did not fit are looked at again. */
  version: number;
  dirty: boolean;
  hold: Hold | null;
  /** When a lease may be called back, or a claim becomes overdue, without any event; infinity when never. */
  wakeMs: number;
  /** When another zero-CPU slot is let in; infinity when none is wanted. */
  slotAtMs: number;
}

/** Freed resources are held back for a claim that smaller ones would overtake for ever. */
export interface Hold {
  readonly claim: Claim;
  readonly shape: ShapeQueue;
  readonly untilMs: number;
}

export interface ShapeQueue {
  readonly key: string;
  readonly source: Source;
  readonly demand: ResourceDemand;
  readonly weight: number;
  /** Which bundle of a group; -1 any. 0 for the node. */
  readonly bundleIndex: number;
  readonly byJob: Map<JobRecord, JobQueue>;
  /** The source's version at which it was last found not to fit. */
  unfitVersion: number;
}

export interface JobQueue {
  readonly classes: Set<ClassRecord>;
  /** Actors and groups in order of arrival; those no longer waiting are skipped. */
  readonly singles: Fifo<ActorRecord | GroupRecord>;
}

export type Claim = ClassRecord | ActorRecord | GroupRecord;

export interface OwnerRecord {
  readonly ownerId: WorkerId;
  /** It lives on another node, whose scheduler sent it here: what it wants is not sent on. */
  readonly remote: boolean;
  readonly classes: Map<number, ClassRecord>;
  readonly leases: Set<Lease>;
}

/** where: in `OwnerRecord.classes` until the owner is gone. */
export interface ClassRecord {
  readonly kind: "class";
  readonly owner: OwnerRecord;
  readonly classId: number;
  readonly job: JobRecord;
  readonly spec: SchedulingSpec;
  readonly demand: ResourceDemand;
  readonly poolKey: string;
  /** As last told by the owner. Outstanding = wanted - (granted - grantsSeen). */
  wanted: number;
  grantsSeen: number;
  /** Leases granted, spilled or declined. */
  granted: number;
  /** Of a remote owner: what cannot be granted now waits; otherwise it is declined in the same step. */
  hard: boolean;
  /** Leases of a group's tasks by the node with the bundle: they go to the nodes in proportion to the room there. Null before the first. */
  placed: Map<NodeId, number> | null;
  /** Nodes where it waits although it is bound to none: only they could ever serve it. Emptied when another that could joins. */
  readonly waitsAt: Set<NodeId>;
  /** Resources taken, no worker yet. */
  readonly bookings: Booking[];
  readonly leases: Set<Lease>;
  /** The queue it waits in; null when nothing is unmet. */
  shape: ShapeQueue | null;
  /** Sum of the weights of its unblocked leases and its bookings. */
  share: number;
  /** Since when it waits: its last grant, or when its demand rose from zero. */
  waitingSinceMs: number;
  /** Claims with equal shares go in this order; renewed at each grant, and when a called-back lease returns. */
  turn: number;
  holds: number;
  passUntilMs: number;
}

/** waiting: for resources · booked: for a worker · starting: has a worker, constructor not through · alive. Removed at the end. */
export type ActorPhase = "waiting" | "booked" | "starting" | "alive" | "gone";

export interface ActorRecord {
  readonly kind: "actor";
  readonly actorId: ActorId;
  readonly job: JobRecord;
  readonly spec: SchedulingSpec;
  readonly demand: ResourceDemand;
  readonly lifetime: ResourceDemand;
  readonly poolKey: string;
  phase: ActorPhase;
  shape: ShapeQueue | null;
  source: Source | null;
  booking: Booking | null;
  allocation: Allocation | null;
  worker: WorkerRecord | null;
  waitingSinceMs: number;
  turn: number;
  holds: number;
  passUntilMs: number;
}

/** waiting: for resources · infeasible: the node could never hold it · created. Removed when removed. */
export interface GroupRecord {
  readonly kind: "group";
  readonly groupId: PlacementGroupId;
  readonly job: JobRecord;
  readonly strategy: GroupStrategy;
  /** Those on this node; `source.indexes` says which of the group's they are. */
  bundles: ResourceDemand[];
  readonly demand: ResourceDemand;
  /** For reports, like a task's. */
  readonly spec: SchedulingSpec;
  phase: "waiting" | "infeasible" | "created" | "gone";
  /** What each bundle holds of the node; empty until created. */
  reserved: Allocation[];
  /** Claims inside the group. Its pools are set when created. */
  readonly source: Source;
  readonly actors: Set<ActorRecord>;
  shape: ShapeQueue | null;
  waitingSinceMs: number;
  turn: number;
  holds: number;
  passUntilMs: number;
}

export interface Booking {
  readonly claim: ClassRecord | ActorRecord;
  readonly allocation: Allocation;
  readonly source: Source;
  readonly weight: number;
  readonly turn: number;
  cancelled: boolean;
}

export interface Lease {
  readonly leaseId: LeaseId;
  readonly owner: OwnerRecord;
  readonly class: ClassRecord;
  readonly worker: WorkerRecord;
  readonly allocation: Allocation;
  source: Source;
  readonly weight: number;
  readonly grantedAtMs: number;
  blocked: boolean;
  /** When set, it is on its way back, and counts as coming until `coverUntilMs`. */
  recalled: boolean;
  coverUntilMs: number;
}

/**
 * idle: in its pool's `idle` · leased: has leases · actor · exiting: asked to exit, no answer yet · retiring: ends by itself after what it
 * runs · stopping: told to stop, or its actor is over. Removed by workerGone.
 */
export type WorkerState = "idle" | "leased" | "actor" | "exiting" | "retiring" | "stopping";

export interface WorkerRecord {
  readonly workerId: WorkerId;
  readonly pool: WorkerPool;
  state: WorkerState;
  readonly leases: Set<Lease>;
  blockedLeases: number;
  /** Never leased: may become an actor. */
  fresh: boolean;
  actor: ActorRecord | null;
  idleSinceMs: number;
  /** It answered that it must live on: not asked again before. */
  stayUntilMs: number;
  stays: number;
}

/** The workers of one job under one runtime env. */
export interface WorkerPool {
  readonly key: string;
  readonly job: JobRecord;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly workers: Set<WorkerRecord>;
  /** Most recently idle last. */
  readonly idle: WorkerRecord[];
  /** Leased workers all of whose leases are blocked. */
  readonly blocked: Set<WorkerRecord>;
  readonly classBookings: Fifo<Booking>;
  readonly actorBookings: Fifo<Booking>;
  /** Bookings in the two queues that are not cancelled. */
  classesBooked: number;
  actorsBooked: number;
  /** Process starts under way. */
  starting: number;
  /** Starts still to be asked for without anybody waiting. */
  prestart: number;
  failures: number;
  retryAtMs: number;
  dirty: boolean;
}

export interface JobRecord {
  readonly jobId: JobId;
  /** Between jobStarted and jobEnded. */
  living: boolean;
  /** Workers it keeps however idle. */
  keep: number;
  /** Its workers that are no actors and not ending. */
  workers: number;
  /** Classes, actors, groups and pools that name it. */
  claims: number;
  /** Sum of the weights of its unblocked leases and its bookings. */
  share: number;
}

/** Another node, as last heard of. */
export interface OtherNode {
  readonly nodeId: NodeId;
  readonly labels: Readonly<Record<string, string>>;
  readonly total: ReadonlyMap<string, number>;
  /** As last heard of, less what was sent there since. */
  available: ReadonlyMap<string, number>;
  /** As last heard of. Borrowed: the description's own map where it can be. */
  readonly said: ReadonlyMap<string, number>;
  /** When what was sent is forgotten: a node that declined it all has no news to tell. `never` when nothing was. */
  forgetAtMs: number;
  readonly version: number;
  readonly draining: boolean;
}

/** Where a group's bundles are, as announced; null while one is being placed. */
export interface GroupPlaces {
  readonly nodes: readonly (NodeId | null)[];
  /** How large they are, when that is known. */
  readonly bundles: readonly ResourceDemand[] | null;
}

export interface StartRecord {
  readonly token: number;
  readonly pool: WorkerPool;
}

/** A report that is repeated while its cause lasts. */
export interface Notice {
  sinceMs: number;
  nextMs: number;
  times: number;
}

export interface SchedulerState {
  readonly config: SchedulerConfig;
  /** Whole CPUs, rounded up. */
  readonly cpus: number;
  readonly node: Source;
  readonly owners: Map<WorkerId, OwnerRecord>;
  readonly leases: Map<LeaseId, Lease>;
  readonly workers: Map<WorkerId, WorkerRecord>;
  readonly pools: Map<string, WorkerPool>;
  readonly jobs: Map<JobId, JobRecord>;
  readonly actors: Map<ActorId, ActorRecord>;
  readonly groups: Map<PlacementGroupId, GroupRecord>;
  /** Groups removed lately, and those removed before. Bounded. */
  removedGroups: Set<PlacementGroupId>;
  removedEarlier: Set<PlacementGroupId>;
  /** Announced groups, until they are gone. */
  readonly places: Map<PlacementGroupId, GroupPlaces>;
  /** The other nodes of the cluster. */
  readonly others: Map<NodeId, OtherNode>;
  /** Those of them whose `available` is less than they said. Added by a spill, removed after a while; one that has had news since means nothing. */
  readonly sentTo: Set<OtherNode>;
  /** This node is about to leave: it takes nothing new. */
  draining: boolean;
  /** Something changed that lets claims that wait here go to other nodes. False between steps. */
  lookElsewhere: boolean;
  /** Classes of which more waits here than before: they alone may go elsewhere. Empty between steps. */
  readonly looking: Set<ClassRecord>;
  /** Classes of remote owners that asked in this step and do not wait. Empty between steps. */
  readonly declining: Set<ClassRecord>;
  readonly starts: Map<number, StartRecord>;
  /** Idle workers, longest idle first. */
  readonly idleOrder: Set<WorkerRecord>;
  /** Claims that no node can ever serve. */
  readonly infeasible: Set<Claim>;
  /** Claims that name a group nobody knows yet, and when they fail; or one whose bundle is being placed (never). */
  readonly groupless: Map<ClassRecord | ActorRecord, number>;
  readonly notices: Map<string, Notice>;
  dirtySources: Source[];
  dirtyPools: WorkerPool[];
  /** Sources where something changed that decides about recalls. Empty between steps, as the two above. */
  readonly recallSources: Set<Source>;
  /** Pools that want processes started; the first has its turn. */
  readonly needy: Set<WorkerPool>;
  /** Sources with a finite `wakeMs`. */
  readonly watched: Set<Source>;
  /** Workers that are no actors and not ending; and those of them that are blocked. */
  pooled: number;
  blockedWorkers: number;
  nextToken: number;
  nextLease: number;
  nextTurn: number;
  /** Of the sequence of numbers that chooses among equally good nodes. */
  seed: number;
  trimAtMs: number;
  startAtMs: number;
  /** A further process beyond the soft limit may be started then; null when none is wanted. */
  growAtMs: number | null;
  growths: number;
  noticeAtMs: number;
  effects: SchedulerEffect[];
}

export const never = Number.POSITIVE_INFINITY;

export function createScheduler(options: SchedulerOptions): SchedulerState {
  const config: SchedulerConfig = { labels: {}, ...defaults, ...options };
  const cpus = Math.ceil(config.resources.CPU ?? 0);
  return {
    config,
    cpus,
    node: createSource(null, [createNodePool(config.resources, slotsFor(cpus))], [0]),
    owners: new Map(),
    leases: new Map(),
    workers: new Map(),
    pools: new Map(),
    jobs: new Map(),
    actors: new Map(),
    groups: new Map(),
    removedGroups: new Set(),
    removedEarlier: new Set(),
    places: new Map(),
    others: new Map(),
    sentTo: new Set(),
    draining: false,
    lookElsewhere: false,
    looking: new Set(),
    declining: new Set(),
    starts: new Map(),
    idleOrder: new Set(),
    infeasible: new Set(),
    groupless: new Map(),
    notices: new Map(),
    dirtySources: [],
    dirtyPools: [],
    recallSources: new Set(),
    needy: new Set(),
    watched: new Set(),
    pooled: 0,
    blockedWorkers: 0,
    nextToken: 1,
    nextLease: 1,
    nextTurn: 1,
    seed: seedOf(config.nodeId),
    trimAtMs: never,
    startAtMs: never,
    growAtMs: null,
    growths: 0,
    noticeAtMs: never,
    effects: [],
  };
}

/** Tasks without CPU that run at once before more are let in slowly. */
export const slotsFor = (cpus: number): number => Math.max(4, 2 * cpus);

function seedOf(text: string): number {
  let seed = 1;
  for (let i = 0; i < text.length; i++) seed = (Math.imul(seed, 31) + text.charCodeAt(i)) | 0;
  return seed;
}

/** In [0, 1). The same node with the same events gets the same numbers. */
export function nextRandom(state: SchedulerState): number {
  state.seed = (Math.imul(state.seed, 1664525) + 1013904223) | 0;
  return (state.seed >>> 8) / 2 ** 24;
}

export function createSource(groupId: PlacementGroupId | null, pools: ResourcePool[], indexes: number[]): Source {
  return {
    groupId,
    pools,
    indexes,
    shapes: new Map(),
    leases: new Set(),
    bookings: new Set(),
    version: 0,
    dirty: false,
    hold: null,
    wakeMs: never,
    slotAtMs: never,
  };
}

export const nodePool = (state: SchedulerState): ResourcePool => state.node.pools[0];

export function jobOf(state: SchedulerState, jobId: JobId): JobRecord {
  let job = state.jobs.get(jobId);
  if (job === undefined) {
    job = { jobId, living: false, keep: 0, workers: 0, claims: 0, share: 0 };
    state.jobs.set(jobId, job);
  }
  return job;
}

export function forgetUnusedJob(state: SchedulerState, job: JobRecord): void {
  if (!job.living && job.workers === 0 && job.claims === 0 && state.jobs.get(job.jobId) === job) state.jobs.delete(job.jobId);
}

/** A claim that named the job is over. */
export function claimOver(state: SchedulerState, job: JobRecord): void {
  job.claims--;
  forgetUnusedJob(state, job);
}

/** Equal envs give equal keys. */
export function poolKeyOf(jobId: JobId, runtimeEnv: RuntimeEnvSpec | null): string {
  return runtimeEnv === null ? jobId : `${jobId} ${canonicalJson(runtimeEnv)}`;
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Marks a source to be looked at before the step ends; `freed` when resources came back. */
export function touch(state: SchedulerState, source: Source, freed: boolean): void {
  if (freed) source.version++;
  if (source.dirty) return;
  source.dirty = true;
  state.dirtySources.push(source);
}

/** Reports what waits at `ms` at the latest. */
export function noticeBy(state: SchedulerState, ms: number): void {
  if (ms < state.noticeAtMs) state.noticeAtMs = ms;
}

export function touchPool(state: SchedulerState, pool: WorkerPool): void {
  if (pool.dirty) return;
  pool.dirty = true;
  state.dirtyPools.push(pool);
}

/** Further leases the owner wants, beyond those granted or booked. */
export const unbooked = (cls: ClassRecord): number =>
  Math.max(0, cls.wanted - (cls.granted - cls.grantsSeen) - cls.bookings.length);
