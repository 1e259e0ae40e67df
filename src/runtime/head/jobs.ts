/** The cluster's jobs: one for each driver that ever connected. Ended ones are remembered for listings. */
import type { JobId } from "../../base/ids.ts";
import type { JobInfo } from "../../wire/node-messages.ts";
import type { JobView } from "../daemon/methods.ts";

/** Ended jobs remembered; about 300 bytes each, the oldest go. */
const endedJobsMax = 10_000;

export interface JobRecord {
  readonly info: JobInfo;
  readonly driverPid: number | null;
  readonly startMs: number;
  endMs: number | null;
}

export class Jobs {
  private readonly records = new Map<JobId, JobRecord>();
  private readonly ended: JobId[] = [];
  /** `null`: forgotten. */
  private readonly changed: (jobId: JobId, record: JobRecord | null) => void;

  constructor(changed: (jobId: JobId, record: JobRecord | null) => void) {
    this.changed = changed;
  }

  start(info: JobInfo, driverPid: number | null): void {
    if (this.records.has(info.jobId)) return;
    const record = { info, driverPid, startMs: Date.now(), endMs: null };
    this.records.set(info.jobId, record);
    this.changed(info.jobId, record);
  }

  /** From the store of an earlier head. */
  restore(record: JobRecord): void {
    this.records.set(record.info.jobId, { ...record });
    if (record.endMs !== null) this.ended.push(record.info.jobId);
  }

  /** False when it had ended already, or nobody knows it. */
  end(jobId: JobId): boolean {
    const record = this.records.get(jobId);
    if (record === undefined || record.endMs !== null) return false;
    record.endMs = Date.now();
    this.changed(jobId, record);
    this.ended.push(jobId);
    while (this.ended.length > endedJobsMax) this.forget(this.ended.shift() as JobId);
    return true;
  }

  private forget(jobId: JobId): void {
    this.records.delete(jobId);
    this.changed(jobId, null);
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
