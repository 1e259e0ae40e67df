/** `asCompleted`, `ActorPool`, `Queue` and `Semaphore`. */
import * as shoal from "shoal";
import { ActorPool, asCompleted, Queue, QueueEmptyError, QueueFullError, Semaphore } from "shoal/util";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const result of results) all.push(result);
  return all;
}
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const waiters = (signal: Signal, count: number) =>
  waitFor(`${count} to wait`, async () => (await shoal.get(signal.waiters.remote())) === count);
const park = shoal.remote(
  async (signal: Signal, value: number) => {
    await shoal.get(signal.wait.remote());
    return value;
  },
  { numCpus: 0 },
);

useSession();

describe("asCompleted()", () => {
  test("gives the values as they become ready", async () => {
    const signals = range(3).map(() => SignalActor.remote());
    const refs = signals.map((signal, i) => park.remote(signal, i));
    const seen: number[] = [];
    await shoal.get(signals[1]!.send.remote());
    for await (const value of asCompleted(refs)) {
      seen.push(value);
      if (seen.length === 1) await shoal.get(signals[2]!.send.remote());
      if (seen.length === 2) await shoal.get(signals[0]!.send.remote());
    }
    expect(seen).toEqual([1, 2, 0]);
    expect(await collect(asCompleted([]))).toEqual([]);
  });

  test("throws a failure when it comes, or hands the refs out", async () => {
    const fail = shoal.remote(() => {
      throw new RangeError("failed");
    });
    const ok = shoal.remote(() => 1);
    expect((await rejection<shoal.TaskError>(collect(asCompleted([fail.remote()])))).cause).toBeInstanceOf(RangeError);
    const refs = await collect(asCompleted<number>([ok.remote(), fail.remote()], { yieldRefs: true }));
    const outcomes = await Promise.allSettled(refs.map((ref) => shoal.get(ref)));
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });
});

class Doubler {
  async double(x: number): Promise<number> {
    return x * 2;
  }
  async gated(signal: Signal, x: number): Promise<number> {
    await shoal.get(signal.wait.remote());
    return x;
  }
  async fail(): Promise<never> {
    throw new RangeError("failed");
  }
  async exit(): Promise<never> {
    process.exit(1);
  }
}
const DoublerActor = shoal.remote(Doubler, { numCpus: 0 });
const pool = (n = 2) => new ActorPool<Doubler, number>(range(n).map(() => DoublerActor.remote()));

describe("ActorPool", () => {
  test("maps in order, and unordered as results come", async () => {
    expect(await collect(pool().map((actor, x: number) => actor.double.remote(x), range(10)))).toEqual(
      range(10).map((x) => x * 2),
    );
    const signal = SignalActor.remote();
    const seen: number[] = [];
    const results = pool().mapUnordered(
      (actor, x: number) => (x === 0 ? actor.gated.remote(signal, 0) : actor.double.remote(x)),
      range(4),
    );
    for await (const x of results) {
      seen.push(x);
      if (seen.length === 3) await shoal.get(signal.send.remote());
    }
    expect(seen).toEqual([2, 4, 6, 0]);
  });

  test("runs one call at a time on each actor, and the next when one is free", async () => {
    const signal = SignalActor.remote();
    const workers = pool(2);
    for (const x of range(5)) workers.submit((actor, value: number) => actor.gated.remote(signal, value), x);
    expect([workers.hasNext(), workers.hasFree()]).toEqual([true, false]);
    await waiters(signal, 2);
    expect(await rejection(workers.getNext({ timeoutMs: 50 }))).toBeInstanceOf(shoal.GetTimeoutError);
    await shoal.get(signal.send.remote());
    const seen: number[] = [];
    while (workers.hasNext()) seen.push(await workers.getNext());
    expect(seen).toEqual(range(5));
    expect(await rejection(workers.getNext())).toBeInstanceOf(RangeError);
    expect(workers.hasFree()).toBe(true);
  });

  test("hands out the first result that is done", async () => {
    const signal = SignalActor.remote();
    const workers = pool(2);
    workers.submit((actor, x: number) => actor.gated.remote(signal, x), 1);
    workers.submit((actor, x: number) => actor.double.remote(x), 10);
    expect(await workers.getNextUnordered()).toBe(20);
    expect(await rejection(workers.getNextUnordered({ timeoutMs: 20 }))).toBeInstanceOf(shoal.GetTimeoutError);
    await shoal.get(signal.send.remote());
    expect(await workers.getNextUnordered()).toBe(1);
  });

  test("tells errors with the result they belong to, and goes on", async () => {
    const workers = pool(1);
    workers.submit((actor) => actor.fail.remote(), null);
    workers.submit((actor, x: number) => actor.double.remote(x), 1);
    expect((await rejection<shoal.TaskError>(workers.getNext())).cause).toBeInstanceOf(RangeError);
    expect(await workers.getNext()).toBe(2);
  });

  test("loses an actor that died, and goes on with the others; with the last one calls fail", async () => {
    const workers = pool(2);
    for (let i = 0; i < 2; i++) {
      workers.submit((actor) => actor.exit.remote(), null);
      if (i === 0) {
        expect(await rejection(workers.getNext())).toBeInstanceOf(shoal.ActorDiedError);
        workers.submit((actor, x: number) => actor.double.remote(x), 4);
        expect(await workers.getNext()).toBe(8);
      }
    }
    workers.submit((actor, x: number) => actor.double.remote(x), 5);
    expect(await rejection(workers.getNext())).toBeInstanceOf(shoal.ActorDiedError);
    expect(await rejection(workers.getNext({ timeoutMs: 10_000 }))).toBeInstanceOf(shoal.ActorDiedError);
  });

  test("can be taken from and added to", async () => {
    const workers = pool(1);
    const actor = workers.popIdle();
    expect(actor).toBeDefined();
    expect(workers.popIdle()).toBeUndefined();
    workers.submit((free, x: number) => free.double.remote(x), 3);
    expect(workers.hasFree()).toBe(false);
    workers.push(actor!);
    expect(await workers.getNext()).toBe(6);
    expect(() => workers.push(actor!)).toThrow(TypeError);
    expect(() => new ActorPool([])).toThrow(TypeError);
  });
});

describe("Queue", () => {
  test("is first in, first out, between processes", async () => {
    const queue = new Queue<number>();
    const produce = shoal.remote(async (target: Queue<number>) => {
      for (let i = 0; i < 20; i++) await target.put(i);
    });
    produce.remote(queue);
    const seen: number[] = [];
    for (let i = 0; i < 20; i++) seen.push(await queue.get());
    expect(seen).toEqual(range(20));
    expect(await queue.empty()).toBe(true);
  });

  test("bounds what it holds: put waits for room, get for an item", async () => {
    const queue = new Queue<string>({ maxSize: 2 });
    await queue.put("a");
    await queue.put("b");
    expect([await queue.full(), await queue.size()]).toEqual([true, 2]);
    expect(await rejection(queue.putNowait("c"))).toBeInstanceOf(QueueFullError);
    expect(await rejection(queue.put("c", { timeoutMs: 50 }))).toBeInstanceOf(QueueFullError);
    const waiting = queue.put("c");
    expect([await queue.get(), await queue.get()]).toEqual(["a", "b"]);
    await waiting;
    expect(await queue.getNowait()).toBe("c");
    expect(await rejection(queue.getNowait())).toBeInstanceOf(QueueEmptyError);
    expect(await rejection(queue.get({ timeoutMs: 50 }))).toBeInstanceOf(QueueEmptyError);
    const item = queue.get();
    await queue.put("late");
    expect(await item).toBe("late");
  });

  test("takes and gives in batches, all or none", async () => {
    const queue = new Queue<number>({ maxSize: 3 });
    expect(await rejection(queue.putNowaitBatch([1, 2, 3, 4]))).toBeInstanceOf(QueueFullError);
    expect(await queue.size()).toBe(0);
    await queue.putNowaitBatch([1, 2, 3]);
    expect(await rejection(queue.getNowaitBatch(4))).toBeInstanceOf(QueueEmptyError);
    expect(await queue.getNowaitBatch(2)).toEqual([1, 2]);
    expect(await queue.size()).toBe(1);
  });

  test("holds undefined, refs and large arrays like anything else", async () => {
    const queue = new Queue<any>();
    await queue.put(undefined);
    await queue.put({ ref: shoal.put("inside") });
    await queue.put(new Float64Array(200_000).fill(2));
    expect(await queue.get()).toBeUndefined();
    expect(await shoal.get((await queue.get()).ref)).toBe("inside");
    expect((await queue.get()).length).toBe(200_000);
  });

  test("that is shut down fails who waits at it", async () => {
    const queue = new Queue();
    const waiting = rejection(queue.get());
    await queue.size();
    await queue.shutdown();
    expect(await waiting).toBeInstanceOf(shoal.ActorDiedError);
    expect(await rejection(queue.put(1))).toBeInstanceOf(shoal.ActorDiedError);
  });
});

describe("Semaphore", () => {
  test("bounds what runs at once over all processes", async () => {
    const semaphore = new Semaphore(2);
    const signal = SignalActor.remote();
    const task = shoal.remote((limit: Semaphore, gate: Signal) => limit.withPermit(() => shoal.get(gate.wait.remote())), {
      numCpus: 0,
    });
    const refs = range(6).map(() => task.remote(semaphore, signal));
    await waiters(signal, 2);
    expect(await semaphore.available()).toBe(0);
    expect(await semaphore.tryAcquire()).toBe(false);
    expect(await rejection(semaphore.acquire({ timeoutMs: 50 }))).toBeInstanceOf(shoal.GetTimeoutError);
    await shoal.get(signal.send.remote());
    await shoal.get(refs);
    expect(await semaphore.available()).toBe(2);
  });

  test("gives the permit back when the work throws, and never has more than it began with", async () => {
    const semaphore = new Semaphore(1);
    expect(await rejection(semaphore.withPermit(() => Promise.reject(new RangeError("work"))))).toBeInstanceOf(RangeError);
    expect(await semaphore.available()).toBe(1);
    expect(await rejection(semaphore.release())).toBeInstanceOf(RangeError);
    expect(await semaphore.tryAcquire()).toBe(true);
    const waiting = semaphore.acquire();
    await semaphore.release();
    await waiting;
    expect(await semaphore.available()).toBe(0);
    await semaphore.shutdown();
  });
});
