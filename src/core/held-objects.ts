/**
 * What an owner has stored on one node: asked by a node that is about to leave, which must know what only it has.
 *
 * The node sees files and not who needs them; only the owner knows whether an object is still wanted, where else its bytes are, and whether a task
 * could make it again.
 */
import { type NodeKey, nodeKeyOf } from "../base/ids.ts";
import { holderOf } from "../objects/segment-name.ts";
import type { Location } from "../objects/types.ts";
import type { HeldObject } from "../wire/messages.ts";
import type { OwnershipState } from "./ownership-state.ts";

/**
 * The objects of this process with bytes on `node`, at most `max` of them: those that are only there come first. `leaving`: nodes that will not stay, either;
 * what is on the owner's own node is there as long as anybody can need it.
 */
export function heldObjects(
  state: OwnershipState,
  node: NodeKey,
  leaving: ReadonlySet<NodeKey>,
  max = Number.POSITIVE_INFINITY,
): HeldObject[] {
  const own = nodeKeyOf(state.self);
  const onlyThere: HeldObject[] = [];
  const elsewhereToo: HeldObject[] = [];
  for (const record of state.owned.values()) {
    if (record.state !== "stored" || record.location === null) continue;
    let there: Location | null = null;
    let only = true;
    for (const place of [record.location, ...(record.copies ?? [])]) {
      const holder = holderOf(place);
      if (holder === node) there ??= place;
      else if (holder === own || (holder !== undefined && !leaving.has(holder))) only = false;
    }
    if (there === null) continue;
    const replaceable = record.maker !== null && record.maker.retriesLeft !== 0;
    (only ? onlyThere : elsewhereToo).push({ index: record.index, location: there, only, replaceable });
  }
  return [...onlyThere, ...elsewhereToo].slice(0, max);
}
