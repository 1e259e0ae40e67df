/** Measures memory a few times a second and ends a worker when the policy (core/memory-monitor.ts) says so, before the system picks one of its own. */
import type { WorkerId } from "../../base/ids.ts";
import {
  createMemoryMonitor,
  judge,
  type MemoryCandidate,
  type MemoryMonitorState,
  workerGone,
} from "../../core/memory-monitor.ts";
import type { Daemon } from "./daemon.ts";
import { MemoryReader } from "./memory-usage.ts";

const thresholdDefault = 0.95;
const intervalMsDefault = 250;
/** Milliseconds for memory to come back after a process has gone. */
const settleMs = 500;

export class MemoryWatch {
  private readonly daemon: Daemon;
  private readonly monitor: MemoryMonitorState;
  private readonly reader: MemoryReader;
  private readonly timer: NodeJS.Timeout | null;
  private reading = false;

  constructor(daemon: Daemon, env: NodeJS.ProcessEnv = process.env) {
    this.daemon = daemon;
    this.monitor = createMemoryMonitor(positive(env.SHOAL_MEMORY_USAGE_THRESHOLD) ?? thresholdDefault, settleMs);
    this.reader = new MemoryReader(env.SHOAL_TEST_MEMORY_USAGE_FILE);
    const intervalMs = env.SHOAL_MEMORY_MONITOR_MS === "0" ? 0 : (positive(env.SHOAL_MEMORY_MONITOR_MS) ?? intervalMsDefault);
    this.timer = intervalMs === 0 ? null : setInterval(() => void this.look(), intervalMs);
  }

  workerGone(workerId: WorkerId): void {
    workerGone(this.monitor, performance.now(), workerId);
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  private async look(): Promise<void> {
    if (this.reading) return; // a reading that takes longer than the interval says enough about the machine
    this.reading = true;
    try {
      const reading = await this.reader.read();
      const victim = judge(this.monitor, performance.now(), reading, candidates(this.daemon));
      if (victim !== null) this.daemon.pool.get(victim.workerId)?.kill(victim.text, { outOfMemory: true, intended: false });
    } finally {
      this.reading = false;
    }
  }
}

/** Workers that run something, by what they run. */
function candidates(daemon: Daemon): MemoryCandidate[] {
  const found = new Map<WorkerId, MemoryCandidate>();
  for (const { workerId, label, retriable, grantedAtMs } of daemon.leases.all()) {
    const worker = daemon.pool.get(workerId);
    if (worker === undefined || worker.isEnding) continue;
    const known = found.get(workerId);
    // A worker with several leases is as precious as its most precious one, and as new as its newest.
    found.set(workerId, {
      workerId,
      pid: worker.pid,
      label,
      kind: "task",
      retriable: retriable && (known?.retriable ?? true),
      sinceMs: Math.max(grantedAtMs, known?.sinceMs ?? 0),
    });
  }
  for (const {
    spec,
    place: { workerId, pid },
  } of daemon.actorsHere.values()) {
    const { className, actorId } = spec;
    const worker = daemon.pool.get(workerId);
    if (worker === undefined || worker.isEnding) continue;
    found.set(workerId, {
      workerId,
      pid,
      label: `actor ${className} ${actorId}`,
      kind: "actor",
      retriable: spec.maxRestarts !== 0,
      sinceMs: worker.startedMs,
    });
  }
  return [...found.values()];
}

function positive(text: string | undefined): number | null {
  const value = Number(text);
  return text !== undefined && text !== "" && value > 0 ? value : null;
}
