/**
 * A driver on one host of two: with each line of its input it puts an array of so many megabytes and prints how long a task on the other host
 * took to have it whole, in milliseconds. Arguments: the cluster's address, the megabytes.
 */
import { createInterface } from "node:readline";
import * as shoal from "shoal";

const [address, megabytes] = process.argv.slice(2);
const { nodeId } = await shoal.init({ address });
const other = (await shoal.nodes()).find((node) => node.alive && node.nodeId !== nodeId && (node.resources.CPU ?? 0) > 0);
if (other === undefined) throw new Error(`Cannot measure a transfer as the cluster at ${address} has only one node`);
const lastOf = shoal.remote((array: Float64Array) => array[array.length - 1], {
  schedulingStrategy: shoal.nodeAffinity(other.nodeId),
});
await shoal.get(lastOf.remote(new Float64Array(1))); // its worker is there
console.log("ready");
let count = 0;
for await (const _ of createInterface(process.stdin)) {
  const array = new Float64Array(Number(megabytes) * 125_000).fill(++count);
  using ref = shoal.put(array);
  const start = performance.now();
  const last = await shoal.get(lastOf.remote(ref));
  const ms = performance.now() - start;
  if (last !== count) throw new Error(`Cannot count the transfer: the other host read ${last} instead of ${count}`);
  console.log(`transferred in ${ms} ms`);
}
await shoal.shutdown();
