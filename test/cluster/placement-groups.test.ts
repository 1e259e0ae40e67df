/** Placement groups, as far as one node shows them. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, thrownBy, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;

class Worker {
  assigned(): Record<string, number> {
    return shoal.getRuntimeContext().assignedResources;
  }
  async hold(signal: Signal): Promise<void> {
    await shoal.get(signal.wait.remote());
  }
}

const inside = (group: shoal.PlacementGroup, bundleIndex = -1) => ({
  schedulingStrategy: shoal.placementGroupScheduling(group, { bundleIndex }),
});
const park = shoal.remote((signal: Signal) => shoal.get(signal.wait.remote()).then(() => "parked"));
const one = shoal.remote(() => 1);
const waiters = (signal: Signal, count: number) =>
  waitFor(`${count} to wait`, async () => (await shoal.get(signal.waiters.remote())) === count);
const allFree = () => waitFor("both CPUs to be free", async () => (await shoal.availableResources()).CPU === 2);

useSession({ numCpus: 2 });

describe("A placement group", () => {
  test("reserves its bundles together; tasks and actors run in them", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }]);
    expect(group.bundles).toEqual([{ CPU: 1 }, { CPU: 1 }]);
    expect(await group.wait({ timeoutMs: 10_000 })).toBe(true);
    expect((await shoal.get(group.ready())).id).toBe(group.id);
    expect((await shoal.availableResources()).CPU ?? 0).toBe(0);
    const actor = shoal.remote(Worker, { numCpus: 1 }).options(inside(group, 0)).remote();
    expect(await shoal.get(actor.assigned.remote())).toMatchObject({ CPU: 1 });
    expect(await shoal.get(one.options(inside(group, 1)).remote())).toBe(1);
    expect(await shoal.get(one.options(inside(group)).remote())).toBe(1);
    await shoal.removePlacementGroup(group);
    await allFree();
  });

  test("keeps others out of what it reserved, used or not", async () => {
    const group = shoal.placementGroup([{ CPU: 2 }]);
    await group.wait();
    const outside = one.remote();
    expect((await shoal.wait([outside], { timeoutMs: 300 }))[0]).toEqual([]);
    expect(await shoal.get(one.options(inside(group)).remote())).toBe(1);
    await shoal.removePlacementGroup(group);
    expect(await shoal.get(outside)).toBe(1);
    await allFree();
  });

  test("runs no more in a bundle than fits", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }]);
    await group.wait();
    const signal = SignalActor.remote();
    class Holder extends Worker {}
    const holder = shoal.remote(Holder, { numCpus: 1 }).options(inside(group, 0)).remote();
    await shoal.get(holder.assigned.remote());
    const behind = one.options(inside(group, 0)).remote();
    expect(await shoal.get(one.options(inside(group, 1)).remote())).toBe(1);
    expect((await shoal.wait([behind], { timeoutMs: 300 }))[0]).toEqual([]);
    await shoal.kill(holder);
    expect(await shoal.get(behind)).toBe(1);
    void signal;
    await shoal.removePlacementGroup(group);
    await allFree();
  });

  test("waits until it can be reserved, and what is aimed at it waits with it", async () => {
    const first = shoal.placementGroup([{ CPU: 2 }]);
    await first.wait();
    const second = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }]);
    expect(await second.wait({ timeoutMs: 200 })).toBe(false);
    const task = one.options(inside(second)).remote();
    const ready = second.ready();
    expect((await shoal.wait<unknown>([ready, task], { numReturns: 2, timeoutMs: 100 }))[0]).toEqual([]);
    await shoal.removePlacementGroup(first);
    expect((await shoal.get(ready)).id).toBe(second.id);
    expect(await shoal.get(task)).toBe(1);
    await shoal.removePlacementGroup(second);
    await allFree();
  });

  test("with STRICT_SPREAD over two bundles finds no place on one node; the other strategies do", async () => {
    const never = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }], { strategy: "STRICT_SPREAD" });
    expect(await never.wait({ timeoutMs: 300 })).toBe(false);
    await shoal.removePlacementGroup(never);
    for (const strategy of ["PACK", "SPREAD", "STRICT_PACK"] as const) {
      const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }], { strategy });
      expect(await group.wait({ timeoutMs: 10_000 }), strategy).toBe(true);
      await shoal.removePlacementGroup(group);
    }
    await allFree();
  });

  test("is found by its name, from the driver and from tasks, until it is removed", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }], { name: "named" });
    await group.wait();
    expect((await shoal.getPlacementGroup("named")).id).toBe(group.id);
    const inTask = shoal.remote(async () => (await shoal.getPlacementGroup("named")).id, { numCpus: 0 });
    expect(await shoal.get(inTask.remote())).toBe(group.id);
    await shoal.removePlacementGroup(group);
    expect((await rejection(shoal.getPlacementGroup("named"))).message).toContain("named");
    await allFree();
  });

  test("can be passed to a task, which uses it", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }]);
    await group.wait();
    const user = shoal.remote(
      async (given: shoal.PlacementGroup) =>
        shoal.get(
          shoal
            .remote(() => "in")
            .options({ schedulingStrategy: shoal.placementGroupScheduling(given) })
            .remote(),
        ),
      { numCpus: 0 },
    );
    expect(await shoal.get(user.remote(group))).toBe("in");
    await shoal.removePlacementGroup(group);
    await allFree();
  });

  test("captures the tasks of its tasks if that is asked, and only then", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }]);
    await group.wait();
    const parent = shoal.remote(async () => {
      const child = shoal.remote(() => "child").remote();
      const [ready] = await shoal.wait([child], { timeoutMs: 1_500 });
      if (ready.length === 0) await shoal.cancel(child);
      return ready.length;
    });
    const strategy = (captureChildTasks: boolean) => ({
      schedulingStrategy: shoal.placementGroupScheduling(group, { captureChildTasks }),
    });
    expect(await shoal.get(parent.options(strategy(true)).remote())).toBe(1);
    expect(await shoal.get(parent.options(strategy(false)).remote())).toBe(0);
    await shoal.removePlacementGroup(group);
    await allFree();
  });
});

describe("Removing a placement group", () => {
  test("ends what runs in it, fails what waits for it, and gives everything back; again is fine", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }, { CPU: 1 }]);
    await group.wait();
    const signal = SignalActor.remote();
    const actor = shoal.remote(Worker, { numCpus: 1, maxRestarts: -1, maxTaskRetries: -1 }).options(inside(group, 0)).remote();
    const call = actor.hold.remote(signal);
    const running = park.options(inside(group, 1)).remote(signal);
    await waiters(signal, 2);
    const queuedOn = park.options({ ...inside(group, 0), numCpus: 1 }).remote(signal);
    await shoal.removePlacementGroup(group);
    await shoal.removePlacementGroup(group);
    expect(await rejection(shoal.get(call))).toBeInstanceOf(shoal.ActorDiedError);
    expect(await rejection(shoal.get(queuedOn))).toBeInstanceOf(shoal.TaskUnschedulableError);
    expect(await rejection(shoal.get(running))).toBeInstanceOf(shoal.TaskUnschedulableError);
    await allFree();
    expect(await shoal.get(one.options({ numCpus: 2 }).remote())).toBe(1);
  });

  test("makes what is aimed at it later unschedulable", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }]);
    await group.wait();
    await shoal.removePlacementGroup(group);
    expect(await rejection(shoal.get(one.options(inside(group)).remote()))).toBeInstanceOf(shoal.TaskUnschedulableError);
    const actor = shoal.remote(Worker, { numCpus: 1 }).options(inside(group)).remote();
    expect(await rejection(shoal.get(actor.assigned.remote()))).toBeInstanceOf(shoal.ActorUnschedulableError);
    expect(await group.wait({ timeoutMs: 1_000 })).toBe(false);
    expect(await rejection(shoal.get(group.ready()))).toBeInstanceOf(Error);
  });

  test("that is still pending ends its ready() with an error, and its wait() with false", async () => {
    const group = shoal.placementGroup([{ CPU: 100 }]);
    const ready = group.ready();
    const waiting = group.wait({ timeoutMs: 20_000 });
    expect((await shoal.wait([ready], { timeoutMs: 100 }))[0]).toEqual([]);
    await shoal.removePlacementGroup(group);
    expect((await rejection(shoal.get(ready))).message).toContain("removed");
    expect(await waiting).toBe(false);
  });
});

describe("A placement group that makes no sense", () => {
  test("is rejected when it is made", () => {
    for (const bundles of [
      [],
      [{}],
      [{ CPU: 0 }],
      [{ CPU: -1 }],
      [{ CPU: 1 }, {}],
      [{ CPU: "1" }],
      {},
      [null],
      [[1]],
      [{ CPU: Infinity }],
      [{ CPU: 1e300 }],
      [{ CPU: Number.NaN }],
    ]) {
      const error = thrownBy(() => shoal.placementGroup(bundles as never));
      expect(error instanceof TypeError || error instanceof RangeError, JSON.stringify(bundles)).toBe(true);
    }
    expect(thrownBy(() => shoal.placementGroup([{ CPU: 1 }], { strategy: "SCATTER" as never })).message).toContain("SCATTER");
    expect(thrownBy(() => shoal.placementGroup([{ CPU: 1 }], { lifetime: "forever" as never }))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => shoal.placementGroup([{ CPU: 1 }], { name: 5 as never }))).toBeInstanceOf(TypeError);
    expect(thrownBy(() => shoal.placementGroup([{ CPU: 1 }], { names: "a" } as never)).message).toContain(
      "lifetime, name, strategy",
    );
    const many = Array.from({ length: 10_001 }, () => ({ CPU: 1 }));
    expect(thrownBy(() => shoal.placementGroup(many))).toBeInstanceOf(RangeError);
    expect(thrownBy(() => shoal.placementGroupScheduling(null as never))).toBeInstanceOf(TypeError);
  });

  test("by ready() and wait() when its name is taken", async () => {
    const first = shoal.placementGroup([{ CPU: 0.1 }], { name: "taken" });
    await shoal.get(first.ready());
    const second = shoal.placementGroup([{ CPU: 0.1 }], { name: "taken" });
    for (const waiting of [second.wait(), shoal.get(second.ready())])
      expect((await rejection(waiting)).message).toContain("'taken' as the name is taken");
    await shoal.removePlacementGroup(first);
  });

  test("or a bundle that it has not, or that is too small, is rejected at the call", async () => {
    const group = shoal.placementGroup([{ CPU: 1 }]);
    await group.wait();
    expect(thrownBy(() => shoal.placementGroupScheduling(group, { bundleIndex: 1 }))).toBeInstanceOf(RangeError);
    expect(thrownBy(() => shoal.placementGroupScheduling(group, { bundleIndex: -2 }))).toBeInstanceOf(RangeError);
    const tooLarge = async () => shoal.get(one.options({ ...inside(group), numCpus: 2 }).remote(), { timeoutMs: 5_000 });
    expect(await rejection(tooLarge())).not.toBeInstanceOf(shoal.GetTimeoutError);
    await shoal.removePlacementGroup(group);
    await allFree();
  });
});
