/** What must be true when the work is done, and what must be gone after the end. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import * as shoal from "shoal";
import type { Cluster, TestNode } from "shoal/testing";
import { descendantsOf, processesMentioning } from "../test/support/processes.ts";

const lookMs = 100;

/** What `look` still finds after `ms`; empty as soon as it finds nothing. */
async function lasting(look: () => Promise<string[]> | string[], ms: number): Promise<string[]> {
  for (const until = performance.now() + ms; ; await delay(lookMs)) {
    const found = await look();
    if (found.length === 0 || performance.now() > until) return found;
  }
}

/** Differences between the cluster and one that nobody uses: leases that were not given back, dead nodes that still run, live ones that are not known. */
export function stillInUse(cluster: Cluster, ms: number): Promise<string[]> {
  return lasting(async () => {
    const [nodes, whole, free] = await Promise.all([shoal.nodes(), shoal.clusterResources(), shoal.availableResources()]);
    const alive = new Set<string>(nodes.filter((node) => node.alive).map(({ nodeId }) => nodeId));
    const running = new Set(cluster.nodes.map(({ nodeId }) => nodeId));
    return [
      ...Object.entries(whole).flatMap(([name, amount]) =>
        name === "object_store_memory" || (free[name] ?? 0) === amount
          ? []
          : [`${amount} ${name}, of which ${free[name] ?? 0} are free`],
      ),
      ...[...alive].filter((nodeId) => !running.has(nodeId)).map((nodeId) => `node ${nodeId} has ended and counts as alive`),
      ...[...running].filter((nodeId) => !alive.has(nodeId)).map((nodeId) => `node ${nodeId} runs and counts as dead`),
    ];
  }, ms);
}

/** Processes, directories and shared memory of the nodes. To be asked after the end of driver and cluster. */
export function leftOver(nodes: readonly TestNode[], childrenBefore: ReadonlySet<number>, ms: number): Promise<string[]> {
  return lasting(
    () => [
      ...descendantsOf(process.pid).flatMap(({ pid, command }) =>
        childrenBefore.has(pid) ? [] : [`process ${pid}: ${command}`],
      ),
      ...nodes.flatMap(({ sessionDir, shmDir }) => [
        ...[sessionDir, shmDir].filter((dir) => existsSync(dir)),
        ...processesMentioning(basename(sessionDir)).map(({ pid, command }) => `process ${pid} of ${sessionDir}: ${command}`),
      ]),
    ],
    ms,
  );
}
