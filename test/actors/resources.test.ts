/** What actors take of the machine. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

class Ping {
  ping(): string {
    return "pong";
  }
  assigned(): Record<string, number> {
    return shoal.getRuntimeContext().assignedResources;
  }
  gpus(): readonly (number | string)[] {
    return shoal.getRuntimeContext().gpuIds;
  }
}

const available = (name: string, amount: number) =>
  waitFor(`${amount} ${name} to be available`, async () => ((await shoal.availableResources())[name] ?? 0) === amount);

useSession({ numCpus: 2, numGpus: 2, resources: { slot: 2 } });

describe("An actor's resources", () => {
  test("are by default a CPU to be placed and none while it lives", async () => {
    const actors = Array.from({ length: 6 }, () => shoal.remote(Ping).remote());
    expect(await shoal.get(actors.map((actor) => actor.ping.remote()))).toEqual(Array(6).fill("pong"));
    await available("CPU", 2);
    const task = shoal.remote(() => 1, { numCpus: 2 });
    expect(await shoal.get(task.remote())).toBe(1);
  });

  test("that were asked for are held while it lives, and given back when it is dead", async () => {
    const actor = shoal.remote(Ping, { numCpus: 1.5, resources: { slot: 2 } }).remote();
    expect(await shoal.get(actor.assigned.remote())).toMatchObject({ CPU: 1.5, slot: 2 });
    await available("CPU", 0.5);
    await available("slot", 0);
    await shoal.kill(actor);
    await available("CPU", 2);
    await available("slot", 2);
  });

  test("make a further actor wait until there are enough", async () => {
    const first = shoal.remote(Ping, { numCpus: 0, resources: { slot: 1.5 } }).remote();
    await shoal.get(first.ping.remote());
    const second = shoal.remote(Ping, { numCpus: 0, resources: { slot: 1 } }).remote();
    const ping = second.ping.remote();
    expect((await shoal.wait([ping], { timeoutMs: 300 }))[0]).toEqual([]);
    await shoal.kill(first);
    expect(await shoal.get(ping)).toBe("pong");
    await shoal.kill(second);
    await available("slot", 2);
  });

  test("of GPUs come with their ids, each to one actor", async () => {
    const [a, b] = [
      shoal.remote(Ping, { numCpus: 0, numGpus: 1 }).remote(),
      shoal.remote(Ping, { numCpus: 0, numGpus: 1 }).remote(),
    ];
    const [ofA, ofB] = await shoal.get([a.gpus.remote(), b.gpus.remote()]);
    expect([ofA.length, ofB.length]).toEqual([1, 1]);
    expect(ofA[0]).not.toBe(ofB[0]);
    await Promise.all([shoal.kill(a), shoal.kill(b)]);
    await available("GPU", 2);
  });

  test("that exist nowhere leave it pending, and it can be killed", async () => {
    const actor = shoal.remote(Ping, { resources: { unobtainium: 1 } }).remote();
    const ping = actor.ping.remote();
    expect((await shoal.wait([ping], { timeoutMs: 300 }))[0]).toEqual([]);
    await shoal.kill(actor);
    expect(await rejection(shoal.get(ping))).toBeInstanceOf(shoal.ActorDiedError);
  });

  test("with hard affinity to a node that does not exist are ActorUnschedulableError, at once", async () => {
    const nowhere = shoal.nodeAffinity("f".repeat(32));
    const actor = shoal.remote(Ping, { schedulingStrategy: nowhere }).remote();
    expect(await rejection(shoal.get(actor.ping.remote()))).toBeInstanceOf(shoal.ActorUnschedulableError);
    const [node] = await shoal.nodes();
    const here = shoal.remote(Ping, { schedulingStrategy: shoal.nodeAffinity(node!.nodeId) }).remote();
    expect(await shoal.get(here.ping.remote())).toBe("pong");
    const soft = shoal.remote(Ping, { schedulingStrategy: shoal.nodeAffinity("f".repeat(32), { soft: true }) }).remote();
    expect(await shoal.get(soft.ping.remote())).toBe("pong");
  });
});
