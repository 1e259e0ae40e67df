/** The cluster's jobs: one for each driver that ever connected. Ended ones are remembered for listings. */
import type { JobId } from "../../base/ids.ts";
import type { JobInfo } from "../../wire/node-messages.ts";
import type { JobView } from "../daemon/methods.ts";

/** Ended jobs remembered; about 300 bytes each, the oldest go. */
const endedJobsMax = 10_000;

interface JobRecord {
  readonly info: JobInfo;
  readonly driverPid: number | null;
  readonly startMs: number;
  endMs: number | null;
}

export class Jobs {
  private readonly records = new Map<JobId, JobRecord>();
  private readonly ended: JobId[] = [];

  start(info: JobInfo, driverPid: number | null): void {
    if (this.records.has(info.jobId)) return;
    this.records.set(info.jobId, { info, driverPid, startMs: Date.now(), endMs: null });
  }

  /** False when it had ended already, or nobody knows it. */
  end(jobId: JobId): boolean {
    const record = this.records.get(jobId);
    if (record === undefined || record.endMs !== null) return false;
    record.endMs = Date.now();
    this.ended.push(jobId);
    while (this.ended.length > endedJobsMax) this.records.delete(this.ended.shift() as JobId);
    return true;
  }

  isRunning(jobId: JobId): boolean {
    return this.records.get(jobId)?.endMs === null;
  }

  info(jobId: JobId): JobInfo | null {
    return this.records.get(jobId)?.info ?? null;
  }

  /** Running jobs whose driver is on the node. */
  drivenFrom(nodeId: string): JobId[] {
    return [...this.records.values()]
      .filter(({ info, endMs }) => endMs === null && info.driverNode === nodeId)
      .map(({ info }) => info.jobId);
  }

  list(): JobView[] {
    return [...this.records.values()].map(({ info, driverPid, startMs, endMs }) => ({
      jobId: info.jobId,
      namespace: info.namespace,
      driverPid,
      state: endMs === null ? "RUNNING" : "ENDED",
      startMs,
      endMs,
    }));
  }
}
