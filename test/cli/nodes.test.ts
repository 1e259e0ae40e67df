/** Several nodes, each with a directory for sessions of its own as on a machine of its own. */
import { appendFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inSandbox, type Sandbox } from "../support/command-line.ts";
import { waitFor } from "../support/wait-for.ts";

const livingNodes = async (sandbox: Sandbox) => (await sandbox.json(["list", "nodes", "--filter", "alive=true"])).length;

describe("start --address", () => {
  test("joins, and stop there takes only that node away", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head();
      const there = { place: "there" };
      expect(await sandbox.ok(["start", `--address=${address}`, "--num-cpus", "2"], there)).toContain(
        `member of the cluster at ${address}`,
      );
      expect(await sandbox.json(["status"], there)).toMatchObject({ address, total: { CPU: 3 } });
      const nodeIds = (await sandbox.json(["list", "nodes"])).map(({ nodeId }: { nodeId: string }) => nodeId).sort();
      for (const about of [["memory"], ["summary", "objects"]]) {
        const views: { nodeId: string }[] = await sandbox.json(about, there);
        expect(views.map(({ nodeId }) => nodeId).sort()).toEqual(nodeIds);
      }
      await sandbox.ok(["stop"], there);
      expect(sandbox.sessions("there")).toEqual([]);
      await waitFor("the head to know", async () => (await livingNodes(sandbox)) === 1, 15_000, 200);
      await sandbox.ok(["stop"]);
    });
  });

  test("waits for a head that comes later", async () => {
    await inSandbox(async (sandbox) => {
      const first = await sandbox.head(); // to have a port that is free
      const port = first.split(":")[1];
      await sandbox.ok(["stop"]);
      const node = sandbox.start(["start", "--address", first, "--num-cpus", "1", "--block"], { place: "there" });
      await sandbox.head(["--port", port]);
      await node.printed(/member of the cluster/);
      expect(await livingNodes(sandbox)).toBe(2);
      node.child.kill("SIGTERM");
      expect(await node.ended).toMatchObject({ code: 0 });
      await sandbox.ok(["stop"]);
    });
  });

  test("waits for a token that a head makes later, in a home that has none", async () => {
    await inSandbox(async (sandbox) => {
      const first = await sandbox.head(); // to have a port that is free
      await sandbox.ok(["stop"]);
      rmSync(join(sandbox.home, ".shoal"), { recursive: true });
      const args = ["start", "--address", first, "--num-cpus", "1"];
      const node = sandbox.start([...args, "--block"], { place: "there" });
      await node.complained(/Waiting for the cluster's token in .*auth_token, which the head at 127\.0\.0\.1:\d+ makes/);
      await sandbox.head(["--port", first.split(":")[1]]);
      await node.printed(/member of the cluster/);
      for (const place of ["there", "here"]) await sandbox.ok(["stop"], { place });
      expect(await node.ended).toMatchObject({ code: 0 });
      rmSync(join(sandbox.home, ".shoal"), { recursive: true });
      const none = await sandbox.shoal([...args, "--join-timeout", "0.5"], { place: "there" });
      expect(none).toMatchObject({ code: 1 });
      expect(none.stderr).toMatch(
        /its token did not come within 0\.5 s: SHOAL_AUTH_TOKEN is not set and there is no .*auth_token/,
      );
    });
  });

  test("SIGUSR1, as batch systems send it before the end, lets a node leave and opens no inspector", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head();
      const node = sandbox.start(["start", "--address", address, "--num-cpus", "1", "--block"], { place: "there" });
      await node.printed(/stays until the node ends/);
      node.child.kill("SIGUSR1");
      const end = await node.ended;
      expect(end).toMatchObject({ code: 0 });
      expect(end.stderr).not.toMatch(/debugger|inspector/i);
      expect(await livingNodes(sandbox)).toBe(1);
      await sandbox.ok(["stop"]);
    });
  });

  test("says what it tried when no head comes, and that tokens differ at once", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head();
      const wrong = await sandbox.shoal(["start", "--address", address], { place: "there", env: { SHOAL_AUTH_TOKEN: "wrong" } });
      expect(wrong).toMatchObject({ code: 1 });
      expect(wrong.stderr).toContain("token");
      await sandbox.ok(["stop"]);
      const none = await sandbox.shoal(["start", "--address", address, "--join-timeout", "1"], { place: "there" });
      expect(none).toMatchObject({ code: 1 });
      expect(none.stderr).toContain(address);
      expect(sandbox.left()).toEqual([]);
    });
  });

  test("drain-node lets a node leave", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head();
      const node = sandbox.start(["start", "--address", address, "--num-cpus", "1", "--block"], { place: "there" });
      await node.printed(/member of the cluster/);
      const [{ nodeId }] = await sandbox.json(["list", "nodes", "--filter", "isHead=false"]);
      await sandbox.ok(["drain-node", "--node-id", nodeId, "--reason", "test"]);
      expect(await node.ended).toMatchObject({ code: 0 });
      await sandbox.ok(["stop"]);
    });
  });
});

describe("logs", () => {
  /** The only session's directory of logs in a place. */
  const logsDir = (sandbox: Sandbox, place: string): string => {
    const user = readdirSync(join(sandbox.dir, place))[0];
    return join(sandbox.dir, place, user, sandbox.sessions(place)[0], "logs");
  };

  test("lists and shows the files of every node, whichever is asked", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head(["--num-cpus", "0"]);
      await sandbox.ok(["start", `--address=${address}`, "--num-cpus", "1"], { place: "there" });
      const nodes: { nodeId: string; isHead: boolean }[] = await sandbox.json(["list", "nodes"]);
      const head = nodes.find(({ isHead }) => isHead)?.nodeId as string;
      const other = nodes.find(({ isHead }) => !isHead)?.nodeId as string;
      const program = sandbox.write(
        "print.mjs",
        `import * as shoal from "shoal";
         await shoal.init({ logToDriver: false });
         await shoal.get(shoal.remote(() => console.log("said weather")).remote());
         await shoal.shutdown();`,
      );
      expect(await sandbox.node(program)).toMatchObject({ code: 0 });

      const listed: { nodeId: string; file: string; bytes: number }[] = await sandbox.json(["logs"]);
      const withDaemonLog = listed.filter(({ file }) => file === "daemon.log").map(({ nodeId }) => nodeId);
      expect(withDaemonLog.sort()).toEqual([head, other].sort());
      const there: typeof listed = await sandbox.json(["logs", "--node", other.slice(0, 8)]);
      expect(new Set(there.map(({ nodeId }) => nodeId))).toEqual(new Set([other]));
      expect(await sandbox.json(["logs", "--node-id", other], { place: "there" })).toEqual(there);

      expect(await sandbox.ok(["logs", "worker*.out", "--tail", "-1"])).toContain("said weather");
      expect(await sandbox.ok(["logs", "daemon.log", "--node", other])).toContain("joined cluster");
      const both = await sandbox.ok(["logs", "daemon.log", "--tail", "1"], { place: "there" });
      for (const nodeId of [head, other]) expect(both).toContain(`==> ${nodeId} daemon.log <==`);

      const lines = Array.from({ length: 100_000 }, (_, n) => `line ${n} ${"x".repeat(20)}\n`);
      writeFileSync(join(logsDir(sandbox, "there"), "large.out"), lines.join("")); // some parts long
      expect(await sandbox.ok(["logs", "large.out", "--tail", "-1"])).toBe(lines.join(""));
      expect(await sandbox.ok(["logs", "large.out", "--tail", "5000"])).toBe(lines.slice(-5_000).join(""));
      expect(await sandbox.ok(["logs", "large.out", "--tail", "0"])).toBe("");

      const unknown = await sandbox.shoal(["logs", "daemon.log", "--node", "zzz"]);
      expect(unknown).toMatchObject({ code: 1, stderr: "Cannot show the logs of node 'zzz': no living node has that id\n" });
      const absent = await sandbox.shoal(["logs", "large.out", "--node", head]);
      expect(absent).toMatchObject({ code: 1 });
      expect(absent.stderr).toContain("daemon.log");
      for (const place of ["there", "here"]) await sandbox.ok(["stop"], { place });
    });
  });

  test("--follow prints what another node's file gets, until that node ends", async () => {
    await inSandbox(async (sandbox) => {
      const address = await sandbox.head(["--num-cpus", "0"]);
      await sandbox.ok(["start", `--address=${address}`, "--num-cpus", "1"], { place: "there" });
      const file = join(logsDir(sandbox, "there"), "some.out");
      writeFileSync(file, "old\nfirst\n");
      const following = sandbox.start(["logs", "some.out", "--tail", "1", "--follow"]);
      await following.printed(/^first\n$/);
      appendFileSync(file, "second\n");
      await following.printed(/^first\nsecond\n$/);
      writeFileSync(`${file}.1`, "old\nfirst\nsecond\nthird\n"); // as when it is rotated
      writeFileSync(file, "4th\n");
      await following.printed(/^first\nsecond\nthird\n4th\n$/);
      await sandbox.ok(["stop"], { place: "there" });
      expect(await following.ended).toMatchObject({ code: 0, stdout: "first\nsecond\nthird\n4th\n" });
      await sandbox.ok(["stop"]);
    });
  });
});

test("a command reaches a cluster that has no node here", async () => {
  await inSandbox(async (sandbox) => {
    const address = await sandbox.head();
    expect(await sandbox.json(["status", "--address", address], { place: "elsewhere" })).toMatchObject({ address });
    expect(sandbox.sessions("elsewhere")).toEqual([]);
    await sandbox.ok(["stop"]);
  });
});

test("a program elsewhere is no node: not in nodes(), the resources, the listings or the status", async () => {
  await inSandbox(async (sandbox) => {
    const address = await sandbox.head();
    const program = sandbox.write(
      "who.mjs",
      `import * as shoal from "shoal";
       const { nodeId } = await shoal.init();
       const [nodes, total, free] = [await shoal.nodes(), await shoal.clusterResources(), await shoal.availableResources()];
       console.log(JSON.stringify({ nodeId, nodes: nodes.map((node) => node.nodeId), total, free }));
       process.on("SIGTERM", () => shoal.shutdown().then(() => process.exit(0)));
       setInterval(() => {}, 1_000);`,
    );
    const driver = sandbox.start([], { entry: program, place: "elsewhere", env: { SHOAL_ADDRESS: address } });
    const [said] = await driver.printed(/\{.*\}/);
    const { nodeId, nodes, total, free } = JSON.parse(said);
    const [head] = await sandbox.json(["list", "nodes"]);
    expect(nodes).toEqual([head.nodeId]);
    expect(nodeId).not.toBe(head.nodeId);
    for (const resources of [total, free])
      expect(Object.keys(resources).filter((name) => name.startsWith("node:") && !name.startsWith("node:__"))).toEqual([
        `node:${head.nodeId}`,
      ]);
    expect(total.object_store_memory).toBe(head.resources.object_store_memory);
    expect((await sandbox.json(["status"])).nodes).toHaveLength(1);
    expect(await sandbox.ok(["status"])).toContain("1 node,");
    expect(await sandbox.json(["health-check"])).toEqual({ healthy: true, nodes: 1 });
    driver.child.kill("SIGTERM");
    expect(await driver.ended).toMatchObject({ code: 0 });
    expect(await sandbox.json(["list", "nodes"])).toHaveLength(1);
    await sandbox.ok(["stop"]);
  });
});

describe("symmetric-run", () => {
  const freeAddress = async (sandbox: Sandbox): Promise<string> => {
    const address = await sandbox.head();
    await sandbox.ok(["stop"]);
    return address;
  };

  test("runs the command when the nodes are there, gives its exit code, and all end", async () => {
    await inSandbox(async (sandbox) => {
      const address = await freeAddress(sandbox);
      sandbox.write(
        "count.mjs",
        `import * as shoal from "shoal";\nawait shoal.init();\nconsole.log("nodes", (await shoal.nodes()).filter((node) => node.alive).length);\nprocess.exitCode = 7;\nawait shoal.shutdown();`,
      );
      const line = [
        "symmetric-run",
        "--address",
        address,
        "--min-nodes",
        "2",
        "--num-cpus",
        "1",
        "--",
        process.execPath,
        "count.mjs",
      ];
      const member = sandbox.start(["start", "--address", address, "--num-cpus", "1", "--block"], { place: "there" });
      const head = sandbox.start(line);
      const outcome = await head.ended;
      expect(outcome.stdout).toContain("nodes 2");
      expect(outcome.code).toBe(7);
      expect(await member.ended).toMatchObject({ code: 0 });
      expect(sandbox.left()).toEqual([]);
    });
  });

  test("says who is missing when too few come", async () => {
    await inSandbox(async (sandbox) => {
      const address = await freeAddress(sandbox);
      const run = [
        "symmetric-run",
        "--address",
        address,
        "--min-nodes",
        "2",
        "--wait-timeout",
        "1",
        "--num-cpus",
        "1",
        "--",
        "true",
      ];
      const outcome = await sandbox.shoal(run);
      expect(outcome.stderr).toContain("1 of 2 nodes");
      expect(outcome.code).toBe(1);
      expect(sandbox.left()).toEqual([]);
    });
  });
});
