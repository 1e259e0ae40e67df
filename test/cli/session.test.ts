/** A head, a driver, the listings, and the end of it all. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inSandbox } from "../support/command-line.ts";
import { waitFor } from "../support/wait-for.ts";

const squares = `
import * as shoal from "shoal";
const context = await shoal.init({ logToDriver: false });
const square = shoal.remote(function square(x) { return x * x; });
console.log(JSON.stringify({ address: context.address, result: await shoal.get([1, 2, 3].map((x) => square.remote(x))) }));
`;

describe("start --head", () => {
  test("serves a driver that finds it by itself or by SHOAL_ADDRESS, answers the listings, and stop leaves nothing", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head(["--labels", "zone=a", "--resources", '{"slot": 2}']);
      expect(address).toMatch(/^127\.0\.0\.1:\d+$/);
      const program = sandbox.write("squares.mjs", squares);
      for (const env of [{}, { SHOAL_ADDRESS: address }, { SHOAL_ADDRESS: "auto" }]) {
        const { code, stdout, stderr } = await sandbox.node(program, { env });
        expect(JSON.parse(stdout || "null"), stderr).toEqual({ address, result: [1, 4, 9] });
        expect(code).toBe(0);
      }
      const status = await sandbox.json(["status"]);
      expect(status).toMatchObject({ address, total: { CPU: 1, slot: 2 } });
      const [node] = await sandbox.json(["list", "nodes"]);
      expect(node).toMatchObject({ state: "ALIVE", isHead: true, labels: { zone: "a" }, address });
      expect(await sandbox.json(["get", "node", node.nodeId.slice(0, 6)])).toMatchObject({ nodeId: node.nodeId });
      expect(await sandbox.json(["list", "nodes", "--filter", "isHead=false"])).toEqual([]);
      expect((await sandbox.json(["list", "jobs"])).map((job: { state: string }) => job.state)).toEqual([
        "ENDED",
        "ENDED",
        "ENDED",
      ]);
      expect(await sandbox.json(["summary", "tasks"])).toEqual([{ name: "square", state: "FINISHED", count: 9 }]);
      expect(await sandbox.ok(["status"])).toContain(`Cluster at ${address}: 1 node`);
      expect(await sandbox.json(["memory"])).toMatchObject([{ nodeId: node.nodeId, store: { objects: 0 } }]);
      expect(await sandbox.ok(["logs", "daemon.log", "--tail", "-1"])).toContain("connected for job");
      await sandbox.ok(["timeline", "-o", "trace.json"]);
      const trace = JSON.parse(readFileSync(join(sandbox.dir, "trace.json"), "utf8"));
      expect(trace.filter((event: { name: string }) => event.name === "square")).toHaveLength(9);
      expect(await sandbox.json(["health-check"])).toEqual({ healthy: true, nodes: 1 });
      await sandbox.ok(["stop"]);
      expect(sandbox.left()).toEqual([]);
      expect((await sandbox.shoal(["health-check"])).code).toBe(1);
      expect(await sandbox.ok(["stop"])).toContain("No node of yours");
    });
  });

  test("keeps detached actors when their driver ends, and kill-actor ends them", async () => {
    await inSandbox(async (sandbox) => {
      await sandbox.head();
      const program = sandbox.write(
        "detached.mjs",
        `import * as shoal from "shoal";
         await shoal.init();
         class Keeper { there() { return true; } }
         const keeper = shoal.remote(Keeper, { name: "keeper", lifetime: "detached" }).remote();
         await shoal.get(keeper.there.remote());
         await shoal.shutdown();`,
      );
      expect(await sandbox.node(program)).toMatchObject({ code: 0 });
      expect(await sandbox.json(["list", "actors"])).toMatchObject([{ name: "keeper", className: "Keeper", state: "ALIVE" }]);
      await sandbox.ok(["kill-actor", "--name", "keeper"]);
      const states = async () => (await sandbox.json(["list", "actors"])).map((actor: { state: string }) => actor.state);
      await waitFor("the actor to be dead", async () => (await states())[0] === "DEAD", 15_000, 200);
      expect((await sandbox.shoal(["kill-actor", "--name", "keeper"])).code).toBe(1);
      await sandbox.ok(["stop"]);
    });
  });

  test("says which port is taken", async () => {
    await inSandbox(async (sandbox) => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { port: number };
      const { code, stderr } = await sandbox.shoal(["start", "--head", "--node-ip-address", "127.0.0.1", "--port", String(port)]);
      server.close();
      expect(code).toBe(1);
      expect(stderr).toContain(`127.0.0.1:${port}`);
      expect(stderr).toContain("in use");
      expect(sandbox.left()).toEqual([]);
    });
  });

  test("makes a token that only its user can read, which get-auth-token prints", async () => {
    await inSandbox(async (sandbox) => {
      expect((await sandbox.shoal(["get-auth-token"])).code).toBe(1);
      const made = (await sandbox.ok(["get-auth-token", "--generate"])).trim();
      const file = join(sandbox.home, ".shoal", "auth_token");
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(made).toMatch(/^[0-9a-f]{64}$/);
      await sandbox.head();
      expect((await sandbox.ok(["get-auth-token"])).trim()).toBe(made);
      expect((await sandbox.ok(["get-auth-token"], { env: { SHOAL_AUTH_TOKEN: "another" } })).trim()).toBe("another");
      await sandbox.ok(["stop"]);
    });
  });

  test("with --block stays, and leaves in good order on SIGTERM; SIGCONT changes nothing", async () => {
    await inSandbox(async (sandbox) => {
      const head = sandbox.start(["start", "--head", "--port=0", "--node-ip-address=127.0.0.1", "--num-cpus", "", "--block"]);
      await head.printed(/stays until the node ends/);
      head.child.kill("SIGCONT");
      expect(await sandbox.json(["health-check"])).toMatchObject({ healthy: true });
      head.child.kill("SIGTERM");
      expect(await head.ended).toMatchObject({ code: 0, signal: null });
      expect(sandbox.left()).toEqual([]);
    });
  });
});

test("a node that is started with --block ends with its command, however that ends", async () => {
  await inSandbox(async (sandbox) => {
    const head = sandbox.start(["start", "--head", "--port=0", "--node-ip-address=127.0.0.1", "--num-cpus=1", "--block"]);
    await head.printed(/stays until the node ends/);
    head.child.kill("SIGKILL");
    await head.ended;
    await waitFor("the node to be gone", () => sandbox.left().length === 0, 5_000);
  });
});

describe("several clusters on one machine", () => {
  test("do not meet: somebody must say which is meant", async () => {
    await inSandbox(async (sandbox) => {
      const first = await sandbox.head();
      const second = await sandbox.head();
      const program = sandbox.write("squares.mjs", squares);
      const lost = await sandbox.node(program);
      expect(lost.code).not.toBe(0);
      expect(lost.stderr).toContain(first);
      expect(lost.stderr).toContain(second);
      const { stdout } = await sandbox.node(program, { env: { SHOAL_ADDRESS: second } });
      expect(JSON.parse(stdout).address).toBe(second);
      const refused = await sandbox.shoal(["stop"]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(first);
      expect(sandbox.sessions()).toHaveLength(2);
      await sandbox.ok(["stop", "--address", first]);
      expect((await sandbox.json(["status"])).address).toBe(second);
      await sandbox.ok(["stop"]);
      expect(sandbox.left()).toEqual([]);
    });
  });

  test("a local session beside one is still its own", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head();
      const program = sandbox.write("squares.mjs", squares.replace("init({", 'init({ address: "local", numCpus: 1,'));
      const { stdout } = await sandbox.node(program);
      expect(JSON.parse(stdout)).toMatchObject({ result: [1, 4, 9] });
      expect(JSON.parse(stdout).address).not.toBe(address);
      const refused = await sandbox.node(sandbox.write("cpus.mjs", squares.replace("init({", "init({ numCpus: 1,")));
      expect(refused.stderr).toContain("numCpus");
      await sandbox.ok(["stop", "--force"]);
      expect(sandbox.left()).toEqual([]);
    });
  });
});

test("stop ends no process that is not the one that wrote the node's file", async () => {
  await inSandbox(async (sandbox) => {
    await sandbox.head();
    const [session] = sandbox.sessions();
    const { pid } = sandbox.nodeFile(session) as { pid: number };
    process.kill(pid, "SIGKILL");
    await waitFor("the daemon to be gone", () => !existsSync(`/proc/${pid}`));
    expect(await sandbox.ok(["stop", "--all"])).toContain("No node of yours");
    await sandbox.head(); // what the first left is swept by the next
    expect(sandbox.sessions()).not.toContain(session);
    await sandbox.ok(["stop"]);
  });
});
