// What the notes do "then in Python": connects to the cluster of the job. `head_node_ip` is not exported by the script, so the address is
// undefined in it, as it is None in Python, and the driver finds the cluster that runs on its machine.
import { hostname } from "node:os";
import * as shoal from "shoal";

await shoal.init({ address: process.env.head_node_ip });
const nodes = (await shoal.nodes()).filter(({ alive }) => alive);
console.log(`nodes ${nodes.length} cpus ${(await shoal.clusterResources()).CPU}`);

// Each waits until all have begun, so that they run at once on all CPUs of all nodes.
const Gate = shoal.remote(
  class {
    #waiting = [];
    async pass(count) {
      await new Promise((resolve) => {
        this.#waiting.push(resolve);
        if (this.#waiting.length === count) for (const open of this.#waiting) open();
      });
    }
  },
  { numCpus: 0 },
);
const cpus = (await shoal.clusterResources()).CPU;
const gate = Gate.remote();
const where = shoal.remote(async (i) => {
  await shoal.get(gate.pass.remote(cpus));
  return [i * i, hostname()];
});
const results = await shoal.get(Array.from({ length: cpus }, (_, i) => where.remote(i)));
console.log(`squares ${results.map(([square]) => square).join(" ")}`);
console.log(`hosts ${[...new Set(results.map(([, host]) => host))].sort().join(" ")}`);
await shoal.shutdown();
console.log("driver done");
