/** Starts that the system refuses. */

import { EventEmitter } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newJobId } from "../../base/ids.ts";
import type { RuntimeEnvSpec } from "../../wire/messages.ts";
import { newSession } from "./testing/daemon-under-test.ts";
import { WorkerPool } from "./worker-pool.ts";

/** What the next processes end with instead of starting; null: they start. */
let fault: { readonly code: string; readonly thrown: boolean } | null = null;
vi.mock("node:child_process", async (original) => {
  const real = await original<typeof import("node:child_process")>();
  return {
    ...real,
    spawn: (command: string, args: string[], options: object) => {
      if (fault === null) return real.spawn(command, args, options);
      const error = Object.assign(new Error(`spawn node ${fault.code}`), { code: fault.code });
      if (fault.thrown) throw error;
      const child = new EventEmitter();
      process.nextTick(() => child.emit("error", error));
      return child;
    },
  };
});

interface Failure {
  readonly token: number;
  readonly permanent: boolean;
  readonly text: string;
}

let dir: string;
let pool: WorkerPool;
let home: string;
let failures: Failure[];
let told: () => void;

beforeEach(() => {
  fault = null;
  failures = [];
  const config = newSession();
  dir = home = config.sessionDir;
  pool = new WorkerPool(config, config.nodeId, join(dir, "no-worker.mjs"), join(dir, "socket"), {
    startFailed: (token, permanent, text) => {
      failures.push({ token, permanent, text });
      told();
    },
    ended: () => {},
    sinkFor: () => ({ take: () => {}, backlogBytes: 0, onDrained: () => {} }),
    homeOf: () => ({ cwd: home, fetch: null }),
    namespaceOf: () => "default",
  });
});
afterEach(async () => {
  await pool.close(5_000);
  rmSync(dir, { recursive: true, force: true });
});

/** What is told of the start of a worker. */
async function failureOf(token: number, env: RuntimeEnvSpec | null): Promise<Failure> {
  const failed = new Promise<void>((resolve) => {
    told = resolve;
  });
  pool.start(token, newJobId(), env);
  expect(failures).toEqual([]); // never an answer inside the question
  await failed;
  return failures.pop() as Failure;
}

describe("A worker that cannot be started", () => {
  it("as its environment is too large fails what asked for it, and nothing else", async () => {
    const tooLarge = await failureOf(1, { envVars: { A: "x".repeat(200_000) } });
    expect(tooLarge).toMatchObject({ token: 1, permanent: true });
    expect(tooLarge.text).toMatch(/so large an environment .*E2BIG/);
    expect(pool.size).toBe(0);
    // The next one is started: it ends by itself, having no program.
    expect(await failureOf(2, null)).toMatchObject({
      token: 2,
      permanent: false,
      text: expect.stringMatching(/exited with code 1/),
    });
  });

  it("with a text that no process can have", async () => {
    expect(await failureOf(3, { envVars: { A: "a\0b" } })).toMatchObject({ token: 3, permanent: true });
    expect(pool.size).toBe(0);
  });

  it("as its directory is gone fails what asked for it", async () => {
    home = join(dir, "gone");
    mkdirSync(home);
    fault = { code: "ENOENT", thrown: false };
    const failing = failureOf(4, null);
    rmSync(home, { recursive: true }); // after it was looked for
    const failure = await failing;
    expect(failure).toMatchObject({ token: 4, permanent: true });
    expect(failure.text).toContain(`${home}, which is not a directory`);
  });

  it.each([
    ["EAGAIN", false, false],
    ["EMFILE", false, false],
    ["ENOMEM", true, false],
    ["EPERM", true, true],
    ["ENOENT", false, true],
  ])("for %s (thrown: %s) is told; for good: %s", async (code, thrown, permanent) => {
    fault = { code, thrown };
    expect(await failureOf(5, null)).toMatchObject({ token: 5, permanent, text: expect.stringContaining(code) });
    expect(pool.size).toBe(0);
  });
});
