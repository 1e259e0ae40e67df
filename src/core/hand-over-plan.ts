/**
 * Which node takes which object of a node that leaves.
 *
 * Memory is what is short: an object that made a node spill would cost its own objects a trip to disk, so only what fits into free store memory
 * goes. Where that is not enough, what no task can make again goes first, and after it the small before the large, as more are saved that way.
 */
import type { NodeId } from "../base/ids.ts";

export interface Leaving {
  readonly bytes: number;
  /** A task can make it again. */
  readonly replaceable: boolean;
}

/** A node that stays. */
export interface Taker {
  readonly nodeId: NodeId;
  readonly freeBytes: number;
}

export interface HandOverPlan<T> {
  readonly moves: readonly { readonly object: T; readonly to: NodeId }[];
  /** There is no room for these. */
  readonly left: readonly T[];
}

/** Each object goes to the node that has the most free by then. */
export function planHandOver<T extends Leaving>(objects: readonly T[], takers: readonly Taker[]): HandOverPlan<T> {
  const free = new Map(takers.map(({ nodeId, freeBytes }) => [nodeId, freeBytes]));
  const moves: { object: T; to: NodeId }[] = [];
  const left: T[] = [];
  for (const object of [...objects].sort(byUrgency)) {
    const to = freest(free);
    if (to === null || (free.get(to) as number) < object.bytes) {
      left.push(object);
      continue;
    }
    free.set(to, (free.get(to) as number) - object.bytes);
    moves.push({ object, to });
  }
  return { moves, left };
}

const byUrgency = (a: Leaving, b: Leaving): number => Number(a.replaceable) - Number(b.replaceable) || a.bytes - b.bytes;

function freest(free: ReadonlyMap<NodeId, number>): NodeId | null {
  let best: NodeId | null = null;
  for (const [nodeId, bytes] of free) if (best === null || bytes > (free.get(best) as number)) best = nodeId;
  return best;
}
