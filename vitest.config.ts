import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/**
 * Scenario tests import "shoal" as a user does, from the built package (dist/), so that the driver, the daemon and the workers
 * run what is shipped. Unit tests beside the sources import the sources.
 */
const dist = (name: string) => fileURLToPath(new URL(`./dist/${name}.js`, import.meta.url));

/** Tests on many hosts, which need root and take their time: `npx vitest run --project suite` leaves them out. */
const manyHosts = ["test/lab/**/*.test.ts", "test/slurm/**/*.test.ts"];

export default defineConfig({
  resolve: {
    alias: [
      { find: /^shoal$/, replacement: dist("index") },
      { find: /^shoal\/util$/, replacement: dist("util") },
      { find: /^shoal\/testing$/, replacement: dist("testing") },
    ],
  },
  test: {
    server: { deps: { external: [/\/dist\/.*\.js$/] } },
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Scenarios start dozens of processes on however loaded a machine. One that passes only the second time is printed as such: it is a bug to be found.
    retry: 1,
    // A failed comparison of large arrays must not be printed line by line: working out the difference would take hours.
    diff: { truncateThreshold: 1000 },
    projects: [
      {
        extends: true,
        test: { name: "suite", include: ["src/**/*.test.ts", "test/**/*.test.ts", "sim/**/*.test.ts"], exclude: manyHosts },
      },
      {
        extends: true,
        // After the suite, so that what is slow or silent there is so by a fault and not by the load of other tests.
        test: { name: "hosts", include: manyHosts, sequence: { groupOrder: 1 }, testTimeout: 180_000, hookTimeout: 120_000 },
      },
    ],
  },
});
