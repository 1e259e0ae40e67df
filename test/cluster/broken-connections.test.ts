/**
 * The connection between the head and a living node breaks in the middle of something, and is made again before either gives the other up. What was under
 * way on it is lost: the cut holds it back, and then its connections end.
 */
import { appendFileSync, existsSync } from "node:fs";
import { basename, join } from "node:path";
import * as shoal from "shoal";
import type { Cluster, TestNode } from "shoal/testing";
import { describe, expect, test } from "vitest";
import { inCluster, openMarks } from "../support/cluster-driver.ts";
import { isRunning, processesMentioning } from "../support/processes.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const patience = { nodeTimeoutMs: 20_000 };
const large = { numCpus: 1, resources: { there: 1 } };
const there = { resources: { there: 0.01 } };

class Counter {
  private n = 0;
  next(): number {
    return ++this.n;
  }
  pid(): number {
    return process.pid;
  }
}

class SlowlyMade {
  constructor(dir: string) {
    appendFileSync(join(dir, "constructing"), "\n");
    const look = new Int32Array(new SharedArrayBuffer(4));
    while (!existsSync(join(dir, "go"))) Atomics.wait(look, 0, 0, 10);
    appendFileSync(join(dir, "constructed"), "\n");
  }
  hello(): string {
    return "hello";
  }
}

const counter = shoal.remote(Counter, there);

/** What the head and the node say to each other while `act` runs is lost. */
async function losing(cluster: Cluster, node: TestNode, act: () => unknown, way: "in" | "both" = "both"): Promise<void> {
  cluster.cutOff(node, way);
  await act();
  cluster.breakConnections(node);
  cluster.heal(node);
}

const freeCpus = async (node: TestNode): Promise<number> =>
  (await shoal.nodes()).find(({ nodeId }) => nodeId === node.nodeId)?.available.CPU ?? 0;

const workersOf = ({ sessionDir, pid }: TestNode): number[] =>
  processesMentioning(basename(sessionDir)).flatMap((found) => (found.pid === pid || found.parent !== pid ? [] : [found.pid]));

describe("When the connection to a node breaks", () => {
  test("an actor that was to be placed there is placed there, in one process", async () => {
    await inCluster(patience, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(large));
      await shoal.init({ address: cluster.address });
      const handles: shoal.ActorHandle<Counter>[] = [];
      await losing(cluster, node, async () => {
        handles.push(counter.options({ name: "lost" }).remote());
        await shoal.getActor("lost"); // the head has it, and has ordered its place
      });
      expect(await shoal.get(handles[0].next.remote())).toBe(1);
      await waitFor("the CPU that it was placed with to be free", async () => (await freeCpus(node)) === 1);
      expect(workersOf(node)).toHaveLength(1);
    });
  });

  test("an actor that has just been through its constructor there keeps no more than it is to keep", async () => {
    using marks = openMarks();
    await inCluster(patience, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(large));
      await shoal.init({ address: cluster.address });
      const actor = shoal.remote(SlowlyMade, { ...there, maxTaskRetries: 1 }).remote(marks.dir);
      await marks.seen("constructing");
      await losing(
        cluster,
        node,
        async () => {
          marks.set("go");
          await marks.seen("constructed");
        },
        "in",
      );
      expect(await shoal.get(actor.hello.remote())).toBe("hello");
      await waitFor("the CPU that it was placed with to be free", async () => (await freeCpus(node)) === 1);
    });
  });

  test("a placement group that was to be reserved there is", async () => {
    await inCluster(patience, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(large));
      await shoal.init({ address: cluster.address });
      const groups: shoal.PlacementGroup[] = [];
      await losing(cluster, node, async () => {
        groups.push(shoal.placementGroup([{ CPU: 1, there: 0.5 }], { name: "lost" }));
        await waitFor("the head to know the group", () => shoal.getPlacementGroup("lost").then(Boolean, () => false));
      });
      const [group] = groups;
      expect(await group.wait({ timeoutMs: 30_000 })).toBe(true);
      const inside = { schedulingStrategy: shoal.placementGroupScheduling(group), numCpus: 1 };
      expect(await shoal.get(shoal.remote(() => shoal.getRuntimeContext().nodeId, inside).remote())).toBe(node.nodeId);
      await losing(cluster, node, () => shoal.removePlacementGroup(group));
      await waitFor("its bundle to be given back", async () => (await freeCpus(node)) === 1);
    });
  });

  test("an actor there that was killed to be restarted is, and one that was killed for good is gone", async () => {
    await inCluster(patience, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(large));
      await shoal.init({ address: cluster.address });
      const actor = counter.options({ maxRestarts: 1, maxTaskRetries: 1 }).remote();
      expect(await shoal.get([actor.next.remote(), actor.next.remote()])).toEqual([1, 2]);
      const first = await shoal.get(actor.pid.remote());
      await losing(cluster, node, () => shoal.kill(actor, { noRestart: false }));
      expect(await shoal.get(actor.next.remote())).toBe(1);
      await waitFor("the process before to end", () => !isRunning(first));
      const second = await shoal.get(actor.pid.remote());
      await losing(cluster, node, () => shoal.kill(actor));
      await waitFor("its process to end", () => !isRunning(second));
      expect(await rejection(shoal.get(actor.next.remote()))).toBeInstanceOf(shoal.ActorDiedError);
    });
  });

  test("the end of a job is known there", async () => {
    await inCluster(patience, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode(large));
      await shoal.init({ address: cluster.address });
      const actor = counter.remote();
      expect(await shoal.get(actor.next.remote())).toBe(1);
      expect(workersOf(node)).toHaveLength(1);
      await losing(cluster, node, () => shoal.shutdown());
      // By itself it would end some seconds later, when nobody has asked anything of it.
      await waitFor("the job's process there to end", () => workersOf(node).length === 0, 8_000);
    });
  });

  test("the end of a driver there is known to the head", async () => {
    await inCluster(patience, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1, resources: { here: 1 } }));
      const node = seen(await cluster.addNode(large));
      await shoal.init({ address: cluster.addressOf(node) });
      const group = shoal.placementGroup([{ CPU: 1, here: 0.5 }]);
      expect(await group.wait({ timeoutMs: 30_000 })).toBe(true);
      await losing(cluster, node, () => shoal.shutdown());
      await shoal.init({ address: cluster.address });
      await waitFor("the bundle of its group to be given back", async () => (await shoal.availableResources()).CPU === 2);
    });
  });
});
