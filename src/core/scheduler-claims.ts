/**
 * Queues of claims that wait for resources, and the order among them.
 *
 * Claims of one shape (same resources from the same place) wait in one queue, so a shape that does not fit costs one comparison however
 * many claims it has. Order: the job with the smallest share goes first, then the claim with the smallest share, then the one whose
 * last turn was the longest ago.
 */
import { assert } from "../base/assert.ts";
import { Fifo } from "./fifo.ts";
import { type Allocation, type ResourcePool, release, unitsPerWhole, weightOf, zeroCpuSlot } from "./resources.ts";
import {
  type Claim,
  type JobQueue,
  never,
  nodePool,
  noticeBy,
  type SchedulerState,
  type ShapeQueue,
  type Source,
  touch,
  unbooked,
} from "./scheduler-state.ts";

export const shareOf = (claim: Claim): number => (claim.kind === "class" ? claim.share : 0);

/** True while the claim still wants resources. */
export function wants(claim: Claim): boolean {
  return claim.kind === "class" ? unbooked(claim) > 0 : claim.phase === "waiting";
}

// ---------------------------------------------------------------- queues

/** Puts the claim into the queue of its shape at `source`. */
export function enqueue(state: SchedulerState, claim: Claim, source: Source, bundleIndex: number, now: number): void {
  assert(claim.shape === null, "a claim waits in one queue");
  const key = `${claim.kind === "group" ? "group " : ""}${bundleIndex} ${claim.demand.key}`;
  let shape = source.shapes.get(key);
  if (shape === undefined) {
    shape = {
      key,
      source,
      demand: claim.demand,
      weight: weightOf(nodePool(state), claim.demand),
      bundleIndex,
      byJob: new Map(),
      unfitVersion: -1,
    };
    source.shapes.set(key, shape);
  }
  let queue = shape.byJob.get(claim.job);
  if (queue === undefined) {
    queue = { classes: new Set(), singles: new Fifo() };
    shape.byJob.set(claim.job, queue);
  }
  if (claim.kind === "class") queue.classes.add(claim);
  else queue.singles.push(claim);
  claim.shape = shape;
  claim.waitingSinceMs = now;
  claim.turn = state.nextTurn++;
  noticeBy(state, now + state.config.waitingAfterMs);
  touch(state, source, false);
}

/** Takes the claim out of its queue. */
export function dequeue(state: SchedulerState, claim: Claim): void {
  const shape = claim.shape;
  if (shape === null) return;
  claim.shape = null;
  const queue = shape.byJob.get(claim.job) as JobQueue;
  if (claim.kind === "class") queue.classes.delete(claim);
  if (shape.source.hold?.claim === claim) endHold(state, shape.source);
  prune(shape, claim.job, queue);
}

function prune(shape: ShapeQueue, job: Claim["job"], queue: JobQueue): void {
  skipGone(queue);
  if (queue.classes.size > 0 || queue.singles.length > 0) return;
  shape.byJob.delete(job);
  if (shape.byJob.size === 0) shape.source.shapes.delete(shape.key);
}

function skipGone(queue: JobQueue): void {
  while (queue.singles.length > 0 && (queue.singles.peek() as Claim).shape === null) queue.singles.shift();
}

/** The claim of this job in this shape that goes first. */
export function headOf(queue: JobQueue): Claim | null {
  skipGone(queue);
  let head: Claim | null = queue.singles.peek() ?? null;
  for (const cls of queue.classes) if (head === null || goesBefore(cls, head)) head = cls;
  return head;
}

/** Jobs share equally, then claims, then they take turns. */
export function goesBefore(a: Claim, b: Claim): boolean {
  if (a.job.share !== b.job.share) return a.job.share < b.job.share;
  const shareA = shareOf(a);
  const shareB = shareOf(b);
  if (shareA !== shareB) return shareA < shareB;
  return a.turn < b.turn;
}

/** Every claim that waits at the source; singles up to `singlesMax` for each queue. */
export function* waitingClaims(source: Source, singlesMax: number): IterableIterator<Claim> {
  for (const shape of source.shapes.values()) {
    for (const queue of shape.byJob.values()) {
      yield* queue.classes;
      let left = singlesMax;
      for (const single of queue.singles) {
        if (left-- <= 0) break;
        if (single.shape !== null) yield single;
      }
    }
  }
}

/** The pools that the shape may take from. */
export function poolsFor(source: Source, shape: ShapeQueue): readonly ResourcePool[] {
  if (shape.bundleIndex < 0 || source.groupId === null) return source.pools;
  if (source.pools.length === 1 && source.indexes[0] === shape.bundleIndex) return source.pools;
  const at = source.indexes.indexOf(shape.bundleIndex);
  return at < 0 || at >= source.pools.length ? [] : [source.pools[at]];
}

// ---------------------------------------------------------------- what comes back

/** Releases resources and lets those who wait for them look again. */
export function freeAllocation(state: SchedulerState, source: Source, allocation: Allocation): void {
  release(allocation);
  resourcesFreed(state, source, allocation);
}

/** Something of the allocation became free: the source that owns its pool now is looked at again. */
export function resourcesFreed(state: SchedulerState, source: Source, allocation: Allocation): void {
  const owner = allocation.pool === nodePool(state) ? state.node : source;
  if (allocation.pool.slotsAdded > 0) removeSlots(allocation.pool);
  touch(state, owner, true);
}

export function endHold(state: SchedulerState, source: Source): void {
  source.hold = null;
  touch(state, source, true);
}

/** Looks at the source again at `ms` at the latest. */
export function watch(state: SchedulerState, source: Source, ms: number): void {
  if (ms >= source.wakeMs) return;
  source.wakeMs = ms;
  if (ms !== never) state.watched.add(source);
}

/** Takes zero-CPU slots back that scheduler-dispatch had added, as they become free. */
function removeSlots(pool: ResourcePool): void {
  while (pool.slotsAdded > 0 && (pool.available.get(zeroCpuSlot) ?? 0) >= unitsPerWhole) changeSlots(pool, -1);
}

export function changeSlots(pool: ResourcePool, count: 1 | -1): void {
  pool.slotsAdded += count;
  for (const units of [pool.total, pool.available]) units.set(zeroCpuSlot, (units.get(zeroCpuSlot) ?? 0) + count * unitsPerWhole);
}
