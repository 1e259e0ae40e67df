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
