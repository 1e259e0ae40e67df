/** How often a call of an actor's method is run when it throws and when the actor dies under it. The numbers are Ray's. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";
import { TallyActor } from "../support/tally-actor.ts";
import { rejection } from "../support/wait-for.ts";

type Tally = ReturnType<typeof TallyActor.remote>;

class Troubled {
  async throwUntil(tally: Tally, runs: number): Promise<number> {
    const run = await shoal.get(tally.add.remote("runs"));
    if (run < runs) throw new RangeError(`run ${run}`);
    return run;
  }
  async crash(tally: Tally): Promise<void> {
    await shoal.get(tally.add.remote("runs"));
    process.exit(1);
  }
  /** Throws in its first, third, ... run, exits in the others. */
  async throwOrExit(tally: Tally): Promise<void> {
    const run = await shoal.get(tally.add.remote("runs"));
    if (run % 2 === 1) throw new RangeError(`run ${run}`);
    process.exit(1);
  }
}

const make = (options: shoal.ActorOptions) => shoal.remote(Troubled, { numCpus: 0, ...options }).remote();
const never = Number.MAX_SAFE_INTEGER;

async function failure(call: (tally: Tally) => shoal.ObjectRef<unknown>): Promise<[runs: number, error: shoal.TaskError]> {
  const tally = TallyActor.remote();
  const error = await rejection<shoal.TaskError>(shoal.get(call(tally)));
  return [await shoal.get(tally.count.remote("runs")), error];
}

useSession();

describe("A method that throws", () => {
  test("five times and then not succeeds with five retries, in its sixth run", async () => {
    const tally = TallyActor.remote();
    const actor = make({ maxTaskRetries: 5 });
    expect(await shoal.get(actor.throwUntil.options({ retryExceptions: true }).remote(tally, 6))).toBe(6);
    expect(await shoal.get(tally.count.remote("runs"))).toBe(6);
  });

  test("always is run six times with five retries, and the last error is told", async () => {
    const actor = make({ maxTaskRetries: 5 });
    const [runs, error] = await failure((tally) => actor.throwUntil.options({ retryExceptions: true }).remote(tally, never));
    expect(runs).toBe(6);
    expect(error).toBeInstanceOf(shoal.TaskError);
    expect(error.cause).toBeInstanceOf(RangeError);
    expect(error.message).toContain("run 6");
  });

  test("is run once without retryExceptions, and once without retries", async () => {
    const retrying = make({ maxTaskRetries: 5 });
    expect((await failure((tally) => retrying.throwUntil.remote(tally, never)))[0]).toBe(1);
    const plain = make({});
    expect((await failure((tally) => plain.throwUntil.options({ retryExceptions: true }).remote(tally, never)))[0]).toBe(1);
  });

  test("is run as the call's own options say, over the actor's", async () => {
    const actor = make({ maxTaskRetries: 5 });
    const [runs] = await failure((tally) =>
      actor.throwUntil.options({ retryExceptions: true, maxTaskRetries: 10 }).remote(tally, never),
    );
    expect(runs).toBe(11);
  });

  test("is retried only for the classes listed", async () => {
    const actor = make({ maxTaskRetries: 3 });
    expect((await failure((tally) => actor.throwUntil.options({ retryExceptions: [SyntaxError] }).remote(tally, never)))[0]).toBe(
      1,
    );
    expect((await failure((tally) => actor.throwUntil.options({ retryExceptions: [RangeError] }).remote(tally, never)))[0]).toBe(
      4,
    );
    expect((await failure((tally) => actor.throwUntil.options({ retryExceptions: [Error] }).remote(tally, never)))[0]).toBe(4);
  });
});

describe("A method under which the actor dies", () => {
  test("is run no more often than restarts allow", async () => {
    const actor = make({ maxRestarts: 2, maxTaskRetries: 5 });
    const [runs, error] = await failure((tally) => actor.crash.remote(tally));
    expect(runs).toBe(3);
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    expect(error.message).toMatch(/code 1/);
  });

  test("is run no more often than its retries allow, and the actor lives on", async () => {
    const actor = make({ maxRestarts: -1, maxTaskRetries: 2 });
    const [runs, error] = await failure((tally) => actor.crash.remote(tally));
    expect(runs).toBe(3);
    expect(error).toBeInstanceOf(shoal.ActorUnavailableError);
    const tally = TallyActor.remote();
    expect(await shoal.get(actor.throwUntil.options({ maxTaskRetries: -1 }).remote(tally, 1))).toBe(1);
  });

  test("shares one budget between exceptions and deaths", async () => {
    const byRestarts = make({ maxRestarts: 2, maxTaskRetries: 5 });
    const [runs, error] = await failure((tally) => byRestarts.throwOrExit.options({ retryExceptions: true }).remote(tally));
    expect(runs).toBe(6);
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    const byRetries = make({ maxRestarts: -1, maxTaskRetries: 3 });
    const [fewer, lost] = await failure((tally) => byRetries.throwOrExit.options({ retryExceptions: true }).remote(tally));
    expect(fewer).toBe(4);
    expect(lost).toBeInstanceOf(shoal.ActorUnavailableError);
  });
});
