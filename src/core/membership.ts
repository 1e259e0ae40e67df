/**
 * Membership: which nodes the cluster has, what is free on them, and when one is dead. The head steps it.
 *
 * JOINING is no state here: a node is a member from the moment the head accepts it. ALIVE -> DRAINING -> DEAD, ALIVE -> DEAD; a dead node never
 * comes back, its process joins anew under another id. The complication is to tell a dead node from a slow one: silence for `timeoutMs` is death,
 * whatever the reason, and the node applies the same rule to the head, so that both sides give each other up after the same time. A broken connection
 * is only a reason to look (`probe`): where nothing listens any more the process is gone and nobody has to wait for the timeout.
 */
import { assert } from "../base/assert.ts";
import { type NodeId, type NodeKey, nodeKeyOf } from "../base/ids.ts";
import type { Resources } from "../wire/messages.ts";
import type { ClusterNode, JoinInfo, PendingDemand } from "../wire/node-messages.ts";
import { candidateOf, type NodeCandidate } from "./placement.ts";

/** Dead nodes remembered for listings. About 1 KiB each; the oldest are forgotten. */
export const deadNodesMax = 1_000;
/**
 * Entries of what is free that all nodes together are sent in a millisecond. Without it a thousand nodes that all change would be sent twenty million entries a
 * second, at some 300 bytes each.
 */
const entriesPerMs = 200;

export interface MemberRecord {
  readonly info: JoinInfo;
  readonly isHead: boolean;
  state: "ALIVE" | "DRAINING" | "DEAD";
  available: Resources;
  pending: readonly PendingDemand[];
  storeUsed: number;
  /** As those who place work see it. Made anew when `available` changes. */
  candidate: NodeCandidate;
  heardAtMs: number;
  /** A connection broke and somebody is looking whether anything still listens there. */
  probing: boolean;
  deathReason: string | null;
  /** Its entry has changed since the last announcement. */
  changed: boolean;
}

export interface MembershipState {
  readonly timeoutMs: number;
  readonly announceMs: number;
  readonly members: Map<NodeId, MemberRecord>;
  readonly keys: Map<NodeKey, NodeId>;
  readonly dead: NodeId[];
  /** Earliest time of the next announcement of changed views. */
  announceAtMs: number;
  announceWanted: boolean;
  /** No member has been silent too long before. Earlier than the truth once members are heard of: then the look in between only renews it. */
  silentAtMs: number;
  effects: MembershipEffect[];
}

export type MembershipEvent =
  /** `isHead`: the head's own node, which is never silent. */
  | { readonly kind: "join"; readonly info: JoinInfo; readonly isHead: boolean }
  /** A member of an earlier head: it has `timeoutMs` to join again, unless it is known to be gone. */
  | { readonly kind: "restore"; readonly info: JoinInfo; readonly gone: string | null }
  | {
      readonly kind: "heartbeat";
      readonly nodeId: NodeId;
      readonly available: Resources;
      readonly pending: readonly PendingDemand[];
      readonly storeUsed: number;
    }
  /** It says that it ends. */
  | { readonly kind: "left"; readonly nodeId: NodeId; readonly reason: string }
  | { readonly kind: "disconnected"; readonly nodeId: NodeId; readonly reason: string }
  /** Nothing listens at its address any more (`gone`), or something does. */
  | { readonly kind: "probed"; readonly nodeId: NodeId; readonly gone: boolean }
  | { readonly kind: "drain"; readonly nodeId: NodeId }
  | { readonly kind: "tick" };

export type MembershipEffect =
  | { readonly kind: "accepted"; readonly nodeId: NodeId }
  | { readonly kind: "refused"; readonly nodeId: NodeId; readonly reason: string }
  /** Look whether anything listens at the node's address. */
  | { readonly kind: "probe"; readonly nodeId: NodeId }
  | { readonly kind: "dead"; readonly nodeId: NodeId; readonly reason: string }
  /** Tell every node. */
  | { readonly kind: "announce"; readonly nodes: readonly ClusterNode[] };

export function createMembership(options: { timeoutMs: number; announceMs: number }): MembershipState {
  return {
    ...options,
    members: new Map(),
    keys: new Map(),
    dead: [],
    announceAtMs: 0,
    announceWanted: false,
    silentAtMs: Number.POSITIVE_INFINITY,
    effects: [],
  };
}

export function step(state: MembershipState, now: number, event: MembershipEvent): MembershipEffect[] {
  apply(state, now, event);
  announceIfDue(state, now);
  const effects = state.effects;
  state.effects = [];
  return effects;
}

/** When `tick` is due; null: never. Asked after every heartbeat, so it must not look at every member. */
export function nextWakeMs(state: MembershipState): number | null {
  const next = Math.min(state.announceWanted ? state.announceAtMs : Number.POSITIVE_INFINITY, state.silentAtMs);
  return next === Number.POSITIVE_INFINITY ? null : next;
}

export function nodeView(member: MemberRecord): ClusterNode {
  const { info } = member;
  return {
    nodeId: info.nodeId,
    alive: member.state !== "DEAD",
    address: `${info.host}:${info.port}`,
    hostname: info.hostname,
    isHead: member.isHead,
    resources: info.resources,
    available: member.available,
    labels: info.labels,
    deathReason: member.deathReason,
    host: info.host,
    port: info.port,
    driverOnly: info.driverOnly,
    draining: member.state === "DRAINING",
  };
}

/** Nodes that may get work, with what was last said to be free on them. */
export function candidates(state: MembershipState): NodeCandidate[] {
  const found: NodeCandidate[] = [];
  for (const member of state.members.values())
    if (member.state === "ALIVE" && !member.info.driverOnly) found.push(member.candidate);
  return found;
}

/** Checks the whole structure; for tests and simulation. */
export function validate(state: MembershipState): void {
  for (const [nodeId, member] of state.members) {
    if (member.state !== "DEAD" && !member.isHead)
      assert(state.silentAtMs <= member.heardAtMs + state.timeoutMs, () => `the silence of node ${nodeId} would be noticed late`);
    assert(member.info.nodeId === nodeId, () => `node ${nodeId} is filed under another id`);
    assert((member.state === "DEAD") === (member.deathReason !== null), () => `node ${nodeId} is ${member.state}`);
    const owner = state.keys.get(nodeKeyOf(nodeId));
    assert(member.state === "DEAD" || owner === nodeId, () => `key of node ${nodeId} belongs to ${owner}`);
  }
}

function apply(state: MembershipState, now: number, event: MembershipEvent): void {
  if (event.kind === "join") return join(state, now, event.info, event.isHead);
  if (event.kind === "restore") return restore(state, now, event.info, event.gone);
  if (event.kind === "tick") return tick(state, now);
  const member = state.members.get(event.nodeId);
  if (member === undefined || member.state === "DEAD") return; // news of a node given up
  switch (event.kind) {
    case "heartbeat":
      return heartbeat(state, now, member, event);
    case "left":
      return becomeDead(state, member, event.reason);
    case "disconnected":
      if (member.probing) return;
      member.probing = true;
      state.effects.push({ kind: "probe", nodeId: event.nodeId });
      return;
    case "probed":
      if (!member.probing) return; // it has come back meanwhile
      member.probing = false;
      if (event.gone) becomeDead(state, member, "its daemon is gone: nothing listens at its address");
      return;
    case "drain":
      if (member.state === "ALIVE") member.state = "DRAINING";
      return changed(state, member, true);
  }
}

function join(state: MembershipState, now: number, info: JoinInfo, isHead: boolean): void {
  const { nodeId } = info;
  const known = state.members.get(nodeId);
  if (known !== undefined && known.state !== "DEAD") {
    // It lost the connection and is back before it was given up.
    known.heardAtMs = now;
    known.probing = false;
    state.effects.push({ kind: "accepted", nodeId });
    return;
  }
  if (known !== undefined)
    return refuse(state, nodeId, `node ${nodeId} has been declared dead: ${known.deathReason}; it must start anew`);
  const holder = state.keys.get(nodeKeyOf(nodeId));
  if (holder !== undefined) return refuse(state, nodeId, `its id begins as that of node ${holder}`);
  const member = newMember(now, info, isHead);
  if (!isHead) state.silentAtMs = Math.min(state.silentAtMs, now + state.timeoutMs);
  state.members.set(nodeId, member);
  state.keys.set(nodeKeyOf(nodeId), nodeId);
  changed(state, member, true);
  state.effects.push({ kind: "accepted", nodeId });
}

function restore(state: MembershipState, now: number, info: JoinInfo, gone: string | null): void {
  const { nodeId } = info;
  if (state.members.has(nodeId) || state.keys.has(nodeKeyOf(nodeId))) return;
  const member = newMember(now, info, false);
  state.silentAtMs = Math.min(state.silentAtMs, now + state.timeoutMs);
  state.members.set(nodeId, member);
  state.keys.set(nodeKeyOf(nodeId), nodeId);
  changed(state, member, true);
  if (gone !== null) becomeDead(state, member, gone);
}

function newMember(now: number, info: JoinInfo, isHead: boolean): MemberRecord {
  return {
    info,
    isHead,
    state: "ALIVE",
    available: info.available,
    pending: [],
    storeUsed: 0,
    candidate: candidateOf(info),
    heardAtMs: now,
    probing: false,
    deathReason: null,
    changed: false,
  };
}

function refuse(state: MembershipState, nodeId: NodeId, reason: string): void {
  state.effects.push({ kind: "refused", nodeId, reason });
}

function heartbeat(
  state: MembershipState,
  now: number,
  member: MemberRecord,
  event: MembershipEvent & { kind: "heartbeat" },
): void {
  member.heardAtMs = now;
  member.pending = event.pending;
  member.storeUsed = event.storeUsed;
  if (sameResources(member.available, event.available)) return;
  member.available = event.available;
  member.candidate = candidateOf({ ...member.info, available: event.available });
  changed(state, member, false);
}

function tick(state: MembershipState, now: number): void {
  if (now < state.silentAtMs) return;
  state.silentAtMs = Number.POSITIVE_INFINITY;
  for (const member of state.members.values()) {
    if (member.state === "DEAD" || member.isHead) continue;
    const silentMs = now - member.heardAtMs;
    if (silentMs >= state.timeoutMs)
      becomeDead(state, member, `nothing was heard from it for ${Math.round(silentMs / 100) / 10} s`);
    else state.silentAtMs = Math.min(state.silentAtMs, member.heardAtMs + state.timeoutMs);
  }
}

function becomeDead(state: MembershipState, member: MemberRecord, reason: string): void {
  const { nodeId } = member.info;
  member.state = "DEAD";
  member.deathReason = reason;
  member.available = {};
  member.pending = [];
  state.keys.delete(nodeKeyOf(nodeId));
  changed(state, member, true);
  state.effects.push({ kind: "dead", nodeId, reason });
  state.dead.push(nodeId);
  while (state.dead.length > deadNodesMax) state.members.delete(state.dead.shift() as NodeId);
}

/** `urgent`: who is a member is told at once, what is free on it at most every `announceMs`. */
function changed(state: MembershipState, member: MemberRecord, urgent: boolean): void {
  member.changed = true;
  state.announceWanted = true;
  if (urgent) state.announceAtMs = 0;
}

function announceIfDue(state: MembershipState, now: number): void {
  if (!state.announceWanted || now < state.announceAtMs) return;
  const nodes: ClusterNode[] = [];
  for (const member of state.members.values()) {
    if (!member.changed) continue;
    member.changed = false;
    nodes.push(nodeView(member));
  }
  state.announceWanted = false;
  state.announceAtMs = now + Math.max(state.announceMs, (nodes.length * state.members.size) / entriesPerMs);
  state.effects.push({ kind: "announce", nodes });
}

/** Alike for those who place work: the store's free bytes change all the time and are nobody's criterion. */
function sameResources(a: Resources, b: Resources): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => name === "object_store_memory" || a[name] === b[name]);
}
