/** A short chaos run, as `npm run chaos` makes long ones: what it needs must not rot, and what it finds must not come back. */
import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** `npm run chaos -- ...`, without the build. Rejects, with what it printed, unless it ends with code 0. */
async function chaos(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_OPTIONS$)/.test(name)));
  const run = promisify(execFile)(process.execPath, ["--import", import.meta.resolve("tsx"), "chaos/main.ts", ...args], {
    cwd: repository,
    env,
  });
  return run.catch((error) => {
    throw error.stdout === undefined || error.code === 2 ? error : new Error(`${error.message}\n${error.stdout}`);
  });
}

describe("chaos", () => {
  test("half a minute of it leaves every result right and nothing behind", { timeout: 300_000 }, async () => {
    const { stdout } = await chaos("--minutes", "0.5", "--seed", "7", "--array-mb", "8");
    expect(stdout).toContain("violations: 0");
    expect(stdout).toMatch(/faults: .*\d+ (crash|silent removal|leave|long cut)/);
    expect(stdout).toContain("seed 7, ");
  });

  test("a kind of work that there is not is wrong usage", async () => {
    await expect(chaos("--only", "no such thing")).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no such thing"),
    });
  });
});
