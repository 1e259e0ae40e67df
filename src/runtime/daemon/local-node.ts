/** The head's view of the node it lives on: calls straight into the daemon. */
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import { Kind } from "../../wire/index.ts";
import type { ActorSpec, ActorView, GroupStrategy, Resources } from "../../wire/messages.ts";
import type { HeadNode } from "../head/head-node.ts";
import type { Daemon } from "./daemon.ts";

export class LocalNode implements HeadNode {
  private readonly daemon: Daemon;

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  get nodeId(): NodeId {
    return this.daemon.nodeId;
  }

  placeActor({ actorId, jobId, placement, lifetimeResources }: ActorSpec): void {
    this.daemon.scheduling.dispatch({
      kind: "placeActor",
      actorId,
      jobId,
      placement: this.daemon.jobEnvs.toScheduler(jobId, placement),
      lifetimeResources,
    });
  }

  unplaceActor(actorId: ActorId): void {
    this.daemon.scheduling.dispatch({ kind: "actorGone", actorId });
  }

  startActor(spec: ActorSpec, incarnation: number, place: ActorPlace): void {
    const client = this.daemon.clients.get(place.workerId);
    if (client === undefined) return; // its end is on the way
    client.actorId = spec.actorId;
    client.link.send([Kind.StartActor, spec, incarnation, place.gpuIds]);
  }

  settleActor(actorId: ActorId): void {
    this.daemon.scheduling.dispatch({ kind: "actorReady", actorId });
  }

  endWorker(workerId: WorkerId, how: "finish" | "now", reason: string): void {
    const worker = this.daemon.pool.get(workerId);
    if (worker === undefined) return;
    if (how === "now") return worker.kill(reason);
    worker.expectEnd(reason, null);
    this.daemon.send(workerId, [Kind.Exit, reason]);
  }

  createGroup(groupId: PlacementGroupId, jobId: JobId, bundles: readonly Resources[], strategy: GroupStrategy): void {
    const numbered = bundles.map((resources, index) => ({ index, resources }));
    this.daemon.scheduling.dispatch({ kind: "createGroup", groupId, jobId, bundles: numbered, strategy, queue: true });
  }

  removeGroup(groupId: PlacementGroupId): void {
    this.daemon.scheduling.dispatch({ kind: "removeGroup", groupId });
  }

  publishActor(to: WorkerId, view: ActorView): void {
    this.daemon.send(to, [Kind.ActorState, view]);
  }
}
