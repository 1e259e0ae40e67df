/** The memory monitor: above 95 % it ends one process at a time, the newest task that may be retried first. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { isRunning } from "../support/processes.ts";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { TallyActor } from "../support/tally-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

type Signal = ReturnType<typeof SignalActor.remote>;
type Tally = ReturnType<typeof TallyActor.remote>;

const dir = mkdtempSync(join(tmpdir(), "shoal-memory-"));
const usageFile = join(dir, "usage");
/** In percent of the machine's memory; replaced in one step, so that nobody reads half of it. */
function setUsage(percent: number): void {
  writeFileSync(`${usageFile}.new`, `${percent * 10_000_000} 1000000000`);
  renameSync(`${usageFile}.new`, usageFile);
}
setUsage(50);
process.env.SHOAL_TEST_MEMORY_USAGE_FILE = usageFile;
// Long enough that a test sees one process die and lowers the usage before the monitor looks again.
process.env.SHOAL_MEMORY_MONITOR_MS = "1000";
afterAll(() => {
  delete process.env.SHOAL_TEST_MEMORY_USAGE_FILE;
  delete process.env.SHOAL_MEMORY_MONITOR_MS;
  rmSync(dir, { recursive: true });
});
afterEach(() => setUsage(50));

const park = shoal.remote(async (tally: Tally, name: string, signal: Signal) => {
  await shoal.get(tally.note.remote([name, process.pid]));
  await shoal.get(signal.wait.remote());
  return name;
});

class Parking {
  async park(tally: Tally, name: string, signal: Signal): Promise<string> {
    await shoal.get(tally.note.remote([name, process.pid]));
    await shoal.get(signal.wait.remote());
    return name;
  }
}

/** The pid of the `run`th run of the task `name`. */
const pidOf = async (tally: Tally, name: string, run = 1) =>
  (
    await waitFor(`run ${run} of ${name}`, async () => {
      const notes = ((await shoal.get(tally.notes.remote())) as [string, number][]).filter((note) => note[0] === name);
      return notes.length >= run && notes[run - 1]!;
    })
  )[1];

/** Fills the memory until one of `pids` is gone; returns it. */
async function squeeze(...pids: number[]): Promise<number> {
  setUsage(97);
  const gone = await waitFor("the monitor to end a process", () => pids.find((pid) => !isRunning(pid)));
  setUsage(50);
  return gone;
}

useSession({ numCpus: 3 });

describe("The memory monitor", () => {
  test("leaves all alone below its threshold", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    setUsage(94);
    const ref = park.options({ maxRetries: 0 }).remote(tally, "calm", signal);
    const pid = await pidOf(tally, "calm");
    const ended = waitFor("the task's process to be ended", () => !isRunning(pid), 2_200); // the monitor looks twice meanwhile
    expect((await rejection(ended)).message).toContain("in vain");
    await shoal.get(signal.send.remote());
    expect(await shoal.get(ref)).toBe("calm");
  });

  test("ends the newest task that may be retried, which then runs again", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const fixed = park.options({ maxRetries: 0 }).remote(tally, "fixed", signal);
    const pidFixed = await pidOf(tally, "fixed");
    const old = park.remote(tally, "old", signal);
    const pidOld = await pidOf(tally, "old");
    const young = park.remote(tally, "young", signal);
    const pidYoung = await pidOf(tally, "young");
    expect(await squeeze(pidFixed, pidOld, pidYoung)).toBe(pidYoung);
    const again = await pidOf(tally, "young", 2);
    expect(again).not.toBe(pidYoung);
    expect([isRunning(pidFixed), isRunning(pidOld)]).toEqual([true, true]);
    await shoal.get(signal.send.remote());
    expect(await shoal.get([fixed, old, young])).toEqual(["fixed", "old", "young"]);
  });

  test("fails a task that may not be retried with OutOfMemoryError when there is no other", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const ref = park.options({ maxRetries: 0 }).remote(tally, "alone", signal);
    const pid = await pidOf(tally, "alone");
    await squeeze(pid);
    const error = await rejection<shoal.OutOfMemoryError>(shoal.get(ref));
    expect(error).toBeInstanceOf(shoal.OutOfMemoryError);
    expect(error).toMatchObject({ code: "OUT_OF_MEMORY", pid });
    expect(error.message).toMatch(/memory/i);
  });

  test("does not count against the retries for crashes, or a task with one retry would fail at the second time", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const ref = park.options({ maxRetries: 1 }).remote(tally, "unlucky", signal);
    await squeeze(await pidOf(tally, "unlucky", 1));
    await squeeze(await pidOf(tally, "unlucky", 2));
    await pidOf(tally, "unlucky", 3);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(ref)).toBe("unlucky");
  });

  test("ends an actor for lack of memory: for good without restarts, with them it comes again", async () => {
    const [tally, signal] = [TallyActor.remote(), SignalActor.remote()];
    const mortal = shoal.remote(Parking, { numCpus: 0 }).remote();
    const call = mortal.park.remote(tally, "mortal", signal);
    await squeeze(await pidOf(tally, "mortal"));
    const error = await rejection<shoal.ActorDiedError>(shoal.get(call));
    expect(error).toBeInstanceOf(shoal.ActorDiedError);
    expect(error.reason).toBe("out of memory");
    expect(error.message).toMatch(/memory/i);

    const restarting = shoal.remote(Parking, { numCpus: 0, maxRestarts: 1, maxTaskRetries: 1 }).remote();
    const retried = restarting.park.remote(tally, "restarting", signal);
    await squeeze(await pidOf(tally, "restarting", 1));
    await pidOf(tally, "restarting", 2);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(retried)).toBe("restarting");
  });
});
