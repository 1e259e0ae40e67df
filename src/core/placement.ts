/**
 * Which node a request goes to: affinity, labels, what a node could ever serve, what it can serve now, then the hybrid policy:
 * stay local until the local node is half used, then go to one of the least used nodes.
 *
 * Pure: takes views of the nodes, returns a decision. A one-node cluster is a list of one view.
 */
import type { NodeId } from "../base/ids.ts";
import type { SchedulingSpec } from "../wire/messages.ts";
import { formatResources, type ResourceDemand } from "./resources.ts";

export interface NodeCandidate {
  readonly nodeId: NodeId;
  readonly labels: Readonly<Record<string, string>>;
  readonly total: ReadonlyMap<string, number>;
  readonly available: ReadonlyMap<string, number>;
}

export type NodeChoice =
  | { readonly kind: "node"; readonly nodeId: NodeId }
  /** No node could ever serve it; a node that joins later might. */
  | { readonly kind: "infeasible"; readonly text: string }
  /** It can never run. */
  | { readonly kind: "unschedulable"; readonly text: string };

/** A node used less than this is "packed" before any other is used. */
const packUntil = 0.5;
/** Share of the nodes among which the least used are chosen from. */
const spreadOver = 0.2;

/** `random` in [0, 1) chooses among nodes that are equally good. */
export function chooseNode(
  spec: SchedulingSpec,
  demand: ResourceDemand,
  local: NodeId,
  nodes: readonly NodeCandidate[],
  random = 0,
): NodeChoice {
  const { strategy } = spec;
  let candidates = nodes;
  if (strategy.kind === "node") {
    const wanted = nodes.filter((node) => node.nodeId === strategy.nodeId);
    if (wanted.length > 0 && (!strategy.soft || couldServe(wanted[0], demand))) candidates = wanted;
    else if (!strategy.soft)
      return { kind: "unschedulable", text: `node ${strategy.nodeId}, which it must run on, is not in the cluster` };
  }
  const labelled = candidates.filter((node) => matchesLabels(spec.labelSelector, node.labels));
  if (labelled.length === 0)
    return { kind: "infeasible", text: `no node has labels that match ${JSON.stringify(spec.labelSelector)}` };
  const feasible = labelled.filter((node) => couldServe(node, demand));
  if (feasible.length === 0) return { kind: "infeasible", text: `no node has ${formatResources(spec.resources)}` };
  if (feasible.length === 1) return { kind: "node", nodeId: feasible[0].nodeId };
  const free = feasible.filter((node) => canServe(node, demand));
  return { kind: "node", nodeId: pick(free.length > 0 ? free : feasible, strategy.kind === "spread", local, random) };
}

function pick(nodes: readonly NodeCandidate[], spread: boolean, local: NodeId, random: number): NodeId {
  const here = nodes.find((node) => node.nodeId === local);
  if (here !== undefined && !spread && used(here) < packUntil) return local;
  const ranked = nodes.map((node) => ({ nodeId: node.nodeId, used: used(node) })).sort((a, b) => a.used - b.used);
  const best = spread
    ? ranked.filter((node) => node.used === ranked[0].used)
    : ranked.slice(0, Math.max(1, Math.floor(ranked.length * spreadOver)));
  return best[Math.floor(random * best.length)].nodeId;
}

/** How much of a node's scarcest resource is in use. */
function used(node: NodeCandidate): number {
  let most = 0;
  for (const [name, total] of node.total) if (total > 0) most = Math.max(most, 1 - (node.available.get(name) ?? 0) / total);
  return most;
}

function couldServe(node: NodeCandidate, demand: ResourceDemand): boolean {
  return demand.names.every((name, i) => (node.total.get(name) ?? 0) >= demand.units[i]);
}

function canServe(node: NodeCandidate, demand: ResourceDemand): boolean {
  return demand.names.every((name, i) => (node.available.get(name) ?? 0) >= demand.units[i]);
}

/** Ray's selectors: `v`, `!v`, `in(a,b)`, `!in(a,b)`. A label that a node lacks matches only a negative selector. */
export function matchesLabels(selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean {
  for (const key in selector) if (!matchesLabel(selector[key], labels[key])) return false;
  return true;
}

function matchesLabel(selector: string, label: string | undefined): boolean {
  const not = selector.startsWith("!");
  const body = not ? selector.slice(1) : selector;
  const list = /^in\((.*)\)$/.exec(body);
  const values = list === null ? [body] : list[1].split(",").map((value) => value.trim());
  return (label !== undefined && values.includes(label)) !== not;
}
