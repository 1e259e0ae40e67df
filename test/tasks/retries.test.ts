import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newTally, type Tally } from "../support/board.ts";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession();

/** Ends its own process on each of its first `crashes` runs. */
const crashing = shoal.remote(async function crashing(tally: Tally, crashes: number) {
  const run = await shoal.get(tally.add.remote("runs"));
  if (run <= crashes) process.exit(7);
  return run;
});

/** Throws on each of its first `failures` runs. */
const throwing = shoal.remote(async (tally: Tally, failures: number) => {
  const run = await shoal.get(tally.add.remote("runs"));
  if (run <= failures) throw new RangeError(`run ${run}`);
  return run;
});

const runs = (tally: Tally) => shoal.get(tally.count.remote("runs"));

describe("a task whose process ends", () => {
  test("is WorkerCrashedError with the exit code when it may not be retried", async () => {
    const tally = newTally();
    const error = await rejection<shoal.WorkerCrashedError>(shoal.get(crashing.options({ maxRetries: 0 }).remote(tally, 1)));
    expect(error).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(error.code).toBe("WORKER_CRASHED");
    expect(error.exitCode).toBe(7);
    expect(error.signal).toBeNull();
    expect(error.message).toContain("7");
    expect(error.message).toContain("crashing");
    expect(await runs(tally)).toBe(1);
  });

  test("says which signal ended it", async () => {
    const killed = shoal.remote(() => process.kill(process.pid, "SIGKILL"), { maxRetries: 0 });
    const error = await rejection<shoal.WorkerCrashedError>(shoal.get(killed.remote()));
    expect(error).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(error.signal).toBe("SIGKILL");
    expect(error.message).toContain("SIGKILL");
  });

  test("is run again, three times unless told", async () => {
    const recovers = newTally();
    expect(await shoal.get(crashing.remote(recovers, 3))).toBe(4);
    const fails = newTally();
    expect(await rejection(shoal.get(crashing.remote(fails, 100)))).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(await runs(fails)).toBe(4);
  });

  test("is run again as often as maxRetries says, -1 without end", async () => {
    const one = newTally();
    expect(await rejection(shoal.get(crashing.options({ maxRetries: 1 }).remote(one, 100)))).toBeInstanceOf(
      shoal.WorkerCrashedError,
    );
    expect(await runs(one)).toBe(2);
    const endless = newTally();
    expect(await shoal.get(crashing.options({ maxRetries: -1 }).remote(endless, 6))).toBe(7);
  });

  test("takes no other task with it", async () => {
    const tally = newTally();
    const fine = shoal.remote((x: number) => x + 1);
    const bystanders = Array.from({ length: 50 }, (_, i) => fine.remote(i));
    const crashed = crashing.options({ maxRetries: 0 }).remote(tally, 1);
    const more = Array.from({ length: 50 }, (_, i) => fine.remote(i));
    expect(await rejection(shoal.get(crashed))).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(await shoal.get([...bystanders, ...more])).toEqual([...Array(50).keys(), ...Array(50).keys()].map((i) => i + 1));
  });

  test("knows which attempt it is", async () => {
    const attempts = shoal.remote(() => {
      const { attempt } = shoal.getRuntimeContext();
      if (attempt < 2) process.exit(1);
      return attempt;
    });
    expect(await shoal.get(attempts.remote())).toBe(2);
  });
});

describe("retryExceptions", () => {
  test("by default a thrown error is not retried", async () => {
    const tally = newTally();
    expect(await rejection(shoal.get(throwing.remote(tally, 1)))).toBeInstanceOf(shoal.TaskError);
    expect(await runs(tally)).toBe(1);
  });

  test("true retries any error within maxRetries: four runs, and the last error is told", async () => {
    const recovers = newTally();
    expect(await shoal.get(throwing.options({ retryExceptions: true }).remote(recovers, 3))).toBe(4);
    const fails = newTally();
    const error = await rejection(shoal.get(throwing.options({ retryExceptions: true }).remote(fails, 100)));
    expect((error.cause as Error).message).toBe("run 4");
    expect(await runs(fails)).toBe(4);
  });

  test("a list retries its classes and their subclasses only", async () => {
    const other = newTally();
    await rejection(shoal.get(throwing.options({ retryExceptions: [TypeError] }).remote(other, 1)));
    expect(await runs(other)).toBe(1);
    const listed = newTally();
    expect(await shoal.get(throwing.options({ retryExceptions: [TypeError, RangeError] }).remote(listed, 2))).toBe(3);
    const parent = newTally();
    expect(await shoal.get(throwing.options({ retryExceptions: [Error] }).remote(parent, 2))).toBe(3);
  });

  test("a list takes the user's own classes", async () => {
    class Busy extends Error {}
    class VeryBusy extends Busy {}
    const tally = newTally();
    const work = shoal.remote(
      async (t: Tally) => {
        const run = await shoal.get(t.add.remote("runs"));
        if (run === 1) throw new Busy("busy");
        if (run === 2) throw new VeryBusy("very busy");
        return run;
      },
      { retryExceptions: [Busy] },
    );
    expect(await shoal.get(work.remote(tally))).toBe(3);
  });

  test("crashes and errors share one budget", async () => {
    const tally = newTally();
    const mixed = shoal.remote(
      async (t: Tally) => {
        const run = await shoal.get(t.add.remote("runs"));
        if (run % 2 === 1) process.exit(1);
        throw new RangeError("even");
      },
      { retryExceptions: true, maxRetries: 3 },
    );
    await rejection(shoal.get(mixed.remote(tally)));
    expect(await runs(tally)).toBe(4);
  });
});

describe("maxCalls", () => {
  test("a worker ends after so many calls of the function, without an error", async () => {
    const pid = shoal.remote(() => process.pid, { maxCalls: 1 });
    const pids: number[] = [];
    for (let i = 0; i < 4; i++) pids.push(await shoal.get(pid.remote()));
    expect(new Set(pids).size).toBe(4);
    await waitFor("the workers to end", () => pids.every((id) => !isRunning(id)));
  });

  test("a worker ends only when nobody pushes to it any more, however slow its caller is", async () => {
    const attempt = shoal.remote(() => shoal.getRuntimeContext().attempt, { maxCalls: 1, numCpus: 2 });
    const refs = Array.from({ length: 6 }, () => attempt.remote());
    for (const ref of refs) {
      await shoal.wait([ref]);
      const end = performance.now() + 300; // the caller computes while it is asked to return its lease
      while (performance.now() < end);
    }
    expect(await shoal.get(refs)).toEqual([0, 0, 0, 0, 0, 0]);
  });
});
