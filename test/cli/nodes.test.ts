/** Several nodes, each with a directory for sessions of its own as on a machine of its own. */
import { rmSync } from "node:fs";
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

test("a command reaches a cluster that has no node here", async () => {
  await inSandbox(async (sandbox) => {
    const address = await sandbox.head();
    expect(await sandbox.json(["status", "--address", address], { place: "elsewhere" })).toMatchObject({ address });
    expect(sandbox.sessions("elsewhere")).toEqual([]);
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
