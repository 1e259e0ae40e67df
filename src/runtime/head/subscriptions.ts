/** Which processes want to hear of which actors, and where they are. */
import { type ActorId, type NodeId, type NodeKey, nodeKeyOf, type WorkerId } from "../../base/ids.ts";

export interface Subscriber {
  readonly nodeId: NodeId;
  readonly workerId: WorkerId;
}

export class Subscriptions {
  private readonly byActor = new Map<ActorId, Map<WorkerId, Subscriber>>();
  /** To forget a process when it ends. */
  private readonly byProcess = new Map<WorkerId, Set<ActorId>>();

  add(actorId: ActorId, from: Subscriber): void {
    const subscribers = this.byActor.get(actorId);
    if (subscribers === undefined) this.byActor.set(actorId, new Map([[from.workerId, from]]));
    else subscribers.set(from.workerId, from);
    const mine = this.byProcess.get(from.workerId);
    if (mine === undefined) this.byProcess.set(from.workerId, new Set([actorId]));
    else mine.add(actorId);
  }

  of(actorId: ActorId): Iterable<Subscriber> {
    return this.byActor.get(actorId)?.values() ?? [];
  }

  actors(): ActorId[] {
    return [...this.byActor.keys()];
  }

  /** Nothing more will be heard of the actor. */
  actorOver(actorId: ActorId): void {
    for (const workerId of [...(this.byActor.get(actorId)?.keys() ?? [])]) this.remove(workerId, actorId);
  }

  processGone(workerId: WorkerId): void {
    for (const actorId of [...(this.byProcess.get(workerId) ?? [])]) this.remove(workerId, actorId);
  }

  nodeGone(key: NodeKey): void {
    for (const workerId of [...this.byProcess.keys()]) if (nodeKeyOf(workerId) === key) this.processGone(workerId);
  }

  /** All of it, by process. */
  entries(): (readonly [WorkerId, readonly ActorId[]])[] {
    return [...this.byProcess].map(([workerId, actors]) => [workerId, [...actors]]);
  }

  remove(workerId: WorkerId, actorId: ActorId): void {
    const subscribers = this.byActor.get(actorId);
    if (subscribers?.delete(workerId) === true && subscribers.size === 0) this.byActor.delete(actorId);
    const mine = this.byProcess.get(workerId);
    if (mine?.delete(actorId) === true && mine.size === 0) this.byProcess.delete(workerId);
  }
}
