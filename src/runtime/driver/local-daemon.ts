/** Starts node daemons: of a local `init()`, which is a one-node cluster, of a driver that joins one, and of `shoal start`. */

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { InitOptions } from "../../api/init-options.ts";
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { AuthenticationError, ClusterConnectionError } from "../../base/errors.ts";
import { type JobId, type NodeId, newJobId, newNodeId } from "../../base/ids.ts";
import { defaultStoreBytes } from "../../objects/index.ts";
import { type ClusterConfig, type DashboardWish, daemonConfigVariable, type StartReport } from "../daemon/config.ts";
import { fitsSocket, type SessionPaths, sessionsRoot, shmRoot, socketsDir } from "../owner/session-paths.ts";
import { type ClusterAddress, formatAddress } from "./cluster-address.ts";
import { usableCpus } from "./cpus.ts";
import { ownAddress } from "./own-address.ts";
import { needToken } from "./token.ts";

export interface LocalSession {
  readonly paths: SessionPaths;
  readonly nodeId: NodeId;
  readonly jobId: JobId;
}

/** Milliseconds a daemon has to report that it listens; a loaded machine needs a second, never this long. */
const daemonStartMs = 30_000;
/** Milliseconds a driver tries to reach the head of a cluster. */
const joinTimeoutMs = 60_000;

/** Makes the directories of a new session, readable by this user alone. */
export function makeSession(): LocalSession {
  const name = `session-${Date.now().toString(36)}-${randomBytes(4).toString("hex")}`;
  const sessionDir = join(sessionsRoot(), name);
  const shmDir = join(shmRoot(), name);
  for (const part of ["sockets", "logs", "spill", "code"]) mkdirSync(join(sessionDir, part), { recursive: true, mode: 0o700 });
  mkdirSync(shmDir, { recursive: true, mode: 0o700 });
  const sockets = socketsDir(sessionDir);
  mkdirSync(sockets, { recursive: true, mode: 0o700 });
  if (!fitsSocket(sockets)) {
    removeSession({ sessionDir, shmDir });
    throw new ClusterConnectionError(
      `Cannot have sockets in ${sockets} as its name is too long: set SHOAL_TMPDIR to a shorter directory`,
    );
  }
  return { paths: { sessionDir, shmDir }, nodeId: newNodeId(), jobId: newJobId() };
}

export function removeSession(paths: SessionPaths): void {
  rmSync(paths.shmDir, { recursive: true, force: true });
  rmSync(paths.sessionDir, { recursive: true, force: true });
}

/** Environment variables of the driver that must not reach daemon and workers: they configure the driver's own Node or test runner. */
const notInherited =
  /^(NODE_OPTIONS|NODE_V8_COVERAGE|NODE_CHANNEL_FD|NODE_CHANNEL_SERIALIZATION_MODE|VITEST.*|TSX.*|SHOAL_DAEMON_CONFIG|SHOAL_WORKER_CONFIG)$/;

function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !notInherited.test(name)));
}

/** Starts the daemon of a local `init()`. Takes the session's directories. */
export async function startDaemon(session: LocalSession, options: InitOptions): Promise<ChildProcess> {
  const { child } = await launchDaemon(
    { ...baseConfig(session), ...wishesOf(options), resources: resourcesOf(options), dashboard: dashboardOf(options) },
    0,
  );
  return child;
}

/** Starts a daemon that joins the cluster at `address` and offers nothing: a driver's way into a cluster that has no node on this machine. */
export async function startJoiningDaemon(
  session: LocalSession,
  options: InitOptions,
  address: ClusterAddress,
): Promise<ChildProcess> {
  const cluster: ClusterConfig = {
    role: "node",
    host: await ownAddress(address.host),
    port: 0,
    head: address,
    token: needToken(),
    tls: tlsFiles({}),
    clusterId: null,
    joinTimeoutMs,
    storeFile: null,
    driverOnly: true,
  };
  const config = { ...baseConfig(session), ...wishesOf(options), resources: { CPU: 0 } };
  const { child, report } = await launchDaemon({ ...config, cluster }, joinTimeoutMs);
  if (report.nodeId === session.nodeId) return child;
  child.kill("SIGTERM");
  throw new ClusterConnectionError(
    `Cannot join the cluster at ${formatAddress(address)} as node ${session.nodeId} is a member already: try again`,
  );
}

const baseConfig = (session: LocalSession) => ({
  nodeId: session.nodeId,
  sessionDir: session.paths.sessionDir,
  shmDir: session.paths.shmDir,
  jobId: session.jobId,
  driverPid: process.pid as number | null,
  driverCwd: process.cwd(),
  clusterId: randomBytes(8).toString("hex"),
  workerExecArgv: [],
});

const wishesOf = (options: InitOptions) => ({
  labels: options.labels ?? {},
  objectStoreMemory: options.objectStoreMemory ?? defaultStoreBytes(),
  namespace: options.namespace ?? "default",
  logToDriver: options.logToDriver ?? true,
  runtimeEnv: options.runtimeEnv ?? null,
});

/** Off unless it is asked for: a program's own little cluster opens no port by itself. */
function dashboardOf({ dashboard }: InitOptions): DashboardWish | null {
  if (dashboard === undefined || dashboard === false) return null;
  const { host = dashboardHost, port = null } = dashboard === true ? {} : dashboard;
  return { host, port, required: true };
}

/** The dashboard's default: nobody on another machine reaches it. */
export const dashboardHost = "127.0.0.1";

export interface NodeWishes {
  readonly resources: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly objectStoreMemory: number;
  readonly cluster: ClusterConfig;
  readonly dashboard?: DashboardWish | null;
  /** Called at once, long before the node serves: whoever is asked to end meanwhile passes it on. */
  readonly onSpawn?: (child: ChildProcess) => void;
  /** What the node prints about its end goes where our own errors go: for those who stay until then. */
  readonly ownErrors?: boolean;
}

/** Starts a node of `shoal start`, which outlives this process. What it prints when it fails goes to `logs/daemon.err`. Takes the session's directories. */
export async function startNode(session: LocalSession, wishes: NodeWishes): Promise<LaunchedDaemon> {
  const { onSpawn, ownErrors, ...rest } = wishes;
  const config = { ...baseConfig(session), ...rest, driverPid: null, namespace: "default", logToDriver: true, runtimeEnv: null };
  const errorFile = join(session.paths.sessionDir, "logs", "daemon.err");
  return launchDaemon(config, wishes.cluster.joinTimeoutMs, {
    errorFile: ownErrors ? undefined : errorFile,
    ownErrors,
    onSpawn,
    input: wishes.cluster.endsWithInput === true,
  });
}

export interface LaunchedDaemon {
  readonly child: ChildProcess;
  readonly report: StartReport;
}

/** Resolves when the daemon serves. Rejects with what it says when it cannot. Without `errorFile` the daemon's errors are read until then. */
async function launchDaemon(
  config: object,
  extraMs: number,
  {
    errorFile,
    ownErrors,
    onSpawn,
    input,
  }: { errorFile?: string; ownErrors?: boolean; onSpawn?: (child: ChildProcess) => void; input?: boolean } = {},
): Promise<LaunchedDaemon> {
  const entry = fileURLToPath(new URL("./daemon.js", distDirectory()));
  const errors = errorFile === undefined ? null : openSync(errorFile, "a", 0o600);
  let child: ChildProcess;
  try {
    child = spawn(process.execPath, [entry], {
      detached: true,
      stdio: [input ? "pipe" : "ignore", "ignore", ownErrors ? "inherit" : (errors ?? "pipe"), "pipe"],
      env: { ...cleanEnvironment(), [daemonConfigVariable]: JSON.stringify(config) },
    });
  } catch (error) {
    throw new ClusterConnectionError(`Cannot start a node daemon: ${startFault(error as Error)}`, { cause: error });
  } finally {
    if (errors !== null) closeSync(errors);
  }
  onSpawn?.(child);
  const report = await reported(child, daemonStartMs + extraMs);
  for (const stream of [child.stderr, child.stdio[3]]) (stream as Socket | null)?.destroy();
  child.unref();
  return { child, report };
}

function startFault({ message, code }: NodeJS.ErrnoException): string {
  if (code !== "E2BIG") return message;
  return `the environment is too large (${message}): on Linux 128 KiB for one variable, and for init's options with their runtimeEnv`;
}

/** PEM files by what is named, else by the environment: all three, or none. */
export function tlsFiles(named: { cert?: string; key?: string; ca?: string }): ClusterConfig["tls"] {
  const { SHOAL_TLS_CERT, SHOAL_TLS_KEY, SHOAL_TLS_CA } = process.env;
  const [cert, key, ca] = [named.cert || SHOAL_TLS_CERT, named.key || SHOAL_TLS_KEY, named.ca || SHOAL_TLS_CA];
  if (!cert && !key && !ca) return null;
  if (!cert || !key || !ca) throw new TypeError("Cannot use TLS without all of certificate, key and CA");
  for (const file of [cert, key, ca]) accessSync(file);
  return { cert, key, ca };
}

/** The directory of the built files: this module is in it, or in its chunks/. */
function distDirectory(): URL {
  const here = new URL(".", import.meta.url);
  return here.pathname.endsWith("/chunks/") ? new URL("..", here) : here;
}

function resourcesOf(options: InitOptions): Record<string, number> {
  const resources: Record<string, number> = { CPU: options.numCpus ?? usableCpus() };
  if (options.numGpus) resources.GPU = options.numGpus;
  return { ...resources, ...options.resources };
}

function reported(child: ChildProcess, withinMs: number): Promise<StartReport> {
  return new Promise((resolve, reject) => {
    let stderr = "";
    let line = "";
    const giveUp = (error: Error): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(error);
    };
    const fail = (why: string): void =>
      giveUp(new ClusterConnectionError(`Cannot start a node daemon: ${why}${stderr === "" ? "" : `\n${stderr.trim()}`}`, {}));
    const timer = setTimeout(() => fail(`it did not report within ${withinMs} ms`), withinMs);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`it ended with ${signal ?? `code ${code}`} before it was ready`));
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4000);
    });
    child.stdio[3]?.on("data", (chunk: Buffer) => {
      line += chunk.toString();
      if (!line.includes("\n")) return;
      const report = JSON.parse(line) as StartReport;
      if (report.isRefused === true) return giveUp(new AuthenticationError(report.error as string));
      if (!report.ok) return fail(report.error ?? "it gave no reason");
      clearTimeout(timer);
      child.removeAllListeners("exit");
      resolve(report);
    });
  });
}
