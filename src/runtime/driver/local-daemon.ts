/** Starts a node daemon of this driver's own: a local `init()` is a one-node cluster. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { InitOptions } from "../../api/init-options.ts";
import { ClusterConnectionError } from "../../base/errors.ts";
import { type JobId, type NodeId, newJobId, newNodeId } from "../../base/ids.ts";
import { defaultStoreBytes } from "../../objects/index.ts";
import { fitsSocket, type SessionPaths, sessionsRoot, shmRoot, socketsDir } from "../owner/session-paths.ts";

export interface LocalSession {
  readonly paths: SessionPaths;
  readonly nodeId: NodeId;
  readonly jobId: JobId;
}

/** Milliseconds a daemon has to report that it listens; a loaded machine needs a second, never this long. */
const daemonStartMs = 30_000;

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

/** Starts the daemon; resolves when it listens. Rejects with what it says when it cannot. */
export async function startDaemon(session: LocalSession, options: InitOptions): Promise<ChildProcess> {
  const config = {
    nodeId: session.nodeId,
    sessionDir: session.paths.sessionDir,
    shmDir: session.paths.shmDir,
    resources: resourcesOf(options),
    labels: options.labels ?? {},
    objectStoreMemory: options.objectStoreMemory ?? defaultStoreBytes(),
    namespace: options.namespace ?? "default",
    jobId: session.jobId,
    driverPid: process.pid,
    driverCwd: process.cwd(),
    logToDriver: options.logToDriver ?? true,
    clusterId: randomBytes(8).toString("hex"),
    workerExecArgv: [],
    runtimeEnv: options.runtimeEnv ?? null,
  };
  const entry = fileURLToPath(new URL("./daemon.js", distDirectory()));
  const child = spawn(process.execPath, [entry], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    env: { ...cleanEnvironment(), SHOAL_DAEMON_CONFIG: JSON.stringify(config) },
  });
  await reported(child);
  for (const stream of [child.stderr, child.stdio[3]]) (stream as Socket).destroy();
  child.unref();
  return child;
}

/** The directory of the built files: this module is in it, or in its chunks/. */
function distDirectory(): URL {
  const here = new URL(".", import.meta.url);
  return here.pathname.endsWith("/chunks/") ? new URL("..", here) : here;
}

function resourcesOf(options: InitOptions): Record<string, number> {
  const resources: Record<string, number> = { CPU: options.numCpus ?? availableParallelism() };
  if (options.numGpus) resources.GPU = options.numGpus;
  return { ...resources, ...options.resources };
}

function reported(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let stderr = "";
    let line = "";
    const fail = (why: string): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new ClusterConnectionError(`Cannot start a node daemon: ${why}${stderr === "" ? "" : `\n${stderr.trim()}`}`, {}));
    };
    const timer = setTimeout(() => fail(`it did not report within ${daemonStartMs} ms`), daemonStartMs);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, signal) => fail(`it ended with ${signal ?? `code ${code}`} before it was ready`));
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4000);
    });
    child.stdio[3]?.on("data", (chunk: Buffer) => {
      line += chunk.toString();
      if (!line.includes("\n")) return;
      const report = JSON.parse(line) as { ok: boolean; error?: string };
      if (!report.ok) return fail(report.error ?? "it gave no reason");
      clearTimeout(timer);
      child.removeAllListeners("exit");
      resolve();
    });
  });
}
