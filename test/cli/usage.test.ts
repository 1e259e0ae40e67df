/** What the command line says to those who use it wrongly, and under which names it is installed. */
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cliEntry, inSandbox } from "../support/command-line.ts";

test("wrong usage exits with 2 and says what would be right", async () => {
  await inSandbox(async (sandbox) => {
    for (const [args, said] of [
      [["start"], "--head or --address"],
      [["start", "--head", "--address", "a:1"], "--head with --address"],
      [["start", "--heed"], "--head"],
      [["strat"], "start"],
      [["list", "nothing"], "placement-groups"],
      [["start", "--head", "--num-cpus", "many"], "--num-cpus"],
      [["symmetric-run", "--address", "127.0.0.1:1", "--head", "--", "true"], "--head"],
      [["job", "submit"], "command"],
    ] as const) {
      const { code, stderr } = await sandbox.shoal(args);
      expect(stderr, args.join(" ")).toContain(said);
      expect(code, args.join(" ")).toBe(2);
    }
  });
});

test("without a cluster, commands about one fail and say how to start one", async () => {
  await inSandbox(async (sandbox) => {
    const { code, stderr } = await sandbox.shoal(["status"]);
    expect(stderr).toContain("start --head");
    expect(code).toBe(1);
  });
});

test("every command has --help", async () => {
  await inSandbox(async (sandbox) => {
    const commands = [...(await sandbox.ok(["--help"])).matchAll(/^ {2}([a-z][a-z-]+)(?: |$)/gm)].map((match) => match[1]);
    expect(commands.length).toBeGreaterThan(12);
    const texts = await Promise.all(commands.filter((name) => name !== "help").map((name) => sandbox.ok([name, "--help"])));
    for (const text of texts) expect(text).toContain("Usage:");
  });
});

test("`ray` is the same program, and calls itself so", async () => {
  const { bin } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  expect(bin).toEqual({ shoal: "dist/cli.js", ray: "dist/cli.js" });
  await inSandbox(async (sandbox) => {
    symlinkSync(cliEntry, join(sandbox.dir, "ray"));
    const said = await sandbox.ok(["start", "--head", "--port=0", "--node-ip-address=127.0.0.1", "--num-cpus=1"], {
      entry: join(sandbox.dir, "ray"),
    });
    expect(said).toContain("ray start --address=127.0.0.1:");
    await sandbox.ok(["stop"], { entry: join(sandbox.dir, "ray") });
  });
});

test("a cluster that is not there is said so in seconds, with what to do", async () => {
  await inSandbox(async (sandbox) => {
    const begunMs = performance.now();
    for (const env of [{ SHOAL_ADDRESS: "127.0.0.1:1" }, { SHOAL_ADDRESS: "no-such-host.invalid:6379" }]) {
      const { code, stderr } = await sandbox.shoal(["status"], { env });
      expect(stderr).toMatch(new RegExp(`^Cannot reach a cluster at ${env.SHOAL_ADDRESS}: .*SHOAL_ADDRESS.*start --head`));
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(code).toBe(1);
    }
    expect(performance.now() - begunMs).toBeLessThan(30_000);
  });
});

test("what a running cluster is asked wrongly, and output that nobody reads to its end, fail without a stack", async () => {
  await inSandbox(async (sandbox) => {
    const address = await sandbox.head();
    const filtered = await sandbox.shoal(["list", "nodes", "--filter", "colour=red"]);
    expect(filtered).toMatchObject({ code: 2, stderr: expect.stringMatching(/no field 'colour': expected .*nodeId/) });
    expect(await sandbox.json(["list", "nodes", "--filter", "alive=true"])).toHaveLength(1);
    const timeline = await sandbox.shoal(["timeline", "-o", "/nowhere/x.json"]);
    expect(timeline).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Cannot write the timeline to \/nowhere\/x.json: .*\n$/),
    });
    const unread = sandbox.start(["status"]);
    unread.child.stdout?.destroy();
    expect(await unread.ended).toMatchObject({ code: 0, stderr: "" });

    const program = sandbox.write(
      "other.mjs",
      'import * as shoal from "shoal";\nawait shoal.init().catch((error) => console.log(error.name, error.message));\n',
    );
    const env = { SHOAL_ADDRESS: address, SHOAL_AUTH_TOKEN: "another token" };
    const { stdout } = await sandbox.node(program, { env, place: "elsewhere" });
    expect(stdout).toMatch(/^AuthenticationError .*tokens differ/);
    await sandbox.ok(["stop"]);
  });
});
