/**
 * `npm run chaos`: a driver on a cluster that keeps losing workers and nodes, with work of every kind under way, each of whose results is checked.
 *
 * Ends with code 1 when a result was wrong, an error came that the documented semantics do not allow, a result did not come, or something was left over.
 * The seed decides what dies when and what the work consists of; how they meet is up to the machine, so a replay is likely, not certain, to fail alike.
 */
import * as shoal from "shoal";
import { Cluster } from "shoal/testing";
import { Random } from "../sim/random.ts";
import { descendantsOf } from "../test/support/processes.ts";
import { type ChaosOptions, parseArguments, replayOf, usage } from "./arguments.ts";
import { Book } from "./book.ts";
import { Killer } from "./killer.ts";
import { leftOver, stillInUse } from "./leftovers.ts";
import { actorKinds } from "./loads/actors.ts";
import { arrayKinds } from "./loads/arrays.ts";
import { groupKinds } from "./loads/groups.ts";
import { streamKinds } from "./loads/streams.ts";
import { taskKinds } from "./loads/tasks.ts";
import { describe, type Kind, roomNow, runLane } from "./round.ts";

const kinds: readonly Kind[] = [...taskKinds, ...arrayKinds, ...actorKinds, ...streamKinds, ...groupKinds];

/** A node is given up after this silence; longer than a loaded machine keeps a process waiting, mostly. */
const nodeTimeoutMs = 5_000;
const quietMs = 30_000;
/** The rounds under way at the end may wait a few times. */
const finishPatiences = 4;

async function main(): Promise<void> {
  const options = parseArguments(process.argv.slice(2));
  if (options === "help") return void process.stdout.write(usage);
  const chosen = kinds.filter(({ name }) => options.only === null || name.includes(options.only));
  if (chosen.length === 0)
    throw new TypeError(
      `Cannot run the kinds of work whose name contains '${options.only}': they are ${kinds.map(({ name }) => name).join(", ")}`,
    );
  const book = new Book(options.verbose);
  let stage = "starting";
  process.once("exit", () => {
    if (stage === "over") return;
    process.stderr.write(`VIOLATION: this process ran out of things to wait for while ${stage}\nAgain: ${replayOf(options)}\n`);
    process.exitCode = 1;
  });
  const enter = (next: string): void => {
    stage = next;
    book.tell(next);
  };
  process.on("unhandledRejection", (error) => book.violation("unhandled rejection", describe(error as Error)));
  const childrenBefore = new Set(descendantsOf(process.pid).map(({ pid }) => pid));
  const cluster = new Cluster({ nodeTimeoutMs });
  const nodeOptions = { numCpus: 2, objectStoreMemory: Math.max(100e6, 6 * options.arrayBytesMax) };
  const killer = new Killer(cluster, new Random(options.seed), book, { ...options, ...nodeOptions, nodeTimeoutMs });
  try {
    const head = await killer.addNode();
    await Promise.all(Array.from({ length: options.nodes }, () => killer.addNode()));
    await shoal.init({ address: cluster.address, logToDriver: false });
    enter("working");
    await work(chosen, options, head.nodeId, killer, book);
    enter("waiting for the cluster to be idle");
    for (const use of await stillInUse(cluster, quietMs)) book.violation("after the work", use);
  } finally {
    enter("shutting down");
    await shoal.shutdown();
    enter("ending the nodes");
    await cluster.close();
  }
  enter("looking for what is left");
  for (const rest of await leftOver(killer.everyNode, childrenBefore, quietMs)) book.violation("left over", rest);
  stage = "over";
  process.stdout.write(
    `${book.report()}seed ${options.seed}, ${book.secondsSoFar().toFixed(0)} s, ${killer.everyNode.length} nodes in all\n`,
  );
  if (book.violationCount === 0) return;
  process.stdout.write(`Again: ${replayOf(options)}\n`);
  process.exitCode = 1;
}

/** Everything at once until the time is over and what was begun has ended. */
async function work(
  chosen: readonly Kind[],
  options: ChaosOptions,
  headNodeId: string,
  killer: Killer,
  book: Book,
): Promise<void> {
  const over = AbortSignal.timeout(options.minutes * 60_000);
  let lane = 0;
  const lanes = chosen.flatMap((kind) =>
    Array.from({ length: kind.lanes }, () => ({
      kind,
      done: runLane(kind, lane++, options, headNodeId, book, () => over.aborted),
    })),
  );
  const running = new Set(lanes);
  for (const one of lanes) void one.done.finally(() => running.delete(one));
  await killer.run(over);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, finishPatiences * options.patienceMs);
  });
  await Promise.race([Promise.all(lanes.map(({ done }) => done)), late]);
  clearTimeout(timer);
  for (const { kind } of running) book.violation(kind.name, `hang: its last round does not end; ${await roomNow()}`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof TypeError ? `${error.message}\n\n${usage}` : describe(error as Error)}\n`);
  process.exitCode = error instanceof TypeError ? 2 : 1;
});
