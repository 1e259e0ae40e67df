/** A whole program with two workers that have run a task each and now idle: what it costs. Prints one line of JSON. */
import { setTimeout as sleep } from "node:timers/promises";
import * as shoal from "shoal";
import { memoryOfProcess, memoryOfTree } from "../memory.ts";

await shoal.init({ numCpus: 2 });
/** Takes long enough that both run at once, each in a worker of its own. */
const busy = shoal.remote((ms: number) => {
  const end = Date.now() + ms;
  while (Date.now() < end);
  return process.pid;
});
const pids = await shoal.get([busy.remote(200), busy.remote(200)]);
if (new Set(pids).size !== 2) throw new Error(`Cannot measure two workers: both tasks ran in ${pids[0]}`);
await sleep(Number(process.argv[2]));
const use = { ...memoryOfTree(), driverPssBytes: memoryOfProcess(process.pid).pssBytes };
await shoal.shutdown();
console.log(JSON.stringify(use));
