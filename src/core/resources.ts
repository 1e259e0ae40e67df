/**
 * Logical resources: how much of CPU, GPU, memory and custom resources a node (or a bundle of a placement group) has, and who holds what.
 *
 * Amounts are whole numbers of 1/10,000 (bytes for memory), as in Ray, so that 0.1 taken ten times and given back leaves nothing over.
 * The complication is GPUs, which have identities: a request below one shares a GPU with others, a request of one or more has whole
 * ones. So a pool counts free units for each GPU, and an allocation remembers which it took.
 */
import { assert } from "../base/assert.ts";
import type { Resources } from "../wire/messages.ts";

/** Precision of every resource but memory. */
export const unitsPerWhole = 10_000;

/**
 * Not a user's resource: a place for a task that asks for no CPU. Such tasks need a process each but no resource bounds them, so
 * every pool has a number of these, and they are lent back while blocked like CPUs.
 */
export const zeroCpuSlot = "(zero-CPU slot)";

const byteNames: ReadonlySet<string> = new Set(["memory", "object_store_memory"]);
const scaleOf = (name: string): number => (byteNames.has(name) ? 1 : unitsPerWhole);

export const toUnits = (name: string, amount: number): number => Math.round(amount * scaleOf(name));
export const fromUnits = (name: string, units: number): number => units / scaleOf(name);

/** A request in units, without zero entries, sorted by name; `key` is equal for equal requests. */
export interface ResourceDemand {
  readonly names: readonly string[];
  readonly units: readonly number[];
  readonly key: string;
}

export interface ResourcePool {
  readonly total: Map<string, number>;
  /** Below zero only for CPU (and slots), when a blocked task goes on while others use what it lent. */
  readonly available: Map<string, number>;
  /** Capacity and free units of each GPU by id. */
  readonly gpuTotal: Map<number, number>;
  readonly gpuFree: Map<number, number>;
  /** Zero-CPU slots beyond the usual number, let in one at a time; part of `total`. */
  slotsAdded: number;
}

/** What a lease, an actor or a bundle holds of a pool. */
export interface Allocation {
  /** Changes only when a placement group is removed while its tasks still end: then to the node's pool. */
  pool: ResourcePool;
  demand: ResourceDemand;
  gpuIds: number[];
  gpuUnits: number[];
  /** Its CPU is lent back while its task is blocked. */
  lent: boolean;
  released: boolean;
}

export function toDemand(resources: Resources, withSlot = false): ResourceDemand {
  const names: string[] = [];
  for (const name in resources) if (toUnits(name, resources[name]) > 0) names.push(name);
  if (withSlot && !names.includes("CPU")) names.push(zeroCpuSlot);
  if (names.length > 1) names.sort();
  const units: number[] = [];
  let key = "";
  for (const name of names) {
    const amount = name === zeroCpuSlot ? unitsPerWhole : toUnits(name, resources[name]);
    units.push(amount);
    key += `${name}=${amount};`;
  }
  return { names, units, key };
}

export function sumDemands(demands: readonly ResourceDemand[]): ResourceDemand {
  const sum = new Map<string, number>();
  for (const demand of demands)
    for (let i = 0; i < demand.names.length; i++) sum.set(demand.names[i], (sum.get(demand.names[i]) ?? 0) + demand.units[i]);
  const names = [...sum.keys()].sort();
  return { names, units: names.map((name) => sum.get(name) as number), key: demands.map((demand) => demand.key).join("|") };
}

export const unitsOf = (demand: ResourceDemand, name: string): number => {
  const at = demand.names.indexOf(name);
  return at < 0 ? 0 : demand.units[at];
};

export const toResources = (names: Iterable<readonly [string, number]>): Record<string, number> => {
  const resources: Record<string, number> = {};
  for (const [name, units] of names) if (name !== zeroCpuSlot) resources[name] = fromUnits(name, units);
  return resources;
};

export const demandResources = (demand: ResourceDemand): Record<string, number> =>
  toResources(demand.names.map((name, i) => [name, demand.units[i]] as const));

/** A whole node: GPUs are numbered from 0. */
export function createNodePool(resources: Resources, slots: number): ResourcePool {
  const demand = toDemand(resources);
  const pool = emptyPool(demand, slots);
  let left = unitsOf(demand, "GPU");
  for (let id = 0; left > 0; id++, left -= unitsPerWhole) pool.gpuTotal.set(id, Math.min(left, unitsPerWhole));
  for (const [id, units] of pool.gpuTotal) pool.gpuFree.set(id, units);
  return pool;
}

/** A pool over what an allocation holds: a bundle. */
export function createBundlePool(held: Allocation, slots: number): ResourcePool {
  const pool = emptyPool(held.demand, slots);
  for (let i = 0; i < held.gpuIds.length; i++) {
    pool.gpuTotal.set(held.gpuIds[i], held.gpuUnits[i]);
    pool.gpuFree.set(held.gpuIds[i], held.gpuUnits[i]);
  }
  return pool;
}

/** Most bundles have no GPU: they share these, and nothing is ever written to them. */
const noGpus: Map<number, number> = new Map();

function emptyPool(demand: ResourceDemand, slots: number): ResourcePool {
  const total = new Map<string, number>();
  const available = new Map<string, number>();
  const hasGpus = unitsOf(demand, "GPU") > 0;
  for (let i = 0; i < demand.names.length; i++) {
    total.set(demand.names[i], demand.units[i]);
    available.set(demand.names[i], demand.units[i]);
  }
  total.set(zeroCpuSlot, slots * unitsPerWhole);
  available.set(zeroCpuSlot, slots * unitsPerWhole);
  return { total, available, gpuTotal: hasGpus ? new Map() : noGpus, gpuFree: hasGpus ? new Map() : noGpus, slotsAdded: 0 };
}

export function fits(pool: ResourcePool, demand: ResourceDemand): boolean {
  for (let i = 0; i < demand.names.length; i++) {
    const name = demand.names[i];
    if ((pool.available.get(name) ?? 0) < demand.units[i]) return false;
    if (name === "GPU" && pickGpus(pool.gpuFree, pool.gpuTotal, demand.units[i]) === null) return false;
  }
  return true;
}

/** Whether the pool could serve the request when nobody else used it. */
export function couldEverFit(pool: ResourcePool, demand: ResourceDemand): boolean {
  for (let i = 0; i < demand.names.length; i++) {
    const name = demand.names[i];
    if ((pool.total.get(name) ?? 0) < demand.units[i]) return false;
    if (name === "GPU" && pickGpus(pool.gpuTotal, pool.gpuTotal, demand.units[i]) === null) return false;
  }
  return true;
}

/** Whole GPUs first, in order of id; a fraction goes to the fullest GPU that still has room. */
function pickGpus(
  free: ReadonlyMap<number, number>,
  total: ReadonlyMap<number, number>,
  units: number,
): { ids: number[]; units: number[] } | null {
  const picked: { ids: number[]; units: number[] } = { ids: [], units: [] };
  let whole = Math.floor(units / unitsPerWhole);
  const part = units - whole * unitsPerWhole;
  for (const [id, left] of free) {
    if (whole === 0) break;
    if (left !== unitsPerWhole || total.get(id) !== unitsPerWhole) continue;
    picked.ids.push(id);
    picked.units.push(unitsPerWhole);
    whole--;
  }
  if (whole > 0) return null;
  if (part === 0) return picked;
  let best = -1;
  for (const [id, left] of free) {
    if (left < part || picked.ids.includes(id)) continue;
    if (best < 0 || left < (free.get(best) as number)) best = id;
  }
  if (best < 0) return null;
  picked.ids.push(best);
  picked.units.push(part);
  return picked;
}

/** Takes the request out of the pool; null, and nothing taken, when it does not fit. Returns owned: give it to `release` once. */
export function allocate(pool: ResourcePool, demand: ResourceDemand): Allocation | null {
  if (!fits(pool, demand)) return null;
  const allocation: Allocation = { pool, demand, gpuIds: [], gpuUnits: [], lent: false, released: false };
  const gpus = unitsOf(demand, "GPU");
  if (gpus > 0) {
    const picked = pickGpus(pool.gpuFree, pool.gpuTotal, gpus);
    assert(picked !== null, "GPUs that fit can be picked");
    allocation.gpuIds = picked.ids;
    allocation.gpuUnits = picked.units;
  }
  change(allocation, -1);
  return allocation;
}

export function release(allocation: Allocation): void {
  assert(!allocation.released, () => `resources ${allocation.demand.key} released twice`);
  takeBackLent(allocation);
  change(allocation, 1);
  allocation.released = true;
}

function change(allocation: Allocation, sign: 1 | -1): void {
  const { pool, demand } = allocation;
  for (let i = 0; i < demand.names.length; i++) add(pool.available, demand.names[i], sign * demand.units[i]);
  for (let i = 0; i < allocation.gpuIds.length; i++) add(pool.gpuFree, allocation.gpuIds[i], sign * allocation.gpuUnits[i]);
}

function add<K>(counts: Map<K, number>, key: K, units: number): void {
  counts.set(key, (counts.get(key) ?? 0) + units);
}

const isLendable = (name: string): boolean => name === "CPU" || name === zeroCpuSlot;

/** The task is blocked: its CPU may be used meanwhile. */
export function lend(allocation: Allocation): void {
  if (allocation.lent || allocation.released) return;
  allocation.lent = true;
  changeLendable(allocation, 1);
}

/** The task goes on: it has its CPU again, even when that is more than there is. */
export function takeBackLent(allocation: Allocation): void {
  if (!allocation.lent || allocation.released) return;
  allocation.lent = false;
  changeLendable(allocation, -1);
}

function changeLendable(allocation: Allocation, sign: 1 | -1): void {
  const { names, units } = allocation.demand;
  for (let i = 0; i < names.length; i++) if (isLendable(names[i])) add(allocation.pool.available, names[i], sign * units[i]);
}

/** What the allocation takes out of the pool now. */
export function heldUnits(allocation: Allocation, name: string): number {
  if (allocation.released || (allocation.lent && isLendable(name))) return 0;
  return unitsOf(allocation.demand, name);
}

/** Keeps only `demand` of what is held: an actor that has started. */
export function shrink(allocation: Allocation, demand: ResourceDemand): void {
  assert(!allocation.released, "only held resources shrink");
  takeBackLent(allocation);
  change(allocation, 1);
  allocation.demand = demand;
  let left = unitsOf(demand, "GPU");
  const keptIds: number[] = [];
  const keptUnits: number[] = [];
  for (let i = 0; i < allocation.gpuIds.length && left > 0; i++) {
    const units = Math.min(left, allocation.gpuUnits[i]);
    keptIds.push(allocation.gpuIds[i]);
    keptUnits.push(units);
    left -= units;
  }
  allocation.gpuIds = keptIds;
  allocation.gpuUnits = keptUnits;
  change(allocation, -1);
}

/** A bundle ends: what is free in it goes back to the pool it came from, and its holders hold that pool's resources from now on. */
export function dissolve(bundle: ResourcePool, held: Allocation, holders: Iterable<Allocation>): void {
  const parent = held.pool;
  for (const [name, units] of bundle.available) if (name !== zeroCpuSlot) add(parent.available, name, units);
  for (const [id, units] of bundle.gpuFree) add(parent.gpuFree, id, units);
  held.released = true;
  for (const holder of holders) {
    holder.pool = parent;
    const slots = heldUnits(holder, zeroCpuSlot);
    if (slots > 0) add(parent.available, zeroCpuSlot, -slots);
  }
}

/** Share of the node that the request takes, in millionths, by its scarcest resource. */
export function weightOf(pool: ResourcePool, demand: ResourceDemand): number {
  let weight = 0;
  for (let i = 0; i < demand.names.length; i++) {
    const total = pool.total.get(demand.names[i]) ?? 0;
    if (total > 0) weight = Math.max(weight, Math.ceil((demand.units[i] * 1_000_000) / total));
  }
  return Math.min(weight, 1_000_000);
}

/** `{CPU: 2, GPU: 1}` for messages. */
export function formatResources(resources: Resources): string {
  const parts = Object.keys(resources)
    .filter((name) => resources[name] !== 0)
    .map((name) => `${name}: ${byteNames.has(name) ? formatBytes(resources[name]) : resources[name]}`);
  return `{${parts.join(", ")}}`;
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const exponent = Math.min(5, Math.floor(Math.log2(bytes) / 10));
  return `${Math.round((bytes / 1024 ** exponent) * 10) / 10} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][exponent]}`;
}
