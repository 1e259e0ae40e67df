/**
 * Which leases are called back for claims that wait.
 *
 * A recall means: return it now if nothing runs under it, else when what runs is done. So calling back a lease that its owner keeps idle costs
 * nothing and is done at once; one that is surely busy is called back only to be fair: from the job with the larger share, within a job from the
 * claim with the larger share, and after its owner had it a while, so that claims take turns. Leases whose return would not let a
 * waiting claim run are left alone.
 *
 * The complication: what is called back may take long to come (a long task). For a moment it counts as coming; then another one is called back.
 */
import type { ResourcePool } from "./resources.ts";
import { heldUnits } from "./resources.ts";
import { goesBefore, poolsFor, shareOf, waitingClaims, wants, watch } from "./scheduler-claims.ts";
import {
  type Claim,
  type JobRecord,
  type Lease,
  type SchedulerState,
  type ShapeQueue,
  type Source,
  unbooked,
} from "./scheduler-state.ts";
import { recallLease } from "./scheduler-workers.ts";

/** An owner that does not use a lease gives it back in much less than this. */
const idlePatienceMs = 5;

/** Shares and resources as they will be once what is called back has come and what it covers has been granted. */
interface Outlook {
  readonly free: Map<ResourcePool, Map<string, number>>;
  readonly jobShare: Map<JobRecord, number>;
  readonly claimShare: Map<Claim, number>;
}

export function considerRecall(state: SchedulerState, source: Source, now: number): void {
  if (source.shapes.size === 0 || source.leases.size === 0) return;
  const victims: Lease[] = [];
  for (const lease of source.leases)
    if (!lease.recalled && lease.weight > 0 && lease.worker.state === "leased") victims.push(lease);
  const outlook = lookAhead(state, source, now);
  if (victims.length === 0) return;
  if (!mayMove(source, victims)) return;
  const claims = [...waitingClaims(source, source.leases.size)].filter(wants).sort((a, b) => (goesBefore(a, b) ? -1 : 1));
  for (const claim of claims) {
    const shape = claim.shape as ShapeQueue;
    const units = claim.kind === "class" ? Math.min(unbooked(claim), source.leases.size) : 1;
    for (let i = 0; i < units; i++) if (!coverOne(state, source, claim, shape, victims, outlook, now)) break;
  }
}

/** False when every lease belongs to the only claim that waits: the common case of one owner with a backlog. */
function mayMove(source: Source, victims: readonly Lease[]): boolean {
  let only: Claim | null = null;
  for (const claim of waitingClaims(source, 1)) {
    if (only !== null) return true;
    only = claim;
  }
  return only !== null && victims.some((lease) => lease.class !== only);
}

function lookAhead(state: SchedulerState, source: Source, now: number): Outlook {
  const outlook: Outlook = { free: new Map(), jobShare: new Map(), claimShare: new Map() };
  for (const pool of source.pools) outlook.free.set(pool, new Map(pool.available));
  for (const lease of source.leases) {
    if (!lease.recalled) continue;
    if (!lease.blocked) addShare(outlook, lease.class, -lease.weight);
    if (now >= lease.coverUntilMs) continue;
    watch(state, source, lease.coverUntilMs);
    addFree(outlook, lease, 1);
  }
  return outlook;
}

function addFree(outlook: Outlook, lease: Lease, sign: 1 | -1): void {
  const free = outlook.free.get(lease.allocation.pool);
  if (free === undefined) return;
  for (const name of lease.allocation.demand.names)
    free.set(name, (free.get(name) ?? 0) + sign * heldUnits(lease.allocation, name));
}

function addShare(outlook: Outlook, claim: Claim, weight: number): void {
  outlook.jobShare.set(claim.job, jobShare(outlook, claim.job) + weight);
  outlook.claimShare.set(claim, claimShare(outlook, claim) + weight);
}

const jobShare = (outlook: Outlook, job: JobRecord): number => outlook.jobShare.get(job) ?? job.share;
const claimShare = (outlook: Outlook, claim: Claim): number => outlook.claimShare.get(claim) ?? shareOf(claim);

/** Sees to it that one unit of the claim's demand is covered by what is free or coming; false when nothing can be done for it now. */
function coverOne(
  state: SchedulerState,
  source: Source,
  claim: Claim,
  shape: ShapeQueue,
  victims: readonly Lease[],
  outlook: Outlook,
  now: number,
): boolean {
  for (const pool of poolsFor(source, shape)) {
    const chosen = chooseVictims(state, source, claim, shape, pool, victims, outlook, now);
    if (chosen === null) continue;
    for (const lease of chosen) {
      recallLease(state, lease, now + (isPerhapsIdle(lease) ? idlePatienceMs : state.config.recallPatienceMs));
      watch(state, source, lease.coverUntilMs);
      addFree(outlook, lease, 1);
      if (!lease.blocked) addShare(outlook, lease.class, -lease.weight);
    }
    const free = outlook.free.get(pool) as Map<string, number>;
    shape.demand.names.forEach((name, i) => {
      free.set(name, (free.get(name) ?? 0) - shape.demand.units[i]);
    });
    addShare(outlook, claim, shape.weight);
    return true;
  }
  return false;
}

/** The owner wants no more leases of the class: it may have this one idle. */
const isPerhapsIdle = (lease: Lease): boolean => unbooked(lease.class) === 0;

/** The leases of the pool to call back so that the claim fits: none when it fits already; null when that cannot or should not be done. */
function chooseVictims(
  state: SchedulerState,
  source: Source,
  claim: Claim,
  shape: ShapeQueue,
  pool: ResourcePool,
  victims: readonly Lease[],
  outlook: Outlook,
  now: number,
): Lease[] | null {
  const free = outlook.free.get(pool) as ReadonlyMap<string, number>;
  const lacking = new Map<string, number>();
  shape.demand.names.forEach((name, i) => {
    const lack = shape.demand.units[i] - (free.get(name) ?? 0);
    if (lack > 0) lacking.set(name, lack);
  });
  if (lacking.size === 0) return [];
  const chosen: Lease[] = [];
  let tooYoungUntil = Number.POSITIVE_INFINITY;
  for (const lease of candidates(claim, pool, victims, outlook)) {
    if (![...lacking.keys()].some((name) => heldUnits(lease.allocation, name) > 0)) continue;
    if (!isPerhapsIdle(lease) && now < lease.grantedAtMs + state.config.recallAfterMs) {
      tooYoungUntil = Math.min(tooYoungUntil, lease.grantedAtMs + state.config.recallAfterMs);
      continue;
    }
    chosen.push(lease);
    for (const [name, lack] of [...lacking]) {
      const left = lack - heldUnits(lease.allocation, name);
      if (left > 0) lacking.set(name, left);
      else lacking.delete(name);
    }
    if (lacking.size === 0) return chosen;
  }
  watch(state, source, tooYoungUntil);
  return null;
}

/** Leases that may be called back for the claim: perhaps idle ones first, the latest first; then from the largest share, the oldest first. */
function candidates(claim: Claim, pool: ResourcePool, victims: readonly Lease[], outlook: Outlook): Lease[] {
  const allowed = victims.filter(
    (lease) =>
      !lease.recalled &&
      lease.class !== claim &&
      lease.allocation.pool === pool &&
      (isPerhapsIdle(lease) || isFairer(claim, lease, outlook)),
  );
  return allowed.sort((a, b) => {
    const idle = Number(isPerhapsIdle(b)) - Number(isPerhapsIdle(a));
    if (idle !== 0) return idle;
    if (isPerhapsIdle(a)) return b.leaseId - a.leaseId;
    const jobs = jobShare(outlook, b.class.job) - jobShare(outlook, a.class.job);
    const claims = claimShare(outlook, b.class) - claimShare(outlook, a.class);
    return jobs !== 0 ? jobs : claims !== 0 ? claims : a.leaseId - b.leaseId;
  });
}

/** Whether the shares are more equal, or at least in turn, with the lease moved to the claim. */
function isFairer(claim: Claim, lease: Lease, outlook: Outlook): boolean {
  if (claim.job !== lease.class.job) return jobShare(outlook, lease.class.job) > jobShare(outlook, claim.job);
  return claimShare(outlook, lease.class) > claimShare(outlook, claim);
}
