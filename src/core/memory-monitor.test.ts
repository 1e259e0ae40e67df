import { describe, expect, it } from "vitest";
import type { WorkerId } from "../base/ids.ts";
import { choose, createMemoryMonitor, judge, type MemoryCandidate, type MemoryReading, workerGone } from "./memory-monitor.ts";

const candidate = (id: string, overrides: Partial<MemoryCandidate> = {}): MemoryCandidate => ({
  workerId: id as WorkerId,
  pid: 1,
  label: id,
  kind: "task",
  retriable: true,
  sinceMs: 0,
  ...overrides,
});
const reading = (usedBytes: number): MemoryReading => ({ usedBytes, totalBytes: 100, of: "machine" });

describe("memory monitor", () => {
  it("chooses the newest task that may run again, then tasks that may not, actors last of their kind", () => {
    const old = candidate("old", { sinceMs: 1 });
    const fresh = candidate("fresh", { sinceMs: 9 });
    const precious = candidate("precious", { retriable: false, sinceMs: 99 });
    const actor = candidate("actor", { kind: "actor", sinceMs: 99 });
    expect(choose([old, fresh, precious, actor])).toBe(fresh);
    expect(choose([precious, actor])).toBe(actor);
    expect(choose([precious])).toBe(precious);
    expect(choose([])).toBe(null);
  });

  it("ends nobody up to the threshold and says what was measured above it", () => {
    const state = createMemoryMonitor(0.95, 500);
    expect(judge(state, 0, reading(95), [candidate("a")])).toBe(null);
    const victim = judge(state, 0, reading(96), [candidate("a")]);
    expect(victim?.workerId).toBe("a");
    expect(victim?.text).toContain("96 %");
  });

  it("ends one at a time and waits for its memory to come back", () => {
    const state = createMemoryMonitor(0.95, 500);
    const all = [candidate("a", { sinceMs: 2 }), candidate("b", { sinceMs: 1 })];
    expect(judge(state, 0, reading(99), all)?.workerId).toBe("a");
    expect(judge(state, 1000, reading(99), all)).toBe(null); // still there
    workerGone(state, 1200, "a" as WorkerId);
    expect(judge(state, 1600, reading(99), all)).toBe(null);
    expect(judge(state, 1700, reading(99), [all[1]])?.workerId).toBe("b");
  });

  it("goes on when a process that was ended does not go away", () => {
    const state = createMemoryMonitor(0.95, 500);
    judge(state, 0, reading(99), [candidate("a")]);
    expect(judge(state, 5000, reading(99), [candidate("b")])?.workerId).toBe("b");
  });
});
