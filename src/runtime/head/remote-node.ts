/** A node of another machine, as the head directs it: messages on the connection between the two daemons. */
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import type { ActorSpec, ActorView, Resources } from "../../wire/messages.ts";
import { type ClusterNode, type JobInfo, NodeKind, type NodeMessage } from "../../wire/node-messages.ts";
import type { HeadNode, Reservation } from "./head-node.ts";

export class RemoteNode implements HeadNode {
  readonly nodeId: NodeId;
  private readonly write: (message: NodeMessage) => void;
  private isConnected = true;

  constructor(nodeId: NodeId, write: (message: NodeMessage) => void) {
    this.nodeId = nodeId;
    this.write = write;
  }

  /**
   * The connection broke. Nothing is said any more: on a new one it would be heard before the node has said what it has. Another takes this one's place
   * when the node joins again, and what it must know is told then.
   */
  disconnect(): void {
    this.isConnected = false;
  }

  private send(message: NodeMessage): void {
    if (this.isConnected) this.write(message);
  }

  placeActor(spec: ActorSpec, job: JobInfo | null): void {
    this.send([NodeKind.PlaceActor, spec, job]);
  }

  unplaceActor(actorId: ActorId): void {
    this.send([NodeKind.UnplaceActor, actorId]);
  }

  startActor(spec: ActorSpec, incarnation: number, { workerId, gpuIds }: ActorPlace): void {
    this.send([NodeKind.StartActor, spec, incarnation, { workerId, gpuIds }]);
  }

  settleActor(actorId: ActorId): void {
    this.send([NodeKind.SettleActor, actorId]);
  }

  endWorker(workerId: WorkerId, how: "finish" | "now", reason: string): void {
    this.send([NodeKind.EndWorker, workerId, how, reason]);
  }

  reserveBundles({ groupId, attempt, jobId, bundles, strategy }: Reservation): void {
    this.send([NodeKind.ReserveBundles, groupId, attempt, jobId, bundles, strategy]);
  }

  removeBundles(groupId: PlacementGroupId, indexes: readonly number[] | null): void {
    this.send(indexes === null ? [NodeKind.RemoveBundles, groupId] : [NodeKind.RemoveBundles, groupId, indexes]);
  }

  announceGroup(groupId: PlacementGroupId, nodes: readonly (NodeId | null)[], bundles: readonly Resources[]): void {
    this.send([NodeKind.GroupPlaced, groupId, nodes, bundles]);
  }

  announceNodes(nodes: readonly ClusterNode[]): void {
    this.send([NodeKind.Nodes, nodes]);
  }

  jobEnded(jobId: JobId): void {
    this.send([NodeKind.JobEnded, jobId]);
  }

  publishActor(to: WorkerId, view: ActorView): void {
    this.send([NodeKind.PublishActor, to, view]);
  }

  warn(jobId: JobId | null, text: string): void {
    this.send([NodeKind.Warn, jobId, text]);
  }

  clusterEnds(reason: string): void {
    this.send([NodeKind.ClusterEnds, reason]);
  }

  drain(reason: string): void {
    this.send([NodeKind.Drain, reason]);
  }
}
