/**
 * The process that runs a submitted job beside the head: starts its entrypoint, writes down how it goes, and ends it when it is asked to or when the
 * session ends. It is a child of nobody's: whoever submitted the job may go.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, writeSync } from "node:fs";
import { type NodeId, newWorkerId } from "../base/ids.ts";
import { markInUse } from "../objects/index.ts";
import { DaemonLink } from "../runtime/owner/daemon-link.ts";
import { daemonSocket } from "../runtime/owner/session-paths.ts";
import { protocolVersion } from "../wire/index.ts";
import { type JobFile, jobDir, jobLog, writeJob } from "./job-files.ts";

export interface SupervisorConfig {
  readonly sessionDir: string;
  readonly nodeId: NodeId;
  readonly submissionId: string;
  readonly entrypoint: string;
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
}

export const supervisorVariable = "SHOAL_JOB_CONFIG";
/** Milliseconds a job has between SIGTERM and SIGKILL. */
export const jobGraceMs = 3_000;

/** Runs one job to its end. */
export async function superviseJob(): Promise<number> {
  const config = JSON.parse(process.env[supervisorVariable] ?? "") as SupervisorConfig;
  delete process.env[supervisorVariable];
  const { sessionDir, submissionId, entrypoint, workingDir } = config;
  const unmark = markInUse(jobDir(sessionDir, submissionId));
  let job: JobFile = {
    submissionId,
    entrypoint,
    state: "PENDING",
    workingDir,
    startMs: Date.now(),
    endMs: null,
    exitCode: null,
    message: "",
  };
  const note = (change: Partial<JobFile>): void => {
    job = { ...job, ...change };
    try {
      writeJob(sessionDir, job);
    } catch {
      // The session's files are gone, and with them everybody who would read it.
    }
  };
  note({});
  let stopping: string | null = null;
  let child: ChildProcess | null = null;
  const stop = (why: string): void => {
    if (stopping !== null) return;
    stopping = why;
    endGroup(child);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop("it was stopped"));
  await follow(config, () => stop("the session ended"));
  child = run(config);
  if (stopping !== null) endGroup(child);
  note({ state: "RUNNING" });
  writeSync(3, "running\n");
  closeSync(3);
  const { code, signal, error } = await ended(child);
  const end = { endMs: Date.now(), exitCode: code };
  if (stopping !== null) note({ ...end, state: "STOPPED", message: stopping });
  else if (code === 0) note({ ...end, state: "SUCCEEDED" });
  else note({ ...end, state: "FAILED", message: error ?? `its entrypoint ended with ${signal ?? `code ${code}`}` });
  unmark();
  return 0;
}

/** A process group of its own, so that all of it can be ended. */
function run({ sessionDir, submissionId, entrypoint, workingDir, env }: SupervisorConfig): ChildProcess {
  const log = openSync(jobLog(sessionDir, submissionId), "a", 0o600);
  const child = spawn("/bin/sh", ["-c", entrypoint], {
    cwd: workingDir,
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...env },
  });
  closeSync(log);
  return child;
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null; error?: string }> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: null, signal: null, error: error.message }));
    child.once("exit", (code, signal) => {
      killGroup(child, "SIGKILL"); // what the entrypoint left in the background belongs to the job
      resolve({ code, signal });
    });
  });
}

function endGroup(child: ChildProcess | null): void {
  if (child === null) return;
  killGroup(child, "SIGTERM");
  const timer = setTimeout(() => killGroup(child, "SIGKILL"), jobGraceMs);
  child.once("exit", () => clearTimeout(timer));
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // Nobody is left in it.
  }
}

/** The connection to the daemon ends with the session, however that ends. */
async function follow({ sessionDir, nodeId }: SupervisorConfig, onEnd: () => void): Promise<void> {
  const link = new DaemonLink({ onMessage: () => {}, onLost: onEnd });
  await link.connect(daemonSocket(sessionDir), {
    version: protocolVersion,
    role: "tool",
    id: newWorkerId(nodeId),
    pid: process.pid,
    jobId: "",
    namespace: "default",
    address: "",
    runtimeEnv: null,
    logToDriver: false,
  });
  link.keepAlive(false);
}
