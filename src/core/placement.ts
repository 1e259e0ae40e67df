/**
 * Which node a request goes to: affinity, labels, what a node could ever serve, what it can serve now, then the hybrid policy:
 * stay local until the local node is half used, then go to one of the least used nodes.
 *
 * Pure: takes views of the nodes, returns decisions. A `NodePlan` makes several for one request, and what it has planned on a node counts as
 * used, so that many leases wanted at once spread as if they had been asked for one by one. A one-node cluster is a list of one view.
 */
import type { NodeId, NodeKey } from "../base/ids.ts";
import type { Resources, SchedulingSpec } from "../wire/messages.ts";
import { formatResources, type ResourceDemand, toUnits } from "./resources.ts";

export interface NodeCandidate {
  readonly nodeId: NodeId;
  readonly labels: Readonly<Record<string, string>>;
  readonly total: ReadonlyMap<string, number>;
  readonly available: ReadonlyMap<string, number>;
  /** It is about to leave: nothing new goes there. */
  readonly draining?: boolean;
}

export type NodeChoice =
  | { readonly kind: "node"; readonly nodeId: NodeId }
  /** No node could ever serve it; a node that joins later might. */
  | { readonly kind: "infeasible"; readonly text: string }
  /** It can never run. */
  | { readonly kind: "unschedulable"; readonly text: string };

export type Eligible =
  | { readonly kind: "nodes"; readonly nodes: readonly NodeCandidate[] }
  | Exclude<NodeChoice, { kind: "node" }>;

/** A node used less than this is "packed" before any other is used. */
const packUntil = 0.5;
/** Values of a label that a text names. */
const labelValuesShown = 5;
/** Share of the nodes among which the least used are chosen from. */
const spreadOver = 0.2;

/** A view of a node from what is said of it in messages. */
export function candidateOf(node: {
  readonly nodeId: NodeId;
  readonly labels: Readonly<Record<string, string>>;
  readonly resources: Resources;
  readonly available: Resources;
  readonly draining?: boolean;
}): NodeCandidate {
  const { nodeId, labels, resources, available, draining = false } = node;
  return { nodeId, labels, total: unitsByName(resources), available: unitsByName(available), draining };
}

function unitsByName(resources: Resources): Map<string, number> {
  return new Map(Object.entries(resources).map(([name, amount]) => [name, toUnits(name, amount)]));
}

/** `random` in [0, 1) chooses among nodes that are equally good. */
export function chooseNode(
  spec: SchedulingSpec,
  demand: ResourceDemand,
  local: NodeId,
  nodes: readonly NodeCandidate[],
  random = 0,
): NodeChoice {
  const eligible = eligibleNodes(spec, demand, nodes);
  if (eligible.kind !== "nodes") return eligible;
  const plan = new NodePlan(spec, demand, local, eligible.nodes);
  return { kind: "node", nodeId: plan.takeFree(random) ?? plan.takeBest(random) };
}

/** The nodes that could ever serve the request. */
export function eligibleNodes(spec: SchedulingSpec, demand: ResourceDemand, nodes: readonly NodeCandidate[]): Eligible {
  const { strategy } = spec;
  let candidates = nodes.filter((node) => node.draining !== true);
  if (strategy.kind === "node") {
    const wanted = candidates.filter((node) => node.nodeId === strategy.nodeId);
    if (wanted.length > 0 && (!strategy.soft || couldServe(wanted[0], demand))) candidates = wanted;
    else if (!strategy.soft) return { kind: "unschedulable", text: absentText(strategy.nodeId, nodes) };
  }
  const labelled = candidates.filter((node) => matchesLabels(spec.labelSelector, node.labels));
  if (labelled.length === 0) return { kind: "infeasible", text: noMatchText(spec.labelSelector, candidates) };
  const feasible = labelled.filter((node) => couldServe(node, demand));
  if (feasible.length === 0) return { kind: "infeasible", text: `no node has ${formatResources(spec.resources)}` };
  return { kind: "nodes", nodes: feasible };
}

/** With the values that there are, so that a misspelt one is seen. */
function noMatchText(selector: Readonly<Record<string, string>>, nodes: readonly NodeCandidate[]): string {
  const known = Object.keys(selector).map((key) => {
    const values = [...new Set(nodes.flatMap(({ labels }) => (labels[key] === undefined ? [] : [labels[key]])))].sort();
    const shown = values.slice(0, labelValuesShown).join(", ");
    const more = values.length > labelValuesShown ? ` and ${values.length - labelValuesShown} more` : "";
    return values.length === 0 ? `no node has a label '${key}'` : `'${key}' is ${shown}${more}`;
  });
  return `no node has labels that match ${JSON.stringify(selector)} (${known.join("; ")})`;
}

function absentText(nodeId: string, nodes: readonly NodeCandidate[]): string {
  const leaves = nodes.some((node) => node.nodeId === nodeId);
  return `node ${nodeId}, which it must run on, is ${leaves ? "leaving" : "not in"} the cluster`;
}

interface PlannedNode {
  readonly node: NodeCandidate;
  /** What is free with what is planned taken off: the node's own map until something is. */
  free: ReadonlyMap<string, number>;
  used: number;
  /** Grows with each choice of the node: equally used nodes take turns. */
  taken: number;
}

/** Chooses nodes for one request again and again. */
export class NodePlan {
  private readonly demand: ResourceDemand;
  private readonly local: NodeId;
  private readonly prefer: NodeKey | null;
  private readonly spread: boolean;
  private readonly nodes: readonly PlannedNode[];

  /** `nodes` could all serve the request (`eligibleNodes`). `local` is packed first. */
  constructor(spec: SchedulingSpec, demand: ResourceDemand, local: NodeId, nodes: readonly NodeCandidate[]) {
    this.demand = demand;
    this.local = local;
    this.spread = spec.strategy.kind === "spread";
    this.prefer = spec.strategy.kind === "default" ? (spec.prefer ?? null) : null;
    this.nodes = nodes.map((node) => ({ node, free: node.available, used: used(node.total, node.available), taken: 0 }));
  }

  /** The node for one more request, among those that can serve it now; null when none can. */
  takeFree(random: number): NodeId | null {
    let free = this.nodes.filter((planned) => hasFree(planned.free, this.demand));
    if (free.length === 0) return null;
    const { prefer } = this;
    const preferred = prefer === null ? undefined : free.find((planned) => planned.node.nodeId.startsWith(prefer));
    if (preferred !== undefined) return this.take(preferred);
    if (!this.demand.names.includes("GPU")) {
      const without = free.filter((planned) => (planned.node.total.get("GPU") ?? 0) === 0);
      if (without.length > 0) free = without; // nodes with GPUs are for those who need them
    }
    return this.take(this.choose(free, random));
  }

  /** The node for one more request to wait at, when none can serve it now. */
  takeBest(random: number): NodeId {
    return this.take(this.choose(this.nodes, random));
  }

  private choose(nodes: readonly PlannedNode[], random: number): PlannedNode {
    if (!this.spread) {
      const here = nodes.find((planned) => planned.node.nodeId === this.local);
      if (here !== undefined && here.used < packUntil) return here;
      const best = Math.floor(this.nodes.length * spreadOver);
      if (best > 1) return leastUsed(nodes, best)[Math.floor(random * Math.min(best, nodes.length))];
    }
    let least: PlannedNode[] = [];
    for (const planned of nodes) {
      const order = least.length === 0 ? -1 : isLessUsed(planned, least[0]);
      if (order < 0) least = [planned];
      else if (order === 0) least.push(planned);
    }
    return least[Math.floor(random * least.length)];
  }

  private take(planned: PlannedNode): NodeId {
    const { names, units } = this.demand;
    const free = new Map(planned.free);
    for (let i = 0; i < names.length; i++) free.set(names[i], (free.get(names[i]) ?? 0) - units[i]);
    planned.free = free;
    planned.used = used(planned.node.total, planned.free);
    planned.taken++;
    return planned.node.nodeId;
  }
}

/** The `count` least used, in no order. Comparing numbers instead of records: with a thousand nodes this is most of a choice. */
function leastUsed(nodes: readonly PlannedNode[], count: number): readonly PlannedNode[] {
  if (nodes.length <= count) return nodes;
  const keys = Float64Array.from(nodes, orderKey);
  const last = Float64Array.from(keys).sort()[count - 1];
  const below = nodes.filter((_, i) => keys[i] < last);
  for (let i = 0; below.length < count; i++) if (keys[i] === last) below.push(nodes[i]);
  return below;
}

/** Orders as `isLessUsed` does. */
const orderKey = ({ used, taken }: PlannedNode): number => used + taken * 1e-9;

const isLessUsed = (a: PlannedNode, b: PlannedNode): number => a.used - b.used || a.taken - b.taken;

/** What only a node itself counts, such as its zero-CPU slots, says nothing about another. */
const isPrivate = (name: string): boolean => name.startsWith("(");

/** How much of the scarcest resource is in use; above 1 when more is planned than there is. */
function used(total: ReadonlyMap<string, number>, free: ReadonlyMap<string, number>): number {
  let most = 0;
  for (const [name, units] of total) if (units > 0 && !isPrivate(name)) most = Math.max(most, 1 - (free.get(name) ?? 0) / units);
  return most;
}

export function couldServe(node: NodeCandidate, demand: ResourceDemand): boolean {
  return demand.names.every((name, i) => isPrivate(name) || (node.total.get(name) ?? 0) >= demand.units[i]);
}

export function hasFree(free: ReadonlyMap<string, number>, demand: ResourceDemand): boolean {
  return demand.names.every((name, i) => (isPrivate(name) && !free.has(name)) || (free.get(name) ?? 0) >= demand.units[i]);
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
