/**
 * Group placement: on which nodes the bundles of each placement group lie. The head steps it.
 *
 * In two phases: reserve on each node, then announce. A node that has no room after all undoes the whole try, and the next news of what is free starts
 * another; of the node that refused any news does, as what it had used may be free again so soon that nothing seems to have changed. With one node, that node
 * queues the group until it fits. When a node dies, the bundles it held are placed anew while the others stay. News of an older try is ignored by its
 * number. docs/states/groups.md.
 */
import { assert } from "../base/assert.ts";
import type { ActorId, JobId, NodeId, PlacementGroupId } from "../base/ids.ts";
import type { GroupStrategy, Resources } from "../wire/messages.ts";
import { planGroup } from "./group-plan.ts";
import type { NodeCandidate } from "./placement.ts";
import { formatResources, toDemand } from "./resources.ts";

const infeasibleAfterMs = 5_000;
const infeasibleAgainMs = 60_000;

export interface GroupSpec {
  readonly groupId: PlacementGroupId;
  readonly bundles: readonly Resources[];
  readonly strategy: GroupStrategy;
  readonly name: string | null;
  readonly detached: boolean;
  readonly jobId: JobId;
  /** The actor that made it, as the head knows it: the group stays while it lives, also after the job. */
  readonly creatorId?: ActorId | null;
}

export interface PlacedGroup {
  readonly spec: GroupSpec;
  attempt: number;
  /** Where each bundle is reserved for good; null: nowhere yet. */
  readonly nodes: (NodeId | null)[];
  /** The try under way: nodes asked, and those of them that said yes. Null: none. */
  trying: { readonly plan: ReadonlyMap<NodeId, readonly number[]>; readonly yes: Set<NodeId>; readonly queued: boolean } | null;
  /** Set when it is being removed: nodes that have not answered yet, and the actors that ended with it. */
  removing: { readonly waiting: Set<NodeId>; readonly actorIds: ActorId[] } | null;
  nextWarningMs: number;
}

export interface GroupPlacementState {
  /** Added by `place`, removed when the last node has answered its removal. */
  readonly groups: Map<PlacementGroupId, PlacedGroup>;
  /** Groups that a node has refused since it was last heard of. An entry is added with the first refusal, removed by the node's next news or its death. */
  readonly refusals: Map<NodeId, Set<PlacementGroupId>>;
  /** Nothing is placed: nodes of an earlier head are awaited. */
  held: boolean;
  effects: GroupPlacementEffect[];
}

/** The cluster as the head sees it now. */
export interface GroupClusterView {
  /** Nodes that may get work. */
  readonly candidates: readonly NodeCandidate[];
  /** All living nodes. */
  readonly living: ReadonlySet<NodeId>;
  /** In [0, 1): chooses among what is equally good. */
  random(): number;
}

export type GroupPlacementEvent =
  | { readonly kind: "place"; readonly spec: GroupSpec }
  /** Known from the store of an earlier head. */
  | {
      readonly kind: "restore";
      readonly spec: GroupSpec;
      readonly nodes: readonly (NodeId | null)[];
      /** Larger than of any try of that head. */
      readonly attempt: number;
    }
  /** Nothing is placed between the two. */
  | { readonly kind: "hold" | "resume" }
  /** It has joined again, with these bundles: what it was sent, or has sent, may have been lost. */
  | {
      readonly kind: "nodeBack";
      readonly nodeId: NodeId;
      readonly bundles: ReadonlyMap<PlacementGroupId, readonly number[]>;
      /** Groups that it has been told of. */
      readonly known: readonly PlacementGroupId[];
    }
  | { readonly kind: "remove"; readonly groupId: PlacementGroupId }
  | {
      readonly kind: "reserved" | "refused";
      readonly nodeId: NodeId;
      readonly groupId: PlacementGroupId;
      readonly attempt: number;
    }
  /** The node keeps nothing of the removed group any more; these actors were in it. */
  | {
      readonly kind: "removed";
      readonly nodeId: NodeId;
      readonly groupId: PlacementGroupId;
      readonly actorIds: readonly ActorId[];
    }
  /** It has to know the groups, and those who wait for room have a new chance. */
  | { readonly kind: "nodeJoined"; readonly nodeId: NodeId }
  | { readonly kind: "nodeGone"; readonly nodeId: NodeId }
  /** What is free on the node is news, be it the same as before. */
  | { readonly kind: "nodeHeard"; readonly nodeId: NodeId }
  /** Views have changed: those without a place try again. */
  | { readonly kind: "look" };

export type GroupPlacementEffect =
  | {
      readonly kind: "reserve";
      readonly nodeId: NodeId;
      readonly spec: GroupSpec;
      readonly attempt: number;
      readonly indexes: readonly number[];
      /** Wait for room, as the cluster has no other node; else answer at once. */
      readonly queue: boolean;
    }
  /** A try is undone: these bundles are not kept after all. Null: the group is gone for good. */
  | {
      readonly kind: "release";
      readonly nodeId: NodeId;
      readonly groupId: PlacementGroupId;
      readonly indexes: readonly number[] | null;
    }
  /** Where each bundle is; an empty list: the group is gone. `nodeId` null: tell every node. */
  | {
      readonly kind: "announce";
      readonly nodeId: NodeId | null;
      readonly spec: GroupSpec;
      readonly nodes: readonly (NodeId | null)[];
    }
  /** Where its bundles are has changed: the next head must know. */
  | { readonly kind: "save"; readonly spec: GroupSpec; readonly nodes: readonly (NodeId | null)[] }
  | { readonly kind: "created" | "rescheduling"; readonly groupId: PlacementGroupId }
  | { readonly kind: "gone"; readonly groupId: PlacementGroupId; readonly actorIds: readonly ActorId[] }
  | { readonly kind: "warn"; readonly spec: GroupSpec; readonly text: string };

export function createGroupPlacement(): GroupPlacementState {
  return { groups: new Map(), refusals: new Map(), held: false, effects: [] };
}

export function step(
  state: GroupPlacementState,
  now: number,
  event: GroupPlacementEvent,
  view: GroupClusterView,
): GroupPlacementEffect[] {
  apply(state, now, event, view);
  const { effects } = state;
  state.effects = [];
  return effects;
}

/** Where each bundle is; null: nobody knows the group. */
export function nodesOf(state: GroupPlacementState, groupId: string): readonly (NodeId | null)[] | null {
  const group = state.groups.get(groupId as PlacementGroupId);
  return group === undefined || group.removing !== null ? null : group.nodes;
}

/** Checks the whole structure; for tests and simulation. */
export function validate(state: GroupPlacementState): void {
  for (const [groupId, { spec, nodes, trying, removing }] of state.groups) {
    assert(spec.groupId === groupId, () => `group ${groupId} is filed under another id`);
    assert(nodes.length === spec.bundles.length, () => `group ${groupId} has places for ${nodes.length} bundles`);
    assert(trying === null || removing === null, () => `group ${groupId} is tried while it is removed`);
    if (trying === null) continue;
    const asked = [...trying.plan.values()].flat();
    assert(new Set(asked).size === asked.length, () => `a bundle of group ${groupId} is asked for twice`);
    for (const index of asked) assert(nodes[index] === null, () => `bundle ${index} of group ${groupId} has a place already`);
    for (const nodeId of trying.yes) assert(trying.plan.has(nodeId), () => `node ${nodeId} was not asked for group ${groupId}`);
  }
  for (const [nodeId, refused] of state.refusals) assert(refused.size > 0, () => `node ${nodeId} has refused no group`);
}

function apply(state: GroupPlacementState, now: number, event: GroupPlacementEvent, view: GroupClusterView): void {
  switch (event.kind) {
    case "place": {
      if (state.groups.has(event.spec.groupId)) return; // asked twice
      const group = add(
        state,
        now,
        event.spec,
        event.spec.bundles.map(() => null),
        0,
      );
      save(state, group);
      return attempt(state, now, group, view);
    }
    case "restore":
      add(state, now, event.spec, [...event.nodes], event.attempt);
      return;
    case "hold":
      state.held = true;
      return;
    case "resume":
      state.held = false;
      return look(state, now, view);
    case "nodeBack":
      return nodeBack(state, now, event, view);
    case "remove":
      return remove(state, event.groupId, view);
    case "reserved":
      return reserved(state, event.nodeId, tried(state, event));
    case "refused":
      return refused(state, event, view);
    case "removed": {
      const group = state.groups.get(event.groupId);
      if (group?.removing == null) return;
      group.removing.actorIds.push(...event.actorIds);
      group.removing.waiting.delete(event.nodeId);
      return finishRemoval(state, group);
    }
    case "nodeJoined":
      return nodeJoined(state, now, event.nodeId, view);
    case "nodeHeard":
      return nodeHeard(state, now, event.nodeId, view);
    case "nodeGone":
      return nodeGone(state, now, event.nodeId, view);
    case "look":
      return look(state, now, view);
  }
}

function add(state: GroupPlacementState, now: number, spec: GroupSpec, nodes: (NodeId | null)[], tries: number): PlacedGroup {
  const nextWarningMs = now + infeasibleAfterMs;
  const group: PlacedGroup = { spec, attempt: tries, nodes, trying: null, removing: null, nextWarningMs };
  state.groups.set(spec.groupId, group);
  return group;
}

/** The group, if the answer is to the try under way; else it was undone meanwhile, and the node knows. */
function tried(state: GroupPlacementState, event: { groupId: PlacementGroupId; attempt: number }): PlacedGroup | null {
  const group = state.groups.get(event.groupId);
  return group === undefined || group.trying === null || group.attempt !== event.attempt ? null : group;
}

function reserved(state: GroupPlacementState, nodeId: NodeId, group: PlacedGroup | null): void {
  if (group === null || group.trying === null) return;
  const { plan, yes } = group.trying;
  if (!plan.has(nodeId)) return;
  yes.add(nodeId);
  if (yes.size < plan.size) return;
  for (const [where, indexes] of plan) for (const index of indexes) group.nodes[index] = where;
  group.trying = null;
  announce(state, group);
  save(state, group);
  state.effects.push({ kind: "created", groupId: group.spec.groupId });
}

function refused(
  state: GroupPlacementState,
  { nodeId, groupId, attempt }: { nodeId: NodeId; groupId: PlacementGroupId; attempt: number },
  view: GroupClusterView,
): void {
  const group = state.groups.get(groupId);
  if (group === undefined || group.attempt !== attempt) return;
  if (group.removing !== null && !group.nodes.includes(nodeId)) {
    // It was asked to remove what it never had, and has nothing to say to that.
    group.removing.waiting.delete(nodeId);
    return finishRemoval(state, group);
  }
  if (group.trying === null) return;
  undo(state, group, nodeId, view);
  const waiting = state.refusals.get(nodeId);
  if (waiting === undefined) state.refusals.set(nodeId, new Set([groupId]));
  else waiting.add(groupId);
}

function remove(state: GroupPlacementState, groupId: PlacementGroupId, view: GroupClusterView): void {
  const group = state.groups.get(groupId);
  if (group === undefined || group.removing !== null) return;
  const holders = new Set<NodeId>(group.nodes.filter((node) => node !== null));
  for (const nodeId of group.trying?.plan.keys() ?? []) holders.add(nodeId);
  group.trying = null;
  // All are told: claims may wait for it anywhere.
  for (const nodeId of view.living) state.effects.push({ kind: "release", nodeId, groupId, indexes: null });
  for (const nodeId of [...holders]) if (!view.living.has(nodeId)) holders.delete(nodeId);
  group.removing = { waiting: holders, actorIds: [] };
  finishRemoval(state, group);
}

function nodeJoined(state: GroupPlacementState, now: number, nodeId: NodeId, view: GroupClusterView): void {
  for (const group of state.groups.values()) {
    if (group.removing !== null) continue;
    if (group.nodes.some((where) => where !== null))
      state.effects.push({ kind: "announce", nodeId, spec: group.spec, nodes: [...group.nodes] });
    if (group.trying?.queued === true) undo(state, group, null, view);
  }
  look(state, now, view);
}

/** What it was told may have been lost, and of a try so may its answer: the try is undone, and the rest told again. */
function nodeBack(
  state: GroupPlacementState,
  now: number,
  { nodeId, bundles, known }: GroupPlacementEvent & { kind: "nodeBack" },
  view: GroupClusterView,
): void {
  for (const group of [...state.groups.values()]) {
    const { groupId } = group.spec;
    const has = bundles.get(groupId) ?? [];
    if (group.removing !== null) {
      state.effects.push({ kind: "release", nodeId, groupId, indexes: null });
      if (has.length === 0) group.removing.waiting.delete(nodeId);
      finishRemoval(state, group);
      continue;
    }
    if (group.trying?.plan.has(nodeId)) undo(state, group, null, view);
    const strays = has.filter((index) => group.nodes[index] !== nodeId);
    if (strays.length > 0) state.effects.push({ kind: "release", nodeId, groupId, indexes: strays });
    bundlesLost(state, group, (where, index) => where === nodeId && !has.includes(index));
  }
  for (const groupId of new Set([...bundles.keys(), ...known])) {
    const group = state.groups.get(groupId);
    if (group === undefined) state.effects.push({ kind: "release", nodeId, groupId, indexes: null });
    else if (group.removing === null && !group.nodes.some((where) => where !== null))
      state.effects.push({ kind: "announce", nodeId, spec: group.spec, nodes: [...group.nodes] });
  }
  nodeJoined(state, now, nodeId, view);
}

function bundlesLost(
  state: GroupPlacementState,
  group: PlacedGroup,
  isLost: (where: NodeId | null, index: number) => boolean,
): void {
  let lost = false;
  group.nodes.forEach((where, index) => {
    if (where === null || !isLost(where, index)) return;
    group.nodes[index] = null;
    lost = true;
  });
  if (!lost) return;
  announce(state, group);
  save(state, group);
  state.effects.push({ kind: "rescheduling", groupId: group.spec.groupId });
}

function nodeGone(state: GroupPlacementState, now: number, nodeId: NodeId, view: GroupClusterView): void {
  state.refusals.delete(nodeId);
  for (const group of [...state.groups.values()]) {
    if (group.removing !== null) {
      group.removing.waiting.delete(nodeId);
      finishRemoval(state, group);
      continue;
    }
    if (group.trying?.plan.has(nodeId)) undo(state, group, nodeId, view);
    bundlesLost(state, group, (where) => where === nodeId);
  }
  look(state, now, view);
}

function nodeHeard(state: GroupPlacementState, now: number, nodeId: NodeId, view: GroupClusterView): void {
  const refused = state.refusals.get(nodeId);
  if (refused === undefined) return;
  state.refusals.delete(nodeId);
  for (const groupId of refused) {
    const group = state.groups.get(groupId);
    if (group !== undefined && isWaiting(group)) attempt(state, now, group, view);
  }
}

function look(state: GroupPlacementState, now: number, view: GroupClusterView): void {
  for (const group of state.groups.values()) if (isWaiting(group)) attempt(state, now, group, view);
}

const isWaiting = ({ removing, trying, nodes }: PlacedGroup): boolean =>
  removing === null && trying === null && nodes.includes(null);

function attempt(state: GroupPlacementState, now: number, group: PlacedGroup, view: GroupClusterView): void {
  if (state.held) return;
  const { spec } = group;
  const { candidates } = view;
  const missing = group.nodes.flatMap((where, i) => (where === null ? [i] : []));
  if (view.living.size === 1 && candidates.length === 1)
    return reserve(state, group, new Map([[candidates[0].nodeId, missing]]), true);
  const demands = spec.bundles.map((bundle) => toDemand(bundle));
  const plan = planGroup(demands, spec.strategy, candidates, view.random(), group.nodes);
  if (plan.kind === "infeasible") return warnIfDue(state, now, group, candidates.length);
  if (plan.kind === "wait") return;
  const byNode = new Map<NodeId, number[]>();
  for (const index of missing) {
    const nodeId = plan.nodes[index];
    byNode.set(nodeId, [...(byNode.get(nodeId) ?? []), index]);
  }
  reserve(state, group, byNode, false);
}

function reserve(
  state: GroupPlacementState,
  group: PlacedGroup,
  plan: ReadonlyMap<NodeId, readonly number[]>,
  queue: boolean,
): void {
  group.attempt++;
  group.trying = { plan, yes: new Set(), queued: queue };
  for (const [nodeId, indexes] of plan)
    state.effects.push({ kind: "reserve", nodeId, spec: group.spec, attempt: group.attempt, indexes, queue });
}

/** Gives back what the try under way has reserved. `refuser` keeps nothing. */
function undo(state: GroupPlacementState, group: PlacedGroup, refuser: NodeId | null, view: GroupClusterView): void {
  const plan = group.trying?.plan ?? new Map<NodeId, readonly number[]>();
  group.trying = null;
  for (const [nodeId, indexes] of plan)
    if (nodeId !== refuser && view.living.has(nodeId))
      state.effects.push({ kind: "release", nodeId, groupId: group.spec.groupId, indexes });
}

function save(state: GroupPlacementState, group: PlacedGroup): void {
  state.effects.push({ kind: "save", spec: group.spec, nodes: [...group.nodes] });
}

function announce(state: GroupPlacementState, group: PlacedGroup): void {
  state.effects.push({ kind: "announce", nodeId: null, spec: group.spec, nodes: [...group.nodes] });
}

function finishRemoval(state: GroupPlacementState, group: PlacedGroup): void {
  if (group.removing === null || group.removing.waiting.size > 0) return;
  const { groupId } = group.spec;
  state.groups.delete(groupId);
  state.effects.push(
    { kind: "announce", nodeId: null, spec: group.spec, nodes: [] },
    { kind: "gone", groupId, actorIds: group.removing.actorIds },
  );
}

function warnIfDue(state: GroupPlacementState, now: number, group: PlacedGroup, nodes: number): void {
  if (now < group.nextWarningMs) return;
  group.nextWarningMs = now + infeasibleAgainMs;
  const { name, groupId, strategy, bundles } = group.spec;
  state.effects.push({
    kind: "warn",
    spec: group.spec,
    text: `placement group ${name ?? groupId} cannot be placed: ${strategy} of ${bundles.map(formatResources).join(" + ")} does not fit the cluster's ${nodes} nodes. It waits until nodes that fit join`,
  });
}
