/** Several nodes, all on this machine: what distribution costs, not what it gains. */
import * as shoal from "shoal";
import { median, rate } from "../harness.ts";
import type { Measurement, Scale } from "../measurement.ts";
import { addNode, benchNodes, crash, inCluster } from "./node-processes.ts";
import type { Case } from "./session.ts";

/** Megabytes that are broadcast: each node holds a copy in this machine's memory. */
const broadcastMb = Number(process.env.SHOAL_BENCH_BROADCAST_MB ?? 1_000);

const noop = shoal.remote(function noop() {});
const lastOf = shoal.remote((array: Float64Array) => array[array.length - 1]);

class Idle {
  ping(): void {}
}

export const manyNodeCases: Readonly<Record<string, Case>> = {
  ...Object.fromEntries(
    [1, 2, 4].map((count) => [
      `cluster: tasks async, ${count} ${count === 1 ? "node" : "nodes"}`,
      inCluster(count, (scale) => taskRate(scale)),
    ]),
  ),
  "cluster: actor creation, 2 nodes": inCluster(2, (scale) => actorRate(scale)),
  "cluster: node loss to first retry": inCluster(1, (scale) => retryAfterLoss(scale)),
  "cluster: broadcast of 1 GB to 8 nodes": inCluster(9, (scale) => broadcast(scale, 8)),
};

async function taskRate(scale: Scale): Promise<Measurement> {
  const count = scale.small ? 20 : 1000;
  const options = { schedulingStrategy: "SPREAD" } as const;
  const spread = noop.options(options);
  return rate(scale, () => shoal.get(Array.from({ length: count }, () => spread.remote())), count);
}

/** From the call that makes them to the answer of the last one. */
async function actorRate(scale: Scale): Promise<Measurement> {
  const count = scale.small ? 2 : 16;
  const Spread = shoal.remote(Idle, { numCpus: 0, schedulingStrategy: "SPREAD" });
  const runs: number[] = [];
  for (let i = 0; i < scale.runCount; i++) {
    const start = performance.now();
    const actors = Array.from({ length: count }, () => Spread.remote());
    await shoal.get(actors.map((actor) => actor.ping.remote()));
    runs.push((count * 1000) / (performance.now() - start));
    await Promise.all(actors.map((actor) => shoal.kill(actor)));
  }
  return { value: median(runs), runs };
}

/** A node's daemon is killed under a task that could run on the other; all clocks are this machine's. */
async function retryAfterLoss(scale: Scale): Promise<Measurement> {
  const runs: number[] = [];
  const times = scale.small ? 1 : 5;
  const survivor = await addNode({ survivor: 1 });
  for (let i = 0; i < times; i++) {
    const doomed = await addNode({ doomed: 1 });
    const Board = shoal.remote(Attempts, { numCpus: 0, schedulingStrategy: shoal.nodeAffinity(benchNodes()[0].nodeId) });
    const board = Board.remote();
    // The survivor's worker is there, as it would be in a cluster at work.
    await shoal.get(noop.options({ schedulingStrategy: shoal.nodeAffinity(survivor.nodeId) }).remote());
    const affinity = shoal.nodeAffinity(doomed.nodeId, { soft: true });
    const result = untilSecondAttempt.options({ schedulingStrategy: affinity, maxRetries: 1 }).remote(board);
    await shoal.get(board.first.remote());
    const killedMs = Date.now();
    crash(doomed);
    runs.push((await shoal.get(result)) - killedMs);
  }
  return { value: median(runs), runs };
}

/** Tells that the first attempt runs, which never ends; the second returns when it started. */
const untilSecondAttempt = shoal.remote(async (board: shoal.ActorHandle<Attempts>): Promise<number> => {
  const startedMs = Date.now();
  if (shoal.getRuntimeContext().attempt > 0) return startedMs;
  await shoal.get(board.started.remote());
  return new Promise(() => {});
});

class Attempts {
  private tell: (() => void) | null = null;
  private readonly running = new Promise<void>((resolve) => {
    this.tell = resolve;
  });
  started(): void {
    this.tell?.();
  }
  async first(): Promise<void> {
    await this.running;
  }
}

/** One task on each node reads the end of an array that only the driver's node has. */
async function broadcast(scale: Scale, receivers: number): Promise<Measurement> {
  const length = (scale.small ? 1 : broadcastMb) * 125_000;
  const readers = benchNodes()
    .slice(1, 1 + receivers)
    .map(({ nodeId }) => lastOf.options({ schedulingStrategy: shoal.nodeAffinity(nodeId) }));
  await shoal.get(readers.map((reader) => reader.remote(new Float64Array(1)))); // their workers are there
  const runs: number[] = [];
  for (let i = 0; i < scale.runCount; i++) {
    const array = new Float64Array(length).fill(i);
    array[length - 1] = i + 0.5;
    using ref = shoal.put(array);
    const start = performance.now();
    const seen = await shoal.get(readers.map((reader) => reader.remote(ref)));
    runs.push((8 * length * receivers) / 1e6 / (performance.now() - start));
    if (!seen.every((last) => last === i + 0.5)) throw new Error(`Cannot broadcast: the readers saw ${seen.join(", ")}`);
  }
  return { value: median(runs), runs, note: `${scale.small ? 1 : broadcastMb} MB to each` };
}
