import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type JobHome, RuntimeEnvs } from "./runtime-envs.ts";

const path = process.env.PATH;
let dir: string;
let envs: RuntimeEnvs;
let here: JobHome;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "shoal-env-"));
  envs = new RuntimeEnvs(dir);
  here = { cwd: dir, fetch: null };
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(dir, { recursive: true });
});

/** Puts a script in the place of npm. */
function npmIs(script: string): void {
  const bin = join(dir, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "npm"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(bin, "npm"), 0o755);
  process.env.PATH = `${bin}:${path}`;
}

describe("RuntimeEnvs", () => {
  it("needs no time where there is nothing to install", () => {
    expect(envs.prepare(null, here)).toEqual({ cwd: dir, envVars: {}, npmDir: null });
    expect(envs.prepare({ envVars: { A: "1" } }, here)).toEqual({ cwd: dir, envVars: { A: "1" }, npmDir: null });
  });

  it("starts workers in the session's directory where the driver's is not there, or not any more", () => {
    const cwd = join(dir, "gone");
    expect(envs.prepare(null, { cwd, fetch: null })).toMatchObject({ cwd: dir });
    expect(envs.prepare(null, { cwd, fetch: () => Promise.reject(new Error("not asked")) })).toMatchObject({ cwd: dir });
  });

  it("refuses a working directory that is not there", () => {
    expect(() => envs.prepare({ workingDir: "nowhere" }, here)).toThrow(/'nowhere' as working directory/);
  });

  it("takes the working directory from the driver's node, by its path there", async () => {
    const asked: unknown[] = [];
    const elsewhere: JobHome = {
      cwd: "/no/such/home",
      fetch: async (...args) => {
        asked.push(args);
        return "/unpacked";
      },
    };
    expect(await envs.prepare({ workingDir: "project", excludes: ["*.bin"], setupTimeoutMs: 7 }, elsewhere)).toEqual({
      cwd: "/unpacked",
      envVars: {},
      npmDir: null,
    });
    expect(asked).toEqual([["/no/such/home/project", ["*.bin"], 7]]);
  });

  it("runs workers of a job from elsewhere in its driver's directory where there is one, else in the session's", () => {
    const fetch = () => Promise.reject(new Error("nothing to fetch"));
    expect(envs.prepare(null, { cwd: "/no/such/home", fetch })).toMatchObject({ cwd: dir });
    const home = join(dir, "home");
    mkdirSync(home);
    expect(envs.prepare(null, { cwd: home, fetch })).toMatchObject({ cwd: home });
  });

  it("installs a set of packages once, whatever their order", async () => {
    npmIs(`echo "$@" >> ${dir}/calls`);
    const both = await Promise.all([envs.prepare({ npm: ["a", "b@2"] }, here), envs.prepare({ npm: ["b@2", "a"] }, here)]);
    expect(both[0]).toEqual(both[1]);
    expect(both[0].npmDir).toMatch(/npm\/[0-9a-f]{16}\/node_modules$/);
    expect(readFileSync(join(dir, "calls"), "utf8").trim().split("\n")).toHaveLength(1);
    expect(readFileSync(join(dir, "calls"), "utf8")).toContain("--ignore-scripts");
  });

  it("fails with what the tool said, and tries again the next time", async () => {
    npmIs(`echo "no such package" >&2; echo x >> ${dir}/calls; exit 4`);
    for (let i = 0; i < 2; i++)
      await expect(envs.prepare({ npm: ["nope"] }, here)).rejects.toThrow(/nope: npm exited with code 4\nno such package/);
    expect(readFileSync(join(dir, "calls"), "utf8")).toBe("x\nx\n");
  });

  it("ends a tool that takes too long", async () => {
    npmIs("exec tail -f /dev/null");
    await expect(envs.prepare({ npm: ["slow"], setupTimeoutMs: 50 }, here)).rejects.toThrow("not through after 50 ms");
  });

  it("refuses a package that is an option", async () => {
    await expect(envs.prepare({ npm: ["--global"] }, here)).rejects.toThrow("looks like an option");
  });
});
