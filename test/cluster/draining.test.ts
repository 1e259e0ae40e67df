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
  attend(dir: string, name: string, until: string): Promise<string> {
    return markedRun(dir, name, until);
  }
}

/** What the command line asks, too. */
const ask = (method: string, params: object): Promise<unknown> =>
  (globalThis as any)[Symbol.for("shoal.runtime")].daemon.request(method, params);

const isDraining = async (nodeId: string): Promise<boolean> =>
  ((await ask("nodes", {})) as { nodeId: string; draining: boolean }[]).some((node) => node.nodeId === nodeId && node.draining);

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
      await waitFor("the node to take nothing new", () => isDraining(node.nodeId));
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

  test("sends its actors that may restart elsewhere, after the calls they have, and the values it holds are not lost", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(leaving));
      await shoal.init({ address: cluster.address });
      const counter = shoal.remote(Counter, { ...there, maxRestarts: 1 }).remote();
      expect(await shoal.get(counter.where.remote())).toBe(node.nodeId);
      const call = counter.attend.remote(marks.dir, "call", "go");
      await marks.seen("call-started");
      const big = shoal.remote((n: number) => new Float64Array(n).fill(3), { ...there }).remote(200_000);
      await shoal.wait([big], { fetchLocal: false });
      const second = seen(await cluster.addNode(leaving));
      const gone = cluster.removeNode(node, { graceful: true });
      await waitFor("the node to be asked to leave", () => isDraining(node.nodeId));
      marks.set("go");
      expect(await shoal.get(call)).toBe(node.nodeId);
      await gone;
      const where = await waitFor("the actor to live elsewhere", () => shoal.get(counter.where.remote()).catch(() => null));
      expect(where).toBe(second.nodeId);
      expect(await ask("listActors", {})).toMatchObject([{ state: "ALIVE", incarnation: 1, restartsLeft: 1 }]);
      expect((await shoal.get(big))[199_999]).toBe(3);
    });
  });

  test("is the head, too: nothing new goes there while it finishes what it runs", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      const head = seen(await cluster.addNode({ numCpus: 2, resources: { there: 1 } }));
      const other = seen(await cluster.addNode({ numCpus: 1 }));
      await shoal.init({ address: cluster.addressOf(other) });
      const task = run.options({ ...there, maxRetries: 0 }).remote(marks.dir, "task", "go");
      await marks.seen("task-started");
      process.kill(head.pid, "SIGTERM");
      await waitFor("the head to take nothing new", () => isDraining(head.nodeId));
      const second = seen(await cluster.addNode(leaving));
      marks.set("now");
      expect(await shoal.get(run.options(there).remote(marks.dir, "late", "now"))).toBe(second.nodeId);
      marks.set("go");
      expect(await shoal.get(task)).toBe(head.nodeId);
      await cluster.ended(head);
      await Promise.all([cluster.ended(other), cluster.ended(second)]);
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
