/**
 * The line between the head and the nodes it directs. The head calls a `HeadNode`; the node answers, later, by the head's `on...` methods.
 * Nothing returns a value and nothing waits, so that either side may be in another process.
 */
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import type { ActorSpec, ActorView, GroupStrategy, Resources } from "../../wire/messages.ts";

export interface HeadNode {
  readonly nodeId: NodeId;
  /** Find a process for the actor; answered by `onActorPlaced` or `onActorUnplaceable`. */
  placeActor(spec: ActorSpec): void;
  /** The place, or the search for one, is no longer wanted. */
  unplaceActor(actorId: ActorId): void;
  /** Tell the process to become the actor; answered by `onActorReady`, or by the end of the process. */
  startActor(spec: ActorSpec, incarnation: number, place: ActorPlace): void;
  /** The constructor is through: only the lifetime resources are kept. */
  settleActor(actorId: ActorId): void;
  /** finish: after the calls it has; now: at once. The end is told by `onWorkerDied`. */
  endWorker(workerId: WorkerId, how: "finish" | "now", reason: string): void;
  /** Answered by `onGroupCreated`, when there is room. */
  createGroup(groupId: PlacementGroupId, jobId: JobId, bundles: readonly Resources[], strategy: GroupStrategy): void;
  /** Answered by `onGroupRemoved`. */
  removeGroup(groupId: PlacementGroupId): void;
  /** Passes an actor's view on to a process of this node. */
  publishActor(to: WorkerId, view: ActorView): void;
}
