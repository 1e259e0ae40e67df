/**
 * Which worker is ended when memory runs out. Pure policy: the daemon measures and carries it out.
 *
 * The order is Ray's: work that may be run again before work that may not, and among equals the newest, which has lost least. Leased
 * workers go before actors of the same kind, as an actor loses its state. One is ended at a time, and then its memory is given time to
 * come back, or one measurement too many would end everything.
 */
import type { WorkerId } from "../base/ids.ts";

export interface MemoryCandidate {
  readonly workerId: WorkerId;
  readonly pid: number;
  /** What runs there, for the message: a task's or class's name. */
  readonly label: string;
  readonly kind: "task" | "actor";
  /** It may be run, or started, again. */
  readonly retriable: boolean;
  /** Since when it runs what it runs, in ms; larger is newer. */
  readonly sinceMs: number;
}

export interface MemoryReading {
  readonly usedBytes: number;
  readonly totalBytes: number;
  readonly of: "machine" | "control group";
}

export interface MemoryMonitorState {
  readonly threshold: number;
  /** Milliseconds after one was ended in which no other is, while its process has gone and memory comes back. */
  readonly settleMs: number;
  endedAtMs: number;
  /** Ended, and its process not gone yet: no other is ended meanwhile, for at most ten times `settleMs`. */
  ending: WorkerId | null;
}

export interface MemoryVictim {
  readonly workerId: WorkerId;
  /** Completes "its process 123 ...". */
  readonly text: string;
}

export function createMemoryMonitor(threshold: number, settleMs: number): MemoryMonitorState {
  return { threshold, settleMs, endedAtMs: Number.NEGATIVE_INFINITY, ending: null };
}

/** Looks at one reading; returns whom to end, if anybody. */
export function judge(
  state: MemoryMonitorState,
  now: number,
  reading: MemoryReading,
  candidates: readonly MemoryCandidate[],
): MemoryVictim | null {
  const { usedBytes, totalBytes } = reading;
  if (!(totalBytes > 0) || usedBytes / totalBytes <= state.threshold) return null;
  if (state.ending !== null && now - state.endedAtMs < 10 * state.settleMs) return null;
  if (now - state.endedAtMs < state.settleMs) return null;
  const victim = choose(candidates);
  if (victim === null) return null;
  state.ending = victim.workerId;
  state.endedAtMs = now;
  return { workerId: victim.workerId, text: describeEnd(reading, state.threshold, victim) };
}

/** The process of one that was ended is gone: its memory is coming back from now on. */
export function workerGone(state: MemoryMonitorState, now: number, workerId: WorkerId): void {
  if (state.ending !== workerId) return;
  state.ending = null;
  state.endedAtMs = now;
}

export function choose(candidates: readonly MemoryCandidate[]): MemoryCandidate | null {
  let best: MemoryCandidate | null = null;
  for (const candidate of candidates) if (best === null || goesBefore(candidate, best)) best = candidate;
  return best;
}

function goesBefore(a: MemoryCandidate, b: MemoryCandidate): boolean {
  if (a.retriable !== b.retriable) return a.retriable;
  if (a.kind !== b.kind) return a.kind === "task";
  return a.sinceMs > b.sinceMs;
}

function describeEnd({ usedBytes, totalBytes, of }: MemoryReading, threshold: number, victim: MemoryCandidate): string {
  const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`;
  const gib = `${(totalBytes / 1024 ** 3).toFixed(1)} GiB`;
  return `was ended by the memory monitor while it ran ${victim.label}: the ${of} used ${percent(usedBytes / totalBytes)} of ${gib}, more than ${percent(threshold)} (SHOAL_MEMORY_USAGE_THRESHOLD sets it)`;
}
