// Ends when the cluster that runs on this machine has SHOAL_NODES nodes; fails after a minute.
import * as shoal from "shoal";

const wanted = Number(process.env.SHOAL_NODES);
const until = Date.now() + 60_000;
let found = "no cluster";
while (Date.now() < until) {
  try {
    if (!shoal.isInitialized()) await shoal.init({ address: "auto" });
    const alive = (await shoal.nodes()).filter((node) => node.alive).length;
    found = `${alive} nodes`;
    if (alive >= wanted) break;
  } catch (error) {
    found = error.message;
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await shoal.shutdown();
if (Date.now() >= until) {
  console.error(`There are not ${wanted} nodes after a minute: ${found}`);
  process.exitCode = 1;
}
