/** Task events for timelines and listings: collected, bounded, sent to the daemon about once a second. */
import { performance, setTimeout } from "../../base/clock.ts";
import { Kind } from "../../wire/index.ts";
import type { TaskEvent } from "../../wire/messages.ts";
import type { Runtime } from "../owner/runtime.ts";
import type { TaskRun } from "./task-run.ts";

/** Events kept between two sends. A worker that runs 100,000 tasks a second would else spend a tenth of its time on reporting them. */
const eventsPerSecondMax = 1000;
const sendEveryMs = 1000;

export class RunEvents {
  private readonly runtime: Runtime;
  private waiting: TaskEvent[] = [];
  private timer: NodeJS.Timeout | null = null;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  record(run: TaskRun, state: "FINISHED" | "FAILED", error?: string): void {
    if (this.waiting.length >= eventsPerSecondMax && state === "FINISHED") return;
    this.waiting.push({
      taskId: run.taskId,
      attempt: run.attempt,
      name: run.loaded.wire.name,
      kind: run.actorId === null ? "task" : "actor task",
      state,
      startMs: performance.timeOrigin + run.startMs,
      endMs: performance.timeOrigin + performance.now(),
      pid: process.pid,
      workerId: this.runtime.selfId,
      ...(run.actorId === null ? {} : { actorId: run.actorId }),
      ...(error === undefined ? {} : { error: error.slice(0, 2000) }),
    });
    if (this.timer !== null) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.flush();
    }, sendEveryMs);
    this.timer.unref();
  }

  flush(): void {
    if (this.waiting.length === 0) return;
    this.runtime.daemon.send([Kind.Events, this.waiting]);
    this.waiting = [];
  }
}
