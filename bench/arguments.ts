/** The command line of `npm run bench`. */
import { parseArgs } from "node:util";

export interface Arguments {
  readonly small: boolean;
  readonly json: boolean;
  /** Only benchmarks whose name contains it. */
  readonly only: string | null;
  /** A Python that has Ray. */
  readonly ray: string | null;
  /** Where CPU profiles go. */
  readonly profile: string | null;
  readonly peers: boolean;
  /** Megabytes of the array that is broadcast to several nodes, each of which keeps a copy. */
  readonly broadcastMb: number;
}

export const usage = `npm run bench -- [options]
  --ray PYTHON      also measure Ray with this interpreter, benchmark by benchmark in turn with Shoal
  --only SUBSTRING  only the benchmarks whose name contains it; bench/RESULTS.md keeps its figures of the others
  --small           tiny sizes: shows that everything runs, measures nothing; bench/RESULTS.md stays as it is
  --broadcast-mb N  megabytes that are broadcast to nodes, each of which keeps a copy in memory (1000)
  --no-peers        leave piscina and tinypool out; bench/RESULTS.md stays as it is
  --json            print the results as JSON
  --profile DIR     write CPU profiles of driver and workers to DIR (they cost speed); bench/RESULTS.md stays as it is
`;

/** Throws a TypeError on what it does not know. */
export function parseArguments(args: readonly string[]): Arguments | "help" {
  const { values } = parseArgs({
    args: [...args],
    options: {
      small: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      only: { type: "string" },
      ray: { type: "string" },
      profile: { type: "string" },
      "broadcast-mb": { type: "string", default: "1000" },
      "no-peers": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  const broadcastMb = Number(values["broadcast-mb"]);
  if (!(broadcastMb > 0 && broadcastMb < 1e6))
    throw new TypeError(`Cannot broadcast ${values["broadcast-mb"]} megabytes: expected a positive number`);
  return {
    small: values.small,
    json: values.json,
    only: values.only ?? null,
    ray: values.ray ?? null,
    profile: values.profile ?? null,
    peers: !values["no-peers"],
    broadcastMb,
  };
}
