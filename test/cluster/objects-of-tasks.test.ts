/** Large values of tasks that run on several nodes: as results, as arguments, and after the death of the node that had them. */
import * as shoal from "shoal";
import { Cluster, type TestNode } from "shoal/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const cluster = new Cluster({ nodeTimeoutMs: 10_000 });
let nodes: TestNode[] = [];

beforeAll(async () => {
  // The driver's node has no CPU: it owns, and runs nothing.
  nodes = [await cluster.addNode({ numCpus: 0 })];
  nodes.push(await cluster.addNode({ numCpus: 1, resources: { b: 1 } }));
  nodes.push(await cluster.addNode({ numCpus: 1, resources: { c: 1 } }));
  process.env.SHOAL_AUTH_TOKEN = cluster.authToken;
  await shoal.init({ address: cluster.address, logToDriver: false });
});
afterAll(async () => {
  await shoal.shutdown();
  delete process.env.SHOAL_AUTH_TOKEN;
  await cluster.close();
});

const count = 500_000;
const make = (fill: number) => new Float64Array(500_000).fill(fill);
const sum = (numbers: Float64Array) => numbers.reduce((total, number) => total + number, 0);
const [onB, onC] = [
  { resources: { b: 0.1 }, maxRetries: 3 },
  { resources: { c: 0.1 }, maxRetries: 3 },
];

describe("Large values of tasks on several nodes", () => {
  it("are results for the driver and arguments for tasks on other nodes", async () => {
    const made = shoal.remote(make).options(onB).remote(2);
    expect(await shoal.get(shoal.remote(sum).options(onC).remote(made))).toBe(2 * count);
    expect(await shoal.get(shoal.remote(sum).options(onB).remote(made))).toBe(2 * count);
    const value = await shoal.get(made);
    expect([value.length, value[0], value[count - 1]]).toEqual([count, 2, 2]);
  });

  it("go from the driver to tasks, and to refs inside of arguments", async () => {
    const ref = shoal.put(make(3));
    const nested = shoal.remote(async (refs: { inner: shoal.ObjectRef<Float64Array> }) => {
      const numbers = await shoal.get(refs.inner);
      return numbers.length * numbers[7];
    });
    expect(await shoal.get([nested.options(onB).remote({ inner: ref }), nested.options(onC).remote({ inner: ref })])).toEqual([
      3 * count,
      3 * count,
    ]);
  });

  it("go on with a copy when their node dies, or are made again", async () => {
    const doomed = await cluster.addNode({ numCpus: 1, resources: { d: 1 } });
    const onDoomed = { resources: { d: 0.1 }, maxRetries: 3 };
    const copied = shoal.remote(make).options(onDoomed).remote(4);
    const alone = shoal.remote(make).options(onDoomed).remote(5);
    expect(await shoal.get(shoal.remote(sum).options(onC).remote(copied))).toBe(4 * count);
    await shoal.wait([alone], { fetchLocal: false });
    await cluster.killNode(doomed);
    expect(await shoal.get(shoal.remote(sum).options(onB).remote(copied))).toBe(4 * count);
    const again = shoal.get(shoal.remote(sum).options(onB).remote(alone));
    nodes.push(await cluster.addNode({ numCpus: 1, resources: { d: 1 } }));
    expect(await again).toBe(5 * count);
  });
});
