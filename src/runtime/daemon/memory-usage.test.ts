import { totalmem } from "node:os";
import { describe, expect, it } from "vitest";
import { MemoryReader, residentBytes } from "./memory-usage.ts";

describe("memory usage", () => {
  it("reads a usage below a total that the machine has", async () => {
    const { usedBytes, totalBytes } = await new MemoryReader().read();
    expect(usedBytes).toBeGreaterThan(0);
    expect(totalBytes).toBeGreaterThan(usedBytes);
    expect(totalBytes).toBeLessThanOrEqual(totalmem());
  });

  it("knows what a process holds, and nothing of one that is gone", async () => {
    expect(await residentBytes(process.pid)).toBeGreaterThan(10 * 1024 * 1024);
    expect(await residentBytes(2 ** 22 + 1)).toBe(null);
  });
});
