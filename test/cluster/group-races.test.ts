/** Placement groups that are refused what is free again before anybody has said that it was not. */
import * as shoal from "shoal";
import { Cluster } from "shoal/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

const cluster = new Cluster();

beforeAll(async () => {
  await cluster.addNode({ numCpus: 0 });
  await cluster.addNode({ numCpus: 1 });
  await shoal.init({ address: cluster.address });
});
afterAll(async () => {
  await shoal.shutdown();
  await cluster.close();
});

const soon = { timeoutMs: 5_000 };

test("a group gets what another group held for a moment only", async () => {
  for (let i = 0; i < 12; i++) {
    const [first, second] = [0, 1].map(() => shoal.placementGroup([{ CPU: 1 }]));
    if (i % 3 > 0) await first.wait();
    await shoal.removePlacementGroup(first);
    expect(await second.wait(soon), `round ${i}`).toBe(true);
    await shoal.removePlacementGroup(second);
  }
});
