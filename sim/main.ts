/**
 * Replays one simulated run with its log, or looks for a seed that fails:
 *
 *     npm run sim -- --seed 17            the log of seed 17
 *     npm run sim -- --seeds 1-5000       only which of them fail
 *     npm run sim -- --seed 17 --bug "free twice"
 *     npm run sim -- --nodes 1000 --actors 10000 --seed 1    how long the head needs for so many; --log for every step
 */
import { parseArgs } from "node:util";
import { simulateScale } from "./scale.ts";
import { type RunReport, SimulationFailed, simulate } from "./simulate.ts";
import type { Bug } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    bug: { type: "string" },
    quiet: { type: "boolean" },
    nodes: { type: "string" },
    actors: { type: "string" },
    log: { type: "boolean" },
  },
});
const bug = (values.bug ?? "none") as Bug;

function show(seed: number): boolean {
  const print = (lines: readonly string[] | null): void => {
    if (!values.quiet) for (const line of lines ?? []) console.log(line);
  };
  try {
    const report: RunReport = simulate({ seed, bug, keepLog: true });
    print(report.lines);
    console.log(
      `Seed ${seed} is fine: ${report.checked} results (${report.failed} lost to ${report.faults} faults) in ${report.virtualMs.toFixed(0)} virtual ms, fingerprint ${report.fingerprint}`,
    );
    return true;
  } catch (error) {
    if (!(error instanceof SimulationFailed)) throw error;
    print(error.lines);
    console.error(error.message, (error.cause as Error)?.stack ?? "");
    return false;
  }
}

function search(from: number, to: number): boolean {
  let failures = 0;
  for (let seed = from; seed <= to; seed++) {
    try {
      simulate({ seed, bug });
    } catch (error) {
      failures++;
      console.error((error as Error).message);
    }
  }
  console.log(`${to - from + 1} seeds, ${failures} failed`);
  return failures === 0;
}

function scale(nodes: number, actors: number, seed: number): boolean {
  const startMs = performance.now();
  const report = simulateScale({ nodes, actors, seed, keepLog: values.log });
  for (const line of report.lines ?? []) console.log(line);
  const { firstMs, againMs, lostNodes, restarts, checked, counts, fingerprint } = report;
  console.log(
    `${actors} actors on ${nodes} nodes: all answered after ${firstMs.toFixed(0)} virtual ms, again ${againMs.toFixed(0)} ms after ${lostNodes} nodes were lost (${restarts} restarts); ${checked} results of tasks compared, ${counts.spilled} leases spilled, ${counts.groups} placement groups, ${counts.borrowedOverNodes} refs borrowed over nodes; ${((performance.now() - startMs) / 1000).toFixed(1)} s, fingerprint ${fingerprint}`,
  );
  return true;
}

const range = /^(\d+)-(\d+)$/.exec(values.seeds ?? "");
const isScale = values.nodes !== undefined || values.actors !== undefined;
const fine = isScale
  ? scale(Number(values.nodes ?? 100), Number(values.actors ?? 1000), Number(values.seed ?? 1))
  : range !== null
    ? search(Number(range[1]), Number(range[2]))
    : show(Number(values.seed ?? 1));
process.exitCode = fine ? 0 : 1;
