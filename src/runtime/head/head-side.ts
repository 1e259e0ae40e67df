/** What a node daemon tells the head, whether the head is in the same process or elsewhere. */
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import type { ProcessExit, TaskEvent, WireValue } from "../../wire/messages.ts";
import { type JobInfo, NodeKind, type NodeMessage } from "../../wire/node-messages.ts";

export interface HeadSide {
  onActorPlaced(actorId: ActorId, place: ActorPlace): void;
  onActorUnplaceable(nodeId: NodeId, actorId: ActorId, reason: "unschedulable" | "runtime env", text: string): void;
  onActorReady(actorId: ActorId, incarnation: number, error: WireValue | null, errorText: string): void;
  onActorExiting(actorId: ActorId, incarnation: number): void;
  onWorkerDied(workerId: WorkerId, exit: ProcessExit): void;
  /** A driver's connection ended, and its job with it. */
  onDriverGone(workerId: WorkerId, jobId: JobId): void;
  onJobStarted(info: JobInfo, driverPid: number | null): void;
  onBundlesReserved(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void;
  onBundlesRefused(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void;
  onBundlesRemoved(nodeId: NodeId, groupId: PlacementGroupId, actorIds: readonly ActorId[]): void;
  onTaskEvents(jobId: JobId, events: readonly TaskEvent[]): void;
}

/** The head on another node. */
export class RemoteHead implements HeadSide {
  private readonly send: (message: NodeMessage) => void;

  constructor(send: (message: NodeMessage) => void) {
    this.send = send;
  }

  onActorPlaced(actorId: ActorId, { workerId, address, pid, gpuIds }: ActorPlace): void {
    this.send([NodeKind.Placed, actorId, { workerId, address, pid, gpuIds }]);
  }

  onActorUnplaceable(_nodeId: NodeId, actorId: ActorId, reason: "unschedulable" | "runtime env", text: string): void {
    this.send([NodeKind.Unplaceable, actorId, reason, text]);
  }

  onActorReady(actorId: ActorId, incarnation: number, error: WireValue | null, errorText: string): void {
    this.send([NodeKind.Ready, actorId, incarnation, error, errorText]);
  }

  onActorExiting(actorId: ActorId, incarnation: number): void {
    this.send([NodeKind.Exiting, actorId, incarnation]);
  }

  onWorkerDied(workerId: WorkerId, exit: ProcessExit): void {
    this.send([NodeKind.ProcessEnded, workerId, exit]);
  }

  onDriverGone(workerId: WorkerId, jobId: JobId): void {
    this.send([NodeKind.DriverGone, workerId, jobId]);
  }

  onJobStarted(info: JobInfo, driverPid: number | null): void {
    this.send([NodeKind.JobStarted, info, driverPid ?? 0]);
  }

  onBundlesReserved(_nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    this.send([NodeKind.BundlesReserved, groupId, attempt]);
  }

  onBundlesRefused(_nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    this.send([NodeKind.BundlesRefused, groupId, attempt]);
  }

  onBundlesRemoved(_nodeId: NodeId, groupId: PlacementGroupId, actorIds: readonly ActorId[]): void {
    this.send([NodeKind.BundlesRemoved, groupId, actorIds]);
  }

  onTaskEvents(jobId: JobId, events: readonly TaskEvent[]): void {
    this.send([NodeKind.Events, jobId, events]);
  }
}
