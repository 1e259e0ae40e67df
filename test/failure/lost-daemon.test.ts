/** The node daemon is killed: the driver is told at once, hangs nowhere, leaves nothing, and can start again. */
import { existsSync } from "node:fs";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { openLedger, shmDirOf } from "../support/ledger.ts";
import { descendantsOf, isRunning } from "../support/processes.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

class Counter {
  n = 0;
  add(): number {
    return ++this.n;
  }
}

describe("When the daemon is killed", () => {
  test("everything pending fails with NodeDiedError, nothing is left, and a new session works", async () => {
    const childrenBefore = new Set(descendantsOf(process.pid).map(({ pid }) => pid));
    const ledger = openLedger();
    const context = await shoal.init({ address: "local", numCpus: 2, logToDriver: false });
    ledger.enter(context);
    const signal = SignalActor.remote();
    const counter = shoal.remote(Counter, { numCpus: 0 }).remote();
    expect(await shoal.get(counter.add.remote())).toBe(1);
    const large = shoal.put(new Float64Array(1_000_000));
    const park = shoal.remote(async (gate: typeof signal) => shoal.get(gate.wait.remote()));
    const stream = shoal.remote(async function* (gate: typeof signal) {
      yield 1;
      await shoal.get(gate.wait.remote());
    });
    const generator = stream.remote(signal);
    const iterator = generator[Symbol.asyncIterator]();
    await iterator.next();
    const running = park.remote(signal);
    const queued = Array.from({ length: 10 }, () => park.remote(signal));
    await waitFor("two calls to wait", async () => (await shoal.get(signal.waiters.remote())) >= 1);
    const infeasible = shoal.remote(() => 1, { resources: { unobtainium: 1 } }).remote();

    const started = descendantsOf(process.pid).filter(({ pid }) => !childrenBefore.has(pid));
    const daemons = started.filter(({ parent }) => parent === process.pid);
    expect(daemons.length).toBe(1);
    const pending: Record<string, Promise<unknown>> = {
      "get of a running task": shoal.get(running),
      "get of a list": shoal.get(queued),
      "get of an infeasible task": shoal.get(infeasible),
      "get of a call": shoal.get(signal.wait.remote()),
      "next of a generator": iterator
        .next()
        .then((step) => shoal.get((step as IteratorYieldResult<shoal.ObjectRef<number>>).value)),
      "the group": shoal.get(shoal.placementGroup([{ CPU: 100 }]).ready()),
    };
    const outcomes = Object.entries(pending).map(([what, promise]) => rejection(promise).then((error) => ({ what, error })));
    const killedAt = performance.now();
    process.kill(daemons[0]!.pid, "SIGKILL");
    for (const { what, error } of await Promise.all(outcomes)) expect(error, what).toBeInstanceOf(shoal.NodeDiedError);
    expect(performance.now() - killedAt).toBeLessThan(5_000);

    const later = async () => shoal.get(shoal.remote(() => 1).remote());
    expect(await rejection(later())).toBeInstanceOf(shoal.NodeDiedError);
    expect(await rejection((async () => shoal.get(counter.add.remote()))())).toBeInstanceOf(shoal.ShoalError);
    expect(await rejection(shoal.nodes())).toBeInstanceOf(shoal.ShoalError);
    const [ready] = await shoal.wait([running], { timeoutMs: 1_000 });
    expect(ready).toEqual([running]);

    await waitFor("every worker to end", () => started.every(({ pid }) => !isRunning(pid)), 5_000);
    void large;
    await shoal.shutdown();
    await ledger.expectBalanced();
    expect(existsSync(context.sessionDir)).toBe(false);
    expect(existsSync(shmDirOf(context.sessionDir))).toBe(false);

    const again = await shoal.init({ address: "local", numCpus: 1, logToDriver: false });
    ledger.enter(again);
    expect(again.sessionDir).not.toBe(context.sessionDir);
    expect(await shoal.get(shoal.remote((x: number) => x + 1).remote(1))).toBe(2);
    await shoal.shutdown();
    await ledger.expectBalanced();
  });
});
