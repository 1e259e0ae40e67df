import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, newTally, type Signal, type Tally } from "../support/board.ts";
import { holdCpus } from "../support/hold-cpu.ts";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession();

const square = shoal.remote((x: number) => x * x);

/** Runs until it is cancelled, and says so. */
const untilAborted = shoal.remote(async (tally: Tally, name: string) => {
  const { signal } = shoal.getRuntimeContext();
  await shoal.get(tally.add.remote(`${name} started`));
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
  await shoal.get(tally.add.remote(`${name} aborted`));
  signal.throwIfAborted();
});

const afterSignal = shoal.remote(async (signal: Signal, ..._after: unknown[]) => {
  await shoal.get(signal.wait.remote());
  return "done";
});

const counted = (tally: Tally, key: string) => waitFor(`"${key}"`, async () => (await shoal.get(tally.count.remote(key))) > 0);

async function expectCancelled(ref: shoal.ObjectRef<unknown>): Promise<void> {
  const error = await rejection(shoal.get(ref, { timeoutMs: 20_000 }));
  expect(error).toBeInstanceOf(shoal.TaskCancelledError);
  expect((error as shoal.TaskCancelledError).code).toBe("TASK_CANCELLED");
}

describe("cancel of a task that has not started", () => {
  test("a queued task never runs", async () => {
    const release = await holdCpus(2);
    const tally = newTally();
    const queued = untilAborted.remote(tally, "queued");
    await shoal.cancel(queued);
    await expectCancelled(queued);
    await release();
    expect(await shoal.get(square.remote(3))).toBe(9); // a later task has run by now
    expect(await shoal.get(tally.count.remote("queued started"))).toBe(0);
  });

  test("a task that waits for its arguments", async () => {
    const signal = newSignal();
    const upstream = afterSignal.remote(signal);
    const waiting = afterSignal.remote(signal, upstream);
    await shoal.cancel(waiting);
    await expectCancelled(waiting);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(upstream)).toBe("done");
  });

  test("a task that no machine can ever run", async () => {
    const infeasible = square.options({ numCpus: 1000 }).remote(1);
    await shoal.cancel(infeasible);
    await expectCancelled(infeasible);
  });
});

describe("cancel of a running task", () => {
  test("fires its AbortSignal, and the ref is cancelled", async () => {
    const tally = newTally();
    const running = untilAborted.remote(tally, "async");
    await counted(tally, "async started");
    await shoal.cancel(running);
    await expectCancelled(running);
    await counted(tally, "async aborted");
  });

  test("the signal's reason is the error", async () => {
    const tally = newTally();
    const running = shoal
      .remote(async (t: Tally) => {
        const { signal } = shoal.getRuntimeContext();
        await shoal.get(t.add.remote("started"));
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        await shoal.get(t.note.remote((signal.reason as Error).name));
      })
      .remote(tally);
    await counted(tally, "started");
    await shoal.cancel(running);
    await waitFor("the note", async () => (await shoal.get(tally.notes.remote())).length === 1);
    expect(await shoal.get(tally.notes.remote())).toEqual(["TaskCancelledError"]);
    await expectCancelled(running);
  });

  test("one that waits in get stops waiting", async () => {
    const signal = newSignal();
    const running = afterSignal.remote(signal);
    await waitFor("it to wait", async () => (await shoal.get(signal.waiters.remote())) === 1);
    await shoal.cancel(running);
    await expectCancelled(running);
    await shoal.get(signal.send.remote());
  });

  test("does not disturb the task beside it", async () => {
    const tally = newTally();
    const [one, other] = [untilAborted.remote(tally, "one"), untilAborted.remote(tally, "other")];
    await counted(tally, "one started");
    await counted(tally, "other started");
    await shoal.cancel(one);
    await expectCancelled(one);
    expect(await shoal.get(tally.count.remote("other aborted"))).toBe(0);
    await shoal.cancel(other);
    await expectCancelled(other);
  });

  test("by force ends one that blocks its process", async () => {
    const tally = newTally();
    const busy = shoal
      .remote(async (t: Tally) => {
        await shoal.get(t.note.remote(process.pid));
        for (;;);
      })
      .remote(tally);
    await waitFor("it to be busy", async () => (await shoal.get(tally.notes.remote())).length === 1);
    const [pid] = (await shoal.get(tally.notes.remote())) as number[];
    await shoal.cancel(busy, { force: true });
    await expectCancelled(busy);
    await waitFor("its process to end", () => !isRunning(pid!));
    expect(await shoal.get([1, 2, 3].map((i) => square.remote(i)))).toEqual([1, 4, 9]);
  });

  test("it is never retried", async () => {
    const tally = newTally();
    for (const force of [false, true]) {
      const name = `force ${force}`;
      const running = untilAborted.options({ retryExceptions: true, maxRetries: -1 }).remote(tally, name);
      await counted(tally, `${name} started`);
      await shoal.cancel(running, { force });
      await expectCancelled(running);
    }
    expect(await shoal.get([square.remote(1), square.remote(2), square.remote(3)])).toEqual([1, 4, 9]);
    expect(await shoal.get(tally.count.remote("force false started"))).toBe(1);
    expect(await shoal.get(tally.count.remote("force true started"))).toBe(1);
  });
});

describe("cancel and what belongs to the task", () => {
  test.each([{ force: false }, { force: true }])("downstream fails, upstream does not ($force)", async ({ force }) => {
    const [first, second] = [newSignal(), newSignal()];
    const upstream = afterSignal.remote(first);
    const middle = afterSignal.remote(second, upstream);
    const below = [afterSignal.remote(second, middle), afterSignal.remote(second, middle)];
    const last = afterSignal.remote(second, below[0], below[1]);
    await shoal.cancel(middle, { force });
    for (const ref of [middle, ...below, last]) await expectCancelled(ref);
    await shoal.get(first.send.remote());
    expect(await shoal.get(upstream)).toBe("done");
    await shoal.get(second.send.remote());
  });

  test("the tasks it started are cancelled too", async () => {
    const tally = newTally();
    const parent = shoal
      .remote(async (t: Tally) => {
        await shoal.get([untilAborted.remote(t, "child"), untilAborted.remote(t, "child")]);
      })
      .remote(tally);
    await waitFor("the children", async () => (await shoal.get(tally.count.remote("child started"))) === 2);
    await shoal.cancel(parent);
    await expectCancelled(parent);
    await waitFor("the children to stop", async () => (await shoal.get(tally.count.remote("child aborted"))) === 2);
  });

  test("unless recursive is false", async () => {
    const tally = newTally();
    const signal = newSignal();
    const parent = shoal
      .remote(async (t: Tally, s: Signal) => {
        const child = afterSignal.remote(s);
        await shoal.get(t.note.remote([child]));
        await shoal.get(child);
      })
      .remote(tally, signal);
    await waitFor("the child", async () => (await shoal.get(signal.waiters.remote())) === 1);
    const [[child]] = (await shoal.get(tally.notes.remote())) as [[shoal.ObjectRef<string>]];
    await shoal.cancel(parent, { recursive: false });
    await expectCancelled(parent);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(child)).toBe("done");
  });

  test("a borrower may cancel a task that it did not submit", async () => {
    const tally = newTally();
    const running = untilAborted.remote(tally, "borrowed");
    await counted(tally, "borrowed started");
    const canceller = shoal.remote(async ([ref]: [shoal.ObjectRef<unknown>]) => shoal.cancel(ref));
    await shoal.get(canceller.remote([running]));
    await expectCancelled(running);
  });
});

describe("cancel of what cannot be cancelled", () => {
  test("a finished task keeps its result", async () => {
    const finished = square.remote(3);
    await shoal.get(finished);
    await shoal.cancel(finished);
    await shoal.cancel(finished, { force: true });
    expect(await shoal.get(finished)).toBe(9);
  });

  test("twice is as once", async () => {
    const tally = newTally();
    const running = untilAborted.remote(tally, "twice");
    await counted(tally, "twice started");
    await Promise.all([shoal.cancel(running), shoal.cancel(running)]);
    await shoal.cancel(running);
    await expectCancelled(running);
  });

  test("something that is not a ref is a TypeError", async () => {
    for (const value of [1, "x", null, undefined, {}]) {
      expect(await rejection(Promise.resolve().then(() => shoal.cancel(value as never)))).toBeInstanceOf(TypeError);
    }
  });
});

test("cancelling queued, running and finished tasks in any mix settles every one of them", async () => {
  const tally = newTally();
  const refs: shoal.ObjectRef<unknown>[] = [];
  const cancelled = new Set<number>();
  let state = 12345; // a fixed sequence, so that a failure comes back
  const random = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
  for (let i = 0; i < 1_000; i++) {
    refs.push(i % 100 === 0 ? untilAborted.remote(tally, "mixed") : square.remote(i));
    if (random() < 0.3) {
      const index = Math.floor(random() * refs.length);
      cancelled.add(index);
      void shoal.cancel(refs[index]!, { force: random() < 0.1 });
    }
  }
  for (let i = 0; i < 1_000; i += 100) {
    cancelled.add(i);
    void shoal.cancel(refs[i]!);
  }
  const results = await Promise.allSettled(refs.map((ref) => shoal.get(ref, { timeoutMs: 40_000 })));
  results.forEach((result, i) => {
    if (result.status === "fulfilled") expect(result.value).toBe(i * i);
    else {
      expect(result.reason, `task ${i}`).toBeInstanceOf(shoal.TaskCancelledError);
      expect(cancelled.has(i), `task ${i} was cancelled`).toBe(true);
    }
  });
  for (let i = 0; i < 1_000; i += 100) expect(results[i]!.status).toBe("rejected");
});
