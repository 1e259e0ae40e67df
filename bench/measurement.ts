/** What the measuring processes hand to bench/main.ts, and how: one line of JSON a benchmark, on standard output. */

export interface Measurement {
  /** The median of the runs, in the benchmark's unit. */
  readonly value: number;
  readonly runs: readonly number[];
  /** What the value is to be held against, measured in the same process and unit. */
  readonly reference?: number;
  /** One clause for the report. */
  readonly note?: string;
}

/** `failure` is what came instead of a measurement. */
export type Outcome = { readonly name: string } & ({ readonly measurement: Measurement } | { readonly failure: string });

/** How much is measured. The small one shows that everything runs; its figures mean nothing. */
export interface Scale {
  readonly small: boolean;
  readonly warmUpMs: number;
  readonly runMs: number;
  readonly runCount: number;
}

/** The large one is Ray's own method (`ray_microbenchmark_helpers.timeit`) without its ten seconds of sleep. */
export const scales: { readonly small: Scale; readonly large: Scale } = {
  small: { small: true, warmUpMs: 0, runMs: 0, runCount: 1 },
  large: { small: false, warmUpMs: 1000, runMs: 2000, runCount: 4 },
};

/** Lines of this kind are outcomes; whatever else a child prints is passed on. */
export const outcomeMark = "@bench ";

export function printOutcome(outcome: Outcome): void {
  process.stdout.write(`${outcomeMark}${JSON.stringify(outcome)}\n`);
}
