/** Runs the actor placement machine (core/actor-placement.ts) on the head's view of the nodes, and asks the nodes. */
import type { ActorId, NodeId } from "../../base/ids.ts";
import {
  type ActorPlacementEffect,
  type ActorPlacementEvent,
  type ClusterView,
  createActorPlacement,
  nextWakeMs,
  step,
  whereOf,
} from "../../core/actor-placement.ts";
import type { ActorSpec } from "../../wire/messages.ts";
import type { JobInfo } from "../../wire/node-messages.ts";
import type { Members } from "./members.ts";

export interface ActorPlacingHandlers {
  jobOf(spec: ActorSpec): JobInfo | null;
  /** Nodes of a group's bundles; null: nobody knows the group; an entry is null while its bundle has no place. */
  groupNodes(groupId: string): readonly (NodeId | null)[] | null;
  unplaceable(actorId: ActorId, text: string): void;
  warn(spec: ActorSpec, text: string): void;
}

export class ActorPlacing {
  private readonly machine = createActorPlacement();
  private readonly members: Members;
  private readonly handlers: ActorPlacingHandlers;
  private readonly view: ClusterView;
  private timer: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(members: Members, handlers: ActorPlacingHandlers) {
    this.members = members;
    this.handlers = handlers;
    this.view = {
      get candidates() {
        return members.candidates();
      },
      get count() {
        return members.count;
      },
      random: Math.random,
      groupNodes: (groupId) => handlers.groupNodes(groupId),
    };
  }

  place(spec: ActorSpec): void {
    this.dispatch({ kind: "place", spec });
  }

  /** Where a process is looked for; null: nowhere. */
  whereOf(actorId: ActorId): NodeId | null {
    return whereOf(this.machine, actorId);
  }

  /** It has a process, or is over. Returns where it was looking for one. */
  over(actorId: ActorId): NodeId | null {
    const nodeId = whereOf(this.machine, actorId);
    this.dispatch({ kind: "over", actorId });
    return nodeId;
  }

  /** What is free on the node is news: nothing sent before is still under way. */
  nodeHeard(nodeId: NodeId): void {
    this.dispatch({ kind: "nodeHeard", nodeId });
  }

  /** Nothing is placed until `resume`: the nodes are not all there. */
  hold(): void {
    this.dispatch({ kind: "hold" });
  }

  resume(): void {
    this.dispatch({ kind: "resume" });
  }

  /** It has joined again: what it was sent may have been lost, and it has dropped what it had begun. */
  nodeBack(nodeId: NodeId): void {
    this.dispatch({ kind: "nodeBack", nodeId });
  }

  /** Those who looked for a process there look elsewhere. */
  nodeGone(nodeId: NodeId): void {
    this.dispatch({ kind: "nodeGone", nodeId });
  }

  /** Views have changed. */
  look(): void {
    this.dispatch({ kind: "look" });
  }

  close(): void {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private dispatch(event: ActorPlacementEvent): void {
    if (this.closed) return;
    for (const effect of step(this.machine, performance.now(), event, this.view)) this.carryOut(effect);
    this.arm();
  }

  private carryOut(effect: ActorPlacementEffect): void {
    switch (effect.kind) {
      case "send":
        return this.members.node(effect.nodeId)?.placeActor(effect.spec, this.handlers.jobOf(effect.spec));
      case "unsend":
        return this.members.node(effect.nodeId)?.unplaceActor(effect.actorId);
      case "unplaceable":
        return this.handlers.unplaceable(effect.actorId, effect.text);
      case "warn":
        return this.handlers.warn(effect.spec, effect.text);
    }
  }

  private arm(): void {
    const wakeMs = nextWakeMs(this.machine);
    if (this.timer !== null || wakeMs === null || this.closed) return;
    const look = (): void => {
      this.timer = null;
      this.look();
    };
    this.timer = setTimeout(look, Math.max(1, Math.ceil(wakeMs - performance.now())));
    this.timer.unref();
  }
}
