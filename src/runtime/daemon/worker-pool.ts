/** The worker processes of a node: started when the scheduler asks, known by id, told about when they end. */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { type JobId, type NodeId, newWorkerId, type WorkerId } from "../../base/ids.ts";
import type { ProcessExit, RuntimeEnvSpec } from "../../wire/messages.ts";
import { hugePagesEnv } from "../worker/huge-pages.ts";
import {
  type DaemonConfig,
  daemonConfigVariable,
  slowStartMs,
  type WorkerConfig,
  workerConfigVariable,
  workerConnectMs,
  workerHeapMb,
} from "./config.ts";
import { type JobHome, type PreparedEnv, RuntimeEnvs } from "./runtime-envs.ts";
import type { LogSink } from "./worker-output.ts";
import { type WorkerLaunch, WorkerProcess } from "./worker-process.ts";

/** The system has no room for another process, or file, at the moment. */
const passing: ReadonlySet<string> = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE"]);

export interface WorkerPoolHandlers {
  /** It never connected. permanent: no process can be started in its runtime env. */
  startFailed(token: number, permanent: boolean, text: string): void;
  /** It had connected and ended. */
  ended(worker: WorkerProcess, exit: ProcessExit): void;
  sinkFor(jobId: JobId): LogSink;
  homeOf(jobId: JobId): JobHome;
  namespaceOf(jobId: JobId): string;
}

export class WorkerPool {
  private readonly config: DaemonConfig;
  private readonly nodeId: NodeId;
  private readonly entry: string;
  private readonly socketPath: string;
  private readonly handlers: WorkerPoolHandlers;
  private readonly envs: RuntimeEnvs;
  private readonly baseEnv: NodeJS.ProcessEnv;
  private readonly heapMb: number;
  private readonly cpus = availableParallelism();
  private readonly workers = new Map<WorkerId, WorkerProcess>();
  /** Started lately and not connected yet; and starts that wait for one of these to be through. */
  private readonly starting = new Set<WorkerProcess>();
  private readonly waiting: (() => void)[] = [];
  private anyConnected = false;
  private closed = false;
  private onEmpty: (() => void) | null = null;

  constructor(config: DaemonConfig, nodeId: NodeId, entry: string, socketPath: string, handlers: WorkerPoolHandlers) {
    this.config = config;
    this.nodeId = nodeId;
    this.entry = entry;
    this.socketPath = socketPath;
    this.handlers = handlers;
    this.envs = new RuntimeEnvs(config.sessionDir);
    this.baseEnv = workerEnvironment(process.env);
    this.heapMb = workerHeapMb(config.resources.CPU ?? 1);
  }

  start(token: number, jobId: JobId, runtimeEnv: RuntimeEnvSpec | null): void {
    const failed = (error: unknown): void =>
      this.handlers.startFailed(token, true, error instanceof Error ? error.message : String(error));
    let prepared: PreparedEnv | Promise<PreparedEnv>;
    try {
      prepared = this.envs.prepare(runtimeEnv, this.handlers.homeOf(jobId));
    } catch (error) {
      setImmediate(failed, error); // never an answer inside the question
      return;
    }
    const begin = (env: PreparedEnv): void => {
      this.waiting.push(() => this.spawn(token, jobId, runtimeEnv, env));
      this.spawnWaiting();
    };
    if (prepared instanceof Promise) prepared.then(begin, failed);
    else begin(prepared);
  }

  /** A process has said hello. */
  connected(worker: WorkerProcess): void {
    this.anyConnected = true;
    this.startOver(worker);
  }

  get(workerId: WorkerId): WorkerProcess | undefined {
    return this.workers.get(workerId);
  }

  all(): IterableIterator<WorkerProcess> {
    return this.workers.values();
  }

  get size(): number {
    return this.workers.size;
  }

  /** Kills every worker and all they started; resolves when they have ended, or after `boundMs`. */
  close(boundMs: number): Promise<void> {
    this.closed = true;
    this.envs.close();
    for (const worker of this.workers.values()) worker.kill("the session ends");
    if (this.workers.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.onEmpty = resolve;
      setTimeout(resolve, boundMs);
    });
  }

  /**
   * More processes than CPUs that start at once only delay each other. Before the first has connected it is half as many: then the driver
   * and this daemon are starting too, and the first result waits for the first worker.
   */
  private spawnWaiting(): void {
    const startsMax = this.anyConnected ? this.cpus : Math.max(1, this.cpus >> 1);
    while (this.waiting.length > 0 && this.starting.size < startsMax) this.waiting.shift()?.();
  }

  private startOver(worker: WorkerProcess): void {
    if (this.starting.delete(worker)) this.spawnWaiting();
  }

  private spawn(token: number, jobId: JobId, runtimeEnv: RuntimeEnvSpec | null, prepared: PreparedEnv): void {
    if (this.closed) return;
    const { sessionDir, shmDir, workerExecArgv } = this.config;
    const workerId = newWorkerId(this.nodeId);
    const config: WorkerConfig = {
      sessionDir,
      shmDir,
      daemonSocket: this.socketPath,
      workerId,
      jobId,
      nodeId: this.nodeId,
      namespace: this.handlers.namespaceOf(jobId),
      runtimeEnv,
      cluster: (this.config.cluster ?? null) !== null,
      npmDir: prepared.npmDir,
    };
    const env = { ...this.baseEnv, ...packagesEnv(prepared), ...prepared.envVars };
    const launch: WorkerLaunch = {
      workerId,
      token,
      jobId,
      runtimeEnv,
      execArgv: workerExecArgv,
      entry: this.entry,
      cwd: prepared.cwd,
      env: { ...hugePagesEnv(env), ...env, [workerConfigVariable]: JSON.stringify(config) },
      logsDir: join(sessionDir, "logs"),
      heapMb: this.heapMb,
    };
    let worker: WorkerProcess;
    try {
      worker = new WorkerProcess(launch, this.handlers.sinkFor(jobId), (exit) => this.over(worker, exit));
    } catch (error) {
      setImmediate(() => this.startRefused(token, prepared.cwd, error as Error)); // never an answer inside the question
      return;
    }
    this.workers.set(workerId, worker);
    this.starting.add(worker);
    setTimeout(() => this.startOver(worker), slowStartMs).unref();
    setTimeout(() => {
      if (!worker.introduced) worker.kill(`it had not connected ${workerConnectMs} ms after its start`, { intended: false });
    }, workerConnectMs).unref();
  }

  /** Nothing of it exists. What passes by itself is tried again. */
  private startRefused(token: number, cwd: string, error: NodeJS.ErrnoException): void {
    if (this.closed) return;
    this.handlers.startFailed(token, !passing.has(error.code ?? ""), refusalText(error, cwd));
  }

  private over(worker: WorkerProcess, exit: ProcessExit): void {
    this.workers.delete(worker.workerId);
    this.startOver(worker);
    if (this.closed) {
      if (this.workers.size === 0) this.onEmpty?.();
      return;
    }
    if (worker.introduced) this.handlers.ended(worker, exit);
    else if (worker.startError !== null) this.startRefused(worker.token, worker.cwd, worker.startError);
    else
      this.handlers.startFailed(
        worker.token,
        false,
        `the worker process ${exit.pid} ${exit.text} before it was ready${tailOf(worker)}`,
      );
  }
}

/** Why no process could be started, for the user. */
function refusalText({ message, code }: NodeJS.ErrnoException, cwd: string): string {
  if (code === "E2BIG")
    return `the system refuses a worker process with so large an environment (${message}): on Linux 128 KiB for one variable, and for a whole runtimeEnv`;
  if (!isDirectory(cwd)) return `a worker process cannot be started in ${cwd}, which is not a directory (${message})`;
  return `a worker process could not be started: ${message}`;
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function tailOf(worker: WorkerProcess): string {
  const tail = worker.output?.stderrTail.trim() ?? "";
  return tail === "" ? "" : `: ${tail.slice(-1000)}`;
}

/**
 * The driver's environment without what is meant for the driver alone: Node's options and a test runner's variables would make a
 * worker load the driver's hooks or write into its coverage.
 */
function workerEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(env)) {
    if (name === "NODE_OPTIONS" || name === "NODE_V8_COVERAGE" || name === "NODE_CHANNEL_FD" || name === "NODE_UNIQUE_ID")
      continue;
    if (name.startsWith("VITEST") || name === daemonConfigVariable || name === workerConfigVariable) continue;
    kept[name] = value;
  }
  return kept;
}

/** For `require`; imports are resolved by functions/resolve-specifier.ts. */
function packagesEnv({ npmDir }: PreparedEnv): NodeJS.ProcessEnv {
  if (npmDir === null) return {};
  return { NODE_PATH: [npmDir, process.env.NODE_PATH].filter(Boolean).join(delimiter) };
}
