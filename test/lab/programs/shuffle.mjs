// Moves objects between all nodes: each of 12 parts is made somewhere, read on two other nodes, and summed. Prints one line when every sum is right.
import { hostname } from "node:os";
import * as shoal from "shoal";

await shoal.init({ address: process.env.ADDRESS });
const words = Number(process.env.WORDS ?? 65_536);
const make = shoal.remote((seed) => Float64Array.from({ length: words }, (_, i) => (i * seed) % 1_000), {
  schedulingStrategy: "SPREAD",
});
const sum = shoal.remote((part) => [part.reduce((a, b) => a + b, 0), hostname()]);
const nodes = (await shoal.nodes()).filter((node) => node.alive && node.resources.CPU > 0);
const on = (i) => sum.options({ schedulingStrategy: shoal.nodeAffinity(nodes[i % nodes.length].nodeId) });
const parts = Array.from({ length: 12 }, (_, i) => make.remote(i + 1));
const sums = await shoal.get(parts.flatMap((part, i) => [on(i).remote(part), on(i + 1).remote(part)]));
const expected = (seed) => Array.from({ length: words }, (_, i) => (i * seed) % 1_000).reduce((a, b) => a + b, 0);
const wrong = sums.filter(([value], at) => value !== expected((at >> 1) + 1)).length;
console.log(`wrong ${wrong} of ${sums.length}, hosts ${[...new Set(sums.map(([, host]) => host))].sort().join(" ")}`);
await shoal.shutdown();
