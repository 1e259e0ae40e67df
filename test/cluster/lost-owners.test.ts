/** Owners that die on one node, and what they had on another. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { inCluster } from "../support/cluster-driver.ts";
import { startProgram } from "../support/run-program.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const there = { resources: { there: 0.01 }, numCpus: 0 };

/** What the command line asks, too. */
const ask = (method: string, params: object = {}): Promise<any> =>
  (globalThis as any)[Symbol.for("shoal.runtime")].daemon.request(method, params);

const program = `import * as shoal from "shoal";
await shoal.init();
const there = { resources: { there: 0.01 }, numCpus: 0 };
const big = shoal.remote((n) => new Float64Array(n).fill(1), there).remote(500_000);
const Keeper = shoal.remote(class { keep(n) { this.ref = shoal.put(new Float64Array(n)); return 1; } }, there);
const keeper = Keeper.remote();
const detached = shoal.remote(class { ping() { return 1; } }, { ...there, name: "stays", lifetime: "detached" }).remote();
const running = shoal.remote(async () => { for (;;) await new Promise((resolve) => setTimeout(resolve, 100)); }, there).remote();
await shoal.get([keeper.keep.remote(500_000), detached.ping.remote()]);
await shoal.wait([big], { fetchLocal: false });
console.log("ready");
await shoal.get(running);
`;

describe("A driver that is killed", () => {
  test("has nothing left on other nodes: no task, no actor but detached ones, no memory", async () => {
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode({ numCpus: 1, resources: { there: 1 } }));
      await shoal.init({ address: cluster.addressOf(node) });
      const stored = async (): Promise<number> => {
        const { bytesUsed, bytesWarm } = await ask("storeStats");
        return bytesUsed - bytesWarm;
      };
      const empty = await stored();
      const driver = startProgram({
        files: { "main.mjs": program },
        args: ["main.mjs"],
        env: { SHOAL_ADDRESS: cluster.address, SHOAL_AUTH_TOKEN: cluster.authToken },
      });
      try {
        await driver.printed("ready");
        await waitFor("both values to be stored", async () => (await stored()) >= 8_000_000);
        driver.child.kill("SIGKILL");
        await waitFor("its memory to be free", async () => (await stored()) === empty, 30_000);
        await waitFor(
          "its actors to end but the detached one",
          async () => JSON.stringify((await ask("listActors")).map((view: { name: string }) => view.name)) === '["stays"]',
        );
        await waitFor("its task to end", async () => (await shoal.availableResources()).there === 0.99);
        const job = (await ask("listJobs")).find((view: { state: string }) => view.state === "ENDED");
        await waitFor(
          "its workers to end",
          async () => (await ask("listWorkers")).filter((worker: { jobId: string }) => worker.jobId === job.jobId).length === 1,
        );
        await shoal.kill(await shoal.getActor("stays"));
        await waitFor("all to be free", async () => (await shoal.availableResources()).there === 1);
      } finally {
        await driver.finish();
      }
    });
  });
});

describe("An actor that dies on another node", () => {
  test("takes what it owns with it: borrowers get OwnerDiedError, on its node and elsewhere", async () => {
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      seen(await cluster.addNode({ numCpus: 1, resources: { there: 1 } }));
      await shoal.init({ address: cluster.address });
      class Owner {
        make(n: number): { ref: shoal.ObjectRef<Float64Array>; small: shoal.ObjectRef<number> } {
          return { ref: shoal.put(new Float64Array(n)), small: shoal.put(7) };
        }
        die(): void {
          process.exit(3);
        }
      }
      const owner = shoal.remote(Owner, there).remote();
      const { ref, small } = await shoal.get(owner.make.remote(500_000));
      expect(await shoal.get(small)).toBe(7);
      const borrower = shoal.remote(
        async (box: { ref: shoal.ObjectRef<Float64Array> }) => (await shoal.get(box.ref)).length,
        there,
      );
      expect(await shoal.get(borrower.remote({ ref }))).toBe(500_000);
      await expect(shoal.get(owner.die.remote())).rejects.toBeInstanceOf(shoal.ActorDiedError);
      expect(await rejection(shoal.get(ref))).toBeInstanceOf(shoal.OwnerDiedError);
      const error = await rejection<Error>(shoal.get(borrower.options({ maxRetries: 0 }).remote({ ref })));
      expect(error.cause ?? error).toBeInstanceOf(shoal.OwnerDiedError);
    });
  });

  test("as its node does: borrowers get OwnerDiedError", async () => {
    await inCluster({}, async (cluster, seen) => {
      seen(await cluster.addNode({ numCpus: 1 }));
      const node = seen(await cluster.addNode({ numCpus: 1, resources: { there: 1 } }));
      await shoal.init({ address: cluster.address });
      class Owner {
        make(n: number): { ref: shoal.ObjectRef<Float64Array> } {
          return { ref: shoal.put(new Float64Array(n)) };
        }
      }
      const owner = shoal.remote(Owner, there).remote();
      const { ref } = await shoal.get(owner.make.remote(500_000));
      await cluster.killNode(node);
      expect(await rejection(shoal.get(ref))).toBeInstanceOf(shoal.OwnerDiedError);
    });
  });
});
