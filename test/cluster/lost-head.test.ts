/** The head's node is lost: for good, and started again on the store that its predecessor left. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { inCluster, leftOf, openMarks } from "../support/cluster-driver.ts";
import { markedRun } from "../support/marked-run.ts";
import { rejection, thrownBy, waitFor } from "../support/wait-for.ts";

const run = shoal.remote((dir: string, name: string, until: string) => markedRun(dir, name, until));
const there = { resources: { there: 0.01 }, numCpus: 0 };

/** What the command line asks, too. */
const ask = (method: string, params: object): Promise<unknown> =>
  (globalThis as any)[Symbol.for("shoal.runtime")].daemon.request(method, params);

/** No answer takes longer than this, however loaded the machine is. */
const soon = { timeoutMs: 25_000 };

class Counter {
  private n = 0;
  next(): number {
    return ++this.n;
  }
  where(): string {
    return shoal.getRuntimeContext().nodeId;
  }
  pid(): number {
    return process.pid;
  }
}

describe("A head that is lost for good", () => {
  test("is an error at once for a driver on its node", async () => {
    await inCluster({ headRestartMs: 1_000 }, async (cluster, seen) => {
      const head = seen(await cluster.addNode({ numCpus: 1 }));
      await shoal.init({ address: cluster.address });
      using marks = openMarks();
      const task = run.remote(marks.dir, "task", "never");
      await marks.seen("task-started");
      await cluster.killNode(head);
      const error = await rejection<shoal.NodeDiedError>(shoal.get(task));
      expect(error).toBeInstanceOf(shoal.NodeDiedError);
      expect(error.nodeId).toBe(head.nodeId);
      expect(thrownBy(() => run.remote(marks.dir, "late", "never"))).toBeInstanceOf(shoal.NodeDiedError);
    });
  });

  test("is waited for by the others as long as they are told, then they end, and their drivers hear why", async () => {
    await inCluster({ headRestartMs: 2_000 }, async (cluster, seen) => {
      const head = seen(await cluster.addNode({ numCpus: 1 }));
      const [mine, other] = await Promise.all([cluster.addNode({ numCpus: 1 }), cluster.addNode({ numCpus: 1 })]);
      seen(mine);
      seen(other);
      await shoal.init({ address: cluster.addressOf(mine) });
      using marks = openMarks();
      const task = run.options({ schedulingStrategy: shoal.nodeAffinity(mine.nodeId) }).remote(marks.dir, "task", "never");
      await marks.seen("task-started");
      const since = performance.now();
      await cluster.killNode(head);
      const lookingUp = rejection(shoal.getActor("nobody"));
      const error = await rejection<shoal.NodeDiedError>(shoal.get(task));
      expect(error).toBeInstanceOf(shoal.NodeDiedError);
      expect(error.message).toMatch(/head did not come back within 2 s/);
      expect(performance.now() - since).toBeGreaterThan(1_500);
      expect((await lookingUp).message).toMatch(/head/);
      await Promise.all([cluster.ended(mine), cluster.ended(other)]);
      expect([mine, other].flatMap(leftOf)).toEqual([]);
    });
  });
});

describe("A head that is started again on its store", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "shoal-head-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test("finds what its nodes have: tasks and calls go on meanwhile, names, keys, groups and jobs survive", async () => {
    await inCluster({ storeFile: join(dir, "store") }, async (cluster, seen) => {
      const head = seen(await cluster.addNode({ numCpus: 1 }));
      const mine = seen(await cluster.addNode({ numCpus: 2 }));
      const far = seen(await cluster.addNode({ numCpus: 2, resources: { there: 1 } }));
      const { jobId } = await shoal.init({ address: cluster.addressOf(mine) });
      using marks = openMarks();
      const named = shoal.remote(Counter, { ...there, name: "counter", lifetime: "detached" }).remote();
      const owned = shoal.remote(Counter, there).remote();
      expect(await shoal.get([named.next.remote(), owned.next.remote()])).toEqual([1, 1]);
      const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }], { strategy: "STRICT_SPREAD", name: "pair" });
      await group.ready();
      await ask("kvPut", { namespace: "test", key: "key", value: "value" });
      const task = run.options(there).remote(marks.dir, "task", "go");
      await marks.seen("task-started");

      await cluster.killNode(head);
      expect(await shoal.get([named.next.remote(), owned.next.remote()])).toEqual([2, 2]);
      const asked = ask("kvGet", { namespace: "test", key: "key" }); // waits for the head
      seen(await cluster.restartHead({ numCpus: 1 }));
      expect(await asked).toBe("value");

      marks.set("go");
      expect(await shoal.get(task)).toBe(far.nodeId);
      expect(marks.count("task-started")).toBe(1);
      const found = await shoal.getActor<Counter>("counter");
      expect(await shoal.get([found.next.remote(), found.where.remote()])).toEqual([3, far.nodeId]);
      expect(await shoal.get(owned.next.remote())).toBe(3);
      const nodes = await shoal.nodes();
      expect(nodes.filter(({ alive }) => !alive).map(({ nodeId }) => nodeId)).toEqual([head.nodeId]);
      expect(nodes.filter(({ alive }) => alive)).toHaveLength(3);

      // The group is where it was, and gives what it holds back when it is removed.
      const again = await shoal.getPlacementGroup("pair");
      await again.ready();
      const inGroup = run.options({ schedulingStrategy: shoal.placementGroupScheduling(again, { bundleIndex: 0 }) });
      marks.set("now");
      expect(await shoal.get(inGroup.remote(marks.dir, "grouped", "now"))).toMatch(/.+/);
      await shoal.removePlacementGroup(again);
      await waitFor("the bundles to go back", async () => (await shoal.availableResources()).CPU === 5);
      expect((await shoal.get(run.remote(marks.dir, "new", "now"))).length).toBeGreaterThan(0);
      expect(jobId).toBe(shoal.getRuntimeContext().jobId);
    });
  });

  test("tells owners of deaths in the meantime and after it, and restarts what may be restarted", async () => {
    await inCluster({ storeFile: join(dir, "store") }, async (cluster, seen) => {
      const head = seen(await cluster.addNode({ numCpus: 1, resources: { first: 1 } }));
      const mine = seen(await cluster.addNode({ numCpus: 1 }));
      seen(await cluster.addNode({ numCpus: 1, resources: { there: 1 } }));
      await shoal.init({ address: cluster.addressOf(mine) });
      const actors = ["during", "restarted", "after"].map((name) =>
        shoal.remote(Counter, { ...there, maxRestarts: name === "restarted" ? 1 : 0, maxTaskRetries: 3 }).remote(),
      );
      const atHead = shoal.remote(Counter, { resources: { first: 0.1 }, numCpus: 0 }).remote();
      const kept = shoal.remote(Counter, { resources: { first: 0.1 }, numCpus: 0, lifetime: "detached", name: "kept" }).remote();
      const pids = await shoal.get(actors.map((actor) => actor.pid.remote()));
      await shoal.get([atHead.next.remote(), kept.next.remote()], soon);
      await cluster.killNode(head);
      process.kill(pids[0], "SIGKILL");
      process.kill(pids[1], "SIGKILL");
      seen(await cluster.restartHead({ numCpus: 1, resources: { first: 1 } }));
      await expect(shoal.get(actors[0].next.remote(), soon)).rejects.toBeInstanceOf(shoal.ActorDiedError);
      expect(await shoal.get(actors[1].next.remote(), soon)).toBe(1);
      const error = await rejection(shoal.get(atHead.next.remote(), soon));
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error.message).toContain(head.nodeId);
      const found = await shoal.getActor<Counter>("kept");
      const first = await waitFor("the detached actor to live again", () =>
        shoal.get(found.next.remote(), soon).catch(() => null),
      );
      expect(first).toBe(1);

      expect(await shoal.get(actors[2].next.remote(), soon)).toBe(1);
      process.kill(pids[2], "SIGKILL");
      await expect(shoal.get(actors[2].next.remote(), soon)).rejects.toBeInstanceOf(shoal.ActorDiedError);
    });
  });

  test("declares nodes dead that did not live to see it, and ends the jobs of their drivers", async () => {
    await inCluster({ storeFile: join(dir, "store") }, async (cluster, seen) => {
      const head = seen(await cluster.addNode({ numCpus: 1 }));
      const mine = seen(await cluster.addNode({ numCpus: 1, resources: { there: 1 } }));
      const lost = seen(await cluster.addNode({ numCpus: 1 }));
      await shoal.init({ address: cluster.addressOf(lost) });
      using marks = openMarks();
      const task = run.options(there).remote(marks.dir, "task", "never");
      task.id;
      await marks.seen("task-started");
      await cluster.killNode(head);
      await cluster.removeNode(lost);
      await shoal.shutdown();
      seen(await cluster.restartHead({ numCpus: 1 }));
      await shoal.init({ address: cluster.addressOf(mine) });
      await waitFor("the lost node to be declared dead", async () =>
        (await shoal.nodes()).some((node) => node.nodeId === lost.nodeId && !node.alive),
      );
      await waitFor("the task of the lost driver to end", async () => (await shoal.availableResources()).there === 1);
    });
  });
});
