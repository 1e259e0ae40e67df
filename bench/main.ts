/**
 * `npm run bench`: Shoal beside Ray and beside thread pools, in one run on one machine.
 *
 * Every benchmark is measured by processes of its own, Shoal's and then Ray's, so that both see the same minute of the machine and neither the leftovers
 * of the benchmark before. Figures of different runs do not compare: see docs/performance.md.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Arguments, parseArguments, usage } from "./arguments.ts";
import { buildPrograms, type Programs } from "./build.ts";
import { type Benchmark, benchmarks, type PeerJob } from "./catalog.ts";
import { describeMachine, type Machine } from "./machine.ts";
import type { Outcome } from "./measurement.ts";
import { printHotFunctions } from "./profile.ts";
import { amount, type Cell, gaps, judge, poolTable, type Result, resultsPage, resultTable } from "./report.ts";
import { keepResults } from "./results-file.ts";
import { runChild } from "./run-child.ts";

/** No benchmark takes longer unless it hangs; Ray's slowest needs about two minutes. */
const timeoutMs = 300_000;

async function main(): Promise<void> {
  const args = parseArguments(process.argv.slice(2));
  if (args === "help") return void process.stdout.write(usage);
  const chosen = benchmarks.filter(({ name }) => args.only === null || name.includes(args.only));
  if (chosen.length === 0) throw new TypeError(`Cannot run benchmarks whose name contains '${args.only}': there is none`);
  const machine = describeMachine(args.ray);
  if (args.ray !== null && machine.python === null)
    process.stderr.write(`${args.ray} cannot import ray: that column stays empty\n`);
  const programs = await buildPrograms();
  try {
    const results = args.small
      ? await measureTogether(args, programs, chosen, machine)
      : await measureInTurn(args, programs, chosen, machine);
    publish(args, machine, results);
  } finally {
    programs.remove();
  }
  if (args.profile !== null) printHotFunctions(args.profile);
}

/** One benchmark after the other, everybody's figures of it together. */
async function measureInTurn(
  args: Arguments,
  programs: Programs,
  chosen: readonly Benchmark[],
  machine: Machine,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const benchmark of chosen) {
    const [shoal] = await measureShoal(args, programs, [benchmark]);
    const ray = await rayCell(args, programs, benchmark, machine);
    const pools = await poolCells(args, programs, benchmark.peer);
    const result = { benchmark, shoal: cellOf(shoal), ray, pools };
    results.push(result);
    process.stderr.write(`${progressLine(result)}\n`);
  }
  return results;
}

/** All of Shoal's benchmarks in one process: quick, for the test that everything runs. */
async function measureTogether(
  args: Arguments,
  programs: Programs,
  chosen: readonly Benchmark[],
  machine: Machine,
): Promise<Result[]> {
  const outcomes = await measureShoal(args, programs, chosen);
  const results: Result[] = [];
  for (const benchmark of chosen) {
    const shoal = outcomes.find(({ name }) => name === benchmark.name) as Outcome;
    const ray = await rayCell(args, programs, benchmark, machine);
    results.push({ benchmark, shoal: cellOf(shoal), ray, pools: await poolCells(args, programs, benchmark.peer) });
  }
  return results;
}

async function measureShoal(args: Arguments, programs: Programs, chosen: readonly Benchmark[]): Promise<Outcome[]> {
  const namesOf = (some: readonly Benchmark[]): string[] => some.map(({ name }) => name);
  const here = namesOf(chosen.filter(({ inLab }) => inLab !== true));
  const inLab = namesOf(chosen.filter((benchmark) => benchmark.inLab === true));
  const profiling = args.profile === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${args.profile}`];
  const env = {
    SHOAL_BENCH_BROADCAST_MB: String(args.broadcastMb),
    ...(args.profile === null ? {} : { SHOAL_BENCH_PROFILE: args.profile }),
  };
  const run = (names: readonly string[], programArgs: readonly string[]): Promise<Outcome[]> =>
    names.length === 0 ? Promise.resolve([]) : runChild({ command: process.execPath, args: programArgs, env, names, timeoutMs });
  return [
    ...(await run(here, [...profiling, programs.measure, scaleOf(args), ...here])),
    ...(await run(inLab, ["--import", import.meta.resolve("tsx"), programs.labMeasure, scaleOf(args), programs.transfer])),
  ];
}

async function rayCell(args: Arguments, programs: Programs, benchmark: Benchmark, machine: Machine): Promise<Cell> {
  if (args.ray === null || machine.python === null) return "";
  if (benchmark.ray !== true) return benchmark.ray;
  const [outcome] = await runChild({
    command: args.ray,
    args: [programs.raysMeasure, scaleOf(args), benchmark.name],
    env: { RAY_DEDUP_LOGS: "1", RAY_USAGE_STATS_ENABLED: "0", PYTHONWARNINGS: "ignore" },
    names: [benchmark.name],
    timeoutMs,
  });
  return cellOf(outcome);
}

async function poolCells(args: Arguments, programs: Programs, job: PeerJob | undefined): Promise<Result["pools"]> {
  if (job === undefined || !args.peers) return {};
  const outcomes = await runChild({
    command: process.execPath,
    args: [programs.peerJobs, scaleOf(args), job],
    names: [],
    timeoutMs,
  });
  return Object.fromEntries(outcomes.map((outcome) => [outcome.name.slice(job.length + 1), cellOf(outcome)]));
}

function scaleOf(args: Arguments): "small" | "large" {
  return args.small ? "small" : "large";
}

function cellOf(outcome: Outcome): Cell {
  return "measurement" in outcome ? outcome.measurement : `failed: ${outcome.failure}`;
}

function progressLine({ benchmark: { name, unit }, shoal, ray }: Result): string {
  const text = (cell: Cell): string => (typeof cell === "object" ? amount(cell.value, unit) : cell);
  return `${name.padEnd(48)} ${text(shoal).padStart(16)}${ray === "" ? "" : `   Ray ${text(ray)}`}`;
}

function publish(args: Arguments, machine: Machine, results: readonly Result[]): void {
  const keeps = !args.small && args.profile === null && args.peers;
  const file = fileURLToPath(new URL("RESULTS.md", import.meta.url));
  if (keeps) {
    const { host, kept } = keepResults(machine, results);
    writeFileSync(file, resultsPage(host, kept));
  }
  if (args.json) {
    const flat = results.map((result) => ({ ...result, judgements: judge(result) }));
    process.stdout.write(`${JSON.stringify({ machine, small: args.small, results: flat }, null, 2)}\n`);
    return;
  }
  process.stdout.write(
    `\n${resultTable(results)}\n${results.some(({ pools }) => Object.keys(pools).length > 0) ? poolTable(results) : ""}\n`,
  );
  const missing = gaps(results);
  if (missing.length > 0) process.stdout.write(`Not measured:\n${missing.join("\n")}\n`);
  if (args.small) process.stdout.write("These figures mean nothing: --small only shows that everything runs.\n");
  else
    process.stdout.write(
      keeps ? `Written to ${file}\n` : "bench/RESULTS.md is written by runs with peers and without profiles.\n",
    );
}

main().catch((error: unknown) => {
  process.stderr.write(
    `${error instanceof TypeError ? `${error.message}\n\n${usage}` : ((error as Error)?.stack ?? String(error))}\n`,
  );
  process.exitCode = error instanceof TypeError ? 2 : 1;
});
