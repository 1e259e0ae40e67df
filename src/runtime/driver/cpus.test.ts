import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { quotaOf, usableCpus } from "./cpus.ts";

test("the least of CPU set, quota and Slurm's share counts, and never less than one", () => {
  const all = availableParallelism();
  expect(usableCpus({}, null)).toBe(all);
  expect(usableCpus({ SLURM_CPUS_ON_NODE: "1" }, null)).toBe(1);
  expect(usableCpus({ SLURM_CPUS_ON_NODE: "4096" }, null)).toBe(all);
  expect(usableCpus({ SLURM_CPUS_ON_NODE: "" }, 0.5)).toBe(1);
  expect(usableCpus({ SLURM_CPUS_ON_NODE: "2(x3)" }, 4096)).toBe(all);
});

test("quotaOf reads cpu.max", () => {
  expect(quotaOf("150000 100000\n")).toBe(1.5);
  expect(quotaOf("max 100000\n")).toBeNull();
  expect(quotaOf("")).toBeNull();
});
