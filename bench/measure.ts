/**
 * The process that measures Shoal: runs the benchmarks named on its command line one after the other, each in a session of its own, and prints an
 * outcome each. Started by main.ts, built, as a plain Node program.
 */
import { actorCases } from "./cases/actors.ts";
import { clusterCases } from "./cases/cluster.ts";
import { idleNodeCases } from "./cases/idle-nodes.ts";
import { manyNodeCases } from "./cases/many-nodes.ts";
import { closeCluster } from "./cases/node-processes.ts";
import { objectCases } from "./cases/objects.ts";
import { closeSession } from "./cases/session.ts";
import { taskCases } from "./cases/tasks.ts";
import { printOutcome, scales } from "./measurement.ts";

const cases = { ...objectCases, ...taskCases, ...actorCases, ...clusterCases, ...manyNodeCases, ...idleNodeCases };
const [scaleName, ...names] = process.argv.slice(2);

for (const name of names) {
  try {
    const measure = cases[name];
    if (measure === undefined) throw new Error(`Cannot run benchmark '${name}': no case has that name`);
    printOutcome({ name, measurement: await measure(scales[scaleName as keyof typeof scales]) });
  } catch (error) {
    printOutcome({ name, failure: (error as Error)?.message ?? String(error) });
  }
}
await closeSession();
await closeCluster();
