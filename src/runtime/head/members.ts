/** The cluster's nodes as the head sees them: runs the membership machine, and keeps for each living node how to direct it. */
import type { NodeId } from "../../base/ids.ts";
import {
  candidates,
  createMembership,
  type MemberRecord,
  type MembershipEffect,
  type MembershipEvent,
  nextWakeMs,
  nodeView,
  step,
} from "../../core/membership.ts";
import type { NodeCandidate } from "../../core/placement.ts";
import type { Resources } from "../../wire/messages.ts";
import type { ClusterNode, JoinInfo, PendingDemand } from "../../wire/node-messages.ts";
import type { HeadNode } from "./head-node.ts";

/** Milliseconds between announcements of what is free. */
const announceMs = 50;

export interface MembersHandlers {
  /** Whether nothing listens at the node's address any more. */
  probe(host: string, port: number): Promise<boolean>;
  dead(nodeId: NodeId, reason: string): void;
  /** Every node has been told what changed. */
  announced(): void;
}

export class Members {
  private readonly machine;
  private readonly handlers: MembersHandlers;
  private readonly nodes = new Map<NodeId, HeadNode>();
  private timer: NodeJS.Timeout | null = null;
  private closed = false;

  constructor(timeoutMs: number, handlers: MembersHandlers) {
    this.machine = createMembership({ timeoutMs, announceMs });
    this.handlers = handlers;
  }

  /** Null when accepted, else why not. */
  join(info: JoinInfo, node: HeadNode, isHead: boolean): string | null {
    const before = this.nodes.get(info.nodeId);
    this.nodes.set(info.nodeId, node);
    const refused = this.dispatch({ kind: "join", info, isHead }).find((effect) => effect.kind === "refused");
    if (refused === undefined) return null;
    if (before === undefined) this.nodes.delete(info.nodeId);
    return (refused as { reason: string }).reason;
  }

  /** A member of an earlier head, which is not connected yet. `gone`: it will not come. */
  restore(info: JoinInfo, gone: string | null): void {
    this.dispatch({ kind: "restore", info, gone });
  }

  heartbeat(nodeId: NodeId, available: Resources, pending: readonly PendingDemand[], storeUsed: number): void {
    this.dispatch({ kind: "heartbeat", nodeId, available, pending, storeUsed });
  }

  left(nodeId: NodeId, reason: string): void {
    this.dispatch({ kind: "left", nodeId, reason });
  }

  disconnected(nodeId: NodeId, reason: string): void {
    this.dispatch({ kind: "disconnected", nodeId, reason });
  }

  drain(nodeId: NodeId): void {
    this.dispatch({ kind: "drain", nodeId });
  }

  isAlive(nodeId: NodeId): boolean {
    const member = this.machine.members.get(nodeId);
    return member !== undefined && member.state !== "DEAD";
  }

  isDraining(nodeId: NodeId): boolean {
    return this.machine.members.get(nodeId)?.state === "DRAINING";
  }

  node(nodeId: NodeId): HeadNode | undefined {
    return this.nodes.get(nodeId);
  }

  living(): IterableIterator<HeadNode> {
    return this.nodes.values();
  }

  get count(): number {
    return this.nodes.size;
  }

  /** All nodes, the dead ones remembered included. */
  views(): ClusterNode[] {
    return [...this.machine.members.values()].map(nodeView);
  }

  records(): IterableIterator<MemberRecord> {
    return this.machine.members.values();
  }

  /** Nodes that may get work, with what is free on them now. */
  candidates(): NodeCandidate[] {
    return candidates(this.machine).filter(({ nodeId }) => this.nodes.has(nodeId));
  }

  /** Of all living nodes. */
  ids(): ReadonlySet<NodeId> {
    return new Set(this.nodes.keys());
  }

  close(): void {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private dispatch(event: MembershipEvent): MembershipEffect[] {
    if (this.closed) return [];
    const effects = step(this.machine, performance.now(), event);
    for (const effect of effects) this.carryOut(effect);
    this.arm();
    return effects;
  }

  private carryOut(effect: MembershipEffect): void {
    switch (effect.kind) {
      case "probe": {
        const info = this.machine.members.get(effect.nodeId)?.info;
        if (info === undefined) return;
        this.handlers.probe(info.host, info.port).then((gone) => this.dispatch({ kind: "probed", nodeId: effect.nodeId, gone }));
        return;
      }
      case "dead":
        this.handlers.dead(effect.nodeId, effect.reason);
        this.nodes.delete(effect.nodeId);
        return;
      case "announce":
        for (const node of this.nodes.values()) node.announceNodes(effect.nodes);
        return this.handlers.announced();
      case "accepted":
      case "refused":
        return;
    }
  }

  private arm(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const wake = nextWakeMs(this.machine);
    if (wake === null || this.closed) return;
    this.timer = setTimeout(() => this.dispatch({ kind: "tick" }), Math.max(1, Math.ceil(wake - performance.now())));
    this.timer.unref();
  }
}
