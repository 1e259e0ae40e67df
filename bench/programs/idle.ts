/** A whole program with two workers that have run a task each and now idle: what it costs. Prints one line of JSON. */
import { setTimeout as sleep } from "node:timers/promises";
import * as shoal from "shoal";
import { memoryOfProcess, memoryOfTree } from "../memory.ts";

await shoal.init({ numCpus: 2 });
/** Takes long enough that both can run at once, each in a worker of its own. */
const busy = shoal.remote((ms: number) => {
  const end = Date.now() + ms;
  while (Date.now() < end);
  return process.pid;
});
const pids = new Set<number>();
for (let round = 0; round < 50 && pids.size < 2; round++) {
  for (const pid of await shoal.get([busy.remote(100), busy.remote(100)])) pids.add(pid);
}
if (pids.size !== 2) throw new Error("Cannot measure two workers: one ran all tasks");
await sleep(Number(process.argv[2]));
const use = { ...memoryOfTree(), driverPssBytes: memoryOfProcess(process.pid).pssBytes };
await shoal.shutdown();
console.log(JSON.stringify(use));
