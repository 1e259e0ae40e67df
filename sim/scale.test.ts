/** A cluster of many nodes in one process; the whole size is `npm run sim -- --nodes 1000 --actors 10000`. */
import { expect, test } from "vitest";
import { simulateScale } from "./scale.ts";

test("Simulation: 50 nodes with 500 actors, tasks that spill, placement groups and borrowed refs: the same seed gives the same log", {
  timeout: 120_000,
}, () => {
  const options = { seed: 1, nodes: 50, actors: 500, keepLog: true };
  const first = simulateScale(options);
  const second = simulateScale(options);
  expect(second.fingerprint).toBe(first.fingerprint);
  expect(second.lines?.length).toBe(first.lines?.length);
  expect(second.lines?.findIndex((line, i) => line !== first.lines?.[i])).toBe(-1);
  expect(first.restarts).toBeGreaterThan(0);
  expect(first.checked).toBeGreaterThan(0);
  for (const [what, count] of Object.entries(first.counts)) expect(count, what).toBeGreaterThan(0);
  expect(simulateScale({ ...options, seed: 2, nodes: 5, actors: 10, keepLog: false }).fingerprint).not.toBe(first.fingerprint);
});
