/** What a node daemon is told at its start, and the bounds of the daemon in one place. */
import { totalmem } from "node:os";
import type { JobId, NodeId } from "../../base/ids.ts";
import type { RuntimeEnvSpec } from "../../wire/messages.ts";
import { slurmJobLabels } from "./slurm-job.ts";

export interface DaemonConfig {
  /** Made by whoever starts the daemon: processes that come before it answers have ids that begin with it. */
  readonly nodeId: NodeId;
  readonly sessionDir: string;
  readonly shmDir: string;
  /** CPU, GPU, memory and custom resources of this node. */
  readonly resources: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly objectStoreMemory: number;
  readonly namespace: string;
  /** The job of the driver that starts this daemon: its workers are started before it connects. */
  readonly jobId: JobId;
  /** Null for a node of `shoal start`, which outlives whoever started it. */
  readonly driverPid: number | null;
  readonly driverCwd: string;
  readonly logToDriver: boolean;
  readonly clusterId: string;
  readonly workerExecArgv: readonly string[];
  /** The environment of the whole job: of its first workers, and of every task and actor that asks for no other. */
  readonly runtimeEnv?: RuntimeEnvSpec | null;
  /** Null for a local `init()`: Unix sockets only. */
  readonly cluster?: ClusterConfig | null;
  /** Null: none. Only a head has one. */
  readonly dashboard?: DashboardWish | null;
  /** Tests put a script of their own in the place of the worker. */
  readonly workerEntry?: string;
  /** Workers started before anybody asks; default one per CPU. */
  readonly prestart?: number;
}

/** Where the dashboard is to listen. */
export interface DashboardWish {
  readonly host: string;
  /** Null: 8265 or the next free one. 0: any free one. */
  readonly port: number | null;
  /** Somebody has asked for it: without it the node does not start. */
  readonly required: boolean;
}

/** How a node takes part in a cluster of several. */
export interface ClusterConfig {
  readonly role: "head" | "node";
  /** To bind, and where other nodes reach this one. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Where other nodes reach this one, if that is not where it listens. */
  readonly announce?: { readonly host: string; readonly port: number } | null;
  /** Where the head is, for role "node". */
  readonly head: { readonly host: string; readonly port: number } | null;
  readonly token: string;
  /** Paths of PEM files. */
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string } | null;
  /** The cluster it must be; null: whatever the head says. */
  readonly clusterId: string | null;
  /** Milliseconds in which the head must be there. */
  readonly joinTimeoutMs: number;
  /** Where the head keeps what survives it; null: in memory. */
  readonly storeFile: string | null;
  /** Came with a driver, offers nothing. */
  readonly driverOnly: boolean;
  /** A test's: only those who give its address find it. */
  readonly unlisted?: boolean;
  /** Ends when its standard input does, and so with the process that started it. */
  readonly endsWithInput?: boolean;
}

/** Written to descriptor 3 as a line of JSON when the daemon serves or cannot; before that, with `announce`, one with the port it listens on. */
export interface StartReport {
  readonly ok: boolean;
  readonly error?: string;
  /** The cluster's token is another. */
  readonly isRefused?: boolean;
  /** The first line: the port, before the node has joined. */
  readonly listening?: number;
  readonly nodeId?: string;
  readonly clusterId?: string;
  readonly host?: string;
  readonly port?: number;
  readonly dashboardUrl?: string;
}

/** What `<session>/node.json` says of a node of `shoal start`, for those who look for it. */
export interface NodeFile {
  readonly pid: number;
  readonly nodeId: NodeId;
  readonly clusterId: string;
  readonly isHead: boolean;
  readonly host: string;
  readonly port: number;
  readonly headHost: string;
  readonly headPort: number;
  readonly startedMs: number;
  /** Found only by those who give its address. */
  readonly unlisted?: boolean;
}

/** What a worker is told at its start. */
export interface WorkerConfig {
  readonly sessionDir: string;
  readonly shmDir: string;
  readonly daemonSocket: string;
  readonly workerId: string;
  readonly jobId: string;
  readonly nodeId: string;
  readonly namespace: string;
  readonly runtimeEnv: unknown;
  /** The session has, or may have, other nodes. */
  readonly cluster: boolean;
  /** `node_modules` of the runtime env's packages; null without. */
  readonly npmDir: string | null;
}

export const daemonConfigVariable = "SHOAL_DAEMON_CONFIG";
export const workerConfigVariable = "SHOAL_WORKER_CONFIG";

/** Milliseconds the driver has to connect before the daemon takes it for dead. */
export const driverConnectMs = 10_000;
/** Milliseconds between looks whether a driver that has not connected yet still lives. */
export const driverPollMs = 250;
/** Milliseconds a worker asked to end has before it is ended by force. */
export const stopGraceMs = 500;
/** Milliseconds a worker whose connection closed has to end by itself: it may be on its way out and its exit code is worth having. */
export const disconnectGraceMs = 2_000;
/** Milliseconds to wait for the rest of a dead worker's output: a grandchild may hold the pipes open for ever. */
export const pipesGraceMs = 200;
/** Milliseconds a worker process has from its start to its Hello. A loaded machine starts a process in seconds, not in minutes. */
export const workerConnectMs = 60_000;
/** Milliseconds after which a process that has not connected does not hold up the start of others any more. */
export const slowStartMs = 2_000;
/** Bytes of one log file before it is rotated to `.1`, whose former content goes. Bounds a worker's files to twice this per stream. */
export const logFileBytesMax = 64 * 1024 * 1024;
/** Bytes of one line of output; a longer one is cut into several. Without it a worker that never prints a newline grows the daemon. */
export const logLineBytesMax = 64 * 1024;
/** Bytes waiting for a slow driver or disk before the workers' pipes are not read any more: then the printing worker waits, and no line is lost. */
export const logBacklogBytesMax = 8 * 1024 * 1024;
/** Task events kept per job: about 200 bytes each, so 20 MB. The oldest go. */
export const taskEventsMax = 100_000;
/** Milliseconds between two Collect broadcasts. */
export const collectIntervalMs = 1_000;
/** Share of the store's limit above which processes are asked to collect garbage. */
export const collectFraction = 0.7;
/** Milliseconds of silence after which the head gives a node up, and a node the head. Ray's health checks take about as long. */
export const nodeTimeoutMs = positive(process.env.SHOAL_NODE_TIMEOUT_MS) ?? 10_000;
/** Milliseconds for which nodes wait for a head whose process is gone. Ray: `gcs_rpc_server_reconnect_timeout_s`. */
export const headRestartMs = positive(process.env.SHOAL_HEAD_RESTART_MS) ?? 60_000;
/** Milliseconds between heartbeats of a node where nothing changes. */
export const heartbeatMs = Math.min(1_000, nodeTimeoutMs / 5);
/** Milliseconds between tries to join. */
export const joinRetryMs = 250;
/** Milliseconds a draining node has for what runs on it. */
export const drainMs = positive(process.env.SHOAL_DRAIN_MS) ?? 30_000;
/** Milliseconds for `npm install` and the like when the runtime env does not say. */
export const runtimeEnvTimeoutMs = 600_000;

/**
 * Heap limit of a worker in MiB: SHOAL_WORKER_HEAP_MB, else the machine's memory shared by its workers and one share for everybody
 * else, between 1 GiB (less makes ordinary programs fail) and 4 GiB (Node's own default on large machines). A limit makes a task that
 * eats memory end its own worker with a message, before the machine is short.
 */
export function workerHeapMb(cpus: number, env: NodeJS.ProcessEnv = process.env): number {
  const asked = Number(env.SHOAL_WORKER_HEAP_MB);
  if (Number.isFinite(asked) && asked > 0) return Math.floor(asked);
  const share = totalmem() / (1024 * 1024) / (Math.max(1, cpus) + 1);
  return Math.floor(Math.min(4096, Math.max(1024, share)));
}

function positive(text: string | undefined): number | null {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : null;
}

/** Reads the configuration from the environment. Throws an Error that names what is missing. */
export function readDaemonConfig(env: NodeJS.ProcessEnv): DaemonConfig {
  const text = env[daemonConfigVariable];
  if (text === undefined) throw new Error(`Cannot start node daemon as no ${daemonConfigVariable} is set`);
  const config = JSON.parse(text) as DaemonConfig;
  for (const name of ["nodeId", "sessionDir", "shmDir", "jobId", "namespace", "driverCwd"] as const) {
    if (typeof config[name] !== "string" || config[name] === "")
      throw new Error(`Cannot start node daemon as its configuration has no ${name}`);
  }
  const offers = config.cluster?.driverOnly === false;
  const labels = { ...(offers ? slurmJobLabels(env) : {}), ...config.labels };
  return { ...config, labels, workerExecArgv: config.workerExecArgv ?? [] };
}
