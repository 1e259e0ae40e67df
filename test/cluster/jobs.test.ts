/** What the tasks and actors of a job have of it on the nodes of a running cluster: its namespace, its directory, and what outlives it. */
import * as shoal from "shoal";
import { Cluster, type TestNode } from "shoal/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runProgram } from "../support/run-program.ts";

const cluster = new Cluster();
let head: TestNode;
let other: TestNode;

beforeAll(async () => {
  head = await cluster.addNode({ numCpus: 2, labels: { which: "head" } });
  other = await cluster.addNode({ numCpus: 2, labels: { which: "other" } });
});
afterAll(() => cluster.close());

/** A driver of its own on the head's node, in a directory of its own with `data/d.txt`. What it prints, as lines. */
async function run(source: string): Promise<string[]> {
  const env = { SHOAL_ADDRESS: cluster.address, SHOAL_AUTH_TOKEN: cluster.authToken, SHOAL_TMPDIR: process.env.SHOAL_TMPDIR };
  const files = { "main.mjs": `import * as shoal from "shoal";\n${source}\nawait shoal.shutdown();`, "data/d.txt": "beside me" };
  const { stdout, stderr, code, dir } = await runProgram({ files, args: ["main.mjs"], env });
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return stdout.trim().replaceAll(dir, "DIR").split("\n");
}

describe("the namespace of a job", () => {
  test.each(["head", "other"])("is that of its tasks and actors on the %s node", async (which) => {
    await shoal.init({ address: cluster.address, namespace: `of ${which}` });
    try {
      const labelSelector = { which };
      class Named {
        namespace(): string {
          return shoal.getRuntimeContext().namespace;
        }
        async make(name: string): Promise<string> {
          const made = shoal.remote(Named, { name, lifetime: "detached" }).remote();
          return await shoal.get(made.namespace.remote());
        }
      }
      const first = shoal.remote(Named, { name: "first", labelSelector }).remote();
      const look = shoal.remote(
        async () => {
          const found = await shoal.getActor<Named>("first");
          const made = shoal.remote(Named, { name: "by a task", lifetime: "detached" }).remote();
          await shoal.get(made.namespace.remote());
          return [shoal.getRuntimeContext().namespace, await shoal.get(found.namespace.remote())];
        },
        { labelSelector },
      );
      expect(await shoal.get(look.remote())).toEqual([`of ${which}`, `of ${which}`]);
      expect(await shoal.get(first.make.remote("by an actor"))).toBe(`of ${which}`);
      for (const name of ["by a task", "by an actor"]) {
        const found = await shoal.getActor<Named>(name);
        expect(await shoal.get(found.namespace.remote())).toBe(`of ${which}`);
        await shoal.kill(found);
      }
    } finally {
      await shoal.shutdown();
    }
  });
});

describe("the directory of a driver", () => {
  const where = `const where = shoal.remote(async () => [process.cwd(), (await import("node:fs")).existsSync("d.txt")]);`;

  test.each(["head", "other"])("is where its tasks run on the %s node, and what `workingDir` is relative to", async (which) => {
    const lines = await run(`${where}
const there = where.options({ labelSelector: { which: "${which}" } });
console.log(...(await shoal.get(there.remote())));
const [cwd, has] = await shoal.get(there.options({ runtimeEnv: { workingDir: "./data" } }).remote());
console.log(${which === "head" ? "cwd" : '"a copy"'}, has);`);
    expect(lines).toEqual(["DIR false", which === "head" ? "DIR/data true" : "a copy true"]);
  });

  test("may be removed: workers start in their session's then", async () => {
    const lines = await run(`${where}
import { mkdirSync, rmdirSync } from "node:fs";
mkdirSync("gone");
process.chdir("gone");
await shoal.init();
rmdirSync(process.cwd());
process.chdir("..");
console.log((await shoal.get(where.remote()))[0] === "${head.sessionDir}");`);
    expect(lines).toEqual(["true"]);
  });
});

describe("when a job has ended", () => {
  const prologue = `await shoal.init({ namespace: "jobs" });
class Child { n = 0; inc() { return ++this.n; } where() { return shoal.getRuntimeContext().nodeId; } }
const RemoteChild = shoal.remote(Child, { numCpus: 0, schedulingStrategy: "SPREAD" });
class Keeper {
  async start() {
    this.child = RemoteChild.options({ name: "kept child" }).remote();
    this.group = shoal.placementGroup([{ CPU: 1 }], { name: "kept group" });
    return [await shoal.get(this.child.inc.remote()), await this.group.wait()];
  }
  async check() {
    return [await shoal.get(this.child.inc.remote()), await this.group.wait({ timeoutMs: 5000 }), shoal.getRuntimeContext().namespace];
  }
}`;

  test("what its detached actor has made stays, and ends with the actor", async () => {
    const made = await run(`${prologue}
const keeper = shoal.remote(Keeper, { name: "keeper", lifetime: "detached", numCpus: 0 }).remote();
const own = RemoteChild.options({ name: "own child" }).remote();
await shoal.get(own.inc.remote());
console.log(...(await shoal.get(keeper.start.remote())));`);
    expect(made).toEqual(["1 true"]);
    const seen = await run(`${prologue}
const keeper = await shoal.getActor("keeper");
console.log(...(await shoal.get(keeper.check.remote())));
console.log(await shoal.getActor("own child").catch((error) => error.name));
const child = await shoal.getActor("kept child");
await shoal.kill(keeper);
let end = null;
while (end === null) end = await shoal.get(child.inc.remote()).then(() => null, (error) => error.name); // its owner's process is ending
console.log(end);
`);
    expect(seen).toEqual(["2 true jobs", "ActorNotFoundError", "ActorDiedError"]);
    await shoal.init({ address: cluster.addressOf(other) });
    try {
      const both = shoal.placementGroup([{ CPU: 2 }, { CPU: 2 }]);
      expect(await both.wait({ timeoutMs: 10_000 })).toBe(true); // the group's CPU is free again
      await shoal.removePlacementGroup(both);
    } finally {
      await shoal.shutdown();
    }
  });
});
