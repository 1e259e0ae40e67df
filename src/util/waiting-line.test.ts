import { describe, expect, test, vi } from "vitest";
import { WaitingLine } from "./waiting-line.ts";

describe("WaitingLine", () => {
  test("serves in order of arrival", async () => {
    const line = new WaitingLine<string>();
    const served: string[] = [];
    for (const name of ["a", "b"]) line.join(name, null).then(() => served.push(name));
    expect(line.first).toBe("a");
    line.serveFirst();
    line.serveFirst();
    await Promise.resolve();
    await Promise.resolve();
    expect([served, line.length]).toEqual([["a", "b"], 0]);
  });

  test("one whose time is up, or whose signal fires, leaves and is not served", async () => {
    vi.useFakeTimers();
    try {
      const line = new WaitingLine<string>();
      const leave = new AbortController();
      const late = line.join("late", 50);
      const leaver = line.join("leaver", null, leave.signal);
      const patient = line.join("patient", null);
      vi.advanceTimersByTime(50);
      leave.abort();
      expect([await late, await leaver]).toEqual([false, false]);
      expect(line.first).toBe("patient");
      line.serveFirst();
      expect(await patient).toBe(true);
      expect(await line.join("too late", null, leave.signal)).toBe(false);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});
