/**
 * Actor placement: which node finds a process for each actor that has to be placed. The head steps it.
 *
 * With one node it is that one, whose scheduler queues, reports and refuses. With several the choice follows what is known to be free and, where nothing is, an
 * actor waits here for a moment, then queues at the best node, so that the leases there are called back for it; should another node become free
 * meanwhile, the actor moves. The complication is that views are old: what was sent to a node counts as used there until its news shows it.
 */
import { assert } from "../base/assert.ts";
import { type ActorId, type NodeId, nodeKeyOf } from "../base/ids.ts";
import type { ActorSpec } from "../wire/messages.ts";
import { chooseNode, hasFree, type NodeCandidate } from "./placement.ts";
import { type ResourceDemand, toDemand } from "./resources.ts";

/** Milliseconds an actor waits here for a node with room before it queues at one without. */
const holdMs = 200;
/** Milliseconds an actor queues at a node before it may move to another: longer than a process takes to start on a loaded machine. */
const moveAfterMs = 5_000;
const infeasibleAfterMs = 5_000;
const infeasibleAgainMs = 60_000;

interface Placing {
  readonly spec: ActorSpec;
  readonly demand: ResourceDemand;
  /** Equal for actors that the same nodes suit: what is true of one in a look is true of all. */
  readonly shape: string;
  readonly sinceMs: number;
  /** Where it queues, and since when; null while it waits here. */
  nodeId: NodeId | null;
  sentMs: number;
  nextWarningMs: number;
}

/** What was sent to a node whose news does not show it yet, and what that leaves of what it said. */
interface Sent {
  readonly demands: ResourceDemand[];
  said: ReadonlyMap<string, number>;
  left: Map<string, number>;
}

export interface ActorPlacementState {
  /** Added by `place`, removed by `over` or when it can never run. */
  readonly placing: Map<ActorId, Placing>;
  /** Added when an actor is sent to a node, removed by its next news or its death. */
  readonly sent: Map<NodeId, Sent>;
  /** When `look` is due although nothing happens: for the end of a hold, a move, or a report. */
  wakeMs: number;
  /** Nothing is placed: nodes of an earlier head are awaited. */
  held: boolean;
  effects: ActorPlacementEffect[];
}

/** The cluster as the head sees it now. */
export interface ClusterView {
  /** Nodes that may get work. */
  readonly candidates: readonly NodeCandidate[];
  /** All living nodes. */
  readonly count: number;
  /** In [0, 1): chooses among what is equally good. */
  random(): number;
  /** Nodes of a group's bundles; null: nobody knows the group; an entry is null while its bundle has no place. */
  groupNodes(groupId: string): readonly (NodeId | null)[] | null;
}

export type ActorPlacementEvent =
  | { readonly kind: "place"; readonly spec: ActorSpec }
  /** It has a process, or is no longer wanted. */
  | { readonly kind: "over"; readonly actorId: ActorId }
  /** What is free on the node is news: nothing sent before is still under way. */
  | { readonly kind: "nodeHeard"; readonly nodeId: NodeId }
  /** It has joined again: what it was sent may have been lost, and it has dropped what it had begun. */
  | { readonly kind: "nodeBack"; readonly nodeId: NodeId }
  /** Nothing is placed between the two. */
  | { readonly kind: "hold" | "resume" }
  /** Those who looked for a process there look elsewhere. */
  | { readonly kind: "nodeGone"; readonly nodeId: NodeId }
  /** Views have changed, or time has passed. */
  | { readonly kind: "look" };

export type ActorPlacementEffect =
  /** Ask the node to find a process. */
  | { readonly kind: "send"; readonly spec: ActorSpec; readonly nodeId: NodeId }
  /** The node need not look for one any more. */
  | { readonly kind: "unsend"; readonly actorId: ActorId; readonly nodeId: NodeId }
  | { readonly kind: "unplaceable"; readonly actorId: ActorId; readonly text: string }
  | { readonly kind: "warn"; readonly spec: ActorSpec; readonly text: string };

export function createActorPlacement(): ActorPlacementState {
  return { placing: new Map(), sent: new Map(), wakeMs: Number.POSITIVE_INFINITY, held: false, effects: [] };
}

export function step(
  state: ActorPlacementState,
  now: number,
  event: ActorPlacementEvent,
  view: ClusterView,
): ActorPlacementEffect[] {
  apply(state, now, event, view);
  const waits = view.count > 1 && state.placing.size > 0;
  if (!waits) state.wakeMs = Number.POSITIVE_INFINITY;
  else if (state.wakeMs <= now || state.wakeMs === Number.POSITIVE_INFINITY) state.wakeMs = now + holdMs;
  const { effects } = state;
  state.effects = [];
  return effects;
}

/** When `look` is due; null: never. */
export const nextWakeMs = (state: ActorPlacementState): number | null =>
  state.wakeMs === Number.POSITIVE_INFINITY ? null : state.wakeMs;

/** Where the actor queues; null: nowhere. */
export const whereOf = (state: ActorPlacementState, actorId: ActorId): NodeId | null =>
  state.placing.get(actorId)?.nodeId ?? null;

/** Checks the whole structure; for tests and simulation. */
export function validate(state: ActorPlacementState): void {
  for (const [actorId, placing] of state.placing)
    assert(placing.spec.actorId === actorId, () => `actor ${actorId} is filed under another id`);
  for (const [nodeId, sent] of state.sent) assert(sent.demands.length > 0, () => `nothing was sent to node ${nodeId}`);
}

function apply(state: ActorPlacementState, now: number, event: ActorPlacementEvent, view: ClusterView): void {
  switch (event.kind) {
    case "place":
      return place(state, now, event.spec, view);
    case "over":
      state.placing.delete(event.actorId);
      return;
    case "nodeHeard":
      state.sent.delete(event.nodeId);
      return;
    case "nodeBack":
      for (const [actorId, placing] of state.placing)
        if (placing.nodeId === event.nodeId) state.effects.push({ kind: "unsend", actorId, nodeId: event.nodeId });
      return apply(state, now, { kind: "nodeGone", nodeId: event.nodeId }, view);
    case "hold":
      state.held = true;
      return;
    case "resume":
      state.held = false;
      return look(state, now, view);
    case "nodeGone":
      state.sent.delete(event.nodeId);
      for (const placing of state.placing.values()) if (placing.nodeId === event.nodeId) placing.nodeId = null;
      return look(state, now, view);
    case "look":
      return look(state, now, view);
  }
}

function place(state: ActorPlacementState, now: number, spec: ActorSpec, view: ClusterView): void {
  const { resources, strategy, labelSelector } = spec.placement;
  const placing: Placing = {
    spec,
    demand: toDemand(resources),
    shape: JSON.stringify([resources, strategy, labelSelector]),
    sinceMs: now,
    nodeId: null,
    sentMs: 0,
    nextWarningMs: now + infeasibleAfterMs,
  };
  state.placing.set(spec.actorId, placing);
  choose(state, now, placing, view);
}

/** Shapes for which no node has room are tried once in a look, however many actors have them. */
function look(state: ActorPlacementState, now: number, view: ClusterView): void {
  if (state.placing.size === 0) return;
  const roomless = new Set<string>();
  for (const placing of [...state.placing.values()]) {
    const mayMove = placing.nodeId !== null && view.count > 1 && now - placing.sentMs >= moveAfterMs;
    if (roomless.has(placing.shape) && (mayMove || isHeld(placing, now))) continue;
    if (placing.nodeId === null) choose(state, now, placing, view, roomless);
    else if (mayMove) considerMove(state, now, placing, view, roomless);
  }
}

const isHeld = (placing: Placing, now: number): boolean => placing.nodeId === null && now - placing.sinceMs < holdMs;

function choose(
  state: ActorPlacementState,
  now: number,
  placing: Placing,
  view: ClusterView,
  roomless: Set<string> | null = null,
): void {
  if (state.held) return;
  const { spec, demand } = placing;
  const { candidates } = view;
  if (candidates.length === 1 && view.count === 1) return send(state, now, placing, candidates[0], spec);
  if (spec.placement.strategy.kind === "group") return chooseInGroup(state, now, placing, view);
  const free = withoutSent(state, candidates);
  const choice = chooseNode(spec.placement, demand, nodeOf(spec, candidates), free, view.random());
  if (choice.kind === "unschedulable") return giveUp(state, placing, choice.text);
  if (choice.kind === "infeasible") return warnIfDue(state, now, placing, choice.text, candidates.length);
  const chosen = free.find((candidate) => candidate.nodeId === choice.nodeId) as NodeCandidate;
  if (!hasFree(chosen.available, demand)) {
    roomless?.add(placing.shape);
    if (isHeld(placing, now)) return; // another node may have room in a moment
  }
  // The choice is made: the node has nothing left to decide.
  send(state, now, placing, chosen, {
    ...spec,
    placement: { ...spec.placement, strategy: { kind: "default" }, labelSelector: {} },
  });
}

function chooseInGroup(state: ActorPlacementState, now: number, placing: Placing, view: ClusterView): void {
  const { spec } = placing;
  const { strategy } = spec.placement;
  if (strategy.kind !== "group") return;
  const nodes = view.groupNodes(strategy.groupId);
  if (nodes === null) return giveUp(state, placing, `placement group ${strategy.groupId} was removed or does not exist`);
  const wanted = strategy.bundleIndex < 0 ? nodes : nodes.slice(strategy.bundleIndex, strategy.bundleIndex + 1);
  const there = view.candidates.filter((candidate) => wanted.includes(candidate.nodeId));
  if (there.length === 0) return; // its bundle has no place yet
  send(state, now, placing, there[Math.floor(view.random() * there.length)], spec);
}

function giveUp(state: ActorPlacementState, placing: Placing, text: string): void {
  const { actorId } = placing.spec;
  state.placing.delete(actorId);
  state.effects.push({ kind: "unplaceable", actorId, text });
}

function send(state: ActorPlacementState, now: number, placing: Placing, to: NodeCandidate, spec: ActorSpec): void {
  placing.nodeId = to.nodeId;
  placing.sentMs = now;
  const sent = state.sent.get(to.nodeId);
  if (sent === undefined) {
    const fresh: Sent = { demands: [placing.demand], said: to.available, left: new Map(to.available) };
    state.sent.set(to.nodeId, fresh);
    takeOff(fresh.left, placing.demand);
  } else {
    sent.demands.push(placing.demand);
    takeOff(sent.left, placing.demand);
  }
  state.effects.push({ kind: "send", spec, nodeId: to.nodeId });
}

/** Its node has no room and another has. */
function considerMove(state: ActorPlacementState, now: number, placing: Placing, view: ClusterView, roomless: Set<string>): void {
  const { spec, demand } = placing;
  if (spec.placement.strategy.kind === "group") return;
  const from = placing.nodeId as NodeId;
  const free = withoutSent(state, view.candidates);
  const here = free.find((candidate) => candidate.nodeId === from);
  const others = free.filter((candidate) => candidate !== here && hasFree(candidate.available, demand));
  if (others.length === 0) roomless.add(placing.shape);
  if (here === undefined || hasFree(here.available, demand) || others.length === 0) return;
  const choice = chooseNode(spec.placement, demand, from, others, view.random());
  if (choice.kind !== "node") return;
  state.effects.push({ kind: "unsend", actorId: spec.actorId, nodeId: from });
  placing.nodeId = null;
  choose(state, now, placing, view);
}

function warnIfDue(state: ActorPlacementState, now: number, placing: Placing, text: string, nodes: number): void {
  if (now < placing.nextWarningMs) return;
  placing.nextWarningMs = now + infeasibleAgainMs;
  const { className } = placing.spec;
  state.effects.push({
    kind: "warn",
    spec: placing.spec,
    text:
      nodes === 0
        ? `actor ${className} cannot be placed: every node of the cluster is leaving. It waits until another joins`
        : `actor ${className} cannot be placed: ${text} among the cluster's ${nodes} nodes. It waits until a node that fits joins`,
  });
}

function withoutSent(state: ActorPlacementState, candidates: readonly NodeCandidate[]): readonly NodeCandidate[] {
  if (state.sent.size === 0) return candidates;
  return candidates.map((candidate) => {
    const sent = state.sent.get(candidate.nodeId);
    if (sent === undefined) return candidate;
    if (sent.said !== candidate.available) {
      sent.said = candidate.available;
      sent.left = new Map(candidate.available);
      for (const demand of sent.demands) takeOff(sent.left, demand);
    }
    return { ...candidate, available: sent.left };
  });
}

function takeOff(available: Map<string, number>, { names, units }: ResourceDemand): void {
  for (let i = 0; i < names.length; i++) available.set(names[i], (available.get(names[i]) ?? 0) - units[i]);
}

/** The owner's node counts as local, so that an actor is near its owner where that costs nothing. */
function nodeOf(spec: ActorSpec, candidates: readonly NodeCandidate[]): NodeId {
  const local = candidates.find((candidate) => nodeKeyOf(candidate.nodeId) === nodeKeyOf(spec.ownerId));
  return local?.nodeId ?? ("" as NodeId);
}
