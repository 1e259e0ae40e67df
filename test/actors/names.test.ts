/** Named actors, namespaces, getIfExists, and lifetimes. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { collectGarbage } from "../support/garbage.ts";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

class Counter {
  n = 0;
  add(): number {
    return ++this.n;
  }
  pid(): number {
    return process.pid;
  }
}
const CounterActor = shoal.remote(Counter, { numCpus: 0 });

/** Starts a child actor and keeps its handle. */
class Parent {
  child: shoal.ActorHandle<Counter> | null = null;
  async start(lifetime?: "detached"): Promise<number> {
    this.child = shoal.remote(Counter, { numCpus: 0, lifetime }).remote();
    return shoal.get(this.child.pid.remote());
  }
  async lend(): Promise<shoal.ActorHandle<Counter>> {
    return this.child!;
  }
}

useSession();

describe("A named actor", () => {
  test("is found by its name from the driver, tasks and actors", async () => {
    const counter = CounterActor.options({ name: "found" }).remote();
    expect(await shoal.get(counter.add.remote())).toBe(1);
    expect(await shoal.get((await shoal.getActor<Counter>("found")).add.remote())).toBe(2);
    const inTask = shoal.remote(async () => shoal.get((await shoal.getActor<Counter>("found")).add.remote()));
    expect(await shoal.get(inTask.remote())).toBe(3);
  });

  test("is found as soon as .remote() has returned", async () => {
    CounterActor.options({ name: "at-once" }).remote();
    expect(await shoal.get((await shoal.getActor<Counter>("at-once")).add.remote())).toBe(1);
  });

  test("that does not exist is ActorNotFoundError with the name", async () => {
    const error = await rejection<shoal.ActorNotFoundError>(shoal.getActor("nobody"));
    expect(error).toBeInstanceOf(shoal.ActorNotFoundError);
    expect(error).toMatchObject({ code: "ACTOR_NOT_FOUND", actorName: "nobody" });
    expect(error.message).toContain("nobody");
  });

  test("keeps its name to itself: the second one of that name gets ActorAlreadyExistsError", async () => {
    const first = CounterActor.options({ name: "taken" }).remote();
    await shoal.get(first.add.remote());
    const second = async () => shoal.get(CounterActor.options({ name: "taken" }).remote().add.remote());
    const error = await rejection<shoal.ActorAlreadyExistsError>(second());
    expect(error).toBeInstanceOf(shoal.ActorAlreadyExistsError);
    expect(error.message).toContain("taken");
    expect(await shoal.get(first.add.remote())).toBe(2);
  });

  test("gives its name back when it is dead", async () => {
    const first = CounterActor.options({ name: "again" }).remote();
    await shoal.get(first.add.remote());
    await shoal.kill(first);
    expect(await rejection(shoal.getActor("again"))).toBeInstanceOf(shoal.ActorNotFoundError);
    const second = CounterActor.options({ name: "again" }).remote();
    expect(await shoal.get(second.add.remote())).toBe(1);
  });

  test("is visible in its own namespace only", async () => {
    const here = CounterActor.options({ name: "spaced" }).remote();
    const there = CounterActor.options({ name: "spaced", namespace: "elsewhere" }).remote();
    await shoal.get([here.add.remote(), there.add.remote(), there.add.remote()]);
    expect(await shoal.get((await shoal.getActor<Counter>("spaced")).add.remote())).toBe(2);
    expect(await shoal.get((await shoal.getActor<Counter>("spaced", { namespace: "elsewhere" })).add.remote())).toBe(3);
    expect(await rejection(shoal.getActor("spaced", { namespace: "nowhere" }))).toBeInstanceOf(shoal.ActorNotFoundError);
  });
});

describe("getIfExists", () => {
  test("takes the actor that is there", async () => {
    const get = () => CounterActor.options({ name: "shared", getIfExists: true }).remote();
    const [a, b] = [get(), get()];
    expect(await shoal.get(a.add.remote())).toBe(1);
    expect(await shoal.get(b.add.remote())).toBe(2);
    expect(await shoal.get(get().add.remote())).toBe(3);
  });

  test("makes one actor when many ask at once, from several processes", async () => {
    const ask = shoal.remote(async () => {
      const actor = shoal
        .remote(Counter, { numCpus: 0 })
        .options({ name: "raced", getIfExists: true, lifetime: "detached" })
        .remote();
      return shoal.get(actor.pid.remote());
    });
    const pids = await shoal.get(Array.from({ length: 10 }, () => ask.remote()));
    expect(new Set(pids).size).toBe(1);
    await shoal.kill(await shoal.getActor("raced"));
  });

  test("makes a new one when the former is dead", async () => {
    const get = () => CounterActor.options({ name: "renewed", getIfExists: true }).remote();
    const first = get();
    const pid = await shoal.get(first.pid.remote());
    await shoal.kill(first);
    expect(await shoal.get(get().pid.remote())).not.toBe(pid);
  });

  test("gives handles that hold the actor like any other: it lives as long as one of them", async () => {
    const get = () => CounterActor.options({ name: "held", getIfExists: true }).remote();
    const second = await (async () => {
      const first = get();
      await shoal.get(first.add.remote());
      await shoal.get(get().add.remote()); // a handle that is gone at once
      await collectGarbage();
      expect(await shoal.get(first.add.remote())).toBe(3);
      const handle = get();
      await shoal.get(handle.add.remote());
      return handle;
    })();
    for (let i = 0; i < 3; i++) await collectGarbage();
    expect(await shoal.get(second.add.remote())).toBe(5);
  });

  test("in the tick in which the actor is killed, its handle learns of the death as others do", async () => {
    const get = () => CounterActor.options({ name: "killed-meanwhile", getIfExists: true }).remote();
    const first = get();
    await shoal.get(first.add.remote());
    const killing = shoal.kill(first);
    const second = get();
    const outcome = await shoal.get(second.add.remote()).catch((error: shoal.ActorDiedError) => error.reason);
    await killing;
    expect([1, "killed"]).toContain(outcome);
    expect((await rejection<shoal.ActorDiedError>(shoal.get(first.add.remote()))).reason).toBe("killed");
  });

  test("a handle stands for the actor it was given, wherever it goes, and not for the next of that name", async () => {
    const get = () => CounterActor.options({ name: "succeeded", getIfExists: true }).remote();
    const made = get();
    const found = get();
    await shoal.get([made.add.remote(), found.add.remote()]);
    await shoal.kill(made);
    const next = get();
    expect(await shoal.get(next.add.remote())).toBe(1);
    const use = shoal.remote(async (old: typeof made) => {
      const error = await shoal.get(old.add.remote()).catch((reason) => reason);
      await shoal.kill(old);
      return (error as shoal.ActorDiedError).reason;
    });
    expect(await shoal.get([use.remote(made), use.remote(found)])).toEqual(["killed", "killed"]);
    expect(await shoal.get(next.add.remote())).toBe(2);
  });

  test("a handle that is killed at once kills the actor it is found to stand for", async () => {
    const get = () => CounterActor.options({ name: "killed-at-once", getIfExists: true }).remote();
    const first = get();
    await shoal.get(first.add.remote());
    await shoal.kill(get());
    expect((await rejection<shoal.ActorDiedError>(shoal.get(first.add.remote()))).reason).toBe("killed");
  });
});

describe("Lifetimes", () => {
  test("an actor started by a task is gone with the task, unless its handle lives on", async () => {
    const start = shoal.remote(async () => shoal.get(shoal.remote(Counter, { numCpus: 0 }).remote().pid.remote()));
    const pid = await shoal.get(start.remote());
    await waitFor("the actor's process to end", () => !isRunning(pid));
    const lend = shoal.remote(async () => shoal.remote(Counter, { numCpus: 0 }).remote());
    const handle = await shoal.get(lend.remote());
    expect(await shoal.get(handle.add.remote())).toBe(1);
  });

  test("the result of a call to an actor that was started in a finished task can be had", async () => {
    const start = shoal.remote(async () => shoal.remote(Counter, { numCpus: 0 }).remote().add.remote());
    expect(await shoal.get(await shoal.get(start.remote()))).toBe(1);
  });

  for (const lifetime of ["detached", undefined] as const) {
    test(`a ${lifetime ?? "plain"} actor ${lifetime ? "lives on" : "dies"} when its owner is killed`, async () => {
      const parent = shoal.remote(Parent, { numCpus: 0 }).remote();
      const pid = await shoal.get(parent.start.remote(lifetime));
      const borrowed = await shoal.get(parent.lend.remote());
      await shoal.kill(parent);
      if (lifetime === "detached") {
        expect(await shoal.get(borrowed.add.remote())).toBe(1);
        expect(isRunning(pid)).toBe(true);
        await shoal.kill(borrowed);
      } else {
        await waitFor("the child's process to end", () => !isRunning(pid));
        const error = await rejection<shoal.ActorDiedError>(shoal.get(borrowed.add.remote()));
        expect(error).toBeInstanceOf(shoal.ActorDiedError);
        expect(error.reason).toBe("owner died");
      }
    });
  }

  test("a detached actor outlives the task that started it, without a handle", async () => {
    const start = shoal.remote(async () => {
      const actor = shoal.remote(Counter, { numCpus: 0 }).options({ name: "detached", lifetime: "detached" }).remote();
      await shoal.get(actor.add.remote());
      return process.pid;
    });
    const ownerPid = await shoal.get(start.options({ maxCalls: 1 }).remote());
    await waitFor("the owner's process to end", async () => {
      await collectGarbage(); // it stays while others use what it owns, and it may have served other tests
      return !isRunning(ownerPid);
    });
    const actor = await shoal.getActor<Counter>("detached");
    expect(await shoal.get(actor.add.remote())).toBe(2);
    await shoal.kill(actor);
  });
});
