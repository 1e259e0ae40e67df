/** The head's view of the node it lives on: calls straight into the daemon. */
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import { Kind } from "../../wire/index.ts";
import type { ActorSpec, ActorView, Resources } from "../../wire/messages.ts";
import type { ClusterNode, JobInfo } from "../../wire/node-messages.ts";
import type { HeadNode, Reservation } from "../head/head-node.ts";
import type { Daemon } from "./daemon.ts";

export class LocalNode implements HeadNode {
  private readonly daemon: Daemon;
  /** The latest try to reserve bundles of each group here. */
  private readonly attempts = new Map<PlacementGroupId, number>();
  /** Actors that are to be placed here and have not been started. */
  private readonly placing = new Set<ActorId>();

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  get nodeId(): NodeId {
    return this.daemon.nodeId;
  }

  placeActor({ actorId, jobId, placement, lifetimeResources }: ActorSpec, job: JobInfo | null): void {
    if (job !== null) this.daemon.learnJob(job);
    this.placing.add(actorId);
    this.daemon.cluster?.awaitNews();
    this.daemon.scheduling.dispatch({
      kind: "placeActor",
      actorId,
      jobId,
      placement: this.daemon.jobEnvs.toScheduler(jobId, placement),
      lifetimeResources,
    });
  }

  unplaceActor(actorId: ActorId): void {
    this.placing.delete(actorId);
    this.daemon.actorsHere.delete(actorId);
    this.daemon.scheduling.dispatch({ kind: "actorGone", actorId });
  }

  startActor(spec: ActorSpec, incarnation: number, place: ActorPlace): void {
    if (!this.placing.delete(spec.actorId)) return; // it was given up, and the head begins anew
    const client = this.daemon.clients.get(place.workerId);
    if (client === undefined) return; // its end is on the way
    client.actorId = spec.actorId;
    const here = { workerId: client.id, address: client.worker?.address ?? "", pid: client.pid, gpuIds: place.gpuIds };
    this.daemon.actorsHere.set(spec.actorId, { spec, incarnation, place: here, alive: false, ready: null, exiting: false });
    client.link.send([Kind.StartActor, spec, incarnation, place.gpuIds]);
  }

  /** The head that ordered it is gone, or will order it again. It may not know the processes that wait for its word. */
  giveUpPlacing(): void {
    for (const actorId of this.placing) this.daemon.scheduling.dispatch({ kind: "actorGone", actorId, stop: true });
    this.placing.clear();
  }

  settleActor(actorId: ActorId): void {
    const actor = this.daemon.actorsHere.get(actorId);
    if (actor !== undefined) actor.alive = true;
    this.daemon.scheduling.dispatch({ kind: "actorReady", actorId });
  }

  endWorker(workerId: WorkerId, how: "finish" | "now", reason: string): void {
    const worker = this.daemon.pool.get(workerId);
    if (worker === undefined) return;
    if (how === "now") return worker.kill(reason);
    worker.expectEnd(reason, null);
    this.daemon.send(workerId, [Kind.Exit, reason]);
  }

  reserveBundles({ groupId, attempt, jobId, bundles, strategy, queue }: Reservation): void {
    this.attempts.set(groupId, attempt);
    this.daemon.scheduling.dispatch({ kind: "createGroup", groupId, jobId, bundles, strategy, queue });
  }

  removeBundles(groupId: PlacementGroupId, indexes: readonly number[] | null): void {
    if (indexes === null) this.attempts.delete(groupId);
    this.daemon.scheduling.dispatch(
      indexes === null ? { kind: "removeGroup", groupId } : { kind: "removeBundles", groupId, indexes },
    );
  }

  attemptOf(groupId: PlacementGroupId): number {
    return this.attempts.get(groupId) ?? 0;
  }

  announceGroup(groupId: PlacementGroupId, nodes: readonly (NodeId | null)[], bundles: readonly Resources[]): void {
    if (this.daemon.cluster !== null) this.daemon.scheduling.dispatch({ kind: "groupPlaced", groupId, nodes, bundles });
  }

  announceNodes(nodes: readonly ClusterNode[]): void {
    this.daemon.cluster?.nodesChanged(nodes);
  }

  jobEnded(jobId: JobId): void {
    this.daemon.jobEnded(jobId);
  }

  publishActor(to: WorkerId, view: ActorView): void {
    if (view.state === "DEAD") this.daemon.subscriptions.remove(to, view.actorId);
    this.daemon.send(to, [Kind.ActorState, view]);
  }

  warn(jobId: JobId | null, text: string): void {
    this.daemon.warn(jobId, text);
  }

  clusterEnds(reason: string): void {
    if (this.daemon.head === null) this.daemon.requestEnd(`the cluster has ended: ${reason}`);
  }

  drain(reason: string): void {
    this.daemon.drain(reason);
  }
}
