/** `shoal microbenchmark`: Ray's operations under Ray's names, each repeated for about a second, on a session of its own or on the cluster named. */
import { availableParallelism } from "node:os";
import { performance } from "node:perf_hooks";
import type { ClusterFlags } from "./cluster-client.ts";
import { Failure } from "./failure.ts";
import { say, sayJson, warn } from "./output.ts";

interface Operation {
  readonly name: string;
  /** How many of the thing named one round does. */
  readonly perRound: number;
  readonly unit: "/s" | "GB/s";
  round(): Promise<unknown>;
}

interface Measured {
  readonly name: string;
  readonly perSecond: number;
  readonly deviation: number;
  readonly unit: string;
}

const roundsMs = 300;
const repeats = 4;
const big = 100 * 1024 * 1024;

export async function microbenchmark(flags: ClusterFlags & { filter?: string }): Promise<number> {
  const shoal = await import("../index.ts");
  const cpus = Math.max(2, availableParallelism());
  if (flags.address) await shoal.init({ address: flags.address, logToDriver: false });
  else await shoal.init({ address: "local", numCpus: cpus, logToDriver: false });
  const results: Measured[] = [];
  try {
    const operations = (await operationsOf(shoal, cpus)).filter(({ name }) => name.includes(flags.filter ?? ""));
    if (operations.length === 0) throw new Failure(`Cannot measure '${flags.filter}' as no operation's name holds that`);
    for (const operation of operations) {
      const measured = await measure(operation);
      results.push(measured);
      if (!flags.json)
        say(`${measured.name}: ${measured.perSecond.toFixed(2)} ${measured.unit} +- ${measured.deviation.toFixed(2)}`);
    }
  } finally {
    await shoal.shutdown();
  }
  if (flags.json) sayJson(results);
  else warn(`${cpus} CPUs. A machine that does other work at the same time gives other numbers.`);
  return 0;
}

/** Mean and standard deviation over the repeats; the rounds before are for the compiler. */
async function measure({ name, perRound, unit, round }: Operation): Promise<Measured> {
  await round();
  const rates: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const start = performance.now();
    let rounds = 0;
    while (performance.now() - start < roundsMs) {
      await round();
      rounds++;
    }
    rates.push((rounds * perRound * 1000) / (performance.now() - start));
  }
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const deviation = Math.sqrt(rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length);
  return { name, perSecond: mean, deviation, unit };
}

async function operationsOf(shoal: typeof import("../index.ts"), cpus: number): Promise<Operation[]> {
  const { get, put, remote, wait } = shoal;
  const nothing = remote(() => 0);
  class Small {
    call(): number {
      return 0;
    }
    async wait(): Promise<number> {
      return 0;
    }
  }
  const Actor = remote(Small, { numCpus: 0 });
  const actor = Actor.remote();
  const actors = Array.from({ length: cpus }, () => Actor.remote());
  await get([actor, ...actors].map((each) => each.call.remote()));
  const small = put(0);
  const bytes = new Float64Array(big / 8);
  const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index));
  const op = (name: string, perRound: number, round: () => Promise<unknown>, unit: "/s" | "GB/s" = "/s"): Operation => ({
    name,
    perRound,
    unit,
    round,
  });
  return [
    op("single client get calls (Plasma Store)", 1, () => get(small)),
    op("single client put calls (Plasma Store)", 100, async () => {
      for (let index = 0; index < 100; index++) put(0)[Symbol.dispose]();
    }),
    op(
      "single client put gigabytes",
      big / 1e9,
      async () => {
        put(bytes)[Symbol.dispose]();
      },
      "GB/s",
    ),
    op("single client wait 1k refs", 1, async () => {
      let pending = many(1000, () => nothing.remote());
      while (pending.length > 0) [, pending] = await wait(pending);
    }),
    op("single client tasks sync", 1, () => get(nothing.remote())),
    op("single client tasks async", 1000, () => get(many(1000, () => nothing.remote()))),
    op("1:1 actor calls sync", 1, () => get(actor.call.remote())),
    op("1:1 actor calls async", 1000, () => get(many(1000, () => actor.call.remote()))),
    op("1:1 async-actor calls async", 1000, () => get(many(1000, () => actor.wait.remote()))),
    op("1:n actor calls async", 1000, () => get(many(1000, (index) => actors[index % actors.length].call.remote()))),
    op("placement group create/removal", 1, async () => {
      const group = shoal.placementGroup([{ CPU: 0.01 }]);
      await group.wait();
      await shoal.removePlacementGroup(group);
    }),
  ];
}
