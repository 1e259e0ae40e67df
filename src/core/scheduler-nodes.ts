/**
 * The other nodes of the cluster, and which of the leases that owners of this node want are to be asked for there.
 *
 * Views of other nodes are a little old. So what is sent to a node is taken off its view until the next view comes, and it is sent softly: the
 * node grants what it can and declines the rest, which then comes back here. Only what this node could never serve waits elsewhere.
 * What waits here goes on as soon as a view shows room. With no other node nothing here is ever called.
 */
import type { NodeId } from "../base/ids.ts";
import type { Resources } from "../wire/messages.ts";
import { type Eligible, eligibleNodes, hasFree, type NodeCandidate, NodePlan } from "./placement.ts";
import { type ResourceDemand, toDemand, unitsOf, unitsPerWhole, zeroCpuSlot } from "./resources.ts";
import { dequeue, goesBefore } from "./scheduler-claims.ts";
import type { SchedulerEvent } from "./scheduler-events.ts";
import {
  type ClassRecord,
  type GroupPlaces,
  never,
  nextRandom,
  nodePool,
  type OtherNode,
  type SchedulerState,
  slotsFor,
  unbooked,
} from "./scheduler-state.ts";

/** There may be another node to go to: other than this one, or instead of it. */
export const isCluster = (state: SchedulerState): boolean => state.others.size > 0 || state.draining;

/**
 * Takes the new views in; those of other nodes stay as they are, so that news of one node costs as little in a large cluster. True when there is another
 * set of nodes than before, or what they could ever serve has changed.
 */
export function nodesChanged(state: SchedulerState, event: SchedulerEvent & { kind: "nodesChanged" }): boolean {
  let changed = false;
  const joined: NodeCandidate[] = [];
  for (const node of event.nodes) {
    const draining = node.draining === true;
    if (node.nodeId === state.config.nodeId) {
      changed ||= draining !== state.draining;
      state.draining = draining;
      continue;
    }
    const known = state.others.get(node.nodeId);
    if (known?.version === node.version) continue;
    if (known !== undefined) state.sentTo.delete(known);
    const isOther = known === undefined || known.draining !== draining || !sameTotals(known, node);
    changed ||= isOther;
    if (isOther) joined.push(node);
    const { nodeId, labels, total, version } = node;
    const said = withSlots(node);
    state.others.set(nodeId, { nodeId, labels, total, available: said, said, forgetAtMs: never, version, draining });
  }
  for (const nodeId of event.gone) {
    const other = state.others.get(nodeId);
    if (other === undefined) continue;
    state.sentTo.delete(other);
    state.others.delete(nodeId);
    changed = true;
  }
  state.lookElsewhere = true;
  if (joined.length > 0) letMove(state, joined);
  return changed;
}

/**
 * What waits on another node, as no other could ever serve it, need not wait there any more when one of these could: that node declines what it cannot grant
 * at once, and it is asked for here again.
 */
function letMove(state: SchedulerState, joined: readonly NodeCandidate[]): void {
  for (const owner of state.owners.values())
    for (const cls of owner.classes.values()) {
      if (cls.waitsAt.size === 0 || eligibleNodes(cls.spec, cls.demand, joined).kind !== "nodes") continue;
      for (const nodeId of cls.waitsAt) tellSpill(state, cls, nodeId, 0, false);
      cls.waitsAt.clear();
    }
}

function withSlots(node: NodeCandidate): ReadonlyMap<string, number> {
  if (node.available.has(zeroCpuSlot)) return node.available;
  return new Map(node.available).set(zeroCpuSlot, slotsOf(node) * unitsPerWhole);
}

const slotsOf = (node: NodeCandidate): number => slotsFor(Math.ceil((node.total.get("CPU") ?? 0) / unitsPerWhole));

function sameTotals(known: OtherNode, node: NodeCandidate): boolean {
  if (known.total === node.total && known.labels === node.labels) return true;
  if (known.total.size !== node.total.size || JSON.stringify(known.labels) !== JSON.stringify(node.labels)) return false;
  for (const [name, units] of node.total) if (known.total.get(name) !== units) return false;
  return true;
}

// ---------------------------------------------------------------- leases of the node

/**
 * Sends what should go elsewhere; what is left waits here ("here"), or the class has no node now. A class that no node can serve, or that
 * may never run, is left alone.
 */
export function sendElsewhere(
  state: SchedulerState,
  cls: ClassRecord,
): { readonly kind: "here" } | Exclude<Eligible, { kind: "nodes" }> {
  const eligible = eligibleNodes(cls.spec, cls.demand, [ownView(state), ...state.others.values()]);
  if (eligible.kind !== "nodes") return eligible;
  const { nodeId: self } = state.config;
  const plan = new NodePlan(cls.spec, cls.demand, self, eligible.nodes);
  const counts = new Map<NodeId, number>();
  let left = unbooked(cls);
  for (; left > 0; left--) {
    const nodeId = plan.takeFree(nextRandom(state));
    if (nodeId === null) break;
    counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  }
  const mayStay = eligible.nodes.some((node) => node.nodeId === self);
  // A class that is bound to a node waits there whether or not there is room.
  const hard = !mayStay && cls.spec.strategy.kind === "node" && eligible.nodes.length === 1;
  if (!mayStay && left > 0) {
    const waiting = new Map<NodeId, number>();
    for (; left > 0; left--) add(waiting, plan.takeBest(nextRandom(state)));
    spillAll(state, cls, waiting, true);
    for (const nodeId of waiting.keys()) if (cls.spec.strategy.kind !== "node") cls.waitsAt.add(nodeId);
  }
  spillAll(state, cls, counts, hard);
  return { kind: "here" };
}

const add = (counts: Map<NodeId, number>, nodeId: NodeId): void => void counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);

function ownView(state: SchedulerState): NodeCandidate {
  const { nodeId, labels } = state.config;
  const { total, available } = nodePool(state);
  return { nodeId, labels, total, available, draining: state.draining };
}

function spillAll(state: SchedulerState, cls: ClassRecord, counts: ReadonlyMap<NodeId, number>, hard: boolean): void {
  for (const [nodeId, count] of counts) if (nodeId !== state.config.nodeId) spill(state, cls, nodeId, count, hard);
}

function spill(state: SchedulerState, cls: ClassRecord, nodeId: NodeId, count: number, hard: boolean): void {
  takeOff(state, cls, nodeId, count);
  tellSpill(state, cls, nodeId, count, hard);
}

/** The leases count as granted, and their resources as used there. */
function takeOff(state: SchedulerState, cls: ClassRecord, nodeId: NodeId, count: number): void {
  cls.granted += count;
  const { names, units } = cls.demand;
  const other = state.others.get(nodeId);
  if (other === undefined || cls.spec.strategy.kind === "group") return; // bundles were taken off when they were reserved
  const available = new Map(other.available);
  for (let i = 0; i < names.length; i++) available.set(names[i], (available.get(names[i]) ?? 0) - count * units[i]);
  other.available = available;
  state.sentTo.add(other);
}

/** Milliseconds after which a node without news is taken to have what it last said: it may have declined what was sent, and so has nothing new to say. */
const forgetSentMs = 2_000;

/** Notes when what was sent was sent, and forgets what was sent long ago. */
export function forgetSent(state: SchedulerState, now: number): void {
  for (const other of state.sentTo) {
    if (other.forgetAtMs === never) other.forgetAtMs = now + forgetSentMs;
    if (now < other.forgetAtMs) continue;
    state.sentTo.delete(other);
    other.forgetAtMs = never;
    other.available = other.said;
    if (state.others.get(other.nodeId) === other) state.lookElsewhere = true;
  }
}

function tellSpill(state: SchedulerState, cls: ClassRecord, nodeId: NodeId, count: number, hard: boolean): void {
  state.effects.push({ kind: "spill", ownerId: cls.owner.ownerId, classId: cls.classId, nodeId, count, hard });
}

/** What waits here goes to nodes that have room, in the order in which it would be served here, one lease of each class in turn. */
export function spillWaiting(state: SchedulerState): void {
  const all = state.lookElsewhere;
  const candidates = all ? waitingClasses(state) : [...state.looking].filter((cls) => cls.shape?.source === state.node);
  state.lookElsewhere = false;
  state.looking.clear();
  if (state.others.size === 0) return;
  let turn = candidates.filter((cls) => unbooked(cls) > 0 && somewhereFree(state, cls.demand));
  if (turn.length === 0) return;
  turn.sort((a, b) => (goesBefore(a, b) ? -1 : 1));
  const sent = new Map<ClassRecord, Map<NodeId, number>>();
  while (turn.length > 0) {
    const each = turn.length === 1 ? unbooked(turn[0]) : 1;
    turn = turn.filter((cls) => planAway(state, cls, each, sent));
  }
  for (const [cls, counts] of sent) {
    for (const [nodeId, count] of counts) tellSpill(state, cls, nodeId, count, false);
    if (unbooked(cls) === 0) dequeue(state, cls);
  }
}

/** Plans up to `max` leases on other nodes that have room; false when there is none for a further one. */
function planAway(state: SchedulerState, cls: ClassRecord, max: number, sent: Map<ClassRecord, Map<NodeId, number>>): boolean {
  const eligible = eligibleNodes(cls.spec, cls.demand, [...state.others.values()]);
  if (eligible.kind !== "nodes") return false;
  const plan = new NodePlan(cls.spec, cls.demand, state.config.nodeId, eligible.nodes);
  for (let i = 0; i < max; i++) {
    const nodeId = plan.takeFree(nextRandom(state));
    if (nodeId === null) return false;
    const counts = sent.get(cls) ?? new Map<NodeId, number>();
    sent.set(cls, counts);
    add(counts, nodeId);
    takeOff(state, cls, nodeId, 1);
  }
  return unbooked(cls) > 0;
}

function waitingClasses(state: SchedulerState): ClassRecord[] {
  const found: ClassRecord[] = [];
  for (const shape of state.node.shapes.values())
    for (const queue of shape.byJob.values()) for (const cls of queue.classes) if (!cls.owner.remote) found.push(cls);
  return found;
}

function somewhereFree(state: SchedulerState, demand: ResourceDemand): boolean {
  for (const node of state.others.values()) if (!node.draining && hasFree(node.available, demand)) return true;
  return false;
}

/** What a remote owner cannot have now is not kept. */
export function declineRest(state: SchedulerState, cls: ClassRecord): void {
  const count = unbooked(cls);
  if (count === 0) return;
  cls.granted += count;
  state.effects.push({ kind: "decline", ownerId: cls.owner.ownerId, classId: cls.classId, count });
}

// ---------------------------------------------------------------- leases of a group's bundles

export function placesOf(nodes: readonly (NodeId | null)[], bundles: readonly Resources[] | undefined): GroupPlaces {
  return { nodes, bundles: bundles === undefined ? null : bundles.map((bundle) => toDemand(bundle)) };
}

/** How many such tasks the bundles on each node have room for; nodes without any, and those that are not in the cluster, are left out. */
export function roomByNode(
  state: SchedulerState,
  places: GroupPlaces,
  demand: ResourceDemand,
  bundleIndex: number,
): Map<NodeId, number> {
  const room = new Map<NodeId, number>();
  places.nodes.forEach((nodeId, index) => {
    if (nodeId === null || (bundleIndex >= 0 && index !== bundleIndex)) return;
    if (nodeId !== state.config.nodeId && !state.others.has(nodeId)) return;
    const fitting = places.bundles === null ? 1 : timesIn(places.bundles[index], demand);
    if (fitting > 0) room.set(nodeId, (room.get(nodeId) ?? 0) + fitting);
  });
  return room;
}

/** How often the demand fits into the bundle: once when it asks for nothing that counts. */
export function timesIn(bundle: ResourceDemand, demand: ResourceDemand): number {
  let times = Number.POSITIVE_INFINITY;
  for (let i = 0; i < demand.names.length; i++)
    if (!demand.names[i].startsWith("(")) times = Math.min(times, Math.floor(unitsOf(bundle, demand.names[i]) / demand.units[i]));
  return times === Number.POSITIVE_INFINITY ? 1 : times;
}

/** Deals `count` leases out in proportion to the room, over time as well; those for other nodes are sent there to wait. */
export function spillToBundles(state: SchedulerState, cls: ClassRecord, room: ReadonlyMap<NodeId, number>, count: number): void {
  cls.placed ??= new Map();
  const { placed } = cls;
  const counts = new Map<NodeId, number>();
  for (let i = 0; i < count; i++) {
    let best: NodeId | null = null;
    let least = Number.POSITIVE_INFINITY;
    for (const [nodeId, times] of room) {
      const filled = ((placed.get(nodeId) ?? 0) + 1) / times;
      if (filled < least) [best, least] = [nodeId, filled];
    }
    if (best === null) return;
    add(placed, best);
    add(counts, best);
  }
  spillAll(state, cls, counts, true);
}
