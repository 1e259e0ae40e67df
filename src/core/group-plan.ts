/**
 * Which nodes the bundles of a placement group go to.
 *
 * PACK: as few nodes as can be found, one if possible · SPREAD: as evenly over nodes as can be · STRICT_PACK: one node · STRICT_SPREAD: a node
 * for each. Pure, on views that may be old: the nodes themselves refuse what does not fit any more, and the head plans anew.
 * The fewest nodes are sought greedily (an exact answer is a packing problem); STRICT_SPREAD finds an assignment whenever there is one.
 */
import type { NodeId } from "../base/ids.ts";
import type { GroupStrategy } from "../wire/messages.ts";
import { hasFree, type NodeCandidate } from "./placement.ts";
import { type ResourceDemand, sumDemands } from "./resources.ts";

export type GroupPlan =
  /** For each bundle its node; bundles that were placed already keep theirs. */
  | { readonly kind: "placed"; readonly nodes: readonly NodeId[] }
  /** It does not fit now; it would if nothing else ran. */
  | { readonly kind: "wait" }
  /** Not even then. */
  | { readonly kind: "infeasible" };

interface Room {
  readonly nodeId: NodeId;
  readonly total: ReadonlyMap<string, number>;
  readonly free: Map<string, number>;
  /** Bundles of the group on it. */
  bundles: number;
}

interface Bundle {
  readonly index: number;
  readonly demand: ResourceDemand;
}

/** `placed`: where each bundle is that keeps its place; null for those to be placed. Their resources are off `available` already. */
export function planGroup(
  bundles: readonly ResourceDemand[],
  strategy: GroupStrategy,
  nodes: readonly NodeCandidate[],
  random = 0,
  placed: readonly (NodeId | null)[] = bundles.map(() => null),
): GroupPlan {
  const members = nodes.filter((node) => node.draining !== true || placed.includes(node.nodeId));
  const wanted = bundles.map((demand, index) => ({ demand, index })).filter(({ index }) => (placed[index] ?? null) === null);
  const roomsOf = (free: "available" | "total"): Room[] =>
    members.map((node) => ({
      nodeId: node.nodeId,
      total: node.total,
      free: new Map(free === "total" || node.draining !== true ? node[free] : []),
      bundles: placed.filter((nodeId) => nodeId === node.nodeId).length,
    }));
  const now = assign(wanted, strategy, rotated(roomsOf("available"), random));
  if (now !== null) return { kind: "placed", nodes: bundles.map((_, index) => now.get(index) ?? (placed[index] as NodeId)) };
  const everything = roomsOf("total");
  bundles.forEach((demand, index) => {
    const room = everything.find(({ nodeId }) => nodeId === placed[index]);
    if (room !== undefined) take(room, demand, 0);
  });
  return { kind: assign(wanted, strategy, everything) === null ? "infeasible" : "wait" };
}

/** Equal nodes take turns to be the first. */
function rotated(rooms: Room[], random: number): Room[] {
  const first = Math.floor(random * rooms.length);
  return [...rooms.slice(first), ...rooms.slice(0, first)];
}

function assign(wanted: readonly Bundle[], strategy: GroupStrategy, rooms: Room[]): Map<number, NodeId> | null {
  const largestFirst = [...wanted].sort((a, b) => sizeIn(rooms, b.demand) - sizeIn(rooms, a.demand));
  switch (strategy) {
    case "STRICT_PACK":
      return packOnOne(wanted, rooms);
    case "PACK":
      return packOnOne(wanted, rooms) ?? packOnFew(largestFirst, rooms);
    case "SPREAD":
      return spread(largestFirst, rooms);
    case "STRICT_SPREAD":
      return oneEach(largestFirst, rooms);
  }
}

/** Share of the largest node that the demand takes, by its scarcest resource. */
function sizeIn(rooms: readonly Room[], demand: ResourceDemand): number {
  let size = 0;
  demand.names.forEach((name, i) => {
    const most = rooms.reduce((max, room) => Math.max(max, room.total.get(name) ?? 0), 0);
    if (most > 0) size = Math.max(size, demand.units[i] / most);
  });
  return size;
}

/** How much of the room's scarcest resource is free. */
function roominess(room: Room): number {
  let least = 1;
  for (const [name, units] of room.total) if (units > 0) least = Math.min(least, (room.free.get(name) ?? 0) / units);
  return least;
}

function take(room: Room, { names, units }: ResourceDemand, bundles = 1): void {
  names.forEach((name, i) => {
    room.free.set(name, (room.free.get(name) ?? 0) - units[i]);
  });
  room.bundles += bundles;
}

/** A node that has bundles of the group already goes first: the only one that STRICT_PACK may use. Then the roomiest. */
function packOnOne(wanted: readonly Bundle[], rooms: readonly Room[]): Map<number, NodeId> | null {
  const sum = sumDemands(wanted.map(({ demand }) => demand));
  const started = rooms.filter((room) => room.bundles > 0);
  const best = largest(
    (started.length > 0 ? started : rooms).filter((room) => hasFree(room.free, sum)),
    roominess,
  );
  return best === null ? null : new Map(wanted.map(({ index }) => [index, best.nodeId]));
}

function largest(rooms: readonly Room[], measure: (room: Room) => number): Room | null {
  let best: Room | null = null;
  for (const room of rooms) if (best === null || measure(room) > measure(best)) best = room;
  return best;
}

/** Always the node that takes the most of what is left. */
function packOnFew(wanted: readonly Bundle[], rooms: readonly Room[]): Map<number, NodeId> | null {
  const nodes = new Map<number, NodeId>();
  let left = wanted;
  while (left.length > 0) {
    let best: { room: Room; fitting: Bundle[] } | null = null;
    for (const room of rooms) {
      const trial: Room = { ...room, free: new Map(room.free) };
      const fitting = left.filter(({ demand }) => {
        if (!hasFree(trial.free, demand)) return false;
        take(trial, demand);
        return true;
      });
      if (fitting.length > (best?.fitting.length ?? 0)) best = { room, fitting };
    }
    if (best === null) return null;
    const { room, fitting } = best;
    for (const { index, demand } of fitting) {
      take(room, demand);
      nodes.set(index, room.nodeId);
    }
    left = left.filter((bundle) => !fitting.includes(bundle));
  }
  return nodes;
}

/** Fewest bundles of the group first, then the roomiest. */
function spread(wanted: readonly Bundle[], rooms: readonly Room[]): Map<number, NodeId> | null {
  const nodes = new Map<number, NodeId>();
  for (const { index, demand } of wanted) {
    const fitting = rooms.filter((room) => hasFree(room.free, demand));
    const fewest = Math.min(...fitting.map((room) => room.bundles));
    const best = largest(
      fitting.filter((room) => room.bundles === fewest),
      roominess,
    );
    if (best === null) return null;
    take(best, demand);
    nodes.set(index, best.nodeId);
  }
  return nodes;
}

/** A matching of bundles to nodes, found by augmenting paths. */
function oneEach(wanted: readonly Bundle[], rooms: readonly Room[]): Map<number, NodeId> | null {
  const open = rooms.filter((room) => room.bundles === 0).sort((a, b) => roominess(b) - roominess(a));
  const heldBy = new Map<Room, Bundle>();
  const settle = (bundle: Bundle, seen: Set<Room>): boolean => {
    for (const room of open) {
      if (seen.has(room) || !hasFree(room.free, bundle.demand)) continue;
      seen.add(room);
      const other = heldBy.get(room);
      if (other !== undefined && !settle(other, seen)) continue;
      heldBy.set(room, bundle);
      return true;
    }
    return false;
  };
  if (wanted.length > open.length) return null;
  for (const bundle of wanted) if (!settle(bundle, new Set())) return null;
  return new Map([...heldBy].map(([room, bundle]) => [bundle.index, room.nodeId]));
}
