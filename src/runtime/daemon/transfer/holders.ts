/** Which nodes a holder has sent an object to: where it sends others when it is busy. A hint only; whoever has it no more says so when asked. */
import type { NodeKey } from "../../../base/ids.ts";
import { namedHoldersMax, rememberedHoldersMax, rememberedObjectsMax } from "./limits.ts";

export class Holders {
  /** By object, least recently added first. */
  private readonly known = new Map<string, Set<NodeKey>>();

  add(object: string, node: NodeKey): void {
    const nodes = this.known.get(object) ?? new Set();
    this.known.delete(object);
    this.known.set(object, nodes);
    nodes.delete(node);
    nodes.add(node);
    if (nodes.size > rememberedHoldersMax) nodes.delete(nodes.values().next().value as NodeKey);
    if (this.known.size > rememberedObjectsMax) this.known.delete(this.known.keys().next().value as string);
  }

  /** Nodes to ask, at most eight: those that have it, taking turns, then those `soon` to have it. */
  of(object: string, soon: readonly NodeKey[], except: NodeKey): NodeKey[] {
    const nodes = this.known.get(object);
    const found = new Set([...(nodes ?? []), ...soon]);
    found.delete(except);
    const first = [...found].slice(0, namedHoldersMax);
    const turn = first[0];
    if (nodes !== undefined && turn !== undefined && nodes.delete(turn)) nodes.add(turn);
    return first;
  }

  forget(node: NodeKey): void {
    for (const nodes of this.known.values()) nodes.delete(node);
  }
}
