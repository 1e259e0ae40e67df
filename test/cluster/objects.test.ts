/** Objects of several nodes: a driver on each node shares refs with the others, over the real daemons and their connections. */
import { Cluster, type TestNode } from "shoal/testing";
import { afterEach, describe, expect, it } from "vitest";
import { type NodeId, newWorkerId } from "../../src/base/ids.ts";
import type { ObjectRef } from "../../src/runtime/owner/object-ref.ts";
import { ObjectRef as ObjectRefClass } from "../../src/runtime/owner/object-ref.ts";
import { Runtime } from "../../src/runtime/owner/runtime.ts";
import { daemonSocket } from "../../src/runtime/owner/session-paths.ts";
import { waitFor } from "../support/wait-for.ts";

type Numbers = Float64Array<ArrayBufferLike>;

/** A driver on one node. */
class Driver {
  readonly runtime: Runtime;
  readonly node: TestNode;

  private constructor(node: TestNode) {
    this.node = node;
    this.runtime = new Runtime({
      role: "driver",
      selfId: newWorkerId(node.nodeId as NodeId),
      paths: { sessionDir: node.sessionDir, shmDir: node.shmDir },
      namespace: "default",
      runtimeEnv: null,
      logToDriver: false,
      jobId: "" as never,
    });
  }

  static async on(node: TestNode): Promise<Driver> {
    const driver = new Driver(node);
    await driver.runtime.connect(daemonSocket(node.sessionDir), "");
    return driver;
  }

  put(value: Numbers): ObjectRef<Numbers> {
    return this.runtime.objects.put(value);
  }

  /** A ref here to what `ref` of another driver names; that driver holds on to its own until this one has registered. */
  async borrow<T>(from: Driver, ref: ObjectRef<T>): Promise<ObjectRef<T>> {
    const record = ObjectRefClass.recordOf(ref, from.runtime, "lend");
    const borrowed = this.runtime.refFromWire(from.runtime.values.wireRef(record));
    await this.runtime.borrows.unregistered("" as never);
    return borrowed;
  }

  get<T>(ref: ObjectRef<T>, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<T> {
    return this.runtime.objects.getOne(ObjectRefClass.recordOf(ref, this.runtime, "get"), options) as Promise<T>;
  }

  /** Whether the ref was ready in time. */
  async wait(ref: ObjectRef<unknown>, timeoutMs: number, fetchLocal: boolean): Promise<boolean[]> {
    const record = ObjectRefClass.recordOf(ref, this.runtime, "wait for");
    const [ready] = await this.runtime.objects.wait([ref], [record], 1, timeoutMs, fetchLocal);
    return [ready.length === 1];
  }

  async transfers(): Promise<{ pulled: number; bytesPulled: number; served: number; sentOn: number; resumed: number }> {
    return await this.runtime.daemon.request("transferStats", {});
  }

  /** Objects this node has, in memory or on disk. */
  async objects(): Promise<number> {
    const { objects, spilledObjects } = await this.runtime.daemon.request("storeStats", {});
    return objects + spilledObjects;
  }
}

let cluster: Cluster;
let drivers: Driver[] = [];

async function start(count: number): Promise<Driver[]> {
  // All that nodes say to each other passes through this process, which makes and compares large arrays.
  cluster = new Cluster({ nodeTimeoutMs: 15_000 });
  const nodes: TestNode[] = [];
  for (let i = 0; i < count; i++) nodes.push(await cluster.addNode({ numCpus: 0 }));
  drivers = await Promise.all(nodes.map((node) => Driver.on(node)));
  return drivers;
}

afterEach(async () => {
  for (const { runtime } of drivers) runtime.end(new Error("the test is over"));
  drivers = [];
  await cluster.close();
});

function numbers(count: number): Numbers {
  const made = new Float64Array(count);
  for (let i = 0; i < count; i++) made[i] = i * 0.5;
  return made;
}

function expectNumbers(value: Numbers, count: number): void {
  expect(value).toHaveLength(count);
  expect(Buffer.compare(Buffer.from(value.buffer, value.byteOffset, value.byteLength), Buffer.from(numbers(count).buffer))).toBe(
    0,
  );
}

/** Drops the refs and waits until no node has any object left. */
async function freeEverywhere(...refs: readonly ObjectRef<unknown>[]): Promise<void> {
  for (const ref of refs) ref[Symbol.dispose]();
  let left: number[] = [];
  const look = async () => {
    left = await Promise.all(drivers.map((driver) => driver.objects()));
    return left.every((count) => count === 0);
  };
  await waitFor("every node to have freed what it had", look, 5_000).catch(() => undefined);
  expect(left).toEqual(drivers.map(() => 0));
}

describe("Objects of several nodes", () => {
  it("are brought once to each node that reads them, and freed everywhere with their last ref (3 nodes)", async () => {
    const [a, b, c] = await start(3);
    const count = 1_000_000;
    const ref = a.put(numbers(count));
    const [onB, onC] = [await b.borrow(a, ref), await c.borrow(a, ref)];
    const values = await Promise.all([b.get(onB), b.get(onB), c.get(onC), c.get(onC), a.get(ref)]);
    for (const value of values) expectNumbers(value, count);
    expectNumbers(await b.get(onB), count);
    for (const driver of [b, c]) expect(await driver.transfers()).toMatchObject({ pulled: 1 });
    expect((await a.transfers()).pulled).toBe(0);
    expect(await Promise.all(drivers.map((driver) => driver.objects()))).toEqual([1, 1, 1]);
    await freeEverywhere(ref, onB, onC);
  });

  it("are readable at a node where nobody else asked, small ones one by one (2 nodes)", async () => {
    const [a, b] = await start(2);
    const refs = Array.from({ length: 20 }, (_, i) => a.put(numbers(20_000 + i)));
    const borrowed = [];
    for (const ref of refs) borrowed.push(await b.borrow(a, ref));
    const values = await Promise.all(borrowed.map((ref) => b.get(ref)));
    for (const [i, value] of values.entries()) expectNumbers(value, 20_000 + i);
    expect(await b.transfers()).toMatchObject({ pulled: 20 });
    for (const ref of borrowed) ref[Symbol.dispose]();
    for (const ref of refs) ref[Symbol.dispose]();
    await waitFor("the copies to be freed", async () => (await b.objects()) === 0, 5_000);
  });

  it("reach four nodes by way of each other (5 nodes)", async () => {
    const [a, ...others] = await start(5);
    const count = 2_000_000;
    const ref = a.put(numbers(count));
    const borrowed = await Promise.all(others.map((driver) => driver.borrow(a, ref)));
    const values = await Promise.all(others.map((driver, i) => driver.get(borrowed[i])));
    for (const value of values) expectNumbers(value, count);
    for (const driver of others) expect(await driver.transfers()).toMatchObject({ pulled: 1 });
    expect((await a.transfers()).served).toBeLessThan(4);
    await freeEverywhere(ref, ...borrowed);
  });

  it("count as ready once they are here, unless told otherwise (2 nodes)", async () => {
    const [a, b] = await start(2);
    const ref = a.put(numbers(2_000_000));
    const onB = await b.borrow(a, ref);
    expect(await b.wait(onB, 10_000, false)).toEqual([true]);
    expect((await b.transfers()).pulled).toBe(0);
    expect(await b.wait(onB, 10_000, true)).toEqual([true]);
    expect((await b.transfers()).pulled).toBe(1);
    await freeEverywhere(ref, onB);
  });

  it("keep to the time and the signal of the get that waits for them (2 nodes)", async () => {
    const [a, b] = await start(2);
    const ref = a.put(numbers(1_000_000));
    const onB = await b.borrow(a, ref);
    expect(await b.wait(onB, 10_000, false)).toEqual([true]);
    cluster.cutOff(a.node);
    await expect(b.get(onB, { timeoutMs: 50 })).rejects.toMatchObject({ code: "GET_TIMEOUT" });
    const controller = new AbortController();
    const aborted = b.get(onB, { signal: controller.signal });
    controller.abort(new Error("no longer wanted"));
    await expect(aborted).rejects.toThrow("no longer wanted");
    cluster.heal(a.node);
    expectNumbers(await b.get(onB), 1_000_000);
    await freeEverywhere(ref, onB);
  });

  it("are lost with their owner, and their copies go (3 nodes)", async () => {
    const [, b, c] = await start(3);
    const ref = c.put(numbers(1_000_000));
    const onB = await b.borrow(c, ref);
    expectNumbers(await b.get(onB), 1_000_000);
    await cluster.killNode(c.node);
    drivers = drivers.filter((driver) => driver !== c);
    // At the latest when the head has not heard of the node for as long as it has.
    await waitFor("the copy to go with its owner", async () => (await b.objects()) === 0, 40_000);
    await expect(b.get(onB)).rejects.toMatchObject({ code: "OWNER_DIED" });
    onB[Symbol.dispose]();
  });
});
