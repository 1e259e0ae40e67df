/**
 * One worker process: how it is started, how it is ended, and what its end means.
 *
 * It has a process group of its own, so that what a task started ends with it. Its end is told once, with the last of its output read:
 * the exit comes first, the pipes may close a moment later, and stderr says whether it was the heap limit.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import type { JobId, WorkerId } from "../../base/ids.ts";
import type { ProcessExit, RuntimeEnvSpec } from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import { disconnectGraceMs, pipesGraceMs, stopGraceMs } from "./config.ts";
import { type LogSink, WorkerOutput } from "./worker-output.ts";

export interface WorkerLaunch {
  readonly workerId: WorkerId;
  readonly token: number;
  readonly jobId: JobId;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly execArgv: readonly string[];
  readonly entry: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly logsDir: string;
  readonly heapMb: number;
}

export class WorkerProcess {
  readonly workerId: WorkerId;
  readonly token: number;
  readonly jobId: JobId;
  readonly cwd: string;
  readonly startedMs = Date.now();
  readonly output: WorkerOutput | null;
  /** Set from its Hello to the end of its connection. */
  link: Link | null = null;
  address = "";
  /** True from its Hello on. */
  introduced = false;
  /** Why there is no process, when the system could not start one. */
  startError: Error | null = null;
  private readonly child: ChildProcess;
  private readonly heapMb: number;
  /** Why Shoal ends it; null: it was not asked to. */
  private endReason: { readonly text: string; readonly outOfMemory: boolean; readonly intended: boolean } | null = null;
  private over = false;
  /** We sent it a signal. An end on its own with a failing code is a crash, also when it had been asked to end. */
  private forced = false;
  private readonly onOver: (exit: ProcessExit) => void;

  /** Throws when the system refuses the start at once; how else it fails `onOver` is told, with `startError` set. */
  constructor(launch: WorkerLaunch, sink: LogSink, onOver: (exit: ProcessExit) => void) {
    this.workerId = launch.workerId;
    this.token = launch.token;
    this.jobId = launch.jobId;
    this.cwd = launch.cwd;
    this.heapMb = launch.heapMb;
    this.onOver = onOver;
    const args = [...launch.execArgv, `--max-old-space-size=${launch.heapMb}`, launch.entry];
    this.child = spawn(process.execPath, args, {
      cwd: launch.cwd,
      env: launch.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const { pid, stdout, stderr } = this.child;
    this.child.once("error", (error) => {
      this.startError = error;
      this.ended(null, null, `could not be started: ${error.message}`);
    });
    this.output =
      pid === undefined
        ? null
        : new WorkerOutput(launch.logsDir, launch.workerId, pid, stdout as Readable, stderr as Readable, sink);
    this.child.once("exit", (code, signal) => this.exited(code, signal));
  }

  /** 0 when it could not be started. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  get isEnding(): boolean {
    return this.endReason !== null || this.over;
  }

  /** Ends the process and all it started at once. `reason` completes "was ended: ...". */
  kill(reason: string, how: { outOfMemory?: boolean; intended?: boolean } = {}): void {
    this.endReason ??= { text: reason, outOfMemory: how.outOfMemory ?? false, intended: how.intended ?? true };
    this.signalGroup();
  }

  /** It was told to end by a message; by force after the grace (null: whenever it likes). */
  expectEnd(reason: string, graceMs: number | null = stopGraceMs): void {
    this.endReason ??= { text: reason, outOfMemory: false, intended: true };
    if (graceMs !== null) setTimeout(() => this.signalGroup(), graceMs).unref();
  }

  /** It answered that it lives on. */
  stays(): void {
    if (!this.over) this.endReason = null;
  }

  /** Its connection closed. It is most likely on its way out; if not it is of no use. */
  disconnected(): void {
    this.link = null;
    setTimeout(() => this.signalGroup(), disconnectGraceMs).unref();
  }

  private signalGroup(): void {
    if (this.over || this.child.pid === undefined) return;
    this.forced = true;
    killGroup(this.child.pid);
  }

  private exited(code: number | null, signal: NodeJS.Signals | null): void {
    killGroup(this.pid); // what its tasks started; also frees the pipes
    if (this.over) return;
    const report = (): void => this.ended(code, signal, null);
    this.child.once("close", report);
    setTimeout(report, pipesGraceMs).unref();
  }

  private ended(exitCode: number | null, signal: NodeJS.Signals | null, failure: string | null): void {
    if (this.over) return;
    this.over = true;
    this.output?.end();
    this.onOver({ pid: this.pid, exitCode, signal, ...this.explain(exitCode, signal, failure) });
  }

  private explain(
    exitCode: number | null,
    signal: NodeJS.Signals | null,
    failure: string | null,
  ): { outOfMemory: boolean; intended: boolean; text: string } {
    if (failure !== null) return { outOfMemory: false, intended: false, text: failure };
    const aborted = signal === "SIGABRT" || exitCode === 134;
    if (aborted && this.output?.stderrTail.includes("JavaScript heap out of memory")) {
      return {
        outOfMemory: true,
        intended: false,
        text: `ran out of JavaScript heap at its limit of ${this.heapMb} MiB (SHOAL_WORKER_HEAP_MB sets it)`,
      };
    }
    const end = this.endReason;
    if (end !== null && (this.forced || exitCode === 0))
      return {
        outOfMemory: end.outOfMemory,
        intended: end.intended,
        text: end.outOfMemory ? end.text : `was ended: ${end.text}`,
      };
    return {
      outOfMemory: false,
      intended: false,
      text: signal === null ? `exited with code ${exitCode}` : `was killed by ${signal}`,
    };
  }
}

/** Kills a process group; one that is gone is fine. */
export function killGroup(pid: number): void {
  if (pid <= 0) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of the group is left.
  }
}
