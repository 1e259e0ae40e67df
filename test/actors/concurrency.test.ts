/** How many calls an actor has under way: one, many, bounded, and by group. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, thrownBy, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;

class Gate {
  inside = 0;
  most = 0;
  started: number[] = [];
  async pass(signal: Signal, i = 0): Promise<number> {
    this.started.push(i);
    this.most = Math.max(this.most, ++this.inside);
    await shoal.get(signal.wait.remote());
    this.inside -= 1;
    return i;
  }
  async mostInside(): Promise<number> {
    return this.most;
  }
  async order(): Promise<number[]> {
    return this.started;
  }
}

const waiters = (signal: Signal, count: number) =>
  waitFor(`${count} waiting calls`, async () => (await shoal.get(signal.waiters.remote())) === count);

useSession();

describe("An actor with an async method", () => {
  test("has up to a thousand calls under way, started in order", async () => {
    const signal = SignalActor.remote();
    const gate = shoal.remote(Gate).remote();
    const refs = Array.from({ length: 200 }, (_, i) => gate.pass.remote(signal, i));
    await waiters(signal, 200);
    expect(await shoal.get(gate.order.remote())).toEqual(Array.from({ length: 200 }, (_, i) => i));
    await shoal.get(signal.send.remote());
    expect(await shoal.get(refs)).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  test("also when the method is inherited", async () => {
    class Derived extends Gate {
      plain(): number {
        return 1;
      }
    }
    const signal = SignalActor.remote();
    const gate = shoal.remote(Derived).remote();
    const refs = [gate.pass.remote(signal), gate.pass.remote(signal)];
    await waiters(signal, 2);
    expect(await shoal.get(gate.plain.remote())).toBe(1);
    await shoal.get(signal.send.remote());
    await shoal.get(refs);
  });

  test("keeps maxConcurrency, and the calls behind it start in order", async () => {
    const signal = SignalActor.remote();
    const gate = shoal.remote(Gate, { maxConcurrency: 3 }).remote();
    const refs = Array.from({ length: 9 }, (_, i) => gate.pass.remote(signal, i));
    await waiters(signal, 3);
    await shoal.get(signal.send.remote());
    await shoal.get(refs);
    expect(await shoal.get(gate.mostInside.remote())).toBe(3);
    expect(await shoal.get(gate.order.remote())).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("with maxConcurrency 1 finishes a call before the next starts", async () => {
    const signal = SignalActor.remote();
    const gate = shoal.remote(Gate, { maxConcurrency: 1 }).remote();
    const refs = [gate.pass.remote(signal, 0), gate.pass.remote(signal, 1)];
    const order = gate.order.remote();
    await waiters(signal, 1);
    const [ready] = await shoal.wait([order], { timeoutMs: 0 });
    expect(ready).toEqual([]);
    await shoal.get(signal.send.remote());
    await shoal.get(refs);
    expect(await shoal.get(order)).toEqual([0, 1]);
    expect(await shoal.get(gate.mostInside.remote())).toBe(1);
  });
});

describe("An actor without an async method", () => {
  test("runs one call at a time, also when a method returns a promise", async () => {
    class Promising {
      inside = 0;
      most = 0;
      pass(signal: Signal): Promise<number> {
        this.most = Math.max(this.most, ++this.inside);
        return shoal.get(signal.wait.remote()).then(() => {
          this.inside -= 1;
          return this.most;
        });
      }
    }
    const signal = SignalActor.remote();
    const actor = shoal.remote(Promising).remote();
    const refs = [actor.pass.remote(signal), actor.pass.remote(signal), actor.pass.remote(signal)];
    await waiters(signal, 1);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(refs)).toEqual([1, 1, 1]);
  });
});

describe("Concurrency groups", () => {
  class Grouped extends Gate {
    async ping(): Promise<string> {
      return "pong";
    }
  }
  const make = (groups: Record<string, number>, maxConcurrency?: number) =>
    shoal.remote(Grouped, { concurrencyGroups: groups, maxConcurrency }).remote();

  test("let as many calls of a group in as it says, chosen at the call", async () => {
    const signal = SignalActor.remote();
    const actor = make({ io: 3 });
    const refs = Array.from({ length: 5 }, (_, i) => actor.pass.options({ concurrencyGroup: "io" }).remote(signal, i));
    await waiters(signal, 3);
    expect(await shoal.get(actor.mostInside.remote())).toBe(3);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(refs)).toEqual([0, 1, 2, 3, 4]);
    expect(await shoal.get(actor.mostInside.remote())).toBe(3);
  });

  test("are not blocked by the default group", async () => {
    const signal = SignalActor.remote();
    const actor = make({ io: 1 }, 1);
    const blocked = actor.pass.remote(signal);
    await waiters(signal, 1);
    expect(await shoal.get(actor.ping.options({ concurrencyGroup: "io" }).remote())).toBe("pong");
    await shoal.get(signal.send.remote());
    await shoal.get(blocked);
  });

  test("block neither the default group nor one another", async () => {
    const signal = SignalActor.remote();
    const actor = make({ io: 1, compute: 1 });
    const blocked = actor.pass.options({ concurrencyGroup: "io" }).remote(signal);
    await waiters(signal, 1);
    const behind = actor.ping.options({ concurrencyGroup: "io" }).remote();
    expect(await shoal.get(actor.ping.remote())).toBe("pong");
    expect(await shoal.get(actor.ping.options({ concurrencyGroup: "compute" }).remote())).toBe("pong");
    expect(await shoal.wait([behind], { timeoutMs: 0 })).toEqual([[], [behind]]);
    await shoal.get(signal.send.remote());
    await shoal.get([blocked, behind]);
  });

  test("let awaiting calls of one group meet", async () => {
    class Meeting {
      here: (() => void)[] = [];
      async meet(): Promise<string> {
        if (this.here.length === 2) for (const go of this.here) go();
        else await new Promise<void>((resolve) => this.here.push(resolve));
        return "met";
      }
    }
    const actor = shoal.remote(Meeting, { concurrencyGroups: { three: 3 } }).remote();
    const refs = Array.from({ length: 3 }, () => actor.meet.options({ concurrencyGroup: "three" }).remote());
    expect(await shoal.get(refs)).toEqual(["met", "met", "met"]);
  });

  test("that do not exist are an error that names them", async () => {
    const actor = make({ io: 1 });
    const call = async () => shoal.get(actor.ping.options({ concurrencyGroup: "zz" }).remote());
    expect((await rejection(call())).message).toContain("zz");
  });
});

describe("Calls of one caller whose arguments have to be loaded first", () => {
  class Box {
    readonly n: number;
    constructor(n: number) {
      this.n = n;
    }
  }
  class Recorder {
    readonly seen: number[] = [];
    private fn: ((x: number) => number) | null = null;
    async take(value: Box | number): Promise<void> {
      this.seen.push(typeof value === "number" ? value : value.n);
    }
    setFn(fn: (x: number) => number): void {
      this.fn = fn;
    }
    call(x: number): number {
      return (this.fn as (x: number) => number)(x);
    }
    async order(): Promise<number[]> {
      return this.seen;
    }
  }

  test("start in their order all the same", async () => {
    const recorder = shoal.remote(Recorder, { numCpus: 0 }).remote();
    const factor = 3;
    recorder.take.remote(new Box(1));
    recorder.take.remote(2);
    recorder.take.remote(shoal.put(new Box(3)) as shoal.ObjectRef<Box | number>);
    recorder.take.remote(4);
    recorder.setFn.remote((x) => x * factor);
    expect(await shoal.get(recorder.call.remote(5))).toBe(15);
    expect(await shoal.get(recorder.order.remote())).toEqual([1, 2, 3, 4]);
  });
});

describe("maxPendingCalls", () => {
  test("makes .remote() throw past it, per handle, until calls are done", async () => {
    const signal = SignalActor.remote();
    const gate = shoal.remote(Gate, { maxPendingCalls: 3 }).remote();
    await shoal.get(gate.mostInside.remote());
    const refs = [gate.pass.remote(signal), gate.pass.remote(signal), gate.pass.remote(signal)];
    const error = thrownBy<shoal.PendingCallsLimitExceededError>(() => gate.pass.remote(signal));
    expect(error).toBeInstanceOf(shoal.PendingCallsLimitExceededError);
    expect(error).toMatchObject({ code: "PENDING_CALLS_LIMIT", retryable: true, maxPendingCalls: 3 });
    const elsewhere = shoal.remote(async (handle: typeof gate) => shoal.get(handle.mostInside.remote()));
    expect(await shoal.get(elsewhere.remote(gate))).toBe(3);
    await shoal.get(signal.send.remote());
    await shoal.get(refs);
    expect(await shoal.get(gate.mostInside.remote())).toBe(3);
  });
});
