/**
 * What people are told of requests that wait: those the node can never serve, soon and then every minute; those that wait long for what
 * others hold, with who holds it. One report for all alike, and none twice.
 */
import { demandResources, formatResources, fromUnits, heldUnits, toResources } from "./resources.ts";
import { shareOf, waitingClaims } from "./scheduler-claims.ts";
import { type Claim, never, nodePool, type SchedulerState, type Source } from "./scheduler-state.ts";

/** Different nodes listed in a report. */
const nodeKindsShown = 5;

interface Alike {
  readonly claim: Claim;
  count: number;
  sinceMs: number;
}

/** Emits what is due and sets when the next is. */
export function noticeWaiting(state: SchedulerState, now: number): void {
  const { infeasibleAfterMs, infeasibleAgainMs, waitingAfterMs } = state.config;
  const seen = new Set<string>();
  state.noticeAtMs = never;
  for (const [key, alike] of gather(state.infeasible, "infeasible")) {
    seen.add(key);
    if (isDue(state, key, alike.sinceMs, now, infeasibleAfterMs, () => infeasibleAgainMs))
      warn(state, alike, infeasibleText(state, alike));
  }
  for (const source of [state.node, ...[...state.groups.values()].map((group) => group.source)]) {
    for (const [key, alike] of gather(waitingWithNothing(source), `waits ${source.groupId ?? ""}`)) {
      seen.add(key);
      if (isDue(state, key, alike.sinceMs, now, waitingAfterMs, (times) => waitingAfterMs * 2 ** Math.min(times, 6)))
        warn(state, alike, waitingText(state, source, alike, now));
    }
  }
  for (const key of [...state.notices.keys()]) if (!seen.has(key)) state.notices.delete(key);
}

/** A class that has some leases goes forward, however slowly. */
function* waitingWithNothing(source: Source): IterableIterator<Claim> {
  for (const claim of waitingClaims(source, Number.POSITIVE_INFINITY))
    if (shareOf(claim) === 0 && (claim.kind !== "class" || claim.leases.size === 0)) yield claim;
}

function gather(claims: Iterable<Claim>, prefix: string): Map<string, Alike> {
  const found = new Map<string, Alike>();
  for (const claim of claims) {
    const key = `${prefix} ${claim.job.jobId} ${claim.kind === "group" ? claim.strategy : claim.spec.label} ${claim.demand.key} ${JSON.stringify(claim.spec.labelSelector)}`;
    const alike = found.get(key);
    if (alike === undefined) found.set(key, { claim, count: 1, sinceMs: claim.waitingSinceMs });
    else {
      alike.count++;
      alike.sinceMs = Math.min(alike.sinceMs, claim.waitingSinceMs);
    }
  }
  return found;
}

function isDue(
  state: SchedulerState,
  key: string,
  sinceMs: number,
  now: number,
  afterMs: number,
  againMs: (times: number) => number,
): boolean {
  let notice = state.notices.get(key);
  if (notice === undefined || notice.sinceMs < sinceMs) {
    notice = { sinceMs, nextMs: sinceMs + afterMs, times: 0 };
    state.notices.set(key, notice);
  }
  const due = now >= notice.nextMs;
  if (due) notice.nextMs = now + againMs(++notice.times);
  state.noticeAtMs = Math.min(state.noticeAtMs, notice.nextMs);
  return due;
}

function warn(state: SchedulerState, alike: Alike, text: string): void {
  state.effects.push({ kind: "warn", jobId: alike.claim.job.jobId, text });
}

function nameOf(alike: Alike): string {
  const { claim, count } = alike;
  if (count === 1) return claim.spec.label;
  return claim.kind === "group" ? `${count} placement groups` : `${claim.spec.label} (${count} of them)`;
}

function infeasibleText(state: SchedulerState, alike: Alike): string {
  const { claim } = alike;
  const name = nameOf(alike);
  const others = [...state.others.values()].filter((node) => !node.draining);
  if (state.draining && others.length === 0)
    return `${name} cannot be placed: every node of the cluster is leaving. It waits until another joins`;
  if (claim.kind === "group" && claim.strategy === "STRICT_SPREAD" && claim.bundles.length > 1)
    return `${name} cannot be placed: STRICT_SPREAD asks for ${claim.bundles.length} nodes and there is 1. It waits until there are more`;
  const selector = claim.spec.labelSelector;
  const asked = `${formatResources(demandResources(claim.demand))}${Object.keys(selector).length > 0 ? ` on a node with labels ${JSON.stringify(selector)}` : ""}`;
  const withLabels = (text: string, labels: object): string =>
    Object.keys(selector).length > 0 ? `${text} and labels ${JSON.stringify(labels)}` : text;
  const own = state.draining ? [] : [withLabels(formatResources(toResources(nodePool(state).total)), state.config.labels)];
  if (state.others.size === 0)
    return `${name} cannot be placed: it asks for ${asked}, and the cluster has one node with ${own[0]}. It waits until a node that fits joins`;
  const texts = others.map((node) => withLabels(formatResources(toResources(node.total)), node.labels));
  const isAll = own.length + others.length > state.others.size;
  const who = isAll ? `none of the cluster's ${state.others.size + 1} nodes` : "no node that stays";
  const kinds = [...new Set([...own, ...texts])];
  const shown = kinds.length > nodeKindsShown ? [...kinds.slice(0, nodeKindsShown), "..."] : kinds;
  return `${name} cannot be placed: it asks for ${asked}, and ${who} has that (${shown.join("; ")}). It waits until a node that fits joins`;
}

function waitingText(state: SchedulerState, source: Source, alike: Alike, now: number): string {
  const { claim } = alike;
  const seconds = Math.round((now - alike.sinceMs) / 1000);
  const asked = formatResources(demandResources(claim.demand));
  if (source.groupId !== null && source.pools.length === 0)
    return `${nameOf(alike)} has waited ${seconds} s for placement group ${source.groupId}, which is not created yet`;
  const holders = claim.demand.names.map((name) => holdersOf(state, source, name)).filter((text) => text !== "");
  const where = source.groupId === null ? "the node" : `placement group ${source.groupId}`;
  return `${nameOf(alike)} has waited ${seconds} s for ${asked} of ${where}. ${holders.join("; ")}`;
}

/** "CPU: 2 in all, tasks hold 1 (f), actors hold 1 (Counter)". */
function holdersOf(state: SchedulerState, source: Source, name: string): string {
  if (name.startsWith("(")) return `${source.leases.size} tasks run`;
  const total = source.pools.reduce((sum, pool) => sum + (pool.total.get(name) ?? 0), 0);
  const parts = [`${name}: ${fromUnits(name, total)} in all`];
  const tasks = new Map<string, number>();
  for (const lease of source.leases) count(tasks, lease.class.spec.label, heldUnits(lease.allocation, name));
  const actors = new Map<string, number>();
  for (const actor of state.actors.values())
    if (actor.source === source && actor.allocation !== null) count(actors, actor.spec.label, heldUnits(actor.allocation, name));
  const groups = new Map<string, number>();
  if (source === state.node)
    for (const group of state.groups.values())
      for (const held of group.reserved) count(groups, group.groupId, heldUnits(held, name));
  for (const [kind, holders] of [
    ["tasks", tasks],
    ["actors", actors],
    ["placement groups", groups],
  ] as const) {
    const sum = [...holders.values()].reduce((a, b) => a + b, 0);
    if (sum > 0)
      parts.push(
        `${kind} hold ${fromUnits(name, sum)} (${[...holders.keys()].slice(0, 5).join(", ")}${holders.size > 5 ? ", ..." : ""})`,
      );
  }
  return parts.join(", ");
}

function count(holders: Map<string, number>, label: string, units: number): void {
  if (units > 0) holders.set(label, (holders.get(label) ?? 0) + units);
}
