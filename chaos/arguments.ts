/** The command line of `npm run chaos`. */
import { parseArgs } from "node:util";

export interface ChaosOptions {
  readonly minutes: number;
  /** What dies when, and what the work consists of. */
  readonly seed: number;
  /** Nodes beside the head's, all of which may die. */
  readonly nodes: number;
  /** Milliseconds between two faults. */
  readonly periodMs: number;
  /** Milliseconds after which a result that is not there counts as one that never comes. */
  readonly patienceMs: number;
  /** Bytes of the large arrays, at most. */
  readonly arrayBytesMax: number;
  /** Only the kinds of work whose name contains it. */
  readonly only: string | null;
  /** Tell of every fault as it happens. */
  readonly verbose: boolean;
}

export const usage = `npm run chaos -- [options]
  --minutes N        how long (1)
  --seed S           an integer; the same seed kills the same things at the same times (a random one)
  --nodes N          nodes that may die, beside the head's (3)
  --period SECONDS   from one fault to the next (5)
  --patience SECONDS a result that has not come by then never comes (60)
  --array-mb N       size of the largest arrays (50)
  --only SUBSTRING   only the kinds of work whose name contains it
  --verbose          tell of every fault
`;

/** Throws a TypeError on what it does not know. */
export function parseArguments(args: readonly string[]): ChaosOptions | "help" {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string" },
      nodes: { type: "string", default: "3" },
      period: { type: "string", default: "5" },
      patience: { type: "string", default: "60" },
      "array-mb": { type: "string", default: "50" },
      only: { type: "string" },
      verbose: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : positive("--seed", values.seed, true);
  return {
    minutes: positive("--minutes", values.minutes),
    seed,
    nodes: positive("--nodes", values.nodes, true),
    periodMs: positive("--period", values.period) * 1000,
    patienceMs: positive("--patience", values.patience) * 1000,
    arrayBytesMax: positive("--array-mb", values["array-mb"]) * 1e6,
    only: values.only ?? null,
    verbose: values.verbose,
  };
}

function positive(option: string, text: string, whole = false): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0) || value === Number.POSITIVE_INFINITY || (whole && !Number.isInteger(value)))
    throw new TypeError(`Cannot use ${text} as ${option}: expected a ${whole ? "whole " : ""}number that is not negative`);
  return value;
}

/** The command that runs the same again. */
export function replayOf(options: ChaosOptions): string {
  const { minutes, seed, nodes, periodMs, patienceMs, arrayBytesMax, only } = options;
  const rest = only === null ? "" : ` --only "${only}"`;
  return `npm run chaos -- --minutes ${minutes} --seed ${seed} --nodes ${nodes} --period ${periodMs / 1000} --patience ${patienceMs / 1000} --array-mb ${arrayBytesMax / 1e6}${rest} --verbose`;
}
