/** The real machines of core/ under seeded faults and virtual time. A failure names its seed: `npm run sim -- --seed N` replays it. */
import { describe, expect, test } from "vitest";
import { SimulationFailed, simulate } from "./simulate.ts";
import type { Bug } from "./simulation.ts";

const seeds = Number(process.env.SHOAL_SIM_SEEDS ?? 1000);
const chunk = 100;
const bugs: readonly Bug[] = [
  "free twice",
  "lend nothing",
  "forget borrowers",
  "share busy workers",
  "start calls out of order",
  "forget what was spilled",
  "keep half a group",
  "forget owners of dead nodes",
  "repeat no orders",
];

describe("Simulation", () => {
  for (let from = 1; from <= seeds; from += chunk) {
    const to = Math.min(seeds, from + chunk - 1);
    test(`seeds ${from} to ${to}: nothing is lost, freed early or run out of order, and every ref settles`, {
      timeout: 300_000,
    }, () => {
      for (let seed = from; seed <= to; seed++) simulate({ seed });
    });
  }

  test("the same seed twice gives the same run", () => {
    for (const seed of [1, 2, 3]) expect(simulate({ seed }).fingerprint).toBe(simulate({ seed }).fingerprint);
  });

  test.each(bugs)("finds the bug '%s' that is put in on purpose", (bug) => {
    const found = (): void => {
      for (let seed = 1; seed <= 200; seed++) simulate({ seed, bug });
    };
    expect(found).toThrow(SimulationFailed);
  });
});
