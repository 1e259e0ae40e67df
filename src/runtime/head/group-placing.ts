/**
 * Places the bundles of placement groups on nodes, in two phases: reserve on each node, then announce. A node that has no room after all undoes
 * the whole try, and the next news of what is free starts another. With one node, that node queues the group until it fits.
 *
 * When a node dies, the bundles it held are placed anew while the others stay.
 */
import type { ActorId, NodeId, PlacementGroupId } from "../../base/ids.ts";
import { planGroup } from "../../core/group-plan.ts";
import { formatResources, toDemand } from "../../core/resources.ts";
import type { GroupSpec } from "./groups.ts";
import type { Members } from "./members.ts";

const infeasibleAfterMs = 5_000;
const infeasibleAgainMs = 60_000;

interface Placed {
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

export interface GroupPlacingHandlers {
  created(groupId: PlacementGroupId): void;
  rescheduling(groupId: PlacementGroupId): void;
  removed(groupId: PlacementGroupId, actorIds: readonly ActorId[]): void;
  warn(spec: GroupSpec, text: string): void;
}

export class GroupPlacing {
  private readonly members: Members;
  private readonly handlers: GroupPlacingHandlers;
  private readonly placed = new Map<PlacementGroupId, Placed>();

  constructor(members: Members, handlers: GroupPlacingHandlers) {
    this.members = members;
    this.handlers = handlers;
  }

  place(spec: GroupSpec): void {
    const group: Placed = {
      spec,
      attempt: 0,
      nodes: spec.bundles.map(() => null),
      trying: null,
      removing: null,
      nextWarningMs: performance.now() + infeasibleAfterMs,
    };
    this.placed.set(spec.groupId, group);
    this.attempt(group);
  }

  remove(groupId: PlacementGroupId): void {
    const group = this.placed.get(groupId);
    if (group === undefined || group.removing !== null) return;
    const holders = new Set<NodeId>(group.nodes.filter((node) => node !== null));
    for (const nodeId of group.trying?.plan.keys() ?? []) holders.add(nodeId);
    group.trying = null;
    group.removing = { waiting: holders, actorIds: [] };
    for (const node of this.members.living()) node.removeBundles(groupId, null); // all: claims may wait for it anywhere
    for (const nodeId of [...holders]) if (this.members.node(nodeId) === undefined) holders.delete(nodeId);
    this.finishRemoval(group);
  }

  /** Where each bundle is; null: nobody knows the group. */
  nodesOf(groupId: string): readonly (NodeId | null)[] | null {
    const group = this.placed.get(groupId as PlacementGroupId);
    return group === undefined || group.removing !== null ? null : group.nodes;
  }

  onReserved(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    const group = this.placed.get(groupId);
    if (group === undefined || group.trying === null || group.attempt !== attempt) return; // undone meanwhile, and the node knows
    group.trying.yes.add(nodeId);
    if (group.trying.yes.size < group.trying.plan.size) return;
    for (const [where, indexes] of group.trying.plan) for (const index of indexes) group.nodes[index] = where;
    group.trying = null;
    this.announce(group);
    this.handlers.created(groupId);
  }

  onRefused(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    const group = this.placed.get(groupId);
    if (group === undefined || group.trying === null || group.attempt !== attempt) return;
    this.undo(group, nodeId);
  }

  onRemoved(nodeId: NodeId, groupId: PlacementGroupId, actorIds: readonly ActorId[]): void {
    const group = this.placed.get(groupId);
    if (group?.removing == null) return;
    group.removing.actorIds.push(...actorIds);
    group.removing.waiting.delete(nodeId);
    this.finishRemoval(group);
  }

  /** A new node: it has to know the groups, and those who wait for room have a new chance. */
  nodeJoined(nodeId: NodeId): void {
    const node = this.members.node(nodeId);
    for (const group of this.placed.values()) {
      if (group.removing !== null) continue;
      if (group.nodes.some((where) => where !== null)) node?.announceGroup(group.spec.groupId, group.nodes, group.spec.bundles);
      if (group.trying?.queued === true) this.undo(group, null);
    }
    this.look();
  }

  nodeGone(nodeId: NodeId): void {
    for (const group of this.placed.values()) {
      if (group.removing !== null) {
        group.removing.waiting.delete(nodeId);
        this.finishRemoval(group);
        continue;
      }
      if (group.trying?.plan.has(nodeId)) this.undo(group, nodeId);
      if (!group.nodes.includes(nodeId)) continue;
      group.nodes.forEach((where, i) => {
        if (where === nodeId) group.nodes[i] = null;
      });
      this.announce(group);
      this.handlers.rescheduling(group.spec.groupId);
    }
    this.look();
  }

  /** Views have changed: those without a place try again. */
  look(): void {
    for (const group of this.placed.values())
      if (group.removing === null && group.trying === null && group.nodes.includes(null)) this.attempt(group);
  }

  private attempt(group: Placed): void {
    const { spec } = group;
    const missing = group.nodes.flatMap((where, i) => (where === null ? [i] : []));
    const candidates = this.members.candidates();
    if (this.members.count === 1 && candidates.length === 1)
      return this.reserve(group, new Map([[candidates[0].nodeId, missing]]), true);
    const plan = planGroup(
      spec.bundles.map((bundle) => toDemand(bundle)),
      spec.strategy,
      candidates,
      Math.random(),
      group.nodes,
    );
    if (plan.kind === "infeasible") return this.warnIfDue(group, candidates.length);
    if (plan.kind === "wait") return;
    const byNode = new Map<NodeId, number[]>();
    for (const index of missing) {
      const nodeId = plan.nodes[index];
      byNode.set(nodeId, [...(byNode.get(nodeId) ?? []), index]);
    }
    this.reserve(group, byNode, false);
  }

  private reserve(group: Placed, plan: ReadonlyMap<NodeId, readonly number[]>, queued: boolean): void {
    const { groupId, jobId, strategy, bundles } = group.spec;
    group.attempt++;
    const { attempt } = group;
    group.trying = { plan, yes: new Set(), queued };
    for (const [nodeId, indexes] of plan)
      this.members.node(nodeId)?.reserveBundles({
        groupId,
        attempt,
        jobId,
        strategy,
        bundles: indexes.map((index) => ({ index, resources: bundles[index] })),
        queue: queued,
      });
  }

  /** Gives back what the try under way has reserved. `refuser` keeps nothing. */
  private undo(group: Placed, refuser: NodeId | null): void {
    const plan = group.trying?.plan ?? new Map<NodeId, readonly number[]>();
    group.trying = null;
    for (const [nodeId, indexes] of plan)
      if (nodeId !== refuser) this.members.node(nodeId)?.removeBundles(group.spec.groupId, indexes);
  }

  private announce(group: Placed): void {
    for (const node of this.members.living()) node.announceGroup(group.spec.groupId, [...group.nodes], group.spec.bundles);
  }

  private finishRemoval(group: Placed): void {
    if (group.removing === null || group.removing.waiting.size > 0) return;
    this.placed.delete(group.spec.groupId);
    for (const node of this.members.living()) node.announceGroup(group.spec.groupId, [], group.spec.bundles);
    this.handlers.removed(group.spec.groupId, group.removing.actorIds);
  }

  private warnIfDue(group: Placed, nodes: number): void {
    const now = performance.now();
    if (now < group.nextWarningMs) return;
    group.nextWarningMs = now + infeasibleAgainMs;
    const { name, groupId, strategy, bundles } = group.spec;
    this.handlers.warn(
      group.spec,
      `placement group ${name ?? groupId} cannot be placed: ${strategy} of ${bundles.map(formatResources).join(" + ")} does not fit the cluster's ${nodes} nodes. It waits until nodes that fit join`,
    );
  }
}
