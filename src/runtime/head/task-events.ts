/** The last steps of each job's tasks, for the timeline and the listings. Bounded; the oldest go. */
import type { JobId } from "../../base/ids.ts";
import type { TaskEvent } from "../../wire/messages.ts";
import { taskEventsMax } from "../daemon/config.ts";

export class TaskEvents {
  private readonly jobs = new Map<JobId, TaskEvent[]>();

  add(jobId: JobId, events: readonly TaskEvent[]): void {
    let kept = this.jobs.get(jobId);
    if (kept === undefined) {
      kept = [];
      this.jobs.set(jobId, kept);
    }
    for (const event of events) kept.push(event);
    // Cut in one go, a quarter at a time, so that a full log costs little per event.
    if (kept.length > taskEventsMax * 1.25) kept.splice(0, kept.length - taskEventsMax);
  }

  of(jobId: JobId | undefined): TaskEvent[] {
    if (jobId !== undefined) return [...(this.jobs.get(jobId) ?? [])];
    return [...this.jobs.values()].flat().sort((a, b) => a.startMs - b.startMs);
  }
}
