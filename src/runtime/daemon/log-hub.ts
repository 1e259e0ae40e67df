/** Passes what workers print to the drivers of their jobs, in batches of one turn, and slows the printing down to what drivers can take. */
import type { JobId } from "../../base/ids.ts";
import { Kind } from "../../wire/index.ts";
import type { LogLine } from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import { logBacklogBytesMax } from "./config.ts";
import type { LogSink } from "./worker-output.ts";

/** Lines kept of a job whose driver has not connected yet. */
const earlyLinesMax = 1_000;

export class LogHub {
  private readonly jobs = new Map<JobId, JobLog>();

  /** Where the workers of a job print to. */
  sinkFor(jobId: JobId): LogSink {
    return this.job(jobId);
  }

  addDriver(jobId: JobId, link: Link): void {
    this.job(jobId).add(link);
  }

  removeDriver(jobId: JobId, link: Link): void {
    this.jobs.get(jobId)?.remove(link);
  }

  /** The job's driver is on another node. */
  setRemote(jobId: JobId, send: (lines: readonly LogLine[]) => void): void {
    this.job(jobId).setRemote(send);
  }

  /** Lines of a worker on another node, for the job's drivers here. */
  deliver(jobId: JobId, lines: readonly LogLine[]): void {
    this.jobs.get(jobId)?.deliver(lines);
  }

  /** Nobody listens to the job any more: what it prints goes to the files only. */
  endJob(jobId: JobId): void {
    this.jobs.get(jobId)?.mute();
  }

  flush(): void {
    for (const job of this.jobs.values()) job.flush();
  }

  private job(jobId: JobId): JobLog {
    let job = this.jobs.get(jobId);
    if (job === undefined) {
      job = new JobLog();
      this.jobs.set(jobId, job);
    }
    return job;
  }
}

class JobLog implements LogSink {
  private readonly drivers = new Set<Link>();
  private lines: LogLine[] = [];
  private scheduled = false;
  private muted = false;
  private remote: ((lines: readonly LogLine[]) => void) | null = null;

  get backlogBytes(): number {
    let bytes = 0;
    for (const link of this.drivers) bytes = Math.max(bytes, link.socket.writableLength);
    return bytes;
  }

  take(line: LogLine): void {
    if (this.muted) return;
    this.lines.push(line);
    if (this.drivers.size === 0 && this.remote === null) {
      if (this.lines.length > earlyLinesMax) this.lines.shift();
    } else if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(() => this.flush());
    }
  }

  onDrained(resume: () => void): void {
    const slow = [...this.drivers].find((link) => link.isOpen && link.socket.writableLength > logBacklogBytesMax / 2);
    if (slow === undefined) return resume();
    const again = (): void => {
      slow.socket.off("drain", again);
      slow.socket.off("close", again);
      this.onDrained(resume);
    };
    slow.socket.once("drain", again);
    slow.socket.once("close", again);
  }

  add(link: Link): void {
    this.drivers.add(link);
    this.flush();
  }

  setRemote(send: (lines: readonly LogLine[]) => void): void {
    this.remote = send;
    this.flush();
  }

  deliver(lines: readonly LogLine[]): void {
    if (this.muted) return;
    for (const link of this.drivers) link.send([Kind.Log, lines]);
  }

  remove(link: Link): void {
    this.drivers.delete(link);
  }

  /** A driver that does not want the job's output leaves it muted as soon as it is known. */
  mute(): void {
    this.muted = true;
    this.lines = [];
  }

  flush(): void {
    this.scheduled = false;
    if (this.lines.length === 0 || (this.drivers.size === 0 && this.remote === null)) return;
    const lines = this.lines;
    this.lines = [];
    this.remote?.(lines);
    for (const link of this.drivers) link.send([Kind.Log, lines]);
  }
}
