/**
 * Where a claim waits: at the node, in a placement group, for a group that is not known yet, or aside because no node can ever serve
 * it; or that it is to be asked for at another node, or can never be served at all, which its owner is told. Also how a claim leaves
 * all of these again.
 */
import { chooseNode } from "./placement.ts";
import { couldEverFit, type ResourceDemand } from "./resources.ts";
import { dequeue, enqueue, freeAllocation, waitingClaims } from "./scheduler-claims.ts";
import { neverFitsGroup, wasRemoved } from "./scheduler-groups.ts";
import { declineRest, isCluster, roomByNode, sendElsewhere, spillToBundles, timesIn } from "./scheduler-nodes.ts";
import {
  type ActorRecord,
  type Booking,
  type ClassRecord,
  claimOver,
  type GroupPlaces,
  never,
  nodePool,
  noticeBy,
  type SchedulerState,
  type Source,
  unbooked,
} from "./scheduler-state.ts";
import { dropBooking } from "./scheduler-workers.ts";

/** Lets the claim wait where it belongs, or refuses it. */
export function route(state: SchedulerState, claim: ClassRecord | ActorRecord, now: number): void {
  const { strategy } = claim.spec;
  claim.waitingSinceMs = now;
  if (strategy.kind === "group") return routeToGroup(state, claim, now);
  if (claim.kind === "class") {
    if (claim.owner.remote && state.draining) return declineRest(state, claim);
    if (!claim.owner.remote && isCluster(state)) return routeInCluster(state, claim, now);
  }
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

function routeInCluster(state: SchedulerState, cls: ClassRecord, now: number): void {
  const choice = sendElsewhere(state, cls);
  if (choice.kind === "unschedulable") return refuse(state, cls, "unschedulable", choice.text);
  if (unbooked(cls) === 0) return;
  if (choice.kind === "infeasible" || !couldEverFit(nodePool(state), cls.demand)) return setAside(state, cls, now);
  state.looking.add(cls);
  enqueue(state, cls, state.node, 0, now);
}

function setAside(state: SchedulerState, claim: ClassRecord | ActorRecord, now: number): void {
  state.infeasible.add(claim);
  noticeBy(state, now + state.config.infeasibleAfterMs);
}

function routeToGroup(state: SchedulerState, claim: ClassRecord | ActorRecord, now: number): void {
  const { strategy } = claim.spec;
  if (strategy.kind !== "group") return;
  const { groupId, bundleIndex } = strategy;
  const group = state.groups.get(groupId);
  const places = state.places.get(groupId);
  if (places !== undefined && claim.kind === "class" && !claim.owner.remote) {
    if (!routeToPlaces(state, claim, places)) return;
  }
  const isHere = group !== undefined && (places === undefined || bundleIndex < 0 || group.source.indexes.includes(bundleIndex));
  if (!isHere) {
    if (group === undefined && wasRemoved(state, groupId)) return refuse(state, claim, "unschedulable", removedText(groupId));
    if (claim.kind === "class" && claim.owner.remote) return declineRest(state, claim);
    state.groupless.set(claim, places === undefined ? now + state.config.unknownGroupMs : never);
    return;
  }
  const fault = neverFitsGroup(group, claim.demand, bundleIndex);
  if (fault !== null) return refuse(state, claim, "unschedulable", fault);
  enqueue(state, claim, group.source, bundleIndex, now);
}

/** Sends what belongs to bundles on other nodes there. True when the rest waits in the bundles of this one. */
function routeToPlaces(state: SchedulerState, cls: ClassRecord, places: GroupPlaces): boolean {
  if (cls.spec.strategy.kind !== "group") return false;
  const { groupId, bundleIndex } = cls.spec.strategy;
  const fault = neverFitsPlaces(groupId, places, cls.demand, bundleIndex);
  if (fault !== null) {
    refuse(state, cls, "unschedulable", fault);
    return false;
  }
  const room = roomByNode(state, places, cls.demand, bundleIndex);
  spillToBundles(state, cls, room, unbooked(cls));
  if (unbooked(cls) === 0) return false;
  if (room.has(state.config.nodeId)) return true;
  state.groupless.set(cls, never);
  return false;
}

function neverFitsPlaces(groupId: string, places: GroupPlaces, demand: ResourceDemand, bundleIndex: number): string | null {
  if (bundleIndex >= places.nodes.length)
    return `placement group ${groupId} has no bundle ${bundleIndex}, only ${places.nodes.length}`;
  if (places.bundles === null) return null;
  if (places.bundles.some((bundle, i) => (bundleIndex < 0 || bundleIndex === i) && timesIn(bundle, demand) > 0)) return null;
  return `it asks for more than ${bundleIndex < 0 ? "any bundle" : `bundle ${bundleIndex}`} of placement group ${groupId} holds`;
}

/** More is wanted of a class that waits in the bundles of this node: some of it may belong to others. */
export function placeMore(state: SchedulerState, cls: ClassRecord, count: number): void {
  if (cls.owner.remote || cls.spec.strategy.kind !== "group") return;
  const places = state.places.get(cls.spec.strategy.groupId);
  if (places !== undefined)
    spillToBundles(state, cls, roomByNode(state, places, cls.demand, cls.spec.strategy.bundleIndex), count);
}

/** The nodes are others than before: what nobody could serve, or waited for a bundle's node, may have one now. */
export function rerouteForNodes(state: SchedulerState, now: number): void {
  for (const claim of [...state.infeasible]) {
    if (claim.kind !== "class" || claim.owner.remote) continue;
    const { waitingSinceMs } = claim;
    state.infeasible.delete(claim);
    route(state, claim, now);
    if (state.infeasible.has(claim)) claim.waitingSinceMs = waitingSinceMs;
  }
  for (const groupId of new Set([...state.groupless.keys()].map(groupOf)))
    if (groupId !== null) rerouteGroupless(state, groupId, now);
  if (state.draining) leaveNode(state, now);
}

const groupOf = ({ spec: { strategy } }: ClassRecord | ActorRecord): string | null =>
  strategy.kind === "group" ? strategy.groupId : null;

/** Nothing new runs here: what waits goes elsewhere. */
function leaveNode(state: SchedulerState, now: number): void {
  for (const claim of [...waitingClaims(state.node, 0)]) {
    if (claim.kind !== "class") continue;
    dequeue(state, claim);
    route(state, claim, now);
  }
}

export const removedText = (groupId: string): string => `placement group ${groupId} was removed`;

/** There is news of the group: those who waited to hear of it go where they belong. */
export function rerouteGroupless(state: SchedulerState, groupId: string, now: number): void {
  for (const claim of [...state.groupless.keys()]) {
    const { strategy } = claim.spec;
    if (strategy.kind !== "group" || strategy.groupId !== groupId) continue;
    const atMs = state.groupless.get(claim) as number;
    state.groupless.delete(claim);
    routeToGroup(state, claim, now);
    if (state.groupless.has(claim) && !state.places.has(strategy.groupId)) state.groupless.set(claim, atMs);
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
