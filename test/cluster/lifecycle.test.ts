/** init, shutdown, and what is between, before and after. */
import { existsSync, statSync } from "node:fs";
import * as shoal from "shoal";
import { afterEach, describe, expect, test } from "vitest";
import { openLedger } from "../support/ledger.ts";
import { inSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const local: shoal.InitOptions = { address: "local", numCpus: 1, logToDriver: false };
const addOne = shoal.remote((x: number) => x + 1);

afterEach(() => shoal.shutdown());

describe("init()", () => {
  test("gives what describes the session, and shutdown() takes all of it away", async () => {
    expect(shoal.isInitialized()).toBe(false);
    await inSession({ ...local, namespace: "mine" }, async (context) => {
      expect(shoal.isInitialized()).toBe(true);
      expect(context).toMatchObject({
        namespace: "mine",
        nodeId: expect.stringMatching(/.{8,}/),
        jobId: expect.stringMatching(/.+/),
      });
      expect(context.address).toEqual(expect.any(String));
      expect(context.dashboardUrl).toBeUndefined();
      expect(existsSync(context.sessionDir)).toBe(true);
      expect(statSync(context.sessionDir).mode & 0o077).toBe(0);
      expect(await shoal.get(addOne.remote(1))).toBe(2);
    });
    expect(shoal.isInitialized()).toBe(false);
  });

  test("a second time rejects, unless that is to be ignored", async () => {
    await inSession(local, async (context) => {
      expect(await rejection(shoal.init(local))).toBeInstanceOf(Error);
      const again = await shoal.init({ ...local, ignoreReinitError: true });
      expect(again.sessionDir).toBe(context.sessionDir);
      expect(await shoal.get(addOne.remote(1))).toBe(2);
    });
  });

  test("ends handles with their session: later ones do not take them", async () => {
    await shoal.init({ numCpus: 1, logToDriver: false });
    class Counter {
      add(): number {
        return 1;
      }
    }
    const make = () => shoal.remote(Counter, { numCpus: 0, name: "of-a-session", getIfExists: true }).remote();
    const old = make();
    await shoal.get(old.add.remote());
    await shoal.shutdown();
    await shoal.init({ numCpus: 1, logToDriver: false });
    await expect(shoal.kill(old)).rejects.toThrow("earlier session");
    const take = shoal.remote((_handle: unknown) => 1);
    expect(() => take.remote(old)).toThrow("args[0]: a handle of actor Counter of an earlier session");
    expect(await shoal.get(make().add.remote())).toBe(1);
  });

  test("can be called again after shutdown(), and functions and classes go on to work", async () => {
    class Counter {
      n = 0;
      add(): number {
        return ++this.n;
      }
    }
    const CounterActor = shoal.remote(Counter);
    const dirs = new Set<string>();
    for (let round = 0; round < 3; round++) {
      await inSession(local, async (context) => {
        dirs.add(context.sessionDir);
        expect(await shoal.get(addOne.remote(round))).toBe(round + 1);
        expect(await shoal.get(CounterActor.remote().add.remote())).toBe(1);
      });
    }
    expect(dirs.size).toBe(3);
  });

  test("rejects options that do not exist or make no sense, and starts nothing", async () => {
    const ledger = openLedger();
    for (const options of [
      { foo: 1 },
      { numCpus: -1 },
      { numCpus: "2" },
      { resources: { CPU: 2 } },
      { resources: { slot: -1 } },
      { runtimeEnv: { foo: 1 } },
      { objectStoreMemory: Number.NaN },
      { objectStoreMemory: Infinity },
      { numCpus: Infinity },
      { numCpus: 1e300 },
      { numCpus: Number.NaN },
      { numGpus: 1e300 },
      { resources: { slot: Infinity } },
      { resources: ["slot"] },
      { labels: { zone: 5 } },
      { labels: "north" },
      { address: 5 },
      { namespace: "" },
      { namespace: 5 },
      { logToDriver: "no" },
      { ignoreReinitError: 1 },
      { runtimeEnv: { envVars: { A: "\0" } } },
      null,
      5,
    ]) {
      const error = await rejection(shoal.init(options as never));
      expect(error instanceof TypeError || error instanceof RangeError, `${JSON.stringify(options)}: ${error}`).toBe(true);
      expect(error.message).toMatch(/^Cannot use /);
    }
    expect(shoal.isInitialized()).toBe(false);
    await ledger.expectBalanced();
  });

  test('with address "auto" and no cluster rejects with ClusterConnectionError', async () => {
    const error = await rejection<shoal.ClusterConnectionError>(shoal.init({ address: "auto" }));
    expect(error).toBeInstanceOf(shoal.ClusterConnectionError);
    expect(error.code).toBe("CLUSTER_CONNECTION");
    expect(shoal.isInitialized()).toBe(false);
  });

  test("with an environment that is too large for the system rejects with ClusterConnectionError that says so", async () => {
    const ledger = openLedger();
    const error = await rejection(shoal.init({ ...local, runtimeEnv: { envVars: { A: "x".repeat(200_000) } } }));
    expect(error).toBeInstanceOf(shoal.ClusterConnectionError);
    expect(error.message).toMatch(/environment is too large .*E2BIG/);
    expect(shoal.isInitialized()).toBe(false);
    await ledger.expectBalanced();
  });

  test("that shutdown() follows at once rejects, and nothing of it stays", async () => {
    const ledger = openLedger();
    const initialized = rejection(shoal.init(local));
    await shoal.shutdown();
    expect(shoal.isInitialized()).toBe(false);
    const error = await initialized;
    expect(error).toBeInstanceOf(shoal.ClusterConnectionError);
    expect(error.message).toContain("shutdown()");
    await ledger.expectBalanced();
    await inSession(local, async () => {
      expect(await shoal.get(addOne.remote(1))).toBe(2);
    });
  });

  test("that waits for the end of another session is ended by shutdown(), too, and the next one is not", async () => {
    const ledger = openLedger();
    await shoal.init(local);
    const ending = shoal.shutdown();
    const refused = rejection(shoal.init(local));
    void shoal.shutdown();
    const next = shoal.init(local);
    expect((await refused).message).toContain("shutdown()");
    await ending;
    ledger.enter(await next);
    expect(await shoal.get(addOne.remote(1))).toBe(2);
    await shoal.shutdown();
    await ledger.expectBalanced();
  });

  test("that nobody waits for may be ended by shutdown() without an unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    void shoal.init(local);
    await shoal.shutdown();
    await new Promise(setImmediate); // where Node tells of them
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
    expect(shoal.isInitialized()).toBe(false);
  });

  test("called at once by two parts of a program starts one session", async () => {
    const ledger = openLedger();
    const outcomes = await Promise.allSettled([shoal.init(local), shoal.init({ ...local, ignoreReinitError: true })]);
    const contexts = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    expect(contexts.length).toBeGreaterThan(0);
    expect(new Set(contexts.map(({ sessionDir }) => sessionDir)).size).toBe(1);
    ledger.enter(contexts[0]!);
    await shoal.shutdown();
    await ledger.expectBalanced();
  });

  test("can be scoped by await using", async () => {
    const ledger = openLedger();
    {
      await using context = await shoal.init(local);
      ledger.enter(context);
      expect(await shoal.get(addOne.remote(41))).toBe(42);
    }
    expect(shoal.isInitialized()).toBe(false);
    await ledger.expectBalanced();
  });

  test("in a task gives the session the task runs in", async () => {
    await inSession(local, async (context) => {
      const inTask = shoal.remote(async () => (await shoal.init({ ignoreReinitError: true })).sessionDir);
      expect(await shoal.get(inTask.remote())).toBe(context.sessionDir);
    });
  });
});

describe("Verbs before init()", () => {
  const verbs: Record<string, () => unknown> = {
    "a call of a remote function": () => shoal.get(addOne.remote(1)),
    put: () => shoal.get(shoal.put(1)),
    getActor: () => rejection(shoal.getActor("nobody")),
    nodes: () => shoal.nodes(),
    getRuntimeContext: () => shoal.getRuntimeContext(),
    placementGroup: () => shoal.placementGroup([{ CPU: 1 }]).wait(),
    "a call of an actor class": () =>
      shoal.get(
        shoal
          .remote(
            class {
              use(): number {
                return 1;
              }
            },
          )
          .remote()
          .use.remote(),
      ),
  };
  for (const [verb, use] of Object.entries(verbs)) {
    test(`such as ${verb} start a session, which init() then joins`, async () => {
      const ledger = openLedger();
      await use();
      expect(shoal.isInitialized()).toBe(true);
      const context = await shoal.init({ logToDriver: false });
      ledger.enter(context);
      expect(await shoal.get(addOne.remote(1))).toBe(2);
      await shoal.shutdown();
      await ledger.expectBalanced();
    });
  }
});

describe("shutdown()", () => {
  test("that is under way is waited for by init()", async () => {
    const ledger = openLedger();
    ledger.enter(await shoal.init(local));
    void shoal.shutdown();
    const second = await shoal.init(local);
    ledger.enter(second);
    expect(await shoal.get(addOne.remote(1))).toBe(2);
    await shoal.shutdown();
    await ledger.expectBalanced();
  });

  test("can be called any number of times, also without a session", async () => {
    await shoal.shutdown();
    const ledger = openLedger();
    ledger.enter(await shoal.init(local));
    void shoal.shutdown();
    await shoal.shutdown(); // the second call waits for the end as well
    expect(shoal.isInitialized()).toBe(false);
    await ledger.expectBalanced();
  });

  test("while init() is under way leaves nothing", async () => {
    const ledger = openLedger();
    const starting = shoal.init(local).catch((error: Error) => error);
    await shoal.shutdown();
    await starting;
    await shoal.shutdown();
    await ledger.expectBalanced();
  });

  test("ends what is pending with an error, at once", async () => {
    const ledger = openLedger();
    ledger.enter(await shoal.init(local));
    const signal = SignalActor.remote();
    const ref = shoal.remote((gate: typeof signal) => shoal.get(gate.wait.remote())).remote(signal);
    await waitFor("the task to wait", async () => (await shoal.get(signal.waiters.remote())) === 1);
    const outcomes = [shoal.get(ref), shoal.get(signal.wait.remote()), shoal.get(addOne.remote(ref as never))].map((promise) =>
      rejection(promise),
    );
    await shoal.shutdown();
    for (const error of await Promise.all(outcomes)) expect(error).toBeInstanceOf(shoal.ShoalError);
    await ledger.expectBalanced();
  });

  test("makes refs and handles of its session useless, with an error and not by hanging", async () => {
    const ledger = openLedger();
    ledger.enter(await shoal.init(local));
    const ref = addOne.remote(1);
    const signal = SignalActor.remote();
    await shoal.get([ref, signal.waiters.remote()]);
    await shoal.shutdown();
    ledger.enter(await shoal.init(local));
    expect(await rejection((async () => shoal.get(ref, { timeoutMs: 10_000 }))())).not.toBeInstanceOf(shoal.GetTimeoutError);
    expect(await rejection((async () => shoal.get(signal.waiters.remote(), { timeoutMs: 10_000 }))())).not.toBeInstanceOf(
      shoal.GetTimeoutError,
    );
    expect(await rejection((async () => shoal.get(addOne.remote(ref), { timeoutMs: 10_000 }))())).not.toBeInstanceOf(
      shoal.GetTimeoutError,
    );
    await shoal.shutdown();
    await ledger.expectBalanced();
  });
});
