/** Nodes that die, freeze, or are cut off: what their work comes to, and what their drivers hear. */
import * as shoal from "shoal";
import type { TestNode } from "shoal/testing";
import { describe, expect, test } from "vitest";
import { inCluster, leftOf, openMarks } from "../support/cluster-driver.ts";
import { markedRun } from "../support/marked-run.ts";
import { rejection, thrownBy, waitFor } from "../support/wait-for.ts";

const run = shoal.remote((dir: string, name: string, until: string) => markedRun(dir, name, until));
const there = { resources: { there: 0.01 }, numCpus: 0 };
const doomed = { numCpus: 1, resources: { there: 1 } };

const isDead = async ({ nodeId }: TestNode) => (await shoal.nodes()).some((node) => node.nodeId === nodeId && !node.alive);

describe("A node that dies", () => {
  test("fails what may not run again, by name, and what may is run elsewhere; what was finished is not run again", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(doomed));
      await shoal.init({ address: cluster.address });
      marks.set("now");
      const finished = run.options(there).remote(marks.dir, "finished", "now");
      expect(await shoal.get(finished)).toBe(node.nodeId);
      const once = run.options({ ...there, maxRetries: 0 }).remote(marks.dir, "once", "go");
      const again = run.options({ ...there, maxRetries: 1 }).remote(marks.dir, "again", "go");
      await Promise.all([marks.seen("once-started"), marks.seen("again-started")]);

      await cluster.killNode(node);
      const error = await rejection<shoal.NodeDiedError>(shoal.get(once));
      expect(error).toBeInstanceOf(shoal.NodeDiedError);
      expect(error.nodeId).toBe(node.nodeId);
      expect(error.message).toContain(node.nodeId);

      const second = seen(await cluster.addNode(doomed));
      marks.set("go");
      expect(await shoal.get(again)).toBe(second.nodeId);
      expect(await shoal.get(finished)).toBe(node.nodeId);
      expect([marks.count("finished-started"), marks.count("once-started"), marks.count("again-started")]).toEqual([1, 1, 2]);
    });
  });

  test("without a word is dead after the timeout, and no sooner", async () => {
    using marks = openMarks();
    await inCluster({ nodeTimeoutMs: 3_000 }, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(doomed));
      await shoal.init({ address: cluster.address });
      const once = run.options({ ...there, maxRetries: 0 }).remote(marks.dir, "once", "go");
      await marks.seen("once-started");
      const since = performance.now();
      await cluster.removeNode(node);
      const error = await rejection<shoal.NodeDiedError>(shoal.get(once));
      expect(error.message).toMatch(/nothing was heard/);
      expect(performance.now() - since).toBeGreaterThan(2_000); // heartbeats are up to 600 ms apart
    });
  });

  test("tells the end of a worker's process to owners elsewhere, with how it ended", async () => {
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      seen(await cluster.addNode(doomed));
      await shoal.init({ address: cluster.address });
      const exit = shoal.remote(() => process.exit(7), { ...there, maxRetries: 0 });
      const error = await rejection(shoal.get(exit.remote()));
      expect(error).toBeInstanceOf(shoal.WorkerCrashedError);
      expect(error.message).toMatch(/code 7/);
    });
  });
});

describe("A node that freezes", () => {
  test("is dead after the timeout; when it goes on it ends itself, and leaves nothing", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(doomed));
      await shoal.init({ address: cluster.address });
      const again = run.options({ ...there, maxRetries: 1 }).remote(marks.dir, "again", "go");
      await marks.seen("again-started");
      cluster.freeze(node);
      await waitFor("the head to give the node up", () => isDead(node));
      const second = seen(await cluster.addNode(doomed));
      await waitFor("the task to run elsewhere", () => marks.lines("again-started").includes(second.nodeId), 30_000);
      cluster.thaw(node);
      await cluster.ended(node);
      marks.set("go");
      expect(await shoal.get(again)).toBe(second.nodeId);
      expect(marks.lines("again-ended")).toEqual([second.nodeId]);
    });
  });
});

describe("A node that is cut off", () => {
  test("for less than the timeout loses nothing and repeats nothing", async () => {
    using marks = openMarks();
    await inCluster({ nodeTimeoutMs: 15_000 }, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(doomed));
      await shoal.init({ address: cluster.address });
      class Counter {
        private n = 0;
        next(): number {
          return ++this.n;
        }
      }
      const counter = shoal.remote(Counter, { ...there }).remote();
      expect(await shoal.get(counter.next.remote())).toBe(1);
      const task = run.options(there).remote(marks.dir, "task", "go");
      await marks.seen("task-started");
      cluster.cutOff(node);
      const call = counter.next.remote();
      marks.set("go");
      await marks.seen("task-ended"); // behind the cut
      expect((await shoal.wait<unknown>([task, call], { timeoutMs: 0 }))[0]).toEqual([]);
      cluster.heal(node);
      expect(await shoal.get([task, call])).toEqual([node.nodeId, 2]);
      expect([marks.count("task-started"), marks.count("task-ended")]).toEqual([1, 1]);
      expect(await isDead(node)).toBe(false);
    });
  });

  test("for longer ends itself with its workers and files, and its drivers hear why; its tasks run elsewhere", async () => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode(doomed));
      const node = seen(await cluster.addNode({ numCpus: 1 }));
      await shoal.init({ address: cluster.addressOf(node) });
      expect(shoal.getRuntimeContext().nodeId).toBe(node.nodeId);
      const task = run.options(there).remote(marks.dir, "task", "go");
      await marks.seen("task-started");
      cluster.cutOff(node);
      const error = await rejection<shoal.NodeDiedError>(shoal.get(task));
      expect(error).toBeInstanceOf(shoal.NodeDiedError);
      expect(error.message).toMatch(/cut off.*head/);
      expect(thrownBy(() => run.remote(marks.dir, "late", "go"))).toBeInstanceOf(shoal.NodeDiedError);
      await shoal.shutdown();
      await cluster.ended(node);
      expect(leftOf(node)).toEqual([]);

      // The head has ended the job of that driver, and so its task.
      await shoal.init({ address: cluster.address });
      await waitFor("the job of the lost driver to end", async () => (await shoal.availableResources()).there === 1);
    });
  });

  test.each(["in", "out"] as const)("in one direction (%s) is dead too, for both sides", async (way) => {
    using marks = openMarks();
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(doomed));
      await shoal.init({ address: cluster.address });
      const again = run.options({ ...there, maxRetries: 1 }).remote(marks.dir, "again", "go");
      await marks.seen("again-started");
      cluster.cutOff(node, way);
      await Promise.all([cluster.ended(node), waitFor("the head to give the node up", () => isDead(node))]);
      const second = seen(await cluster.addNode(doomed));
      marks.set("go");
      expect(await shoal.get(again)).toBe(second.nodeId);
      expect(marks.lines("again-ended")).toEqual([second.nodeId]);
    });
  });
});
