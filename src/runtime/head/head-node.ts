/**
 * The line between the head and the nodes it directs. The head calls a `HeadNode`; the node answers, later, by the head's `on...` methods.
 * Nothing returns a value and nothing waits, so that either side may be in another process.
 */
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import type { ActorSpec, ActorView, GroupStrategy, Resources } from "../../wire/messages.ts";
import type { ClusterNode, JobInfo } from "../../wire/node-messages.ts";

/** A bundle of a placement group, numbered as in the whole group. */
export interface IndexedBundle {
  readonly index: number;
  readonly resources: Resources;
}

/** One try to place a group, or what is left of it. News of older tries is ignored. */
export interface Reservation {
  readonly groupId: PlacementGroupId;
  readonly attempt: number;
  readonly jobId: JobId;
  readonly bundles: readonly IndexedBundle[];
  readonly strategy: GroupStrategy;
  /** Wait for room, as the cluster has no other node; else answer at once. */
  readonly queue: boolean;
}

export interface HeadNode {
  readonly nodeId: NodeId;
  /** Find a process for the actor; answered by `onActorPlaced` or `onActorUnplaceable`. */
  placeActor(spec: ActorSpec, job: JobInfo | null): void;
  /** The place, or the search for one, is no longer wanted. */
  unplaceActor(actorId: ActorId): void;
  /** Tell the process to become the actor; answered by `onActorReady`, or by the end of the process. */
  startActor(spec: ActorSpec, incarnation: number, place: ActorPlace): void;
  /** The constructor is through: only the lifetime resources are kept. */
  settleActor(actorId: ActorId): void;
  /** finish: after the calls it has; now: at once. The end is told by `onWorkerDied`. */
  endWorker(workerId: WorkerId, how: "finish" | "now", reason: string): void;
  /** All of these bundles or none. Answered by `onBundlesReserved` or `onBundlesRefused`. */
  reserveBundles(reservation: Reservation): void;
  /** What the node keeps for the group goes back; who is in it ends. Answered by `onBundlesRemoved`. `indexes`: only these, as a try is undone; null: the group is gone for good. */
  removeBundles(groupId: PlacementGroupId, indexes: readonly number[] | null): void;
  /** Where each bundle of a group is; null where it is being placed anew. Without nodes: the group is gone. */
  announceGroup(groupId: PlacementGroupId, nodes: readonly (NodeId | null)[], bundles: readonly Resources[]): void;
  announceNodes(nodes: readonly ClusterNode[]): void;
  jobEnded(jobId: JobId): void;
  /** Passes an actor's view on to a process of this node. */
  publishActor(to: WorkerId, view: ActorView): void;
  /** Tells the drivers of the job that are on this node (all when null). */
  warn(jobId: JobId | null, text: string): void;
  /** The head ends for good, and the cluster with it. */
  clusterEnds(reason: string): void;
  /** Nothing new comes: finish what runs, then leave. */
  drain(reason: string): void;
}
