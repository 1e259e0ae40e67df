/**
 * Which waiting claim gets resources that are free.
 *
 * Among shapes that fit, the claim that goes first (scheduler-claims) is booked, until nothing fits. The complication is a large claim that
 * smaller ones overtake whenever a little becomes free: once it is overdue, what becomes free is held back for it, for a bounded
 * time; then others pass for a moment; and so on with longer times.
 */
import { allocate, fits, heldUnits, type ResourcePool, unitsOf, unitsPerWhole, zeroCpuSlot } from "./resources.ts";
import { changeSlots, dequeue, endHold, goesBefore, headOf, poolsFor, watch } from "./scheduler-claims.ts";
import { becomeCreated } from "./scheduler-groups.ts";
import {
  type Booking,
  type Claim,
  never,
  type SchedulerState,
  type ShapeQueue,
  type Source,
  unbooked,
} from "./scheduler-state.ts";
import { addBooking } from "./scheduler-workers.ts";

/** After a hold ends without success, others may take what is free for this long. */
const passMs = 1000;
const holdMsMax = 600_000;
/** A zero-CPU task beyond the slots waits this long for another slot; doubled for each further one up to the maximum. */
const slotAfterMs = 1000;
const slotAfterMsMax = 10_000;

/** Books resources for waiting claims until nothing more fits. */
export function dispatch(state: SchedulerState, source: Source, now: number): void {
  if (source.shapes.size === 0) return;
  updateHold(state, source, now);
  do bookAll(state, source, now);
  while (addSlot(state, source, now));
}

function bookAll(state: SchedulerState, source: Source, now: number): void {
  for (let claim = nextClaim(source); claim !== null; claim = nextClaim(source)) {
    if (!book(state, claim, now)) (claim.shape as ShapeQueue).unfitVersion = source.version;
  }
}

function nextClaim(source: Source): Claim | null {
  let best: Claim | null = null;
  for (const shape of source.shapes.values()) {
    if (shape.unfitVersion === source.version) continue;
    const pool = poolWithRoom(source, shape);
    if (pool === null || isHeldBack(source, shape, pool)) {
      shape.unfitVersion = source.version;
      continue;
    }
    for (const queue of shape.byJob.values()) {
      const head = headOf(queue);
      if (head !== null && (best === null || goesBefore(head, best))) best = head;
    }
  }
  return best;
}

function poolWithRoom(source: Source, shape: ShapeQueue): ResourcePool | null {
  for (const pool of poolsFor(source, shape)) if (fits(pool, shape.demand)) return pool;
  return null;
}

/** Whether taking `shape` from the pool would take what is held back for another. */
function isHeldBack(source: Source, shape: ShapeQueue, pool: ResourcePool): boolean {
  const hold = source.hold;
  if (hold === null || hold.shape === shape || !poolsFor(source, hold.shape).includes(pool)) return false;
  return shape.demand.names.some((name, i) => {
    const wanted = hold.shape.demand.names.indexOf(name);
    return wanted >= 0 && (pool.available.get(name) ?? 0) - shape.demand.units[i] < hold.shape.demand.units[wanted];
  });
}

function book(state: SchedulerState, claim: Claim, now: number): boolean {
  const shape = claim.shape as ShapeQueue;
  if (claim.kind === "group") return becomeCreated(state, claim);
  const pool = poolWithRoom(shape.source, shape);
  const allocation = pool === null ? null : allocate(pool, shape.demand);
  if (allocation === null) return false;
  const booking: Booking = {
    claim,
    allocation,
    source: shape.source,
    weight: shape.weight,
    turn: state.nextTurn++,
    cancelled: false,
  };
  claim.job.share += shape.weight;
  claim.holds = 0;
  if (shape.source.hold?.claim === claim) endHold(state, shape.source);
  if (claim.kind === "class") {
    claim.bookings.push(booking);
    claim.share += shape.weight;
    claim.waitingSinceMs = now;
    claim.turn = state.nextTurn++;
    if (unbooked(claim) === 0) dequeue(state, claim);
  } else {
    dequeue(state, claim);
    claim.phase = "booked";
    claim.source = shape.source;
    claim.booking = booking;
    claim.allocation = allocation;
  }
  addBooking(state, booking);
  return true;
}

// ---------------------------------------------------------------- holding back

/** Ends a hold whose time is over and starts one for the first overdue claim that could be served if leases ended. */
function updateHold(state: SchedulerState, source: Source, now: number): void {
  const hold = source.hold;
  if (hold !== null) {
    if (now < hold.untilMs) return watch(state, source, hold.untilMs);
    hold.claim.holds++;
    hold.claim.passUntilMs = now + passMs;
    endHold(state, source);
  }
  if (source.shapes.size < 2) return;
  let first: Claim | null = null;
  for (const shape of source.shapes.values()) {
    if (!canBeOvertaken(source, shape) || poolWithRoom(source, shape) !== null) continue;
    for (const queue of shape.byJob.values()) {
      const head = headOf(queue);
      if (head === null) continue;
      const overdueAtMs = Math.max(head.passUntilMs, head.waitingSinceMs + state.config.holdBackAfterMs);
      if (now < overdueAtMs) watch(state, source, overdueAtMs);
      else if ((first === null || goesBefore(head, first)) && isAttainable(source, shape)) first = head;
    }
  }
  if (first === null) return;
  const untilMs = now + Math.min(holdMsMax, state.config.holdBackMs * 2 ** Math.min(first.holds, 20));
  source.hold = { claim: first, shape: first.shape as ShapeQueue, untilMs };
  source.version++;
  watch(state, source, untilMs);
}

/** Whether another shape that waits may fit into what is too little for this one, and takes some of what this one waits for. */
function canBeOvertaken(source: Source, shape: ShapeQueue): boolean {
  const { names, units } = shape.demand;
  for (const other of source.shapes.values()) {
    if (other === shape) continue;
    const shares = names.some((name) => unitsOf(other.demand, name) > 0);
    if (shares && names.some((name, i) => unitsOf(other.demand, name) < units[i])) return true;
  }
  return false;
}

/** Whether the shape would fit once all leases in the source had ended: what actors and groups hold may be held for ever. */
export function isAttainable(source: Source, shape: ShapeQueue): boolean {
  for (const pool of poolsFor(source, shape)) {
    const enough = shape.demand.names.every((name, i) => {
      let units = pool.available.get(name) ?? 0;
      for (const lease of source.leases) if (lease.allocation.pool === pool) units += heldUnits(lease.allocation, name);
      return units >= shape.demand.units[i];
    });
    if (enough) return true;
  }
  return false;
}

// ---------------------------------------------------------------- zero-CPU slots

/** Lets one more zero-CPU task in each time such tasks have waited long: they may wait for each other without being blocked in get. */
function addSlot(state: SchedulerState, source: Source, now: number): boolean {
  const full = fullSlots(source);
  if (full === null) {
    source.slotAtMs = never;
    return false;
  }
  if (source.slotAtMs === never)
    source.slotAtMs = now + Math.min(slotAfterMsMax, slotAfterMs * 2 ** Math.min(10, full.slotsAdded));
  if (now < source.slotAtMs) {
    watch(state, source, source.slotAtMs);
    return false;
  }
  source.slotAtMs = never;
  changeSlots(full, 1);
  source.version++;
  return true;
}

/** The pool whose lack of slots keeps a claim waiting. */
function fullSlots(source: Source): ResourcePool | null {
  for (const shape of source.shapes.values()) {
    if (!shape.demand.names.includes(zeroCpuSlot)) continue;
    for (const pool of poolsFor(source, shape)) if ((pool.available.get(zeroCpuSlot) ?? 0) < unitsPerWhole) return pool;
  }
  return null;
}
