/** What becomes of an actor and of its calls when its process is lost. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { TallyActor } from "../support/tally-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;
type Tally = ReturnType<typeof TallyActor.remote>;

class Counter {
  n = 0;
  add(): number {
    return ++this.n;
  }
  pid(): number {
    return process.pid;
  }
  die(): void {
    process.kill(process.pid, "SIGKILL");
  }
  exit(): never {
    shoal.exitActor();
  }
  wasRestarted(): boolean {
    return shoal.getRuntimeContext().wasRestarted;
  }
}

class Waiting {
  n = 0;
  async hold(signal: Signal): Promise<string> {
    await shoal.get(signal.wait.remote());
    return "held";
  }
  async add(): Promise<number> {
    return ++this.n;
  }
  async pid(): Promise<number> {
    return process.pid;
  }
}

/** Holds one call inside the actor and one behind it; resolves when the first runs. */
async function occupy(actor: shoal.ActorHandle<Waiting>, signal: Signal) {
  const pid = await shoal.get(actor.pid.remote());
  const running = actor.hold.remote(signal);
  const queued = actor.add.remote();
  await waitFor("the call to run", async () => (await shoal.get(signal.waiters.remote())) === 1);
  return { pid, running, queued };
}

const succeeds = <T>(call: () => shoal.ObjectRef<T>) => waitFor("a call to succeed after the restart", () => shoal.get(call()));

useSession();

describe("An actor that may be restarted once", () => {
  test("counts exactly before its death, starts afresh after it, and its second death is for good", async () => {
    const counter = shoal.remote(Counter, { maxRestarts: 1, numCpus: 0 }).remote();
    const before = Array.from({ length: 100 }, () => counter.add.remote());
    expect(await shoal.get(before)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(await shoal.get(counter.wasRestarted.remote())).toBe(false);
    const lost = await rejection(shoal.get(counter.die.remote()));
    expect(lost).toBeInstanceOf(shoal.ActorUnavailableError);
    expect(lost).toMatchObject({ code: "ACTOR_UNAVAILABLE", retryable: true });
    expect(await succeeds(() => counter.add.remote())).toBe(1);
    expect(await shoal.get(counter.wasRestarted.remote())).toBe(true);
    expect(await shoal.get(Array.from({ length: 99 }, () => counter.add.remote()))).toEqual(
      Array.from({ length: 99 }, (_, i) => i + 2),
    );
    const error = await rejection<shoal.ActorDiedError>(shoal.get(counter.die.remote()));
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    expect(error.reason).toBe("out of restarts");
    expect(await rejection(shoal.get(counter.add.remote()))).toBeInstanceOf(shoal.ActorDiedError);
  });

  test("fails the running, the queued and, while it restarts, each new call with ActorUnavailableError", async () => {
    class Slow extends Waiting {
      constructor() {
        super();
        const end = Date.now() + (shoal.getRuntimeContext().wasRestarted ? 1_500 : 0);
        while (Date.now() < end); // a restart that takes its time
      }
    }
    const signal = SignalActor.remote();
    const actor = shoal.remote(Slow, { maxRestarts: 1, maxConcurrency: 1, numCpus: 0 }).remote();
    const { pid, running, queued } = await occupy(actor, signal);
    process.kill(pid, "SIGKILL");
    expect(await rejection(shoal.get(running))).toBeInstanceOf(shoal.ActorUnavailableError);
    expect(await rejection(shoal.get(queued))).toBeInstanceOf(shoal.ActorUnavailableError);
    expect(await rejection(shoal.get(actor.add.remote()))).toBeInstanceOf(shoal.ActorUnavailableError);
    expect(await succeeds(() => actor.add.remote())).toBe(1);
    expect(await shoal.get(actor.pid.remote())).not.toBe(pid);
  });

  test("is restarted although nobody calls it", async () => {
    class Noting {
      pid: number;
      constructor(tally: Tally) {
        this.pid = process.pid;
        tally.note.remote(process.pid);
      }
      get(): number {
        return this.pid;
      }
    }
    const tally = TallyActor.remote();
    const actor = shoal.remote(Noting, { maxRestarts: 1, numCpus: 0 }).remote(tally);
    const pid = await shoal.get(actor.get.remote());
    process.kill(pid, "SIGKILL");
    await waitFor("the constructor to run again", async () => (await shoal.get(tally.notes.remote())).length === 2);
    expect(await shoal.get(actor.get.remote())).not.toBe(pid); // also: the handle was in use until here
  });

  test("gets the arguments of its constructor again, also large ones and refs", async () => {
    class Holder {
      values: Float64Array;
      constructor(values: Float64Array) {
        this.values = values;
      }
      sum(): number {
        return this.values.reduce((a, b) => a + b, 0);
      }
      pid(): number {
        return process.pid;
      }
    }
    const actor = shoal
      .remote(Holder, { maxRestarts: 1, maxTaskRetries: -1, numCpus: 0 })
      .remote(shoal.put(new Float64Array(200_000).fill(1)));
    process.kill(await shoal.get(actor.pid.remote()), "SIGKILL");
    expect(await shoal.get(actor.sum.remote())).toBe(200_000);
  });
});

describe("An actor whose calls may be retried", () => {
  test("fails none of a hundred calls across a SIGKILL", async () => {
    const counter = shoal.remote(Counter, { maxRestarts: -1, maxTaskRetries: -1, numCpus: 0 }).remote();
    const pid = await shoal.get(counter.pid.remote());
    const first = Array.from({ length: 50 }, () => counter.add.remote());
    process.kill(pid, "SIGKILL");
    const second = Array.from({ length: 50 }, () => counter.add.remote());
    const values = await shoal.get([...first, ...second]);
    expect(values.length).toBe(100);
    expect(Math.max(...values)).toBeLessThanOrEqual(100);
    expect(await shoal.get(counter.pid.remote())).not.toBe(pid);
  });

  test("runs the interrupted and the queued call again, and makes new ones wait for the restart", async () => {
    const signal = SignalActor.remote();
    const actor = shoal.remote(Waiting, { maxRestarts: 1, maxTaskRetries: 1, maxConcurrency: 1, numCpus: 0 }).remote();
    const { pid, running, queued } = await occupy(actor, signal);
    process.kill(pid, "SIGKILL");
    const later = actor.add.remote();
    await shoal.get(signal.send.remote());
    expect(await shoal.get(running)).toBe("held");
    expect((await shoal.get([queued, later])).toSorted()).toEqual([1, 2]);
  });
});

describe("Calls to a dead actor", () => {
  test("become ready, with the error, so that wait() does not hang", async () => {
    const counter = shoal.remote(Counter, { numCpus: 0 }).remote();
    await shoal.get(counter.add.remote());
    await shoal.kill(counter);
    const refs = Array.from({ length: 5 }, () => counter.add.remote());
    const [ready, pending] = await shoal.wait(refs, { numReturns: 5, timeoutMs: 10_000 });
    expect([ready.length, pending.length]).toEqual([5, 0]);
    for (const ref of refs) expect(await rejection(shoal.get(ref))).toBeInstanceOf(shoal.ActorDiedError);
  });

  test("fail whether under way, queued or later, and so does what depends on them", async () => {
    const signal = SignalActor.remote();
    const tally = TallyActor.remote();
    const actor = shoal.remote(Waiting, { maxConcurrency: 1, numCpus: 0 }).remote();
    const { pid, running, queued } = await occupy(actor, signal);
    const downstream = shoal.remote((_value: unknown, log: Tally) => log.add.remote("ran")).remote(queued, tally);
    process.kill(pid, "SIGKILL");
    for (const ref of [running, queued, downstream, actor.add.remote()]) {
      const error = await rejection<shoal.ActorDiedError>(shoal.get(ref as shoal.ObjectRef<unknown>));
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error.message).toMatch(/SIGKILL/);
    }
    expect(await shoal.get(tally.count.remote("ran"))).toBe(0);
  });

  test("fail when it died while nothing was under way", async () => {
    const counter = shoal.remote(Counter, { numCpus: 0 }).remote();
    process.kill(await shoal.get(counter.pid.remote()), "SIGKILL");
    const error = await rejection<shoal.ActorDiedError>(shoal.get(counter.add.remote()));
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    expect(error).toMatchObject({ code: "ACTOR_DIED", retryable: false, actorClass: "Counter" });
  });
});

describe("A caller that is lost and comes again", () => {
  test("as a restarted actor, has its calls to a living actor run", async () => {
    class Caller {
      target: shoal.ActorHandle<Counter>;
      constructor(target: shoal.ActorHandle<Counter>) {
        this.target = target;
      }
      async add(): Promise<number> {
        return shoal.get(this.target.add.remote());
      }
      async pid(): Promise<number> {
        return process.pid;
      }
    }
    const target = shoal.remote(Counter, { numCpus: 0 }).remote();
    const caller = shoal.remote(Caller, { maxRestarts: 1, maxTaskRetries: -1, numCpus: 0 }).remote(target);
    for (let i = 1; i <= 3; i++) expect(await shoal.get(caller.add.remote())).toBe(i);
    process.kill(await shoal.get(caller.pid.remote()), "SIGKILL");
    for (let i = 4; i <= 6; i++) expect(await shoal.get(caller.add.remote())).toBe(i);
  });

  test("as a retried task, has its calls to a living actor run", async () => {
    const target = shoal.remote(Counter, { numCpus: 0 }).remote();
    const twice = shoal.remote(async (actor: typeof target) => {
      const n = await shoal.get(actor.add.remote());
      if (n === 1) process.kill(process.pid, "SIGKILL");
      return n;
    });
    expect(await shoal.get(twice.remote(target))).toBe(2);
  });
});
