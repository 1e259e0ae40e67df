/** nodes(), resources, and the runtime context of driver, task and actor. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { waitFor } from "../support/wait-for.ts";

const session = useSession({
  numCpus: 2,
  numGpus: 2,
  resources: { slot: 3 },
  labels: { zone: "a", disk: "ssd" },
  namespace: "info",
  objectStoreMemory: 64 * 1024 * 1024,
});

describe("nodes()", () => {
  test("lists the one node, alive, with its resources and labels", async () => {
    const nodes = await shoal.nodes();
    expect(nodes.length).toBe(1);
    expect(nodes[0]).toMatchObject({ nodeId: session().nodeId, alive: true });
    expect(nodes[0]!.resources).toMatchObject({ CPU: 2, GPU: 2, slot: 3 });
    expect(nodes[0]!.labels).toMatchObject({ zone: "a", disk: "ssd" });
  });
});

describe("clusterResources() and availableResources()", () => {
  test("say what there is and what is free", async () => {
    const resources = await shoal.clusterResources();
    expect(resources).toMatchObject({ CPU: 2, GPU: 2, slot: 3, object_store_memory: 64 * 1024 * 1024 });
    expect(resources.memory).toBeGreaterThan(0);
    const signal = SignalActor.remote();
    const task = shoal.remote((gate: typeof signal) => shoal.get(gate.wait.remote()), {
      numCpus: 0.5,
      numGpus: 1,
      resources: { slot: 3 },
    });
    const ref = task.remote(signal);
    await waitFor("the task to run", async () => (await shoal.get(signal.waiters.remote())) === 1);
    const available = await shoal.availableResources();
    expect(available.GPU).toBe(1);
    expect(available.slot ?? 0).toBe(0);
    expect(await shoal.clusterResources()).toMatchObject({ CPU: 2, GPU: 2, slot: 3 });
    await shoal.get(signal.send.remote());
    await shoal.get(ref);
    await waitFor("all to be free", async () => {
      const { CPU, GPU, slot } = await shoal.availableResources();
      return CPU === 2 && GPU === 2 && slot === 3;
    });
  });

  test("are the same when asked in a task", async () => {
    const inTask = shoal.remote(async () => ({
      cluster: await shoal.clusterResources(),
      nodes: (await shoal.nodes()).map(({ nodeId }) => nodeId),
    }));
    const { cluster, nodes } = await shoal.get(inTask.remote());
    expect(cluster).toEqual(await shoal.clusterResources());
    expect(nodes).toEqual([session().nodeId]);
  });
});

describe("getRuntimeContext()", () => {
  test("in the driver has ids and no task or actor", () => {
    const context = shoal.getRuntimeContext();
    expect(context).toMatchObject({ jobId: session().jobId, nodeId: session().nodeId, namespace: "info", wasRestarted: false });
    expect([context.taskId, context.taskName, context.actorId, context.actorName]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(context.workerId).toEqual(expect.stringMatching(/.+/));
    expect(context.gpuIds).toEqual([]);
    expect(context.signal.aborted).toBe(false);
  });

  test("in a task says which, with what resources, in which attempt", async () => {
    const describeMe = shoal.remote(function describeMe() {
      const { signal, ...rest } = shoal.getRuntimeContext();
      return { ...rest, aborted: signal.aborted };
    });
    const context = await shoal.get(describeMe.options({ numCpus: 0.5, numGpus: 1, resources: { slot: 1 } }).remote());
    expect(context).toMatchObject({
      jobId: session().jobId,
      nodeId: session().nodeId,
      namespace: "info",
      taskName: "describeMe",
      attempt: 0,
      aborted: false,
    });
    expect(context.taskId).toEqual(expect.stringMatching(/.+/));
    expect(context.actorId).toBeUndefined();
    expect(context.assignedResources).toMatchObject({ CPU: 0.5, GPU: 1, slot: 1 });
    expect(context.gpuIds.length).toBe(1);
    const other = await shoal.get(describeMe.options({ name: "renamed" }).remote());
    expect(other.taskName).toBe("renamed");
    expect(other.taskId).not.toBe(context.taskId);
    expect(other.gpuIds).toEqual([]);
  });

  test("is that of its own task in each of many async calls, also behind an await", async () => {
    class Many {
      async id(): Promise<[string | undefined, string | undefined]> {
        const before = shoal.getRuntimeContext().taskId;
        await new Promise((resolve) => setImmediate(resolve));
        return [before, shoal.getRuntimeContext().taskId];
      }
    }
    const many = shoal.remote(Many, { numCpus: 0 }).remote();
    const ids = await shoal.get(Array.from({ length: 20 }, () => many.id.remote()));
    for (const [before, after] of ids) expect(before).toBe(after);
    expect(new Set(ids.map(([id]) => id)).size).toBe(20);
  });

  test("counts attempts", async () => {
    const untilThird = shoal.remote(
      () => {
        const { attempt } = shoal.getRuntimeContext();
        if (attempt < 2) throw new Error(`attempt ${attempt}`);
        return attempt;
      },
      { retryExceptions: true },
    );
    expect(await shoal.get(untilThird.remote())).toBe(2);
  });

  test("in an actor says which, by id and name", async () => {
    class Self {
      look() {
        const { actorId, actorName, taskName, namespace, assignedResources } = shoal.getRuntimeContext();
        return { actorId, actorName, taskName, namespace, assignedResources };
      }
    }
    const named = shoal.remote(Self, { name: "self", namespace: "other", numCpus: 0.25 }).remote();
    const context = await shoal.get(named.look.remote());
    expect(context).toMatchObject({ actorName: "self", namespace: "other" });
    expect(context.taskName).toMatch(/look/);
    expect(context.assignedResources).toMatchObject({ CPU: 0.25 });
    const [first, second] = await shoal.get([0, 1].map(() => shoal.remote(Self, { numCpus: 0 }).remote().look.remote()));
    expect(first!.actorId).toBeDefined();
    expect(first!.actorId).not.toBe(second!.actorId);
    expect(first!.actorName).toBeUndefined();
  });

  test("gives concurrent tasks different GPUs, and returns them", async () => {
    const signal = SignalActor.remote();
    const gpus = shoal.remote(
      async (gate: typeof signal) => {
        await shoal.get(gate.wait.remote());
        return shoal.getRuntimeContext().gpuIds;
      },
      { numGpus: 1, numCpus: 0.5 },
    );
    const refs = [gpus.remote(signal), gpus.remote(signal)];
    await waitFor("both to run", async () => (await shoal.get(signal.waiters.remote())) === 2);
    await shoal.get(signal.send.remote());
    const ids = (await shoal.get(refs)).flat();
    expect(ids.toSorted()).toEqual([0, 1]);
    expect((await shoal.get(gpus.options({ numGpus: 2 }).remote(signal))).toSorted()).toEqual([0, 1]);
  });
});

describe("A label selector", () => {
  test("lets run what the node fulfils, and not the rest", async () => {
    const here = shoal.remote(() => "ran");
    const fulfilled: Record<string, string>[] = [
      { zone: "a" },
      { zone: "!b" },
      { zone: "in(a,b)" },
      { disk: "!in(hdd,tape)" },
      { zone: "a", disk: "ssd" },
    ];
    for (const labelSelector of fulfilled) {
      expect(await shoal.get(here.options({ labelSelector }).remote()), JSON.stringify(labelSelector)).toBe("ran");
    }
    const unfulfilled: Record<string, string>[] = [
      { zone: "b" },
      { zone: "!a" },
      { zone: "in(b,c)" },
      { missing: "x" },
      { zone: "a", disk: "hdd" },
    ];
    const refs = unfulfilled.map((labelSelector) => here.options({ labelSelector }).remote());
    expect((await shoal.wait(refs, { numReturns: refs.length, timeoutMs: 300 }))[0]).toEqual([]);
    for (const ref of refs) await shoal.cancel(ref);
  });
});
