/**
 * Where a claim waits: at the node, in a placement group, for a group that is not known yet, or aside because this node can never serve
 * it; or that it can never be served at all, which its owner is told. Also how a claim leaves all of these again.
 */
import { chooseNode } from "./placement.ts";
import { couldEverFit } from "./resources.ts";
import { dequeue, enqueue, freeAllocation } from "./scheduler-claims.ts";
import { neverFitsGroup, wasRemoved } from "./scheduler-groups.ts";
import {
  type ActorRecord,
  type Booking,
  type ClassRecord,
  claimOver,
  nodePool,
  noticeBy,
  type SchedulerState,
  type Source,
} from "./scheduler-state.ts";
import { dropBooking } from "./scheduler-workers.ts";

/** Lets the claim wait where it belongs, or refuses it. */
export function route(state: SchedulerState, claim: ClassRecord | ActorRecord, now: number): void {
  const { strategy } = claim.spec;
  claim.waitingSinceMs = now;
  if (strategy.kind === "group") return routeToGroup(state, claim, now);
  const view = {
    nodeId: state.config.nodeId,
    labels: state.config.labels,
    total: nodePool(state).total,
    available: nodePool(state).available,
  };
  const choice = chooseNode(claim.spec, claim.demand, state.config.nodeId, [view]);
  if (choice.kind === "unschedulable") refuse(state, claim, "unschedulable", choice.text);
  else if (choice.kind === "infeasible" || !couldEverFit(nodePool(state), claim.demand)) setAside(state, claim, now);
  else enqueue(state, claim, state.node, 0, now);
}

function setAside(state: SchedulerState, claim: ClassRecord | ActorRecord, now: number): void {
  state.infeasible.add(claim);
  noticeBy(state, now + state.config.infeasibleAfterMs);
}

function routeToGroup(state: SchedulerState, claim: ClassRecord | ActorRecord, now: number): void {
  const { strategy } = claim.spec;
  if (strategy.kind !== "group") return;
  const group = state.groups.get(strategy.groupId);
  if (group === undefined) {
    if (wasRemoved(state, strategy.groupId)) return refuse(state, claim, "unschedulable", removedText(strategy.groupId));
    state.groupless.set(claim, now + state.config.unknownGroupMs);
    return;
  }
  const never = neverFitsGroup(group, claim.demand, strategy.bundleIndex);
  if (never !== null) return refuse(state, claim, "unschedulable", never);
  enqueue(state, claim, group.source, strategy.bundleIndex, now);
}

export const removedText = (groupId: string): string => `placement group ${groupId} was removed`;

/** A group was created: those who waited to hear of it wait in it. */
export function rerouteGroupless(state: SchedulerState, groupId: string, now: number): void {
  for (const claim of [...state.groupless.keys()]) {
    const { strategy } = claim.spec;
    if (strategy.kind !== "group" || strategy.groupId !== groupId) continue;
    state.groupless.delete(claim);
    routeToGroup(state, claim, now);
  }
}

/** Refuses those whose group nobody has heard of in time. Returns when the next one is due. */
export function expireGroupless(state: SchedulerState, now: number): void {
  for (const [claim, atMs] of [...state.groupless]) {
    if (now < atMs || claim.spec.strategy.kind !== "group") continue;
    refuse(state, claim, "unschedulable", `placement group ${claim.spec.strategy.groupId} does not exist`);
  }
}

/** The claim waits nowhere any more; what it booked goes back. */
export function withdraw(state: SchedulerState, claim: ClassRecord | ActorRecord): void {
  dequeue(state, claim);
  state.infeasible.delete(claim);
  state.groupless.delete(claim);
  if (claim.kind === "class") while (claim.bookings.length > 0) cancelBooking(state, claim.bookings[claim.bookings.length - 1]);
  else if (claim.booking !== null) cancelBooking(state, claim.booking);
}

/** Gives a booking's resources back: it is no longer wanted, or cannot get a worker. */
export function cancelBooking(state: SchedulerState, booking: Booking): void {
  const { claim } = booking;
  dropBooking(state, booking);
  freeAllocation(state, booking.source, booking.allocation);
  claim.job.share -= booking.weight;
  if (claim.kind === "actor") {
    claim.booking = null;
    claim.allocation = null;
    return;
  }
  claim.share -= booking.weight;
  claim.bookings.splice(claim.bookings.indexOf(booking), 1);
}

/** The claim can never be served: it ends, and who made it is told. */
export function refuse(
  state: SchedulerState,
  claim: ClassRecord | ActorRecord,
  reason: "unschedulable" | "runtime env",
  text: string,
): void {
  withdraw(state, claim);
  if (claim.kind === "class") {
    claim.wanted = claim.granted - claim.grantsSeen;
    state.effects.push({ kind: "unschedulable", ownerId: claim.owner.ownerId, classId: claim.classId, reason, text });
    return;
  }
  forgetActor(state, claim);
  state.effects.push({ kind: "actorUnplaceable", actorId: claim.actorId, reason, text });
}

/** The actor is over; its resources, if it has any, go back. */
export function forgetActor(state: SchedulerState, actor: ActorRecord): void {
  if (actor.phase === "gone") return;
  withdraw(state, actor);
  if (actor.allocation !== null) freeAllocation(state, actor.source as Source, actor.allocation);
  actor.allocation = null;
  actor.phase = "gone";
  if (actor.spec.strategy.kind === "group") state.groups.get(actor.spec.strategy.groupId)?.actors.delete(actor);
  if (state.actors.get(actor.actorId) === actor) state.actors.delete(actor.actorId);
  claimOver(state, actor.job);
}
