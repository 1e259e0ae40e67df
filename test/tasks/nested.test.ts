import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, type Signal } from "../support/board.ts";
import { descendantsOf } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { waitFor } from "../support/wait-for.ts";

describe("on one CPU", () => {
  useSession({ numCpus: 1 });

  const depth = shoal.remote(async (n: number): Promise<number> => (n === 0 ? 0 : 1 + (await shoal.get(depth.remote(n - 1)))));
  const fibonacci = shoal.remote(async (n: number): Promise<number> => {
    if (n < 2) return n;
    const [a, b] = await shoal.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]);
    return a! + b!;
  });

  test("tasks nested ten deep finish", async () => {
    expect(await shoal.get(depth.remote(10))).toBe(10);
  });

  test("tasks nested a hundred deep finish", async () => {
    expect(await shoal.get(depth.remote(100))).toBe(100);
  });

  test("a tree of tasks finishes, without a process for each", async () => {
    const result = shoal.get(fibonacci.remote(9));
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, descendantsOf(process.pid).length);
    }, 20);
    expect(await result).toBe(34);
    clearInterval(watching);
    expect(most).toBeLessThanOrEqual(6); // the daemon, twice the CPUs, and what is being replaced
  });

  test("a task that waits through wait() gives its CPU back, too", async () => {
    const waits = shoal.remote(async (n: number): Promise<number> => {
      if (n === 0) return 0;
      const [ready] = await shoal.wait([waits.remote(n - 1)]);
      return 1 + (await shoal.get(ready[0]!));
    });
    expect(await shoal.get(waits.remote(5))).toBe(5);
  });

  test("a task that returns while a get of it still waits leaves its worker to the next tasks", async () => {
    const signal = newSignal();
    const parked = shoal.remote(async (signal: Signal) => shoal.get(signal.wait.remote()), { numCpus: 0 });
    const leaves = shoal.remote((signal: Signal) => {
      shoal.get(parked.remote(signal)).catch(() => undefined);
      return process.pid;
    });
    for (let i = 0; i < 4; i++) expect(await shoal.get(leaves.remote(signal))).toBeGreaterThan(0);
    await waitFor("the CPU to be free", async () => (await shoal.availableResources()).CPU === 1);
    await shoal.get(signal.send.remote());
  });

  test("and one that waited for a placement group", async () => {
    const group = shoal.placementGroup([{ cake: 1 }]);
    const asks = shoal.remote(async (group: shoal.PlacementGroup) => group.wait({ timeoutMs: 1 }));
    for (let i = 0; i < 3; i++) expect(await shoal.get(asks.remote(group))).toBe(false);
    await waitFor("the CPU to be free", async () => (await shoal.availableResources()).CPU === 1);
    await shoal.removePlacementGroup(group);
  });

  test("a task may start tasks and not wait for them", async () => {
    const child = shoal.remote((i: number) => i * 10);
    const parent = shoal.remote(() => [0, 1, 2].map((i) => child.remote(i)));
    expect(await shoal.get(await shoal.get(parent.remote()))).toEqual([0, 10, 20]);
  });
});

describe("tasks and actors that start one another", () => {
  useSession();

  class Node {
    readonly depth: number;
    constructor(depth: number) {
      this.depth = depth;
    }
    async below(n: number): Promise<string[]> {
      if (n === 0) return [`actor ${this.depth}`];
      return [`actor ${this.depth}`, ...(await shoal.get(spawnTask.remote(this.depth + 1, n - 1)))];
    }
  }
  const RemoteNode = shoal.remote(Node);

  const spawnTask = shoal.remote(async (depth: number, n: number): Promise<string[]> => {
    if (n === 0) return [`task ${depth}`];
    const actor = RemoteNode.remote(depth + 1);
    return [`task ${depth}`, ...(await shoal.get(actor.below.remote(n - 1)))];
  });

  test("a task starts an actor that starts a task, five deep", async () => {
    expect(await shoal.get(spawnTask.remote(0, 5))).toEqual(["task 0", "actor 1", "task 2", "actor 3", "task 4", "actor 5"]);
  });

  test("an actor starts an actor, and hands out its handle", async () => {
    class Parent {
      child() {
        return RemoteNode.remote(7);
      }
    }
    const parent = shoal.remote(Parent).remote();
    const child = await shoal.get(parent.child.remote());
    expect(await shoal.get(child.below.remote(0))).toEqual(["actor 7"]);
  });

  test("the result of an actor made in a finished task is still there", async () => {
    const makes = shoal.remote(() => [RemoteNode.remote(3).below.remote(0)]);
    const [ref] = await shoal.get(makes.remote());
    expect(await shoal.get(ref!)).toEqual(["actor 3"]);
  });
});
