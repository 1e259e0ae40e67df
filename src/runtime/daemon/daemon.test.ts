import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { Kind } from "../../wire/index.ts";
import type { SchedulingSpec } from "../../wire/messages.ts";
import type { DaemonConfig } from "./config.ts";
import {
  buildDaemon,
  command,
  DaemonUnderTest,
  fakeDriver,
  isRunning,
  leftOvers,
  newSession,
  TestPeer,
  until,
} from "./testing/daemon-under-test.ts";

let built: Awaited<ReturnType<typeof buildDaemon>>;
let daemon: DaemonUnderTest | null = null;
let peers: TestPeer[] = [];

beforeAll(async () => {
  built = await buildDaemon();
});
afterAll(() => built.remove());
afterEach(async () => {
  for (const peer of peers) peer.close();
  peers = [];
  if (daemon === null) return;
  await daemon.end();
  expect(leftOvers(daemon.config)).toEqual([]);
  daemon = null;
});

async function start(overrides: Partial<DaemonConfig> = {}, env: NodeJS.ProcessEnv = {}): Promise<TestPeer> {
  daemon = new DaemonUnderTest(built.entry, newSession(overrides), env);
  expect(await daemon.started()).toMatchObject({ ok: true });
  return join_();
}

function join_(overrides: ConstructorParameters<typeof TestPeer>[1] = {}): TestPeer {
  const peer = new TestPeer((daemon as DaemonUnderTest).config, overrides);
  peers.push(peer);
  return peer;
}

const spec = (overrides: Partial<SchedulingSpec> = {}): SchedulingSpec => ({
  resources: { CPU: 1 },
  strategy: { kind: "default" },
  labelSelector: {},
  runtimeEnv: null,
  label: "square",
  retriable: true,
  ...overrides,
});

/** Asks for one lease; returns its worker's id and address. */
async function lease(driver: TestPeer, classId = 1, overrides: Partial<SchedulingSpec> = {}) {
  const before = driver.of(Kind.Lease).length;
  driver.send([Kind.DefineClass, classId, spec(overrides)]);
  driver.send([Kind.Demand, classId, 1, before]);
  const [, , leaseId, workerId, address] = await driver.next(Kind.Lease, before + 1);
  return { leaseId, workerId, address };
}

describe("node daemon: connections", () => {
  it("welcomes the driver with the job its workers were started for", async () => {
    const driver = await start();
    await driver.next(Kind.Welcome);
    const { config } = daemon as DaemonUnderTest;
    expect(driver.welcome).toMatchObject({
      jobId: config.jobId,
      sessionDir: config.sessionDir,
      namespace: "space",
      clusterId: "cluster",
    });
    expect(readFileSync(join(config.sessionDir, "daemon.pid"), "utf8")).toMatch(new RegExp(`^${daemon?.process.pid} `));
  });

  it("refuses another protocol version and names both", async () => {
    await start();
    const [, reason] = await join_({ version: 99 }).next(Kind.Refused);
    expect(reason).toMatch(/protocol 1 .* 99/);
  });

  it("closes a connection that sends nonsense and keeps the others", async () => {
    const driver = await start();
    const tool = join_({ role: "tool" });
    await tool.next(Kind.Welcome);
    tool.send([200 as never, "nonsense" as never] as never);
    await until("the tool's connection to close", () => tool.closed !== null);
    expect(await driver.ask("listJobs", {})).toHaveLength(1);
  });

  it("answers an unknown method and a failing one with an error", async () => {
    const driver = await start();
    await expect(driver.ask("nonsense" as never, {} as never)).rejects.toThrow("no such method");
    await expect(driver.ask("waitPlacementGroup", { groupId: "none" as never })).rejects.toThrow("none of that id");
  });
});

describe("node daemon: workers", () => {
  it("grants a lease on a worker that was started beforehand", async () => {
    const driver = await start();
    const { address } = await lease(driver);
    expect(await command(address, { do: "cwd" })).toBe(process.cwd());
    expect(await command(address, { do: "env", name: "VITEST" })).toBe(null);
    const workers = await driver.ask("listWorkers", {});
    expect(workers.map((worker) => worker.state).filter((state) => state === "leased")).toHaveLength(1);
  });

  it("tells everybody how a worker died, and replaces it", async () => {
    const driver = await start();
    const first = await lease(driver);
    void command(first.address, { do: "exit", code: 3 });
    const [, workerId, exit] = await driver.next(Kind.WorkerDied);
    expect(workerId).toBe(first.workerId);
    expect(exit).toMatchObject({ exitCode: 3, signal: null, intended: false, outOfMemory: false, text: "exited with code 3" });
    const second = await lease(driver);
    void command(second.address, { do: "kill", signal: "SIGKILL" });
    expect((await driver.next(Kind.WorkerDied, 2))[2]).toMatchObject({
      signal: "SIGKILL",
      intended: false,
      text: "was killed by SIGKILL",
    });
    await lease(driver);
  });

  it("says that the heap limit ended a worker", async () => {
    const driver = await start({}, { SHOAL_WORKER_HEAP_MB: "32" });
    const { address } = await lease(driver);
    void command(address, { do: "heap" });
    const [, , exit] = await driver.next(Kind.WorkerDied);
    expect(exit).toMatchObject({ outOfMemory: true, intended: false });
    expect(exit.text).toContain("32 MiB");
  });

  it("ends a worker by force with all it started when a task is cancelled so", async () => {
    const driver = await start();
    const { address, workerId } = await lease(driver);
    const child = await command(address, { do: "child" });
    expect(await driver.ask("killWorker", { workerId, reason: "its task was cancelled by force" })).toBe(true);
    expect((await driver.next(Kind.WorkerDied))[2]).toMatchObject({
      intended: true,
      text: "was ended: its task was cancelled by force",
    });
    await until("the worker's child to end", () => !isRunning(child));
  });

  it("starts workers in their runtime env, or says why not", async () => {
    const driver = await start();
    const runtimeEnv = { envVars: { COLOUR: "blue" }, workingDir: "src" };
    const { address } = await lease(driver, 1, { runtimeEnv });
    expect(await command(address, { do: "env", name: "COLOUR" })).toBe("blue");
    expect(await command(address, { do: "cwd" })).toBe(join(process.cwd(), "src"));
    driver.send([Kind.DefineClass, 2, spec({ runtimeEnv: { workingDir: "/nowhere" } })]);
    driver.send([Kind.Demand, 2, 1, 0]);
    expect(await driver.next(Kind.Unschedulable)).toEqual([
      Kind.Unschedulable,
      2,
      "runtime env",
      expect.stringContaining("/nowhere"),
    ]);
  });

  it("ends the newest worker that may run again when memory is short", async () => {
    const dir = mkdtempSync(join(tmpdir(), "shoal-memory-test-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const file = join(dir, "usage");
    writeFileSync(file, "10 100");
    const driver = await start({}, { SHOAL_TEST_MEMORY_USAGE_FILE: file, SHOAL_MEMORY_MONITOR_MS: "20" });
    await lease(driver, 1, { retriable: false, label: "precious" });
    const victim = await lease(driver, 2, { retriable: true, label: "hungry" });
    writeFileSync(file, "97 100");
    const [, workerId, exit] = await driver.next(Kind.WorkerDied);
    expect(workerId).toBe(victim.workerId);
    expect(exit).toMatchObject({ outOfMemory: true, intended: false });
    expect(exit.text).toMatch(/memory monitor while it ran hungry.*97 %/);
  });
});

describe("node daemon: output", () => {
  it("passes on whole lines with the name of what printed them, and keeps them in files", async () => {
    const driver = await start();
    const { address, workerId } = await lease(driver);
    await command(address, { do: "print", text: "\u0001square\u0001one\ntw" });
    await command(address, { do: "print", text: "o\n\u0001cube\u0001three" });
    await command(address, { do: "printError", text: "bad\n" });
    await driver.ask("flushLogs", {});
    const lines = driver.logs.map(({ source, stream, text }) => [source, stream, text]);
    expect(lines).toEqual(
      expect.arrayContaining([
        ["square", "stdout", "one"],
        ["square", "stdout", "two"],
        ["worker", "stderr", "bad"],
      ]),
    );
    await command(address, { do: "exit", code: 0 }).catch(() => {});
    await driver.next(Kind.WorkerDied);
    await until("the last line, which had no end", () =>
      driver.logs.some(({ source, text }) => source === "cube" && text === "three"),
    );
    const out = join((daemon as DaemonUnderTest).config.sessionDir, "logs", `worker-${workerId}.out`);
    await until("the file to hold all lines", () => readFileSync(out, "utf8") === "one\ntwo\nthree\n");
  });

  it("loses no line that was printed before flushLogs", async () => {
    const driver = await start();
    const { address } = await lease(driver);
    const text = Array.from({ length: 20_000 }, (_, i) => `line ${i}`).join("\n");
    await command(address, { do: "print", text: `${text}\n` });
    await driver.ask("flushLogs", {});
    expect(driver.logs.filter(({ text }) => text.startsWith("line "))).toHaveLength(20_000);
  });
});

describe("node daemon: the end of a session", () => {
  async function killedDriver(mode: string): Promise<void> {
    const config = newSession();
    const driver = spawn(process.execPath, [fakeDriver, built.entry, JSON.stringify(config), mode], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const pids = await new Promise<number[]>((resolve) =>
      driver.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim().split(" ").map(Number))),
    );
    expect(existsSync(config.shmDir)).toBe(true);
    driver.kill("SIGKILL");
    const killedAt = Date.now();
    await until("all processes to end", () => !pids.some(isRunning));
    await until("all files to go", () => leftOvers(config).length === 0);
    expect(Date.now() - killedAt).toBeLessThan(2000);
  }

  it("leaves nothing two seconds after the driver was killed", () => killedDriver("connects"));

  it("leaves nothing when the driver is killed before it connected", () => killedDriver("never connects"));

  it("ends the workers that run something and their children on shutdown, and then closes the connection", async () => {
    const driver = await start();
    const { address } = await lease(driver);
    const child = await command(address, { do: "child" });
    const pids = (await driver.ask("listWorkers", {})).map((worker) => worker.pid);
    await driver.ask("shutdown", {});
    await until("the connection to close", () => driver.closed !== null);
    expect(leftOvers((daemon as DaemonUnderTest).config)).toEqual([]);
    await until("all processes to end", () => ![child, ...pids].some(isRunning));
    expect(driver.of(Kind.Exit)).toEqual([]);
  });

  it("cleans up and tells the driver when it is asked to end by a signal", async () => {
    const driver = await start();
    await driver.next(Kind.Welcome);
    daemon?.process.kill("SIGTERM");
    expect((await driver.next(Kind.Exit))[1]).toContain("SIGTERM");
    await until("the daemon to exit", () => daemon?.exited);
  });

  it("ends a job's leases when its driver goes, and stays for the driver that started it", async () => {
    const driver = await start();
    const other = join_({ pid: 999_999, jobId: "" });
    await other.next(Kind.Welcome);
    expect(other.welcome?.jobId).not.toBe(driver.welcome?.jobId);
    await lease(other);
    other.close();
    await until("its job to end", async () => (await driver.ask("listJobs", {})).some((job) => job.state === "ENDED"));
    await lease(driver);
  });
});
