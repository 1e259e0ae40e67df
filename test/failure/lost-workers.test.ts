/** A worker process that is lost under its task, in every way a process is lost; everybody else goes on. */
import * as shoal from "shoal";
import { afterAll, describe, expect, test } from "vitest";
import { isRunning } from "../support/processes.ts";
import { runProgram } from "../support/run-program.ts";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { TallyActor } from "../support/tally-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;
type Tally = ReturnType<typeof TallyActor.remote>;

// The daemon gives it to its workers; small, so that a heap is exhausted in a second and not in a minute.
process.env.SHOAL_WORKER_HEAP_MB = "96";
afterAll(() => {
  delete process.env.SHOAL_WORKER_HEAP_MB;
});

useSession();

const pidOf = shoal.remote(() => process.pid);
const exit = shoal.remote((code: number) => process.exit(code), { maxRetries: 0 });
const eatHeap = shoal.remote(
  () => {
    const eaten: unknown[] = [];
    for (;;) eaten.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
  },
  { maxRetries: 0 },
);

/** A task that says its pid and waits. */
const park = shoal.remote(async (tally: Tally, signal: Signal) => {
  await shoal.get(tally.note.remote(process.pid));
  await shoal.get(signal.wait.remote());
  return process.pid;
});
const parkedPid = async (tally: Tally, count = 1) => {
  const pids = await waitFor("the task to run", async () => {
    const notes = (await shoal.get(tally.notes.remote())) as number[];
    return notes.length >= count && notes;
  });
  return pids[count - 1]!;
};

describe("A worker that is killed by SIGKILL", () => {
  test("fails its task with WorkerCrashedError that says signal and pid, when it may not be retried", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const ref = park.options({ maxRetries: 0 }).remote(tally, signal);
    const pid = await parkedPid(tally);
    process.kill(pid, "SIGKILL");
    const error = await rejection<shoal.WorkerCrashedError>(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(error).toMatchObject({ code: "WORKER_CRASHED", signal: "SIGKILL", exitCode: null, pid, retryable: true });
    expect(error.message).toContain("SIGKILL");
  });

  test("has its task run again elsewhere, as often as its retries say", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const ref = park.options({ maxRetries: 2 }).remote(tally, signal);
    process.kill(await parkedPid(tally, 1), "SIGKILL");
    process.kill(await parkedPid(tally, 2), "SIGKILL");
    const third = await parkedPid(tally, 3);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(ref)).toBe(third);
    expect(((await shoal.get(tally.notes.remote())) as number[]).length).toBe(3);
  });

  test("takes no result with it that was already there", async () => {
    const make = shoal.remote(() => ({ pid: process.pid, values: new Float64Array(200_000).fill(3) }));
    const ref = make.remote();
    const { pid } = await shoal.get(ref);
    process.kill(pid, "SIGKILL");
    await waitFor("the worker to end", () => !isRunning(pid));
    const { values } = await shoal.get(ref);
    expect(values.every((value) => value === 3)).toBe(true);
  });

  test("is replaced, also when all idle workers are killed", async () => {
    const pids = new Set(await shoal.get(Array.from({ length: 8 }, () => pidOf.remote())));
    for (const pid of pids) process.kill(pid, "SIGKILL");
    const after = await shoal.get(Array.from({ length: 8 }, () => pidOf.remote()));
    for (const pid of after) expect(pids.has(pid)).toBe(false);
  });

  test("gives its CPU back", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const ref = park.options({ maxRetries: 0, numCpus: 2 }).remote(tally, signal);
    process.kill(await parkedPid(tally), "SIGKILL");
    await rejection(shoal.get(ref));
    await waitFor("both CPUs to be free", async () => (await shoal.availableResources()).CPU === 2);
  });
});

describe("A task that ends its process", () => {
  test("by process.exit fails with WorkerCrashedError that says the exit code", async () => {
    for (const code of [0, 3]) {
      const error = await rejection<shoal.WorkerCrashedError>(shoal.get(exit.remote(code)));
      expect(error).toBeInstanceOf(shoal.WorkerCrashedError);
      expect(error).toMatchObject({ exitCode: code, signal: null });
      expect(error.message).toMatch(new RegExp(`code ${code}`));
    }
  });

  test("by process.exit always is run four times by default", async () => {
    const tally = TallyActor.remote();
    const leave = shoal.remote(async (log: Tally) => {
      await shoal.get(log.add.remote("runs"));
      process.exit(1);
    });
    expect(await rejection(shoal.get(leave.remote(tally)))).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(await shoal.get(tally.count.remote("runs"))).toBe(4);
  });

  test("by process.abort or a signal of its own fails with that signal", async () => {
    const terminate = shoal.remote(() => process.kill(process.pid, "SIGTERM") && new Promise<never>(() => {}), { maxRetries: 0 });
    const error = await rejection<shoal.WorkerCrashedError>(shoal.get(terminate.remote()));
    expect(error).toMatchObject({ code: "WORKER_CRASHED", signal: "SIGTERM" });
  });

  test("by exhausting the heap fails with OutOfMemoryError that says the limit", async () => {
    const error = await rejection<shoal.OutOfMemoryError>(shoal.get(eatHeap.remote()));
    expect(error).toBeInstanceOf(shoal.OutOfMemoryError);
    expect(error).toBeInstanceOf(shoal.WorkerCrashedError);
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.message).toMatch(/96/);
  });

  test("disturbs no task that runs beside it", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const beside = park.options({ maxRetries: 0 }).remote(tally, signal);
    await parkedPid(tally);
    await rejection(shoal.get(exit.remote(1)));
    await shoal.get(signal.send.remote());
    expect(await shoal.get(beside)).toBeGreaterThan(0);
  });
});

describe("A task that leaves trouble behind", () => {
  const reject = shoal.remote(
    async () => {
      void Promise.reject(new RangeError("left behind"));
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      return "done";
    },
    { maxRetries: 0 },
  );
  const throwLater = shoal.remote(
    () =>
      new Promise<string>(() => {
        setImmediate(() => {
          throw new RangeError("out of nowhere");
        });
      }),
    { maxRetries: 0 },
  );

  test("as an unhandled rejection is printed, and neither the task nor its worker fails of it", async () => {
    expect(await shoal.get(reject.remote())).toBe("done");
    expect(await shoal.get([pidOf.remote(), pidOf.remote()])).toHaveLength(2);
    const { stdout, stderr, code } = await runProgram({
      files: {
        "main.mjs": `import * as shoal from "shoal";
const reject = shoal.remote(async function leave() { void Promise.reject(new RangeError("left behind")); return process.pid; });
await shoal.init({ numCpus: 1 });
const first = await shoal.get(reject.remote());
console.log(first === await shoal.get(reject.remote()));
await shoal.shutdown();
`,
      },
      args: ["main.mjs"],
    });
    expect([stdout, code]).toEqual(["true\n", 0]);
    expect(stderr).toMatch(/\(leave pid=\d+\) Unhandled rejection in 'leave' \(the worker goes on\): RangeError: left behind/);
  });

  test("as an exception thrown outside of it fails it, and says what was thrown", async () => {
    const error = await rejection(shoal.get(throwLater.remote(), { timeoutMs: 20_000 }));
    expect(error).not.toBeInstanceOf(shoal.GetTimeoutError);
    expect(error.message).toContain("out of nowhere");
    expect(await shoal.get([pidOf.remote(), pidOf.remote()])).toHaveLength(2);
  });

  test("as a child process is rid of it when the worker ends", async () => {
    const spawnChild = shoal.remote(async () => {
      const { spawn } = await import("node:child_process");
      return { child: spawn("sleep", ["1000"], { stdio: "ignore" }).pid!, worker: process.pid };
    });
    const { child, worker } = await shoal.get(spawnChild.remote());
    expect(isRunning(child)).toBe(true);
    process.kill(worker, "SIGKILL");
    await waitFor("the worker's child to end", () => !isRunning(child));
  });
});

describe("A task that blocks its event loop", () => {
  test("is not taken for dead, and other work goes on meanwhile", async () => {
    const block = shoal.remote(
      (ms: number) => {
        const end = Date.now() + ms;
        while (Date.now() < end);
        return process.pid;
      },
      { maxRetries: 0 },
    );
    class Blocking {
      block(ms: number): number {
        const end = Date.now() + ms;
        while (Date.now() < end);
        return process.pid;
      }
    }
    const blocked = block.remote(8_000);
    const actor = shoal.remote(Blocking, { numCpus: 0 }).remote();
    const blockedActor = actor.block.remote(8_000);
    let others = 0;
    for (;;) {
      const [ready] = await shoal.wait([blocked], { timeoutMs: 0 });
      if (ready.length > 0) break;
      await shoal.get(pidOf.remote());
      others += 1;
    }
    expect(await shoal.get(blocked)).toBeGreaterThan(0);
    expect(await shoal.get(blockedActor)).toBeGreaterThan(0);
    expect(others).toBeGreaterThan(20);
  });
});
