/**
 * Finds a node for each actor that has to be placed. With one node it is that one, whose scheduler queues, reports and refuses. With several the head
 * chooses by what it knows to be free and, where nothing is, lets the actor wait here for a moment, then queue at the best node, so that the leases
 * there are called back for it; should another node become free meanwhile, the actor moves.
 */
import { type ActorId, type NodeId, nodeKeyOf } from "../../base/ids.ts";
import { chooseNode } from "../../core/placement.ts";
import { type ResourceDemand, toDemand } from "../../core/resources.ts";
import type { ActorSpec } from "../../wire/messages.ts";
import type { JobInfo } from "../../wire/node-messages.ts";
import type { Candidate, Members } from "./members.ts";

/** Milliseconds an actor waits at the head for a node with room before it queues at one without. */
const holdMs = 200;
/** Milliseconds an actor queues at a node before it may move to another: longer than a process takes to start on a loaded machine. */
const moveAfterMs = 5_000;
const infeasibleAfterMs = 5_000;
const infeasibleAgainMs = 60_000;

interface Placing {
  readonly spec: ActorSpec;
  readonly demand: ResourceDemand;
  readonly sinceMs: number;
  /** Where it queues, and since when; null while it waits here. */
  nodeId: NodeId | null;
  sentMs: number;
  nextWarningMs: number;
}

export interface ActorPlacingHandlers {
  jobOf(spec: ActorSpec): JobInfo | null;
  /** Nodes of a group's bundles; null: nobody knows the group; an entry is null while its bundle has no place. */
  groupNodes(groupId: string): readonly (NodeId | null)[] | null;
  unplaceable(actorId: ActorId, text: string): void;
  warn(spec: ActorSpec, text: string): void;
}

export class ActorPlacing {
  private readonly members: Members;
  private readonly handlers: ActorPlacingHandlers;
  private readonly placing = new Map<ActorId, Placing>();
  /** What was sent to nodes whose news does not show it yet. */
  private readonly sent = new Map<NodeId, ResourceDemand[]>();
  private timer: NodeJS.Timeout | null = null;

  constructor(members: Members, handlers: ActorPlacingHandlers) {
    this.members = members;
    this.handlers = handlers;
  }

  place(spec: ActorSpec): void {
    const now = performance.now();
    const placing: Placing = {
      spec,
      demand: toDemand(spec.placement.resources),
      sinceMs: now,
      nodeId: null,
      sentMs: 0,
      nextWarningMs: now + infeasibleAfterMs,
    };
    this.placing.set(spec.actorId, placing);
    this.choose(placing, now);
    this.arm();
  }

  /** It has a process, or is over. Returns where it was looking for one. */
  over(actorId: ActorId): NodeId | null {
    const placing = this.placing.get(actorId);
    this.placing.delete(actorId);
    return placing?.nodeId ?? null;
  }

  /** What is free on the node is news: nothing sent before is still under way. */
  nodeHeard(nodeId: NodeId): void {
    this.sent.delete(nodeId);
  }

  /** Those who looked for a process there look elsewhere. */
  nodeGone(nodeId: NodeId): void {
    this.sent.delete(nodeId);
    for (const placing of this.placing.values()) if (placing.nodeId === nodeId) placing.nodeId = null;
    this.look();
  }

  /** Views have changed. */
  look(): void {
    if (this.placing.size === 0) return;
    const now = performance.now();
    for (const placing of [...this.placing.values()]) {
      if (placing.nodeId === null) this.choose(placing, now);
      else if (this.members.count > 1 && now - placing.sentMs >= moveAfterMs) this.considerMove(placing, now);
    }
    this.arm();
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.placing.clear();
  }

  private choose(placing: Placing, now: number): void {
    const { spec } = placing;
    const candidates = this.members.candidates();
    if (candidates.length === 1 && this.members.count === 1) return this.send(placing, candidates[0], now, spec);
    const { strategy } = spec.placement;
    if (strategy.kind === "group") return this.chooseInGroup(placing, candidates, now);
    const free = candidates.map((candidate) => this.withoutSent(candidate));
    const choice = chooseNode(spec.placement, placing.demand, nodeOf(spec, candidates), free, Math.random());
    if (choice.kind === "unschedulable") {
      this.placing.delete(spec.actorId);
      return this.handlers.unplaceable(spec.actorId, choice.text);
    }
    if (choice.kind === "infeasible") return this.warnIfDue(placing, now, choice.text, candidates);
    const chosen = free.find((candidate) => candidate.nodeId === choice.nodeId) as Candidate;
    if (!hasRoom(chosen, placing.demand) && now - placing.sinceMs < holdMs) return; // another node may have room in a moment
    // The choice is made: the node has nothing left to decide.
    this.send(placing, chosen, now, {
      ...spec,
      placement: { ...spec.placement, strategy: { kind: "default" }, labelSelector: {} },
    });
  }

  private chooseInGroup(placing: Placing, candidates: readonly Candidate[], now: number): void {
    const { spec } = placing;
    const { strategy } = spec.placement;
    if (strategy.kind !== "group") return;
    const nodes = this.handlers.groupNodes(strategy.groupId);
    if (nodes === null) {
      this.placing.delete(spec.actorId);
      return this.handlers.unplaceable(spec.actorId, `placement group ${strategy.groupId} was removed or does not exist`);
    }
    const wanted = strategy.bundleIndex < 0 ? nodes : nodes.slice(strategy.bundleIndex, strategy.bundleIndex + 1);
    const there = candidates.filter((candidate) => wanted.includes(candidate.nodeId));
    if (there.length === 0) return; // its bundle has no place yet
    this.send(placing, there[Math.floor(Math.random() * there.length)], now, spec);
  }

  private send(placing: Placing, to: Candidate, now: number, spec: ActorSpec): void {
    placing.nodeId = to.nodeId;
    placing.sentMs = now;
    const sent = this.sent.get(to.nodeId);
    if (sent === undefined) this.sent.set(to.nodeId, [placing.demand]);
    else sent.push(placing.demand);
    to.node.placeActor(spec, this.handlers.jobOf(spec));
  }

  /** Its node has no room and another has. */
  private considerMove(placing: Placing, now: number): void {
    const { spec, demand } = placing;
    const free = this.members.candidates().map((candidate) => this.withoutSent(candidate));
    const here = free.find((candidate) => candidate.nodeId === placing.nodeId);
    const others = free.filter((candidate) => candidate !== here && hasRoom(candidate, demand));
    if (here === undefined || hasRoom(here, demand) || others.length === 0 || spec.placement.strategy.kind === "group") return;
    const choice = chooseNode(spec.placement, demand, placing.nodeId as NodeId, others, Math.random());
    if (choice.kind !== "node") return;
    here.node.unplaceActor(spec.actorId);
    placing.nodeId = null;
    this.choose(placing, now);
  }

  private warnIfDue(placing: Placing, now: number, text: string, candidates: readonly Candidate[]): void {
    if (now < placing.nextWarningMs) return;
    placing.nextWarningMs = now + infeasibleAgainMs;
    const { className } = placing.spec;
    this.handlers.warn(
      placing.spec,
      `actor ${className} cannot be placed: ${text} among the cluster's ${candidates.length} nodes. It waits until a node that fits joins`,
    );
  }

  private withoutSent(candidate: Candidate): Candidate {
    const sent = this.sent.get(candidate.nodeId);
    if (sent === undefined) return candidate;
    const available = new Map(candidate.available);
    for (const { names, units } of sent) names.forEach((name, i) => available.set(name, (available.get(name) ?? 0) - units[i]));
    return { ...candidate, available };
  }

  /** Looks again while anybody waits: for the end of a hold, a move, or a report that is due. */
  private arm(): void {
    if (this.timer !== null || this.members.count <= 1 || this.placing.size === 0) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.look();
    }, holdMs);
    this.timer.unref();
  }
}

/** The owner's node counts as local, so that an actor is near its owner where that costs nothing. */
function nodeOf(spec: ActorSpec, candidates: readonly Candidate[]): NodeId {
  const local = candidates.find((candidate) => nodeKeyOf(candidate.nodeId) === nodeKeyOf(spec.ownerId));
  return local?.nodeId ?? ("" as NodeId);
}

function hasRoom(candidate: Candidate, demand: ResourceDemand): boolean {
  return demand.names.every((name, i) => (candidate.available.get(name) ?? 0) >= demand.units[i]);
}
