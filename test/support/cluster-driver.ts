/** Runs the body of a test as a driver of a test cluster, and checks that nothing of the cluster is left. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import * as shoal from "shoal";
import { Cluster, type ClusterOptions, type TestNode } from "shoal/testing";
import { expect } from "vitest";
import { processesMentioning } from "./processes.ts";
import { waitFor } from "./wait-for.ts";

/** Runs `body` with a cluster that it fills; afterwards nothing may be left of any node it ever had. */
export async function inCluster(
  options: ClusterOptions,
  body: (cluster: Cluster, seen: (node: TestNode) => TestNode) => Promise<void>,
) {
  const cluster = new Cluster(options);
  const nodes: TestNode[] = [];
  try {
    await body(cluster, (node) => {
      nodes.push(node);
      return node;
    });
  } finally {
    await shoal.shutdown();
    await cluster.close();
  }
  const left = () => nodes.flatMap(leftOf);
  await waitFor("nothing to be left", () => left().length === 0, 10_000).catch(() => undefined);
  expect(left()).toEqual([]);
}

/** Processes and directories of the node that are there now. */
export function leftOf({ sessionDir, shmDir }: TestNode): string[] {
  const processes = processesMentioning(basename(sessionDir)).map(({ pid, command }) => `process ${pid}: ${command}`);
  return [...processes, ...[sessionDir, shmDir].filter((path) => existsSync(path))];
}

/** A place where the runs of tasks leave marks and wait for one another's: a directory, as they are on several "machines" of one. */
export interface Marks {
  readonly dir: string;
  /** How many lines were added under the name. */
  count(name: string): number;
  lines(name: string): string[];
  set(name: string): void;
  /** Resolves when something was added under the name. */
  seen(name: string): Promise<unknown>;
  [Symbol.dispose](): void;
}

export function openMarks(): Marks {
  const dir = mkdtempSync(join(tmpdir(), "shoal-marks-"));
  const lines = (name: string): string[] =>
    existsSync(join(dir, name)) ? readFileSync(join(dir, name), "utf8").split("\n").filter(Boolean) : [];
  return {
    dir,
    lines,
    count: (name) => lines(name).length,
    set: (name) => writeFileSync(join(dir, name), "set\n"),
    seen: (name) => waitFor(`a mark '${name}' among ${readdirSync(dir)}`, () => existsSync(join(dir, name)), 30_000),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}
