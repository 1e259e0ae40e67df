// Estimates pi on all CPUs of the job. Run by job.sbatch; runs on one machine as well: node pi.mjs
import { hostname } from "node:os";
import * as shoal from "shoal";

const throwDarts = shoal.remote(
  (count) => {
    let inside = 0;
    for (let i = 0; i < count; i++) if (Math.hypot(Math.random(), Math.random()) < 1) inside++;
    return { inside, host: hostname() };
  },
  { schedulingStrategy: "SPREAD" },
);

await shoal.init();
const { CPU: cpus } = await shoal.clusterResources();
const each = 2_000_000;
const throws = await shoal.get(Array.from({ length: cpus }, () => throwDarts.remote(each)));
const inside = throws.reduce((sum, { inside }) => sum + inside, 0);
console.log(`pi is about ${((4 * inside) / (cpus * each)).toFixed(3)}, from ${cpus} CPUs`);
console.log(`of ${[...new Set(throws.map(({ host }) => host))].sort().join(", ")}`);
await shoal.shutdown();
