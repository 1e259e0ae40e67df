/** A real daemon process with real sockets and stand-in workers, for tests that run in the place of its driver. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { basename, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { newJobId, newNodeId, newWorkerId, type WorkerId } from "../../../base/ids.ts";
import { Kind, protocolVersion } from "../../../wire/index.ts";
import type { FromDaemon, HelloInfo, LogLine, ToDaemon, WelcomeInfo } from "../../../wire/messages.ts";
import { Requests } from "../../transport/connection.ts";
import { Link } from "../../transport/link.ts";
import type { DaemonConfig } from "../config.ts";
import type { MethodName, MethodParams, MethodResult, WireError } from "../methods.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Bundles the daemon as the package does; the directory is removed by the returned function. */
export async function buildDaemon(): Promise<{ entry: string; remove(): void }> {
  const parent = join(root, "node_modules", ".cache");
  mkdirSync(parent, { recursive: true });
  const outdir = mkdtempSync(join(parent, "daemon-test-"));
  await build({
    entryPoints: { daemon: join(root, "src/runtime/daemon/main.ts") },
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    logLevel: "warning",
  });
  return { entry: join(outdir, "daemon.js"), remove: () => rmSync(outdir, { recursive: true, force: true }) };
}

/** A session's directories, as a driver makes them, and the configuration for its daemon. */
export function newSession(overrides: Partial<DaemonConfig> = {}): DaemonConfig {
  const sessionDir = mkdtempSync(join(tmpdir(), "shoal-daemon-test-"));
  for (const name of ["sockets", "logs", "spill", "code"]) mkdirSync(join(sessionDir, name), { mode: 0o700 });
  return {
    nodeId: newNodeId(),
    sessionDir,
    shmDir: join("/dev/shm", `shoal-${userInfo().uid}-test`, basename(sessionDir)),
    resources: { CPU: 2 },
    labels: {},
    objectStoreMemory: 64 * 1024 * 1024,
    namespace: "space",
    jobId: newJobId(),
    driverPid: process.pid,
    driverCwd: process.cwd(),
    logToDriver: true,
    clusterId: "cluster",
    workerExecArgv: [],
    workerEntry: here("./fake-worker.mjs"),
    ...overrides,
  };
}

export const fakeDriver = here("./fake-driver.mjs");

export function leftOvers({ sessionDir, shmDir }: DaemonConfig): string[] {
  return [sessionDir, shmDir].filter((path) => existsSync(path));
}

/** A process that has ended and waits to be reaped by its parent does not run. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

/** Resolves when `condition` holds; looks again after every turn of a short timer. Rejects after ten seconds. */
export async function until(what: string, condition: () => unknown | Promise<unknown>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`Cannot go on as this did not come true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One process that talks to the daemon. */
export class TestPeer {
  readonly id: WorkerId;
  readonly messages: FromDaemon[] = [];
  readonly logs: LogLine[] = [];
  welcome: WelcomeInfo | null = null;
  closed: string | null = null;
  private readonly link: Link;
  private readonly requests = new Requests();

  constructor(config: DaemonConfig, overrides: Partial<HelloInfo> = {}) {
    this.id = overrides.id ?? newWorkerId(config.nodeId);
    this.link = new Link(connect(join(config.sessionDir, "sockets", "daemon.sock")), {
      onMessages: (messages) => {
        for (const message of messages as unknown as FromDaemon[]) this.receive(message);
      },
      onClose: (_link, reason) => {
        this.closed = reason;
        this.requests.failAll(new Error(reason));
      },
    });
    const hello: HelloInfo = {
      version: protocolVersion,
      role: "driver",
      id: this.id,
      pid: process.pid,
      jobId: "",
      namespace: "",
      address: "",
      runtimeEnv: null,
      logToDriver: true,
      ...overrides,
    };
    this.send([Kind.Hello, hello]);
  }

  send(message: ToDaemon): void {
    this.link.send(message);
  }

  ask<M extends MethodName>(method: M, params: MethodParams<M>): Promise<MethodResult<M>> {
    return this.requests.call(this.link, method, params);
  }

  /** The messages of a kind so far. */
  of<K extends FromDaemon[0]>(kind: K): Extract<FromDaemon, readonly [K, ...unknown[]]>[] {
    return this.messages.filter((message) => message[0] === kind) as Extract<FromDaemon, readonly [K, ...unknown[]]>[];
  }

  async next<K extends FromDaemon[0]>(kind: K, count = 1): Promise<Extract<FromDaemon, readonly [K, ...unknown[]]>> {
    await until(`message ${count} of kind ${kind}`, () => this.of(kind).length >= count);
    return this.of(kind)[count - 1];
  }

  close(): void {
    this.link.end();
  }

  private receive(message: FromDaemon): void {
    if (message[0] === Kind.Response)
      this.requests.settle(message[1], message[2], message[3], (value) =>
        Object.assign(new Error((value as WireError).message), value),
      );
    else this.messages.push(message);
    if (message[0] === Kind.Welcome) this.welcome = message[1];
    if (message[0] === Kind.Log) this.logs.push(...message[1]);
  }
}

export class DaemonUnderTest {
  readonly config: DaemonConfig;
  readonly process: ChildProcess;
  exited = false;

  constructor(entry: string, config: DaemonConfig, env: NodeJS.ProcessEnv = {}) {
    this.config = config;
    this.process = spawn(process.execPath, [entry], {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "pipe"],
      env: { ...process.env, ...env, SHOAL_DAEMON_CONFIG: JSON.stringify(config) },
    });
    this.process.once("exit", () => {
      this.exited = true;
    });
  }

  /** The line on descriptor 3. */
  started(): Promise<{ ok: boolean; error?: string }> {
    const pipe = this.process.stdio[3] as Readable;
    return new Promise((resolve, reject) => {
      pipe.once("data", (chunk: Buffer) => resolve(JSON.parse(chunk.toString())));
      this.process.once("exit", (code) => reject(new Error(`the daemon exited with code ${code}`)));
    });
  }

  /** Ends what is left of it, for the end of a test. */
  async end(): Promise<void> {
    if (!this.exited) this.process.kill("SIGTERM");
    await until("the daemon to exit", () => this.exited);
  }
}

/** Tells a stand-in worker to do something; resolves with its answer. */
export function command(address: string, what: Record<string, unknown>): Promise<any> {
  return new Promise((resolve, reject) => {
    const socket = connect(address);
    let answered = false;
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      answered = true;
      socket.end();
      resolve(JSON.parse(chunk.toString()));
    });
    socket.on("close", () => {
      if (!answered) resolve(undefined);
    });
    socket.write(`${JSON.stringify(what)}\n`);
  });
}
