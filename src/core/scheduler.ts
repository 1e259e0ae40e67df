/**
 * A node's scheduler: which worker is leased to whom, which processes start and stop, and when a request can never be met.
 *
 * Owners say how many leases of a scheduling class they want; the scheduler grants workers, and the owners then push their tasks straight
 * to them. `step` is the only mutator; its effects are carried out by runtime/daemon, which reports back by events. Late, repeated and
 * unknown events are normal (connections and processes end at any time) and change nothing.
 *
 * Where to find what: scheduler-state (records), scheduler-route (where a claim waits), scheduler-claims and -dispatch (who gets free
 * resources), scheduler-workers (processes), scheduler-recall (fairness), scheduler-groups, scheduler-actors, scheduler-notices.
 */
import { assert } from "../base/assert.ts";
import type { JobId, LeaseId, PlacementGroupId, WorkerId } from "../base/ids.ts";
import { lend, takeBackLent, toDemand } from "./resources.ts";
import { actorBlocked, actorGone, actorReady, placeActor } from "./scheduler-actors.ts";
import { resourcesFreed, waitingClaims, wants } from "./scheduler-claims.ts";
import { dispatch } from "./scheduler-dispatch.ts";
import type { SchedulerEffect, SchedulerEvent } from "./scheduler-events.ts";
import { createGroup, dissolveGroup, dropBundles, removeGroup, stopGroupWaiting, wasRemoved } from "./scheduler-groups.ts";
import { declineRest, forgetSent, nodesChanged, placesOf, spillWaiting } from "./scheduler-nodes.ts";
import { noticeWaiting } from "./scheduler-notices.ts";
import { considerRecall } from "./scheduler-recall.ts";
import {
  cancelBooking,
  expireGroupless,
  forgetActor,
  placeMore,
  refuse,
  removedText,
  rerouteForNodes,
  rerouteGroupless,
  route,
  withdraw,
} from "./scheduler-route.ts";
import {
  type ActorRecord,
  type ClassRecord,
  claimOver,
  forgetUnusedJob,
  jobOf,
  never,
  type OwnerRecord,
  poolKeyOf,
  type SchedulerState,
  type ShapeQueue,
  type Source,
  touch,
  touchPool,
  unbooked,
} from "./scheduler-state.ts";
import {
  endLease,
  noteBlocked,
  poolOf,
  removeWorker,
  requestStarts,
  servePool,
  startFailed,
  stopWorker,
  trimIdle,
  workerReady,
  workerRetiring,
  workerStays,
} from "./scheduler-workers.ts";

export { availableResources, bundlesHere, describe, groupsKnown, totalResources } from "./scheduler-describe.ts";
export { createScheduler, type SchedulerOptions, type SchedulerState } from "./scheduler-state.ts";
export { validate } from "./scheduler-validate.ts";

/** Takes the event in and returns what is to be done, in order. */
export function step(state: SchedulerState, now: number, event: SchedulerEvent): SchedulerEffect[] {
  assert(state.effects.length === 0, "a step starts without effects");
  apply(state, now, event);
  settle(state, now);
  const { effects } = state;
  state.effects = [];
  return effects;
}

/** When the scheduler wants a `tick` although nothing happens; null when never. */
export function nextWakeMs(state: SchedulerState): number | null {
  let wakeMs = Math.min(state.trimAtMs, state.startAtMs, state.noticeAtMs);
  for (const source of state.watched) wakeMs = Math.min(wakeMs, source.wakeMs);
  for (const atMs of state.groupless.values()) wakeMs = Math.min(wakeMs, atMs);
  for (const other of state.sentTo) wakeMs = Math.min(wakeMs, other.forgetAtMs);
  return wakeMs === never ? null : wakeMs;
}

function apply(state: SchedulerState, now: number, event: SchedulerEvent): void {
  switch (event.kind) {
    case "workerReady":
      return workerReady(state, event.token, event.workerId, now);
    case "startFailed":
      return startHasFailed(state, event.token, event.permanent, event.text, now);
    case "workerGone":
      return workerGone(state, event.workerId, now);
    case "workerRetiring":
      return workerRetiring(state, event.workerId);
    case "workerStays":
      return workerStays(state, event.workerId, now);
    case "defineClass":
      return defineClass(state, event);
    case "demand":
      return demand(state, now, event);
    case "returnLease":
      return returnLease(state, event.ownerId, event.leaseId, now);
    case "blocked":
      return setBlocked(state, event.leaseId, true);
    case "unblocked":
      return setBlocked(state, event.leaseId, false);
    case "ownerGone":
      return ownerGone(state, event.ownerId);
    case "placeActor":
      return placeActor(state, now, event);
    case "actorReady":
      return actorReady(state, event.actorId);
    case "actorBlocked":
      return actorBlocked(state, event.actorId, event.blocked);
    case "actorGone":
      return actorGone(state, event.actorId, event.stop ?? false);
    case "jobStarted":
      return jobStarted(state, event.jobId, event.prestart);
    case "jobEnded":
      return jobEnded(state, event.jobId);
    case "createGroup":
      createGroup(state, now, event);
      return rerouteGroupless(state, event.groupId, now);
    case "removeGroup":
      return groupGone(state, event.groupId, now);
    case "removeBundles":
      return bundlesGone(state, event.groupId, event.indexes, now);
    case "groupPlaced":
      return groupPlaced(state, event, now);
    case "nodesChanged":
      if (nodesChanged(state, event)) rerouteForNodes(state, now);
      return;
    case "tick":
      return;
  }
}

/** Brings everything that changed, or whose time has come, to rest. */
function settle(state: SchedulerState, now: number): void {
  if (state.groupless.size > 0) expireGroupless(state, now);
  for (const source of state.watched) if (now >= source.wakeMs) touch(state, source, false);
  trimIdle(state, now);
  if (state.sentTo.size > 0) forgetSent(state, now);
  do {
    while (state.dirtySources.length > 0) {
      const sources = state.dirtySources;
      state.dirtySources = [];
      for (const source of sources) settleSource(state, source, now);
    }
    if (state.declining.size > 0) declineUnmet(state);
    if (state.lookElsewhere || state.looking.size > 0) spillWaiting(state);
  } while (state.dirtySources.length > 0);
  if (state.sentTo.size > 0) forgetSent(state, now);
  for (const pool of state.dirtyPools) {
    servePool(state, pool, now);
    pool.dirty = false;
  }
  state.dirtyPools.length = 0;
  for (const source of state.recallSources) considerRecall(state, source, now);
  state.recallSources.clear();
  requestStarts(state, now);
  if (now >= state.noticeAtMs) noticeWaiting(state, now);
}

function settleSource(state: SchedulerState, source: Source, now: number): void {
  source.wakeMs = never;
  state.watched.delete(source);
  dispatch(state, source, now);
  source.dirty = false;
  state.recallSources.add(source);
}

// ---------------------------------------------------------------- owners

function ownerOf(state: SchedulerState, ownerId: WorkerId, remote: boolean): OwnerRecord {
  let owner = state.owners.get(ownerId);
  if (owner === undefined) {
    owner = { ownerId, remote, classes: new Map(), leases: new Set() };
    state.owners.set(ownerId, owner);
  }
  return owner;
}

function defineClass(state: SchedulerState, event: SchedulerEvent & { kind: "defineClass" }): void {
  const owner = ownerOf(state, event.ownerId, event.remote ?? false);
  if (owner.classes.has(event.classId)) return;
  const cls: ClassRecord = {
    kind: "class",
    owner,
    classId: event.classId,
    job: jobOf(state, event.jobId),
    spec: event.spec,
    demand: toDemand(event.spec.resources, true),
    poolKey: poolKeyOf(event.jobId, event.spec.runtimeEnv),
    wanted: 0,
    grantsSeen: 0,
    granted: 0,
    hard: false,
    placed: null,
    waitsAt: new Set(),
    bookings: [],
    leases: new Set(),
    shape: null,
    share: 0,
    waitingSinceMs: 0,
    turn: state.nextTurn++,
    holds: 0,
    passUntilMs: 0,
  };
  cls.job.claims++;
  owner.classes.set(event.classId, cls);
}

function demand(state: SchedulerState, now: number, event: SchedulerEvent & { kind: "demand" }): void {
  const cls = state.owners.get(event.ownerId)?.classes.get(event.classId);
  if (cls === undefined) return;
  const before = unbooked(cls);
  cls.wanted = event.wanted;
  cls.grantsSeen = event.grantsSeen;
  cls.hard = event.hard ?? false;
  const waits = cls.shape !== null || state.infeasible.has(cls) || state.groupless.has(cls);
  if (unbooked(cls) > 0) {
    if (!waits) route(state, cls, now);
    else if (cls.shape !== null) moreWanted(state, cls, unbooked(cls) - before);
    if (cls.owner.remote && !cls.hard) state.declining.add(cls);
    return;
  }
  if (waits) stopWaiting(state, cls);
  const outstanding = Math.max(0, cls.wanted - (cls.granted - cls.grantsSeen));
  while (cls.bookings.length > outstanding) cancelBooking(state, cls.bookings[cls.bookings.length - 1]);
  for (const lease of cls.leases) {
    touch(state, lease.source, false); // it may be idle now, and others wait
    break;
  }
}

function moreWanted(state: SchedulerState, cls: ClassRecord, more: number): void {
  const { source } = cls.shape as ShapeQueue;
  touch(state, source, false);
  if (more <= 0) return;
  if (source.groupId !== null) placeMore(state, cls, more);
  else if (state.others.size > 0 && !cls.owner.remote) state.looking.add(cls);
}

/** What remote owners asked for in this step and cannot have is declined. */
function declineUnmet(state: SchedulerState): void {
  for (const cls of state.declining) {
    if (unbooked(cls) === 0) continue;
    declineRest(state, cls);
    stopWaiting(state, cls);
  }
  state.declining.clear();
}

function stopWaiting(state: SchedulerState, cls: ClassRecord): void {
  const { bookings } = cls;
  const kept = bookings.splice(0);
  withdraw(state, cls);
  bookings.push(...kept);
}

function returnLease(state: SchedulerState, ownerId: WorkerId, leaseId: LeaseId, now: number): void {
  const lease = state.leases.get(leaseId);
  if (lease !== undefined && lease.owner.ownerId === ownerId) endLease(state, lease, now);
}

function setBlocked(state: SchedulerState, leaseId: LeaseId, blocked: boolean): void {
  const lease = state.leases.get(leaseId);
  if (lease === undefined || lease.blocked === blocked) return;
  lease.blocked = blocked;
  const sign = blocked ? -1 : 1;
  lease.class.share += sign * lease.weight;
  lease.class.job.share += sign * lease.weight;
  lease.worker.blockedLeases -= sign;
  noteBlocked(state, lease.worker);
  if (!blocked) return takeBackLent(lease.allocation);
  lend(lease.allocation);
  resourcesFreed(state, lease.source, lease.allocation);
}

function ownerGone(state: SchedulerState, ownerId: WorkerId): void {
  const owner = state.owners.get(ownerId);
  if (owner === undefined) return;
  state.owners.delete(ownerId);
  for (const cls of owner.classes.values()) {
    withdraw(state, cls);
    state.declining.delete(cls);
    state.looking.delete(cls);
    cls.wanted = 0;
    cls.grantsSeen = cls.granted;
    claimOver(state, cls.job);
  }
  for (const lease of owner.leases) stopWorker(state, lease.worker, "the process that its task was for has ended");
}

// ---------------------------------------------------------------- workers

function workerGone(state: SchedulerState, workerId: WorkerId, now: number): void {
  const worker = removeWorker(state, workerId, now);
  ownerGone(state, workerId);
  if (worker?.actor != null && worker.actor.worker === worker) forgetActor(state, worker.actor);
}

function startHasFailed(state: SchedulerState, token: number, permanent: boolean, text: string, now: number): void {
  const pool = startFailed(state, token, permanent, text, now);
  if (pool === null) return;
  const claims = new Set(
    [...pool.classBookings, ...pool.actorBookings].filter((booking) => !booking.cancelled).map((booking) => booking.claim),
  );
  for (const claim of claims) refuse(state, claim, "runtime env", text);
}

// ---------------------------------------------------------------- jobs and groups

function jobStarted(state: SchedulerState, jobId: JobId, prestart: number): void {
  const job = jobOf(state, jobId);
  job.living = true;
  job.keep = prestart;
  const pool = poolOf(state, jobId, null);
  pool.prestart += prestart;
  touchPool(state, pool);
}

/** Its leases end with their owners; its idle workers end now. What detached actors of the job still ask for is served. */
function jobEnded(state: SchedulerState, jobId: JobId): void {
  const job = state.jobs.get(jobId);
  if (job === undefined) return;
  job.living = false;
  job.keep = 0;
  for (const pool of state.pools.values()) {
    if (pool.job !== job) continue;
    pool.prestart = 0;
    for (const worker of [...pool.idle]) stopWorker(state, worker, "its job has ended");
    touchPool(state, pool);
  }
  forgetUnusedJob(state, job);
}

function groupGone(state: SchedulerState, groupId: PlacementGroupId, now: number): void {
  const group = removeGroup(state, groupId);
  rerouteGroupless(state, groupId, now);
  if (group === null) return;
  for (const claim of claimsIn(group.source)) refuse(state, claim, "unschedulable", removedText(groupId));
  dissolveGroup(state, group);
}

/** Who waits for resources of the group, or has some and waits for a worker. */
function claimsIn(source: Source): Set<ClassRecord | ActorRecord> {
  const claims = new Set([...source.bookings].map((booking) => booking.claim));
  for (const claim of waitingClaims(source, never)) if (claim.kind !== "group") claims.add(claim);
  return claims;
}

function bundlesGone(state: SchedulerState, groupId: PlacementGroupId, indexes: readonly number[], now: number): void {
  const group = state.groups.get(groupId);
  if (group === undefined) return;
  if (group.phase !== "created") stopGroupWaiting(state, group);
  const claims = claimsIn(group.source);
  for (const claim of claims) {
    withdraw(state, claim);
    if (claim.kind === "actor") claim.phase = "waiting";
  }
  dropBundles(state, group, new Set(indexes));
  for (const claim of claims) if (wants(claim)) route(state, claim, now);
}

function groupPlaced(state: SchedulerState, event: SchedulerEvent & { kind: "groupPlaced" }, now: number): void {
  if (event.nodes.length === 0) return groupGone(state, event.groupId, now);
  if (wasRemoved(state, event.groupId)) return;
  state.places.set(event.groupId, placesOf(event.nodes, event.bundles));
  rerouteGroupless(state, event.groupId, now);
}
