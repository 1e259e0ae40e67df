/** A process ends, or is slow to be heard of, between the end of a task and the arrival of its reply. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newTally, type Tally } from "../support/board.ts";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { segmentFiles } from "../support/store-use.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const session = useSession({ numCpus: 2 });

describe("A large result whose reply is lost with its process", () => {
  test("is not left in the store by a task", async () => {
    const die = shoal.remote(
      () => {
        process.nextTick(() => process.kill(process.pid, "SIGKILL")); // the result is stored then, and the reply not written
        return new Uint8Array(3_000_000);
      },
      { maxRetries: 1 },
    );
    expect(await rejection(shoal.get(die.remote()))).toBeInstanceOf(shoal.WorkerCrashedError);
    await waitFor("the store to be empty", () => segmentFiles(session()).length === 0);
  });

  test("is not left in the store by an actor", async () => {
    class Dying {
      die(): Uint8Array {
        process.nextTick(() => process.kill(process.pid, "SIGKILL"));
        return new Uint8Array(3_000_000);
      }
    }
    const dying = shoal.remote(Dying, { maxRestarts: 1, maxTaskRetries: 1 }).remote();
    expect(await rejection(shoal.get(dying.die.remote()))).toBeInstanceOf(shoal.ActorError);
    await waitFor("the store to be empty", () => segmentFiles(session()).length === 0);
  });
});

describe("A result that waits for the owner of an argument's ref to answer", () => {
  test("keeps the refs in it, whatever becomes of the task's own", async () => {
    class Owner {
      pid(): number {
        return process.pid;
      }
      make(): [shoal.ObjectRef<number>] {
        return [shoal.put(1)];
      }
    }
    const owner = shoal.remote(Owner, { numCpus: 0 }).remote();
    const pid = await shoal.get(owner.pid.remote());
    const [foreign] = await shoal.get(owner.make.remote());
    const tally = newTally();
    const hand = shoal.remote((_arg: [shoal.ObjectRef<number>], counts: Tally) => {
      const inner = shoal.put("inner");
      setImmediate(() => {
        inner[Symbol.dispose]();
        counts.add.remote("disposed");
      });
      return [inner] as const;
    });
    await shoal.get(hand.remote([shoal.put(2)], tally)); // the board is known to the worker
    process.kill(pid, "SIGSTOP");
    let result: shoal.ObjectRef<readonly [shoal.ObjectRef<string>]>;
    try {
      result = hand.remote([foreign], tally);
      await waitFor("the task's ref to go", async () => (await shoal.get(tally.count.remote("disposed"))) === 2);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    const [inner] = await shoal.get(result);
    expect(await shoal.get(inner)).toBe("inner");
  });
});

describe("A reply that arrives after the report that its process has ended", () => {
  const dialled: Socket[] = [];
  const note = (message: unknown) => dialled.push((message as { socket: Socket }).socket);

  /** Calls `connect`, and returns the one connection that was made for it. */
  async function connectionOf(connect: () => Promise<unknown>): Promise<Socket> {
    subscribe("net.client.socket", note);
    dialled.length = 0;
    await connect();
    unsubscribe("net.client.socket", note);
    expect(dialled.length).toBe(1);
    return dialled[0];
  }

  test("is the result of its task, which may not run twice", async () => {
    const leave = shoal.remote(
      () => {
        setTimeout(() => process.kill(process.pid, "SIGKILL"), 20); // the reply is written then
        return process.pid;
      },
      { numCpus: 2, maxRetries: 0 },
    );
    const pidOf = shoal.remote(() => process.pid, { numCpus: 2, maxRetries: 0, runtimeEnv: { envVars: { OWN: "process" } } });
    let pid = 0;
    const socket = await connectionOf(async () => {
      pid = await shoal.get(pidOf.remote());
    });
    socket.pause(); // as if the daemon's word were faster
    const ref = leave.options({ runtimeEnv: { envVars: { OWN: "process" } } }).remote();
    await waitFor("the worker to end", () => !isRunning(pid));
    await waitFor("the daemon to notice", async () => (await shoal.availableResources()).CPU === 2);
    socket.resume();
    expect(await shoal.get(ref)).toBe(pid);
  });

  test("is the result of its call of an actor", async () => {
    class Leaving {
      pid(): number {
        return process.pid;
      }
      leave(): string {
        setTimeout(() => process.kill(process.pid, "SIGKILL"), 20);
        return "left";
      }
    }
    const leaving = shoal.remote(Leaving, { name: "leaving" }).remote();
    let pid = 0;
    const socket = await connectionOf(async () => {
      pid = await shoal.get(leaving.pid.remote());
    });
    socket.pause();
    const ref = leaving.leave.remote();
    await waitFor("the actor's process to end", () => !isRunning(pid));
    expect(await waitFor("the head to notice", () => shoal.getActor("leaving").then(() => null, String))).toMatch(
      /named 'leaving'/,
    );
    const after = leaving.pid.remote();
    socket.resume();
    expect(await shoal.get(ref)).toBe("left");
    expect(await rejection(shoal.get(after))).toBeInstanceOf(shoal.ActorDiedError);
  });

  test("is waited for no longer than a moment", async () => {
    const end = shoal.remote((now: boolean) => now && process.kill(process.pid, "SIGKILL"), {
      numCpus: 2,
      maxRetries: 0,
      runtimeEnv: { envVars: { OWN: "other process" } },
    });
    const socket = await connectionOf(() => shoal.get(end.remote(false)));
    socket.pause();
    expect(await rejection(shoal.get(end.remote(true)))).toBeInstanceOf(shoal.WorkerCrashedError);
    socket.resume();
  });
});
