/**
 * Bundles of placement groups on this node: reserved all at once, with a pool of its own for each, from which the group's tasks and
 * actors take their resources. Which bundles a node has is the head's decision (group-plan); a group that waits here is one of a node
 * that is alone, where every strategy but STRICT_SPREAD means the same.
 *
 * The complication is removal while tasks still end: free parts go back at once, and what is in use from then on counts as taken from
 * the node, so nothing is given back twice.
 */
import { assert } from "../base/assert.ts";
import type { ActorId, PlacementGroupId } from "../base/ids.ts";
import type { SchedulingSpec } from "../wire/messages.ts";
import {
  type Allocation,
  allocate,
  couldEverFit,
  createBundlePool,
  demandResources,
  dissolve,
  type ResourceDemand,
  type ResourcePool,
  release,
  sumDemands,
  toDemand,
  unitsOf,
  unitsPerWhole,
} from "./resources.ts";
import { dequeue, enqueue } from "./scheduler-claims.ts";
import type { SchedulerEvent } from "./scheduler-events.ts";
import {
  claimOver,
  createSource,
  type GroupRecord,
  jobOf,
  nodePool,
  noticeBy,
  type SchedulerState,
  slotsFor,
  touch,
} from "./scheduler-state.ts";
import { stopWorker } from "./scheduler-workers.ts";

/** At least as many ids of removed groups are remembered, so that a late demand fails at once instead of after `unknownGroupMs`. */
const removedGroupsMax = 5000;

export function createGroup(state: SchedulerState, now: number, event: SchedulerEvent & { kind: "createGroup" }): void {
  if (wasRemoved(state, event.groupId)) {
    if (!event.queue) state.effects.push({ kind: "groupRefused", groupId: event.groupId });
    return;
  }
  const known = state.groups.get(event.groupId);
  if (known !== undefined) return event.queue ? undefined : addBundles(state, known, event);
  const bundles = event.bundles.map((bundle) => toDemand(bundle.resources));
  const demand = bundles.length === 1 ? bundles[0] : sumDemands(bundles);
  const group: GroupRecord = {
    kind: "group",
    groupId: event.groupId,
    job: jobOf(state, event.jobId),
    strategy: event.strategy,
    bundles,
    demand,
    spec: specOf(event.groupId, demand),
    phase: "waiting",
    reserved: [],
    source: createSource(
      event.groupId,
      [],
      event.bundles.map((bundle) => bundle.index),
    ),
    actors: new Set(),
    shape: null,
    waitingSinceMs: now,
    turn: state.nextTurn++,
    holds: 0,
    passUntilMs: 0,
  };
  group.job.claims++;
  state.groups.set(event.groupId, group);
  if (!event.queue) {
    if (becomeCreated(state, group)) return;
    forgetGroup(state, group);
    state.effects.push({ kind: "groupRefused", groupId: event.groupId });
    return;
  }
  if ((event.strategy === "STRICT_SPREAD" && bundles.length > 1) || !couldEverReserve(state, group)) {
    group.phase = "infeasible";
    state.infeasible.add(group);
    noticeBy(state, now + state.config.infeasibleAfterMs);
    return;
  }
  enqueue(state, group, state.node, 0, now);
}

/** Bundles of a group that has others here already. Those it has, it keeps: the head may ask twice. */
function addBundles(state: SchedulerState, group: GroupRecord, event: SchedulerEvent & { kind: "createGroup" }): void {
  const further = event.bundles.filter((bundle) => !group.source.indexes.includes(bundle.index));
  const bundles = further.map((bundle) => toDemand(bundle.resources));
  const reserved = group.phase === "created" ? reserve(nodePool(state), bundles) : null;
  if (reserved === null) {
    state.effects.push({ kind: "groupRefused", groupId: group.groupId });
    return;
  }
  group.bundles.push(...bundles);
  group.reserved.push(...reserved);
  group.source.pools.push(...reserved.map(poolOfBundle));
  group.source.indexes.push(...further.map((bundle) => bundle.index));
  touch(state, group.source, true);
  state.effects.push({ kind: "groupCreated", groupId: group.groupId });
}

const poolOfBundle = (held: Allocation): ResourcePool =>
  createBundlePool(held, slotsFor(Math.ceil(unitsOf(held.demand, "CPU") / unitsPerWhole)));

/** Takes the record out of the tables; what it holds or who waits in it is the caller's part. */
function forgetGroup(state: SchedulerState, group: GroupRecord): void {
  state.groups.delete(group.groupId);
  group.phase = "gone";
  claimOver(state, group.job);
}

function specOf(groupId: PlacementGroupId, demand: ResourceDemand): SchedulingSpec {
  return {
    resources: demandResources(demand),
    strategy: { kind: "default" },
    labelSelector: {},
    runtimeEnv: null,
    label: `placement group ${groupId}`,
  };
}

function couldEverReserve(state: SchedulerState, group: GroupRecord): boolean {
  const { bundles, demand } = group;
  if (bundles.length === 1 || unitsOf(demand, "GPU") === 0) return couldEverFit(nodePool(state), demand);
  const empty: ResourcePool = {
    ...nodePool(state),
    available: new Map(nodePool(state).total),
    gpuFree: new Map(nodePool(state).gpuTotal),
  };
  return reserve(empty, bundles) !== null;
}

/** All bundles or none. */
function reserve(pool: ResourcePool, bundles: readonly ResourceDemand[]): Allocation[] | null {
  const reserved: Allocation[] = [];
  for (const bundle of bundles) {
    const allocation = allocate(pool, bundle);
    if (allocation === null) {
      for (const earlier of reserved) release(earlier);
      return null;
    }
    reserved.push(allocation);
  }
  return reserved;
}

/** Tries to reserve the waiting group's bundles; false when they do not fit. */
export function becomeCreated(state: SchedulerState, group: GroupRecord): boolean {
  const reserved = reserve(nodePool(state), group.bundles);
  if (reserved === null) return false;
  dequeue(state, group);
  group.phase = "created";
  group.reserved = reserved;
  group.source.pools = reserved.map(poolOfBundle);
  touch(state, group.source, true);
  state.effects.push({ kind: "groupCreated", groupId: group.groupId });
  return true;
}

/** Why the request can never be served by the bundles here; null when it can. */
export function neverFitsGroup(group: GroupRecord, demand: ResourceDemand, bundleIndex: number): string | null {
  const { indexes } = group.source;
  if (bundleIndex >= 0 && !indexes.includes(bundleIndex))
    return `placement group ${group.groupId} has no bundle ${bundleIndex}, only ${group.bundles.length}`;
  const fitsSome = group.bundles.some((bundle, i) => (bundleIndex < 0 || bundleIndex === indexes[i]) && holds(bundle, demand));
  if (fitsSome) return null;
  return `it asks for more than ${bundleIndex < 0 ? "any bundle" : `bundle ${bundleIndex}`} of placement group ${group.groupId} holds`;
}

function holds(bundle: ResourceDemand, demand: ResourceDemand): boolean {
  return demand.names.every((name, i) => name.startsWith("(") || unitsOf(bundle, name) >= demand.units[i]);
}

/**
 * Gives everything back that is free, stops workers with leases in the group, and reports its actors. The claims that wait in it are
 * returned for the caller to refuse.
 */
export function removeGroup(state: SchedulerState, groupId: PlacementGroupId): GroupRecord | null {
  const group = state.groups.get(groupId);
  rememberRemoved(state, groupId);
  state.places.delete(groupId);
  if (group === undefined) return null;
  state.groups.delete(groupId);
  state.infeasible.delete(group);
  dequeue(state, group);
  group.phase = "gone";
  return group;
}

/** Two generations, so that forgetting the oldest costs nothing. */
function rememberRemoved(state: SchedulerState, groupId: PlacementGroupId): void {
  state.removedGroups.add(groupId);
  if (state.removedGroups.size < removedGroupsMax) return;
  state.removedEarlier = state.removedGroups;
  state.removedGroups = new Set();
}

export function wasRemoved(state: SchedulerState, groupId: PlacementGroupId): boolean {
  return state.removedGroups.has(groupId) || state.removedEarlier.has(groupId);
}

/** Second half of the removal, when no claim waits in the group any more. */
export function dissolveGroup(state: SchedulerState, group: GroupRecord): void {
  const actorIds = dissolveBundles(state, group, new Set(group.source.indexes));
  claimOver(state, group.job);
  state.effects.push({ kind: "groupRemoved", groupId: group.groupId, actorIds });
}

/** The group does not wait for its bundles here any more: the node is not alone, and the head asks anew. It waits whole, so all of it goes. */
export function stopGroupWaiting(state: SchedulerState, group: GroupRecord): void {
  state.infeasible.delete(group);
  dequeue(state, group);
  group.phase = "waiting";
}

/** A reservation is undone: the bundles go back, with the record when they were its last. Nothing waits in the group meanwhile. */
export function dropBundles(state: SchedulerState, group: GroupRecord, indexes: ReadonlySet<number>): void {
  dissolveBundles(state, group, indexes);
  if (group.bundles.length === 0) forgetGroup(state, group);
}

/** Gives bundles back, stops the workers with leases in them and returns the actors in them. */
function dissolveBundles(state: SchedulerState, group: GroupRecord, indexes: ReadonlySet<number>): ActorId[] {
  assert(group.source.shapes.size === 0 && group.source.bookings.size === 0, "nothing waits in bundles that end");
  const { source } = group;
  const ends = new Set(source.pools.filter((_, i) => indexes.has(source.indexes[i])));
  const leases = [...source.leases].filter((lease) => ends.has(lease.allocation.pool));
  const actors = [...group.actors].filter((actor) => actor.allocation === null || ends.has(actor.allocation.pool));
  const holders = new Map<ResourcePool, Allocation[]>();
  for (const lease of leases) addHolder(holders, lease.allocation);
  for (const actor of actors) if (actor.allocation !== null) addHolder(holders, actor.allocation);
  group.reserved.forEach((held, i) => {
    if (ends.has(source.pools[i])) dissolve(source.pools[i], held, holders.get(source.pools[i]) ?? []);
  });
  const keeps = (_: unknown, i: number): boolean => !indexes.has(source.indexes[i]);
  group.bundles = group.bundles.filter(keeps);
  group.reserved = group.reserved.filter(keeps);
  source.pools = source.pools.filter(keeps);
  source.indexes = source.indexes.filter((index) => !indexes.has(index));
  for (const lease of leases) {
    lease.source = state.node;
    source.leases.delete(lease);
    state.node.leases.add(lease);
  }
  for (const worker of new Set(leases.map((lease) => lease.worker)))
    stopWorker(state, worker, `placement group ${group.groupId} was removed`);
  for (const actor of actors) {
    group.actors.delete(actor);
    actor.source = state.node;
  }
  if (ends.size > 0) touch(state, state.node, true);
  return actors.map((actor) => actor.actorId);
}

function addHolder(holders: Map<ResourcePool, Allocation[]>, allocation: Allocation): void {
  const list = holders.get(allocation.pool);
  if (list === undefined) holders.set(allocation.pool, [allocation]);
  else list.push(allocation);
}
