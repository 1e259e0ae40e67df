/** A task event as trace viewers (ui.perfetto.dev, chrome://tracing) read it. */
import type { TaskEvent } from "../wire/messages.ts";
import type { TraceEvent } from "./context.ts";

/** As trace viewers want it. @internal */
export function traceEvent(event: TaskEvent): TraceEvent {
  return {
    name: event.name,
    cat: event.kind,
    ph: "X",
    ts: event.startMs * 1000,
    dur: Math.max(0, event.endMs - event.startMs) * 1000,
    pid: `worker ${event.workerId}`,
    tid: `pid ${event.pid}`,
    args: {
      taskId: event.taskId,
      attempt: event.attempt,
      state: event.state,
      ...(event.error === undefined ? {} : { error: event.error }),
    },
  };
}
