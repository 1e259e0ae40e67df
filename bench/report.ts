/** Results as tables: of the terminal and of bench/RESULTS.md. Only what was measured in the run is in them. */
import { type Benchmark, benchmarks, notMeasured, type Target, type Unit } from "./catalog.ts";
import type { Measurement } from "./measurement.ts";
import type { Host, KeptResult, Origin } from "./results-file.ts";

/** What a column says of a benchmark: a measurement, or why there is none. */
export type Cell = Measurement | string;

export interface Result {
  readonly benchmark: Benchmark;
  readonly shoal: Cell;
  readonly ray: Cell;
  /** By pool, for the benchmarks that pools can run. */
  readonly pools: Readonly<Record<string, Cell>>;
}

export interface Judgement {
  readonly target: string;
  /** What was reached, in the target's own terms; null: what it compares with was not measured. */
  readonly reached: string | null;
  readonly met: boolean | null;
}

const measured = (cell: Cell | undefined): number | null => (typeof cell === "object" ? cell.value : null);

const smallerIsBetter = (unit: Unit): boolean => unit !== "/s" && unit !== "GB/s";

/** How many times better Shoal is; above 1 it is ahead, whatever the unit. */
export function timesBetter(unit: Unit, shoal: number | null, other: number | null): number | null {
  if (shoal === null || other === null || shoal <= 0 || other <= 0) return null;
  return smallerIsBetter(unit) ? other / shoal : shoal / other;
}

export function judge({ benchmark, shoal, ray, pools }: Result): Judgement[] {
  return (benchmark.targets ?? []).map((target) => judgeOne(target, benchmark.unit, shoal, ray, pools));
}

function judgeOne(target: Target, unit: Unit, shoal: Cell, ray: Cell, pools: Result["pools"]): Judgement {
  const value = measured(shoal);
  const atLeast = (text: string, wanted: number, got: number | null): Judgement => ({
    target: `>= ${text}`,
    reached: got === null ? null : times(got),
    met: got === null ? null : got >= wanted,
  });
  switch (target.kind) {
    case "times Ray":
      return atLeast(`${target.factor} x Ray`, target.factor, timesBetter(unit, value, measured(ray)));
    case "times the best pool": {
      const best = Object.values(pools)
        .map(measured)
        .filter((pool) => pool !== null);
      return atLeast(
        `${target.factor} x the best pool`,
        target.factor,
        timesBetter(unit, value, best.length === 0 ? null : Math.max(...best)),
      );
    }
    case "times piscina": {
      const ratio = timesBetter(unit, value, measured(pools.piscina));
      const longer = ratio === null ? null : 1 / ratio;
      return {
        target: `<= ${target.factor} x piscina`,
        reached: longer === null ? null : times(longer),
        met: longer === null ? null : longer <= target.factor,
      };
    }
    case "share of reference": {
      const reference = typeof shoal === "object" ? (shoal.reference ?? null) : null;
      const share = value === null || reference === null ? null : value / reference;
      return {
        target: `>= ${target.factor * 100} % of ${target.of}`,
        reached: share === null ? null : `${(share * 100).toFixed(0)} %`,
        met: share === null ? null : share >= target.factor,
      };
    }
    case "below":
      return {
        target: `< ${amount(target.value, unit)}`,
        reached: value === null ? null : amount(value, unit),
        met: value === null ? null : value < target.value,
      };
  }
}

/** Three significant digits, or all of them before the point. */
export function amount(value: number, unit: Unit): string {
  const digits = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  return `${Number(digits).toLocaleString("en", { maximumFractionDigits: 6 })} ${unit}`;
}

function times(ratio: number): string {
  return `${ratio >= 100 ? ratio.toFixed(0) : ratio.toPrecision(2)} x`;
}

function cellText(cell: Cell, unit: Unit): string {
  return typeof cell === "object" ? amount(cell.value, unit) : cell === "" ? "" : "-";
}

export function resultTable(results: readonly Result[]): string {
  const rows = results.map((result) => {
    const { name, op, unit } = result.benchmark;
    const ratio = timesBetter(unit, measured(result.shoal), measured(result.ray));
    const judgements = judge(result);
    return [
      name,
      op,
      cellText(result.shoal, unit),
      cellText(result.ray, unit),
      ratio === null ? "" : times(ratio),
      judgements.map(({ target }) => target).join(", "),
      judgements.map(({ met, reached }) => (met === null ? "" : `${met ? "yes" : "**no**"} (${reached})`)).join(", "),
    ];
  });
  return markdownTable(["benchmark", "one operation", "Shoal", "Ray", "Shoal ahead", "target", "reached"], rows);
}

export function poolTable(results: readonly Result[]): string {
  const compared = results.filter(({ pools }) => Object.keys(pools).length > 0);
  const names = Object.keys(compared[0]?.pools ?? {});
  const rows = compared.map(({ benchmark, shoal, pools }) => {
    const withNote = (cell: Cell): string =>
      `${cellText(cell, benchmark.unit)}${typeof cell === "object" && cell.note !== undefined ? ` (${cell.note})` : ""}`;
    return [benchmark.name, withNote(shoal), ...names.map((name) => withNote(pools[name]))];
  });
  return markdownTable(["benchmark", "Shoal", ...names], rows);
}

/** What the values alone do not say: notes and the spread of the runs. */
function notes(results: readonly Result[]): string[] {
  return results.flatMap(({ benchmark, shoal, ray }) =>
    (
      [
        ["Shoal", shoal],
        ["Ray", ray],
      ] as const
    ).flatMap(([who, cell]) => {
      if (typeof cell !== "object") return [];
      const spread =
        cell.runs.length > 1
          ? `${amount(Math.min(...cell.runs), benchmark.unit)} to ${amount(Math.max(...cell.runs), benchmark.unit)}`
          : null;
      const said = [spread, cell.note].filter((part) => part != null).join("; ");
      return said === "" ? [] : [`- ${benchmark.name}, ${who}: ${said}`];
    }),
  );
}

/** One line for each figure that is not there. */
export function gaps(results: readonly Result[]): string[] {
  const lines: string[] = [];
  for (const { benchmark, shoal, ray, pools } of results) {
    if (typeof shoal === "string") lines.push(`- ${benchmark.name}, Shoal: ${shoal}`);
    if (typeof ray === "string" && ray !== "") lines.push(`- ${benchmark.name}, Ray: ${ray}`);
    for (const [name, cell] of Object.entries(pools))
      if (typeof cell === "string" && cell !== "") lines.push(`- ${benchmark.name}, ${name}: ${cell}`);
  }
  return lines;
}

export function resultsPage(host: Host, results: readonly KeptResult[]): string {
  const unmeasured = benchmarks.filter(({ name }) => !results.some(({ benchmark }) => benchmark.name === name));
  const missing = [
    ...gaps(results),
    ...unmeasured.map(({ name }) => `- ${name}: not run yet`),
    ...notMeasured.map(({ name, why }) => `- ${name}: ${why}`),
  ];
  if (host.python === null) missing.unshift("- Ray: the run was made without it (`--ray PYTHON`)");
  return `# Results of \`npm run bench\`

Written by \`bench/main.ts\`; do not edit. Medians of runs on one machine; they inform and gate nothing. Each benchmark's figures, Shoal's, Ray's and the pools', were
measured within the same minutes; the last table says when. [docs/performance.md](../docs/performance.md) says what is measured how, and where the time goes.

| | |
|---|---|
| machine | ${host.cpu}, ${host.cores} cores, ${host.memory} |
| system | ${host.kernel}, Node ${host.node} |
| Ray | ${host.python ?? "not run"} |

"Shoal ahead" is how many times faster, or smaller, Shoal is than Ray.

${resultTable(results)}
## Thread pools

The same jobs on pools of ${host.cores} threads.

${poolTable(results)}
## Spread of the runs, and notes

${notes(results).join("\n")}

## Not measured

${missing.join("\n")}

## When

${originTable(results)}`;
}

/** Benchmarks of one run in one row. The load is that of the machine when it began: other work makes every figure worse. */
function originTable(results: readonly KeptResult[]): string {
  const runs = new Map<string, { origin: Origin; names: string[] }>();
  for (const { benchmark, origin } of results) {
    const run = runs.get(origin.date) ?? { origin, names: [] };
    run.names.push(benchmark.name);
    runs.set(origin.date, run);
  }
  const rows = [...runs.values()].map(({ origin, names }) => [origin.date, origin.commit, origin.load, names.join("; ")]);
  return markdownTable(["date", "commit", "load average at the start", "benchmarks"], rows);
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |\n`;
  return [line(head), `|${"---|".repeat(head.length)}\n`, ...rows.map(line)].join("");
}
