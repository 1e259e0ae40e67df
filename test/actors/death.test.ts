/** How an actor ends: a failed constructor, kill, exit, and nobody being interested any more. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { collectGarbage } from "../support/garbage.ts";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { TallyActor } from "../support/tally-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;
type Tally = ReturnType<typeof TallyActor.remote>;

class Counter {
  n = 0;
  async add(): Promise<number> {
    return ++this.n;
  }
  async pid(): Promise<number> {
    return process.pid;
  }
  async hold(signal: Signal): Promise<string> {
    await shoal.get(signal.wait.remote());
    return "held";
  }
  async exit(): Promise<void> {
    shoal.exitActor();
  }
}

const died = (ref: shoal.ObjectRef<unknown>) => rejection<shoal.ActorDiedError>(shoal.get(ref));
const inside = (signal: Signal) => waitFor("the call to run", async () => (await shoal.get(signal.waiters.remote())) > 0);

useSession();

describe("A constructor that throws", () => {
  class Picky {
    constructor(journal: string) {
      appendFileSync(journal, "constructed\n");
      throw Object.assign(new RangeError("not today"), { hint: "tomorrow" });
    }
    use(): number {
      return 1;
    }
  }

  test("fails every call with its own error as the cause, and is not run again", async () => {
    const journal = join(mkdtempSync(join(tmpdir(), "shoal-death-")), "journal");
    const actor = shoal.remote(Picky, { maxRestarts: 2, maxTaskRetries: 2, numCpus: 0 }).remote(journal);
    for (let call = 0; call < 2; call++) {
      const error = await died(actor.use.remote());
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error).toMatchObject({ reason: "constructor failed", actorClass: "Picky" });
      expect(error.message).toContain("not today");
      const cause = error.cause instanceof shoal.TaskError ? error.cause.cause : error.cause;
      expect(cause).toBeInstanceOf(RangeError);
      expect(cause).toMatchObject({ message: "not today", hint: "tomorrow" });
    }
    expect(readFileSync(journal, "utf8")).toBe("constructed\n");
    rmSync(dirname(journal), { recursive: true });
  });

  test("is the same when an argument of it has failed", async () => {
    const bad = shoal.remote(() => {
      throw new SyntaxError("bad argument");
    });
    class Fed {
      food: number;
      constructor(food: number) {
        this.food = food;
      }
      use(): number {
        return this.food;
      }
    }
    const error = await died(shoal.remote(Fed, { numCpus: 0 }).remote(bad.remote()).use.remote());
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    expect(error.message).toContain("bad argument");
  });

  test("and one that exits is a death that says the exit code", async () => {
    class Leaving {
      constructor() {
        process.exit(7);
      }
      use(): number {
        return 1;
      }
    }
    const error = await died(shoal.remote(Leaving, { numCpus: 0 }).remote().use.remote());
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    expect(error.message).toMatch(/code 7/);
  });
});

describe("kill()", () => {
  test("fails what is under way and what comes later, with the reason, and ends the process", async () => {
    const signal = SignalActor.remote();
    const actor = shoal.remote(Counter, { maxRestarts: 5, maxTaskRetries: 5, numCpus: 0 }).remote();
    const pid = await shoal.get(actor.pid.remote());
    const running = actor.hold.remote(signal);
    await inside(signal);
    await shoal.kill(actor);
    for (const ref of [running, actor.add.remote()]) {
      const error = await died(ref);
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error.reason).toBe("killed");
    }
    await waitFor("the actor's process to end", () => !isRunning(pid));
  });

  test("with noRestart: false is a crash, from which the actor comes back afresh", async () => {
    const signal = SignalActor.remote();
    const actor = shoal.remote(Counter, { maxRestarts: 1, numCpus: 0 }).remote();
    await shoal.get(actor.add.remote());
    const running = actor.hold.remote(signal);
    await inside(signal);
    await shoal.kill(actor, { noRestart: false });
    expect(await rejection(shoal.get(running))).toBeInstanceOf(shoal.ActorUnavailableError);
    expect(await waitFor("the restart", () => shoal.get(actor.add.remote()))).toBe(1);
  });

  test("with noRestart: false and retries lets the call under way be run again", async () => {
    const signal = SignalActor.remote();
    const actor = shoal.remote(Counter, { maxRestarts: 1, maxTaskRetries: -1, numCpus: 0 }).remote();
    const running = actor.hold.remote(signal);
    await inside(signal);
    await shoal.kill(actor, { noRestart: false });
    await shoal.get(signal.send.remote());
    expect(await shoal.get(running)).toBe("held");
  });

  test("can be called on a dead actor, from a task, and on one that has not started yet", async () => {
    const actor = shoal.remote(Counter, { numCpus: 0 }).remote();
    await shoal.get(shoal.remote((handle: typeof actor) => shoal.kill(handle)).remote(actor));
    expect((await died(actor.add.remote())).reason).toBe("killed");
    await shoal.kill(actor);
    const pending = shoal.remote(Counter, { resources: { unobtainium: 1 } }).remote();
    const call = pending.add.remote();
    await shoal.kill(pending);
    expect(await died(call)).toBeInstanceOf(shoal.ActorDiedError);
  });

  test("of one whose constructor waits for an argument ends it: it is never started", async () => {
    const [signal, tally] = [SignalActor.remote(), TallyActor.remote()];
    class Late {
      constructor(log: Tally, _wait: unknown) {
        log.note.remote("started");
      }
      use(): void {}
    }
    const wait = shoal.remote(async (signal: Signal) => shoal.get(signal.wait.remote()), { numCpus: 0 }).remote(signal);
    const actor = shoal.remote(Late, { numCpus: 0 }).remote(tally, wait);
    const call = actor.use.remote();
    await shoal.kill(actor);
    for (const ref of [call, actor.use.remote()]) {
      const error = await died(ref);
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error.reason).toBe("killed");
    }
    await shoal.get(signal.send.remote());
    await shoal.get(wait);
    await shoal.get(shoal.remote(Counter, { numCpus: 0 }).remote().add.remote()); // one that was started after it
    expect(await shoal.get(tally.notes.remote())).toEqual([]);
  });

  test("of something that is no handle is a TypeError", async () => {
    await expect(async () => shoal.kill({} as never)).rejects.toBeInstanceOf(TypeError);
    await expect(async () => shoal.kill(shoal.put(1) as never)).rejects.toBeInstanceOf(TypeError);
  });
});

describe("An actor that ends its process", () => {
  test("has answered the calls before, also those of the same moment", async () => {
    class Leaver {
      one(): number {
        return 1;
      }
      leave(): void {
        process.exit(3);
      }
    }
    for (let i = 0; i < 3; i++) {
      const actor = shoal.remote(Leaver, { numCpus: 0 }).remote();
      await shoal.get(actor.one.remote());
      const refs = [actor.one.remote(), actor.one.remote()];
      const last = actor.leave.remote();
      expect(await shoal.get(refs)).toEqual([1, 1]);
      expect(await died(last)).toBeInstanceOf(shoal.ActorDiedError);
    }
  });
});

describe("exitActor()", () => {
  test("ends the actor for good, whatever its restarts, after what came before it", async () => {
    const actor = shoal.remote(Counter, { maxRestarts: 3, maxTaskRetries: 3, maxConcurrency: 1, numCpus: 0 }).remote();
    const pid = await shoal.get(actor.pid.remote());
    const before = actor.add.remote();
    const exit = actor.exit.remote();
    const behind = actor.add.remote();
    expect(await shoal.get(before)).toBe(1);
    for (const ref of [exit, behind, actor.add.remote()]) {
      const error = await died(ref);
      expect(error).toBeInstanceOf(shoal.ActorDiedError);
      expect(error.reason).toBe("exited");
    }
    await waitFor("the actor's process to end", () => !isRunning(pid));
  });

  test("outside an actor throws", async () => {
    expect(() => shoal.exitActor()).toThrow(/actor/);
    const inTask = shoal.remote(() => shoal.exitActor());
    expect((await rejection(shoal.get(inTask.remote()))).message).toMatch(/actor/);
  });
});

describe("An actor that nobody refers to any more", () => {
  test("completes the calls that were made and then ends", async () => {
    const signal = SignalActor.remote();
    const start = async () => {
      const actor = shoal.remote(Counter, { numCpus: 0 }).remote();
      const pid = await shoal.get(actor.pid.remote());
      return { pid, held: actor.hold.remote(signal) };
    };
    const { pid, held } = await start();
    await inside(signal);
    for (let i = 0; i < 3; i++) await collectGarbage();
    expect(isRunning(pid)).toBe(true);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(held)).toBe("held");
    await waitFor("the actor's process to end", async () => {
      await collectGarbage();
      return !isRunning(pid);
    });
  });

  test("ends also when no method of it was ever called", async () => {
    const tally = TallyActor.remote();
    class Quiet {
      constructor(log: Tally) {
        log.note.remote(process.pid);
      }
      use(): void {}
    }
    (() => void shoal.remote(Quiet, { numCpus: 0 }).remote(tally))();
    const [pid] = await waitFor("the constructor", async () => {
      const notes = (await shoal.get(tally.notes.remote())) as number[];
      return notes.length > 0 && notes;
    });
    await waitFor("the actor's process to end", async () => {
      await collectGarbage();
      return !isRunning(pid!);
    });
  });

  test("lives while another actor holds its handle", async () => {
    class Keeper {
      kept: shoal.ActorHandle<Counter> | null = null;
      keep(handle: shoal.ActorHandle<Counter>): void {
        this.kept = handle;
      }
      async use(): Promise<number> {
        return shoal.get(this.kept!.add.remote());
      }
    }
    const keeper = shoal.remote(Keeper, { numCpus: 0 }).remote();
    await (async () => {
      const actor = shoal.remote(Counter, { numCpus: 0 }).remote();
      await shoal.get(keeper.keep.remote(actor));
    })();
    for (let i = 0; i < 3; i++) await collectGarbage();
    expect(await shoal.get(keeper.use.remote())).toBe(1);
    for (let i = 0; i < 3; i++) await collectGarbage();
    expect(await shoal.get(keeper.use.remote())).toBe(2);
  });
});
