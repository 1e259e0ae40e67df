import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, newTally, type Signal } from "../support/board.ts";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession();

const refuses = (): never => {
  throw new RangeError("not to be looked at");
};

const revokedProxy = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};

class QuotaError extends Error {
  override name = "QuotaError";
  readonly limit: number;
  constructor(message: string, limit: number, cause?: unknown) {
    super(message, { cause });
    this.limit = limit;
  }
  describe(): string {
    return `${this.message} (${this.limit})`;
  }
}

const failing = shoal.remote(function failing(message: string): number {
  throw new RangeError(message);
});

/** The line of the throw inside `failing`, counted from 1. */
const throwLine =
  readFileSync(fileURLToPath(import.meta.url), "utf8")
    .split("\n")
    .findIndex((line) => line.includes("throw new RangeError(message)")) + 1;

describe("an error thrown in a task", () => {
  test("is a TaskError that says function, node and process, with the user's error as cause", async () => {
    const error = await rejection<shoal.TaskError>(shoal.get(failing.remote("out of range here")));
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error).toBeInstanceOf(shoal.ShoalError);
    expect(error.code).toBe("TASK_FAILED");
    expect(error.retryable).toBe(false);
    expect(error.functionName).toBe("failing");
    expect(error.nodeId).toBe(shoal.getRuntimeContext().nodeId);
    expect(error.pid).not.toBe(process.pid);
    expect(error.message).toContain("out of range here");
    expect(error.message).toContain("failing");
    expect(error.message).toContain(String(error.pid));
    expect(error.cause).toBeInstanceOf(RangeError);
    expect((error.cause as RangeError).message).toBe("out of range here");
  });

  test("keeps the user's class, own fields and causes", async () => {
    const quota = shoal.remote(() => {
      throw new QuotaError("too much", 7, new TypeError("the reason", { cause: "text" }));
    });
    const cause = (await rejection(shoal.get(quota.remote()))).cause as QuotaError;
    expect(cause.name).toBe("QuotaError");
    expect(cause.message).toBe("too much");
    expect(cause.limit).toBe(7);
    expect(cause.describe()).toBe("too much (7)");
    expect(cause).toBeInstanceOf(Error);
    expect(cause.cause).toBeInstanceOf(TypeError);
    expect((cause.cause as TypeError).cause).toBe("text");
    expect(cause.stack).toContain("too much");
  });

  test("is of the user's class when class and catcher are in one program", async () => {
    const quota = shoal.remote(() => {
      throw new QuotaError("too much", 7);
    });
    expect((await rejection(shoal.get(quota.remote()))).cause).toBeInstanceOf(QuotaError);
  });

  test.each([TypeError, RangeError, SyntaxError, EvalError, URIError, ReferenceError])(
    "built-in classes stay themselves (%o)",
    async (Class) => {
      const name = Class.name;
      const fail = shoal.remote((which: string) => {
        throw new (globalThis as unknown as Record<string, ErrorConstructor>)[which]!("built in");
      });
      const { cause } = await rejection(shoal.get(fail.remote(name)));
      expect(cause).toBeInstanceOf(Class);
      expect((cause as Error).constructor).toBe(Class);
    },
  );

  test("an AggregateError keeps its errors", async () => {
    const fail = shoal.remote(async () => Promise.any([Promise.reject(new TypeError("a")), Promise.reject(new RangeError("b"))]));
    const cause = (await rejection(shoal.get(fail.remote()))).cause as AggregateError;
    expect(cause).toBeInstanceOf(AggregateError);
    expect(cause.errors.map((error: Error) => error.constructor)).toEqual([TypeError, RangeError]);
  });

  test("a rejected promise is the same as a throw", async () => {
    const rejects = shoal.remote(async () => {
      await null;
      throw new TypeError("later");
    });
    expect((await rejection(shoal.get(rejects.remote()))).cause).toBeInstanceOf(TypeError);
  });

  test.each([["text"], [42], [undefined], [null], [{ code: "E" }]])(
    "what is thrown need not be an Error (%j)",
    async (thrown) => {
      const fail = shoal.remote((value: unknown) => {
        throw value;
      });
      const error = await rejection<shoal.TaskError>(shoal.get(fail.remote(thrown)));
      expect(error).toBeInstanceOf(shoal.TaskError);
      expect(error.cause).toEqual(thrown);
    },
  );

  test("an error whose field cannot travel still arrives", async () => {
    const fail = shoal.remote(() => {
      throw Object.assign(new RangeError("with baggage"), { socket: new WeakMap(), kept: 1 });
    });
    const error = await rejection<shoal.TaskError>(shoal.get(fail.remote()));
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error.message).toContain("with baggage");
  });

  test.each([
    ["an object without a text", () => Object.create(null)],
    ["an object whose text throws", () => ({ toString: refuses })],
    ["an error whose message throws", () => Object.defineProperty(new Error("a"), "message", { get: refuses })],
    ["a revoked proxy", revokedProxy],
    ["a proxy that answers nothing", () => new Proxy({}, { getPrototypeOf: refuses, get: refuses })],
  ])("that cannot be looked at is a TaskError all the same: %s", async (_name, make) => {
    const fail = shoal.remote((make: () => unknown) => {
      throw make();
    });
    const error = await rejection(shoal.get(fail.remote(make)));
    expect(error).toBeInstanceOf(shoal.TaskError);
    class Thrower {
      throw(make: () => unknown): void {
        throw make();
      }
      ok(): string {
        return "ok";
      }
    }
    const actor = shoal.remote(Thrower, { numCpus: 0 }).remote();
    expect(await rejection(shoal.get(actor.throw.remote(make)))).toBeInstanceOf(shoal.TaskError);
    expect(await shoal.get(actor.ok.remote())).toBe("ok");
    class Unborn {
      constructor(make: () => unknown) {
        throw make();
      }
      ok(): void {}
    }
    const unborn = await rejection<shoal.ActorDiedError>(
      shoal.get(shoal.remote(Unborn, { numCpus: 0 }).remote(make).ok.remote()),
    );
    expect(unborn).toBeInstanceOf(shoal.ActorDiedError);
    expect(unborn.reason).toBe("constructor failed");
  });

  test("that is larger than a message keeps its class and that of its cause, and arrives shortened", async () => {
    const fail = shoal.remote(() => {
      throw Object.assign(new RangeError(`far ${"o".repeat(2_000_000)}ut`), { size: 5, detail: new Uint8Array(6_000_000) });
    });
    const error = await rejection<shoal.TaskError>(shoal.get(fail.remote()));
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error).toMatchObject({ code: "TASK_FAILED", functionName: "fail" });
    const cause = error.cause as RangeError;
    expect(cause).toBeInstanceOf(RangeError);
    expect(cause).toMatchObject({ size: 5 });
    expect(cause.message.startsWith("far ooo")).toBe(true);
  });

  test("out of a timer fails its task, and no task that comes after it to that worker", async () => {
    const throwLater = shoal.remote(
      () =>
        new Promise(() => {
          setTimeout(() => {
            throw Object.assign(new RangeError("out of a timer"), { pid: process.pid });
          });
        }),
      { maxRetries: 0 },
    );
    const next = shoal.remote((x: number) => x, { maxRetries: 0 });
    const pids: number[] = [];
    for (let i = 0; i < 5; i++) {
      const errors = await Promise.all([rejection(shoal.get(throwLater.remote())), rejection(shoal.get(throwLater.remote()))]);
      for (const error of errors) expect(error.cause).toMatchObject({ message: "out of a timer" });
      pids.push(...errors.map((error) => (error.cause as unknown as { pid: number }).pid));
      expect(await shoal.get([0, 1, 2, 3].map((x) => next.remote(x)))).toEqual([0, 1, 2, 3]);
    }
    await waitFor("those processes to end", () => !pids.some(isRunning));
  });

  test("names the user's own file and line, and hides ours", async () => {
    const error = await rejection<shoal.TaskError>(shoal.get(failing.remote("where")));
    const line = error.remoteStack.split("\n").find((frame) => frame.includes("errors.test.ts"));
    expect(line, error.remoteStack).toBeDefined();
    expect(line).toContain(`errors.test.ts:${throwLine}`);
    expect(error.message).toContain("errors.test.ts");
    expect(error.remoteStack).not.toMatch(/dist\/(worker|chunks)/);
  });

  test("is the error of every ref of a call with several returns", async () => {
    const fail = shoal.remote((): [number, number, number] => {
      throw new RangeError("all three");
    });
    for (const ref of fail.options({ numReturns: 3 }).remote()) {
      expect((await rejection(shoal.get(ref))).cause).toBeInstanceOf(RangeError);
    }
  });

  test("can be got again, and again", async () => {
    const ref = failing.remote("again");
    const first = await rejection(shoal.get(ref));
    const second = await rejection(shoal.get(ref));
    expect(second.message).toBe(first.message);
  });

  test("that nobody looks at disturbs nobody", async () => {
    for (let i = 0; i < 20; i++) failing.remote("ignored");
    expect(await shoal.get(shoal.remote(() => "fine").remote())).toBe("fine");
  });
});

describe("a task whose argument failed", () => {
  test("fails with that error and does not run, however long the chain", async () => {
    const tally = newTally();
    const run = shoal.remote(async (_x: unknown, t: typeof tally) => shoal.get(t.add.remote("ran")));
    const middle = run.remote(failing.remote("at the root"), tally);
    const last = run.remote(middle, tally);
    for (const ref of [middle, last]) {
      const error = await rejection<shoal.TaskError>(shoal.get(ref));
      expect(error).toBeInstanceOf(shoal.TaskError);
      expect(error.functionName).toBe("failing");
      expect((error.cause as Error).message).toBe("at the root");
    }
    expect(await shoal.get(tally.count.remote("ran"))).toBe(0);
  });

  test("does not fail for a failed ref inside a container", async () => {
    const look = shoal.remote(async ([ref]: [shoal.ObjectRef<number>]) => {
      try {
        await shoal.get(ref);
        return "no error";
      } catch (error) {
        return error instanceof shoal.TaskError && error.cause instanceof RangeError ? "caught" : String(error);
      }
    });
    expect(await shoal.get(look.remote([failing.remote("caught inside")]))).toBe("caught");
  });

  test("a nested task's error comes through with the innermost cause", async () => {
    const outer = shoal.remote(async () => shoal.get(failing.remote("deep down")));
    const error = await rejection<shoal.TaskError>(shoal.get(outer.remote()));
    expect(error).toBeInstanceOf(shoal.TaskError);
    let cause: unknown = error;
    while (cause instanceof shoal.TaskError) cause = cause.cause;
    expect(cause).toBeInstanceOf(RangeError);
    expect((cause as Error).message).toBe("deep down");
  });
});

describe("get", () => {
  test("waits as long as it is told, also for longer than a timer can", async () => {
    const signal = newSignal();
    const held = shoal.remote(async (signal: Signal) => shoal.get(signal.wait.remote()), { numCpus: 0 }).remote(signal);
    const got = shoal.get(held, { timeoutMs: 2 ** 31 });
    const ready = shoal.wait([held], { timeoutMs: Number.MAX_SAFE_INTEGER });
    await shoal.get(signal.send.remote());
    await got;
    expect((await ready)[0]).toEqual([held]);
  });

  test("of a list rejects at the first failure without waiting for the rest", async () => {
    const signal = newSignal();
    const slow = shoal.remote(async (gate: typeof signal) => shoal.get(gate.wait.remote())).remote(signal);
    for (const refs of [
      [slow, failing.remote("first")],
      [failing.remote("first"), slow],
    ]) {
      const error = await rejection(shoal.get(refs as shoal.ObjectRef<unknown>[]));
      expect((error.cause as Error).message).toBe("first");
    }
    await shoal.get(signal.send.remote());
    await shoal.get(slow);
  });
});
