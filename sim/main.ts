/**
 * Replays one simulated run with its log, or looks for a seed that fails:
 *
 *     npm run sim -- --seed 17            the log of seed 17
 *     npm run sim -- --seeds 1-5000       only which of them fail
 *     npm run sim -- --seed 17 --bug "free twice"
 */
import { parseArgs } from "node:util";
import { type RunReport, SimulationFailed, simulate } from "./simulate.ts";
import type { Bug } from "./simulation.ts";

const { values } = parseArgs({
  options: { seed: { type: "string" }, seeds: { type: "string" }, bug: { type: "string" }, quiet: { type: "boolean" } },
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

const range = /^(\d+)-(\d+)$/.exec(values.seeds ?? "");
const fine = range !== null ? search(Number(range[1]), Number(range[2])) : show(Number(values.seed ?? 1));
process.exitCode = fine ? 0 : 1;
