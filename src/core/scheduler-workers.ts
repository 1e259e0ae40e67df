/**
 * The node's worker processes: who gets an idle one, when one is started, when one is asked to go.
 *
 * A booking takes the most recently idle worker of its job and runtime env, so tasks in sequence reuse one process. Otherwise a process is
 * started, never more than bookings wait. The complication is blocked workers: each gives its CPU back, so nested tasks would need a process for
 * every level. Once enough processes are blocked, a further task of the same job and env runs inside a blocked one instead.
 */
import { assert } from "../base/assert.ts";
import type { JobId, LeaseId, WorkerId } from "../base/ids.ts";
import type { RuntimeEnvSpec } from "../wire/messages.ts";
import { Fifo } from "./fifo.ts";
import { freeAllocation } from "./scheduler-claims.ts";
import {
  type ActorRecord,
  type Booking,
  type ClassRecord,
  claimOver,
  jobOf,
  type Lease,
  never,
  poolKeyOf,
  type SchedulerState,
  type StartRecord,
  touchPool,
  type WorkerPool,
  type WorkerRecord,
} from "./scheduler-state.ts";

/** Processes for tasks of fractional CPUs start freely up to this many; beyond, one at a time after growing pauses, as in Ray. */
const softMax = (cpus: number): number => Math.max(16, 4 * cpus);
const growAfterMs = 1000;
const growAfterMsMax = 10_000;
/** A failed start is tried again after this long, doubled each time up to the maximum. */
const retryStartMs = 100;
const retryStartMsMax = 10_000;
/** From this many failed starts in a row on, the job is told. */
const failuresTold = 3;
/** A worker that answered that it must live on is asked again after this many times the idle time, doubled each time. */
const stayFactor = 10;

export function poolOf(state: SchedulerState, jobId: JobId, runtimeEnv: RuntimeEnvSpec | null): WorkerPool {
  const key = poolKeyOf(jobId, runtimeEnv);
  let pool = state.pools.get(key);
  if (pool === undefined) {
    pool = {
      key,
      job: jobOf(state, jobId),
      runtimeEnv,
      workers: new Set(),
      idle: [],
      blocked: new Set(),
      classBookings: new Fifo(),
      actorBookings: new Fifo(),
      classesBooked: 0,
      actorsBooked: 0,
      starting: 0,
      prestart: 0,
      failures: 0,
      retryAtMs: 0,
      dirty: false,
    };
    state.pools.set(key, pool);
    pool.job.claims++;
  }
  return pool;
}

function forgetUnusedPool(state: SchedulerState, pool: WorkerPool): void {
  if (pool.workers.size > 0 || pool.starting > 0 || pool.prestart > 0 || pool.classesBooked + pool.actorsBooked > 0) return;
  if (!state.pools.delete(pool.key)) return;
  state.needy.delete(pool);
  claimOver(state, pool.job);
}

// ---------------------------------------------------------------- bookings

export function addBooking(state: SchedulerState, booking: Booking): void {
  booking.source.bookings.add(booking);
  const { claim } = booking;
  const pool = poolOf(state, claim.job.jobId, claim.spec.runtimeEnv);
  if (claim.kind === "class") {
    pool.classBookings.push(booking);
    pool.classesBooked++;
  } else {
    pool.actorBookings.push(booking);
    pool.actorsBooked++;
  }
  touchPool(state, pool);
}

/** The booking leaves its pool's queue; its resources are the caller's part. */
export function dropBooking(state: SchedulerState, booking: Booking): void {
  assert(!booking.cancelled, "a booking ends once");
  booking.cancelled = true;
  booking.source.bookings.delete(booking);
  const pool = poolOf(state, booking.claim.job.jobId, booking.claim.spec.runtimeEnv);
  if (booking.claim.kind === "class") pool.classesBooked--;
  else pool.actorsBooked--;
  touchPool(state, pool);
}

function headBooking(queue: Fifo<Booking>): Booking | null {
  while (queue.length > 0 && (queue.peek() as Booking).cancelled) queue.shift();
  return queue.peek() ?? null;
}

/** Gives the pool's waiting bookings workers, and notes whether it needs more processes. */
export function servePool(state: SchedulerState, pool: WorkerPool, now: number): void {
  for (;;) {
    const forClass = headBooking(pool.classBookings);
    const forActor = headBooking(pool.actorBookings);
    const actorFirst = forActor !== null && (forClass === null || forActor.turn < forClass.turn);
    const fresh = forActor === null ? null : freshIdle(pool);
    if (actorFirst && fresh !== null) startActorOn(state, forActor, fresh);
    else if (forClass !== null && pool.idle.length > 0) grant(state, forClass, pool.idle[pool.idle.length - 1], now);
    else if (forActor !== null && fresh !== null) startActorOn(state, forActor, fresh);
    else if (forClass !== null && mayShare(state, pool))
      grant(state, forClass, leastLeased(pool, forClass.claim as ClassRecord), now);
    else break;
  }
  if (wantedStarts(pool) > 0) state.needy.add(pool);
  else forgetUnusedPool(state, pool);
}

function freshIdle(pool: WorkerPool): WorkerRecord | null {
  for (const worker of pool.idle) if (worker.fresh) return worker;
  return null;
}

/** Enough processes are blocked, so the next task goes into one of them. */
function mayShare(state: SchedulerState, pool: WorkerPool): boolean {
  return pool.blocked.size > 0 && state.blockedWorkers > blockedMax(state);
}

/** Processes that may be blocked before their number grows no more. */
function blockedMax(state: SchedulerState): number {
  return Math.max(1, Math.floor((state.config.poolFactor - 1) * state.cpus));
}

/** Fewest leases first, and rather not the process that asks. */
function leastLeased(pool: WorkerPool, cls: ClassRecord): WorkerRecord {
  let best: WorkerRecord | null = null;
  for (const worker of pool.blocked) {
    if (best === null || worker.leases.size < best.leases.size) best = worker;
    else if (worker.leases.size === best.leases.size && best.workerId === cls.owner.ownerId) best = worker;
  }
  return best as WorkerRecord;
}

// ---------------------------------------------------------------- leases

function grant(state: SchedulerState, booking: Booking, worker: WorkerRecord, now: number): void {
  const cls = booking.claim as ClassRecord;
  assert(worker.pool.key === cls.poolKey, "a lease is on a worker of the job and env that asked");
  dropBooking(state, booking);
  cls.bookings.splice(cls.bookings.indexOf(booking), 1);
  if (worker.state === "idle") becomeLeased(state, worker);
  const lease: Lease = {
    leaseId: state.nextLease++ as LeaseId,
    owner: cls.owner,
    class: cls,
    worker,
    allocation: booking.allocation,
    source: booking.source,
    weight: booking.weight,
    grantedAtMs: now,
    blocked: false,
    recalled: false,
    coverUntilMs: 0,
  };
  worker.leases.add(lease);
  noteBlocked(state, worker);
  cls.leases.add(lease);
  cls.owner.leases.add(lease);
  lease.source.leases.add(lease);
  state.recallSources.add(lease.source);
  state.leases.set(lease.leaseId, lease);
  cls.granted++;
  state.effects.push({
    kind: "grant",
    ownerId: cls.owner.ownerId,
    classId: cls.classId,
    leaseId: lease.leaseId,
    workerId: worker.workerId,
    gpuIds: lease.allocation.gpuIds,
  });
}

function becomeLeased(state: SchedulerState, worker: WorkerRecord): void {
  leaveIdle(state, worker);
  worker.state = "leased";
  worker.fresh = false;
}

/** The lease is over: its resources are free, and its worker is idle when it was the last. */
export function endLease(state: SchedulerState, lease: Lease, now: number): void {
  if (!state.leases.delete(lease.leaseId)) return;
  if (!lease.blocked) {
    lease.class.share -= lease.weight;
    lease.class.job.share -= lease.weight;
  }
  if (lease.recalled) lease.class.turn = state.nextTurn++; // whoever it was called back for goes first
  lease.class.leases.delete(lease);
  lease.owner.leases.delete(lease);
  lease.source.leases.delete(lease);
  const worker = lease.worker;
  worker.leases.delete(lease);
  if (lease.blocked) worker.blockedLeases--;
  freeAllocation(state, lease.source, lease.allocation);
  noteBlocked(state, worker);
  if (worker.leases.size > 0) return;
  if (worker.state === "leased") becomeIdle(state, worker, now);
  else if (worker.state === "retiring") state.effects.push({ kind: "retired", workerId: worker.workerId });
}

/** Keeps `blocked` and its count true after a change of the worker's leases. */
export function noteBlocked(state: SchedulerState, worker: WorkerRecord): void {
  const isBlocked = worker.state === "leased" && worker.leases.size > 0 && worker.blockedLeases === worker.leases.size;
  const { blocked } = worker.pool;
  if (isBlocked === blocked.has(worker)) return;
  if (isBlocked) {
    blocked.add(worker);
    state.blockedWorkers++;
    touchPool(state, worker.pool);
  } else {
    blocked.delete(worker);
    state.blockedWorkers--;
  }
}

function startActorOn(state: SchedulerState, booking: Booking, worker: WorkerRecord): void {
  const actor = booking.claim as ActorRecord;
  dropBooking(state, booking);
  leaveIdle(state, worker);
  leavePool(state, worker);
  worker.state = "actor";
  worker.fresh = false;
  worker.actor = actor;
  actor.phase = "starting";
  actor.booking = null;
  actor.job.share -= booking.weight;
  if (booking.source.groupId !== null) state.groups.get(booking.source.groupId)?.actors.add(actor);
  actor.worker = worker;
  const gpuIds = actor.allocation === null ? [] : actor.allocation.gpuIds;
  state.effects.push({ kind: "actorPlaced", actorId: actor.actorId, workerId: worker.workerId, gpuIds });
}

// ---------------------------------------------------------------- idle

function becomeIdle(state: SchedulerState, worker: WorkerRecord, now: number): void {
  assert(worker.leases.size === 0, "an idle worker has no lease");
  worker.state = "idle";
  worker.idleSinceMs = now;
  worker.pool.idle.push(worker);
  state.idleOrder.add(worker);
  state.trimAtMs = Math.min(state.trimAtMs, now + state.config.idleWorkerMs);
  touchPool(state, worker.pool);
}

function leaveIdle(state: SchedulerState, worker: WorkerRecord): void {
  if (!state.idleOrder.delete(worker)) return;
  const { idle } = worker.pool;
  idle.splice(idle.lastIndexOf(worker), 1);
}

/** The worker no longer counts among those for tasks. */
function leavePool(state: SchedulerState, worker: WorkerRecord): void {
  state.pooled--;
  worker.pool.job.workers--;
}

/** Asks idle workers that nobody needs to exit, the longest idle first. */
export function trimIdle(state: SchedulerState, now: number): void {
  if (now < state.trimAtMs) return;
  state.trimAtMs = never;
  let excess = state.idleOrder.size - state.cpus;
  for (const worker of [...state.idleOrder]) {
    const { job } = worker.pool;
    if (job.living && (excess <= 0 || job.workers <= job.keep)) continue;
    const atMs = Math.max(worker.idleSinceMs + state.config.idleWorkerMs, worker.stayUntilMs);
    if (now < atMs) {
      state.trimAtMs = Math.min(state.trimAtMs, atMs);
      continue;
    }
    askToExit(state, worker);
    excess--;
  }
}

function askToExit(state: SchedulerState, worker: WorkerRecord): void {
  leaveIdle(state, worker);
  leavePool(state, worker);
  worker.state = "exiting";
  state.effects.push({ kind: "tryExit", workerId: worker.workerId });
}

/** Answer to `tryExit`: it must live on. */
export function workerStays(state: SchedulerState, workerId: WorkerId, now: number): void {
  const worker = state.workers.get(workerId);
  if (worker === undefined || worker.state !== "exiting") return;
  state.pooled++;
  worker.pool.job.workers++;
  worker.stayUntilMs = now + state.config.idleWorkerMs * stayFactor * 2 ** Math.min(worker.stays++, 6);
  becomeIdle(state, worker, now);
}

// ---------------------------------------------------------------- starts

/** Processes the pool needs beyond those being started. */
function wantedStarts(pool: WorkerPool): number {
  return Math.max(pool.classesBooked + pool.actorsBooked - pool.starting, pool.prestart);
}

/** Starts processes for pools in turn, no more at once than there are CPUs. */
export function requestStarts(state: SchedulerState, now: number): void {
  state.startAtMs = never;
  if (state.needy.size === 0) return;
  const startsMax = Math.max(1, state.cpus);
  for (const pool of [...state.needy]) {
    while (state.starts.size < startsMax && wantedStarts(pool) > 0 && mayStart(state, pool, now)) startWorker(state, pool);
    if (wantedStarts(pool) <= 0) {
      state.needy.delete(pool);
      forgetUnusedPool(state, pool);
    } else if (state.starts.size >= startsMax) {
      state.needy.delete(pool); // the others first, next time
      state.needy.add(pool);
      return;
    }
  }
}

function mayStart(state: SchedulerState, pool: WorkerPool, now: number): boolean {
  if (now < pool.retryAtMs) {
    state.startAtMs = Math.min(state.startAtMs, pool.retryAtMs);
    return false;
  }
  const onlyTasksWait = pool.starting >= pool.actorsBooked && pool.prestart === 0;
  return !onlyTasksWait || mayGrow(state, pool, now);
}

/** Below the soft limit always; at it, an idle worker of another job or env makes room, or one more process is let in after a pause. */
function mayGrow(state: SchedulerState, pool: WorkerPool, now: number): boolean {
  if (state.pooled - state.blockedWorkers + state.starts.size < softMax(state.cpus)) {
    state.growAtMs = null;
    state.growths = 0;
    return true;
  }
  for (const worker of state.idleOrder) {
    if (worker.pool === pool || now < worker.stayUntilMs) continue;
    askToExit(state, worker);
    return true;
  }
  if (state.growAtMs === null) state.growAtMs = now + Math.min(growAfterMsMax, growAfterMs * 2 ** Math.min(state.growths, 10));
  if (now < state.growAtMs) {
    state.startAtMs = Math.min(state.startAtMs, state.growAtMs);
    return false;
  }
  state.growAtMs = null;
  state.growths++;
  return true;
}

function startWorker(state: SchedulerState, pool: WorkerPool): void {
  const start: StartRecord = { token: state.nextToken++, pool };
  if (pool.prestart > 0) pool.prestart--;
  pool.starting++;
  state.starts.set(start.token, start);
  state.effects.push({ kind: "startWorker", token: start.token, jobId: pool.job.jobId, runtimeEnv: pool.runtimeEnv });
}

export function workerReady(state: SchedulerState, token: number, workerId: WorkerId, now: number): void {
  const start = state.starts.get(token);
  if (start === undefined || state.workers.has(workerId)) return;
  const { pool } = start;
  state.starts.delete(token);
  pool.starting--;
  pool.failures = 0;
  pool.retryAtMs = 0;
  const worker: WorkerRecord = {
    workerId,
    pool,
    state: "idle",
    leases: new Set(),
    blockedLeases: 0,
    fresh: true,
    actor: null,
    idleSinceMs: now,
    stayUntilMs: 0,
    stays: 0,
  };
  state.workers.set(workerId, worker);
  pool.workers.add(worker);
  state.pooled++;
  pool.job.workers++;
  becomeIdle(state, worker, now);
}

/** The start failed. Returns the pool when it can never succeed, so that the caller fails what waits for it. */
export function startFailed(
  state: SchedulerState,
  token: number,
  permanent: boolean,
  text: string,
  now: number,
): WorkerPool | null {
  const start = state.starts.get(token);
  if (start === undefined) return null;
  const { pool } = start;
  state.starts.delete(token);
  pool.starting--;
  touchPool(state, pool);
  if (permanent) {
    pool.prestart = 0;
    return pool;
  }
  pool.failures++;
  pool.retryAtMs = now + Math.min(retryStartMsMax, retryStartMs * 2 ** Math.min(pool.failures - 1, 10));
  if (pool.failures >= failuresTold && (pool.failures & (pool.failures - 1)) === 0)
    state.effects.push({
      kind: "warn",
      jobId: pool.job.jobId,
      text: `A worker process could not be started ${pool.failures} times in a row and is tried again: ${text}`,
    });
  return null;
}

// ---------------------------------------------------------------- ends

export function stopWorker(state: SchedulerState, worker: WorkerRecord, reason: string): void {
  if (worker.state === "stopping") return;
  becomeStopping(state, worker);
  state.effects.push({ kind: "stopWorker", workerId: worker.workerId, reason });
}

/** It gets nothing more; what it holds is freed when it is gone. */
export function becomeStopping(state: SchedulerState, worker: WorkerRecord): void {
  leaveIdle(state, worker);
  if (worker.state === "idle" || worker.state === "leased" || worker.state === "retiring") leavePool(state, worker);
  worker.state = "stopping";
  noteBlocked(state, worker);
  touchPool(state, worker.pool);
}

export function workerRetiring(state: SchedulerState, workerId: WorkerId): void {
  const worker = state.workers.get(workerId);
  if (worker === undefined || (worker.state !== "idle" && worker.state !== "leased")) return;
  leaveIdle(state, worker);
  worker.state = "retiring";
  noteBlocked(state, worker);
  for (const lease of worker.leases) if (!lease.recalled) recallLease(state, lease, never);
  if (worker.leases.size === 0) state.effects.push({ kind: "retired", workerId });
}

export function recallLease(state: SchedulerState, lease: Lease, coverUntilMs: number): void {
  assert(!lease.recalled, () => `lease ${lease.leaseId} recalled twice`);
  lease.recalled = true;
  lease.coverUntilMs = coverUntilMs;
  state.effects.push({ kind: "recall", ownerId: lease.owner.ownerId, leaseId: lease.leaseId });
}

/** Forgets the process and ends its leases. Returns it, or undefined when it was not known. */
export function removeWorker(state: SchedulerState, workerId: WorkerId, now: number): WorkerRecord | undefined {
  const worker = state.workers.get(workerId);
  if (worker === undefined) return undefined;
  state.workers.delete(workerId);
  becomeStopping(state, worker);
  for (const lease of [...worker.leases]) endLease(state, lease, now);
  worker.pool.workers.delete(worker);
  touchPool(state, worker.pool);
  return worker;
}
