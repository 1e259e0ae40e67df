/** Nodes that leave in good order. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { inCluster, openMarks } from "../support/cluster-driver.ts";
import { markedRun } from "../support/marked-run.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const run = shoal.remote((dir: string, name: string, until: string) => markedRun(dir, name, until));
const there = { resources: { there: 0.01 }, numCpus: 0 };
const leaving = { numCpus: 1, resources: { there: 1 } };

class Counter {
  private n = 0;
  next(): number {
    return ++this.n;
  }
  where(): string {
    return shoal.getRuntimeContext().nodeId;
  }
}

describe("A node that is sent SIGTERM", () => {
  test("finishes what it runs, takes nothing new, and is gone with a reason", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(leaving));
      await shoal.init({ address: cluster.address });
      const task = run.options({ ...there, maxRetries: 0 }).remote(marks.dir, "task", "go");
      await marks.seen("task-started");
      process.kill(node.pid, "SIGTERM");
      await waitFor("the node to take nothing new", async () =>
        (await shoal.nodes()).some((view) => view.nodeId === node.nodeId && (view as { draining?: boolean }).draining === true),
      );
      const second = seen(await cluster.addNode(leaving));
      marks.set("now");
      expect(await shoal.get(run.options(there).remote(marks.dir, "late", "now"))).toBe(second.nodeId);
      marks.set("go");
      expect(await shoal.get(task)).toBe(node.nodeId);
      expect(marks.count("task-started")).toBe(1);
      await cluster.ended(node);
      const view = await waitFor("the head to say so", async () =>
        (await shoal.nodes()).find((other) => other.nodeId === node.nodeId && !other.alive),
      );
      expect(view.deathReason).toMatch(/drained.*SIGTERM/);
    });
  });

  test("gives up its actors that may restart elsewhere, without using up a restart, and the values it holds are not lost", async () => {
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(leaving));
      await shoal.init({ address: cluster.address });
      const counter = shoal.remote(Counter, { ...there, maxRestarts: 1, maxTaskRetries: -1 }).remote();
      expect(await shoal.get(counter.where.remote())).toBe(node.nodeId);
      const big = shoal.remote((n: number) => new Float64Array(n).fill(3), { ...there }).remote(200_000);
      await shoal.wait([big], { fetchLocal: false });
      const second = seen(await cluster.addNode(leaving));
      await cluster.removeNode(node, { graceful: true });
      expect(await shoal.get(counter.where.remote())).toBe(second.nodeId);
      expect((await shoal.get(big))[199_999]).toBe(3);
    });
  });

  test("ends after SHOAL_DRAIN_MS what is not through by then", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode({ ...leaving, env: { SHOAL_DRAIN_MS: "1000" } }));
      await shoal.init({ address: cluster.address });
      const task = run.options({ ...there, maxRetries: 0 }).remote(marks.dir, "task", "never");
      const keeper = shoal.remote(Counter, there).remote();
      await Promise.all([marks.seen("task-started"), shoal.get(keeper.next.remote())]);
      await cluster.removeNode(node, { graceful: true });
      expect(await rejection(shoal.get(task))).toBeInstanceOf(shoal.NodeDiedError);
      const error = await rejection(shoal.get(keeper.next.remote()));
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error.message).toMatch(/drained/);
    });
  });
});
