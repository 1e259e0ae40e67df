/**
 * What was measured last of each benchmark: bench/results.json, from which bench/RESULTS.md is written. A run of some benchmarks replaces theirs
 * and leaves the others, as each is compared within its own minutes only. Figures of another machine are not kept beside those of this one.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { benchmarks } from "./catalog.ts";
import type { Machine } from "./machine.ts";
import type { Cell, Result } from "./report.ts";

/** When and at which commit a benchmark was measured, and how busy the machine was then. */
export interface Origin {
  readonly date: string;
  readonly commit: string;
  readonly load: string;
}

/** What does not change from run to run. */
export type Host = Omit<Machine, keyof Origin>;

export interface Kept extends Origin {
  readonly shoal: Cell;
  readonly ray: Cell;
  readonly pools: Result["pools"];
}

interface ResultsFile {
  readonly host: Host;
  readonly results: Readonly<Record<string, Kept>>;
}

export interface KeptResult extends Result {
  readonly origin: Origin;
}

const file = fileURLToPath(new URL("results.json", import.meta.url));

/** Adds the results of a run; returns all there are now, in the catalog's order. A run without Ray keeps no figures of Ray from another one. */
export function keepResults(machine: Machine, results: readonly Result[]): { host: Host; kept: KeptResult[] } {
  const { date, commit, load, ...host } = machine;
  const before = read();
  const same = before !== null && sameHost(before.host, host);
  const all: Record<string, Kept> = same ? { ...before.results } : {};
  for (const { benchmark, shoal, ray, pools } of results) all[benchmark.name] = { date, commit, load, shoal, ray, pools };
  const known = benchmarks.filter(({ name }) => all[name] !== undefined);
  const whole: ResultsFile = {
    host: { ...host, python: host.python ?? (same ? before.host.python : null) },
    results: Object.fromEntries(known.map(({ name }) => [name, all[name]])),
  };
  writeFileSync(file, `${JSON.stringify(whole, null, 1)}\n`);
  const kept = known.map((benchmark): KeptResult => {
    const { shoal, ray, pools, ...origin } = all[benchmark.name];
    return { benchmark, shoal, ray, pools, origin };
  });
  return { host: whole.host, kept };
}

function read(): ResultsFile | null {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as ResultsFile) : null;
}

/** Ray may be of another version, or not be there: its figures say so by themselves. */
function sameHost(a: Host, b: Host): boolean {
  return a.cpu === b.cpu && a.cores === b.cores && a.memory === b.memory && a.kernel === b.kernel && a.node === b.node;
}
