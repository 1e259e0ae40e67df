/** Runs the group placement machine (core/group-placement.ts) on the head's view of the nodes, and asks the nodes. */
import type { ActorId, NodeId, PlacementGroupId } from "../../base/ids.ts";
import {
  createGroupPlacement,
  type GroupClusterView,
  type GroupPlacementEffect,
  type GroupPlacementEvent,
  type GroupSpec,
  nodesOf,
  step,
} from "../../core/group-placement.ts";
import type { Members } from "./members.ts";

export interface GroupPlacingHandlers {
  created(groupId: PlacementGroupId): void;
  rescheduling(groupId: PlacementGroupId): void;
  removed(groupId: PlacementGroupId, actorIds: readonly ActorId[]): void;
  /** Where its bundles are has changed. */
  moved(spec: GroupSpec, nodes: readonly (NodeId | null)[]): void;
  warn(spec: GroupSpec, text: string): void;
}

export class GroupPlacing {
  private readonly machine = createGroupPlacement();
  private readonly members: Members;
  private readonly handlers: GroupPlacingHandlers;
  private readonly view: GroupClusterView;
  private readonly queue: GroupPlacementEvent[] = [];
  private stepping = false;

  constructor(members: Members, handlers: GroupPlacingHandlers) {
    this.members = members;
    this.handlers = handlers;
    this.view = {
      get candidates() {
        return members.candidates();
      },
      get living() {
        return members.ids();
      },
      random: Math.random,
    };
  }

  place(spec: GroupSpec): void {
    this.dispatch({ kind: "place", spec });
  }

  /** Known from the store of an earlier head, none of whose tries can be taken for one of this. */
  restore(spec: GroupSpec, nodes: readonly (NodeId | null)[]): void {
    this.dispatch({ kind: "restore", spec, nodes, attempt: Date.now() });
  }

  /** Nothing is placed until `resume`: the nodes are not all there. */
  hold(): void {
    this.dispatch({ kind: "hold" });
  }

  resume(): void {
    this.dispatch({ kind: "resume" });
  }

  /** It has joined again, with these bundles: what it was sent, or has sent, may have been lost. */
  nodeBack(nodeId: NodeId, bundles: ReadonlyMap<PlacementGroupId, readonly number[]>, known: readonly PlacementGroupId[]): void {
    this.dispatch({ kind: "nodeBack", nodeId, bundles, known });
  }

  remove(groupId: PlacementGroupId): void {
    this.dispatch({ kind: "remove", groupId });
  }

  /** Where each bundle is; null: nobody knows the group. */
  nodesOf(groupId: string): readonly (NodeId | null)[] | null {
    return nodesOf(this.machine, groupId);
  }

  onReserved(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    this.dispatch({ kind: "reserved", nodeId, groupId, attempt });
  }

  onRefused(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    this.dispatch({ kind: "refused", nodeId, groupId, attempt });
  }

  onRemoved(nodeId: NodeId, groupId: PlacementGroupId, actorIds: readonly ActorId[]): void {
    this.dispatch({ kind: "removed", nodeId, groupId, actorIds });
  }

  nodeJoined(nodeId: NodeId): void {
    this.dispatch({ kind: "nodeJoined", nodeId });
  }

  /** What is free on the node is news, be it the same as before. */
  nodeHeard(nodeId: NodeId): void {
    this.dispatch({ kind: "nodeHeard", nodeId });
  }

  nodeGone(nodeId: NodeId): void {
    this.dispatch({ kind: "nodeGone", nodeId });
  }

  /** Views have changed: those without a place try again. */
  look(): void {
    this.dispatch({ kind: "look" });
  }

  /** The head's own node answers while it is asked: such news waits for its turn. */
  private dispatch(event: GroupPlacementEvent): void {
    this.queue.push(event);
    if (this.stepping) return;
    this.stepping = true;
    try {
      for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift())
        for (const effect of step(this.machine, performance.now(), next, this.view)) this.carryOut(effect);
    } finally {
      this.stepping = false;
    }
  }

  private carryOut(effect: GroupPlacementEffect): void {
    const { members, handlers } = this;
    switch (effect.kind) {
      case "reserve": {
        const { spec, attempt, indexes, queue } = effect;
        const { groupId, jobId, strategy } = spec;
        const bundles = indexes.map((index) => ({ index, resources: spec.bundles[index] }));
        return members.node(effect.nodeId)?.reserveBundles({ groupId, attempt, jobId, strategy, bundles, queue });
      }
      case "release":
        return members.node(effect.nodeId)?.removeBundles(effect.groupId, effect.indexes);
      case "announce": {
        const { spec, nodes } = effect;
        if (effect.nodeId !== null) return members.node(effect.nodeId)?.announceGroup(spec.groupId, nodes, spec.bundles);
        for (const node of members.living()) node.announceGroup(spec.groupId, nodes, spec.bundles);
        return;
      }
      case "save":
        return handlers.moved(effect.spec, effect.nodes);
      case "created":
        return handlers.created(effect.groupId);
      case "rescheduling":
        return handlers.rescheduling(effect.groupId);
      case "gone":
        return handlers.removed(effect.groupId, effect.actorIds);
      case "warn":
        return handlers.warn(effect.spec, effect.text);
    }
  }
}
