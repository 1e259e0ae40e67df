import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { JobId } from "../../base/ids.ts";
import { CodeTable, codeArrivalMs } from "./code-table.ts";
import { MemoryControlStore } from "./control-store.ts";

const one = "1".repeat(32);
const two = "2".repeat(32);
const three = "3".repeat(32);
const jobA = "aaaaaaaa" as JobId;
const jobB = "bbbbbbbb" as JobId;

let store: MemoryControlStore;
let needed: Set<JobId>;
const open = (bytesMax?: number) =>
  new CodeTable(
    () => store,
    (jobId) => needed.has(jobId),
    bytesMax,
  );
beforeEach(() => {
  vi.useFakeTimers();
  store = new MemoryControlStore();
  needed = new Set([jobA, jobB]);
});
afterEach(() => vi.useRealTimers());

describe("CodeTable", () => {
  it("gives what was put, also to a head started again on the same store", () => {
    const files = { ".mjs": "text", ".env": new Uint8Array([1, 2]) };
    open().put(one, files, jobA);
    expect(open().get(one)).toEqual(files);
  });

  it("lets who asks too early wait for the code", async () => {
    const table = open();
    const both = [table.get(one), table.get(one)];
    table.put(one, { ".mjs": "text" }, jobA);
    expect(await Promise.all(both)).toEqual([{ ".mjs": "text" }, { ".mjs": "text" }]);
  });

  it("answers null when nothing comes", async () => {
    const asked = open().get(one);
    vi.advanceTimersByTime(codeArrivalMs);
    expect(await asked).toBeNull();
  });

  it("takes the code of ended jobs away when it needs room, the oldest first, and nothing that is still used", async () => {
    const table = open(10);
    table.put(one, { ".mjs": "12345" }, jobA);
    table.put(one, { ".mjs": "12345" }, jobB);
    table.put(two, { ".mjs": "12345" }, jobA);
    needed.delete(jobA);
    table.put(three, { ".mjs": "123" }, jobB);
    expect(table.get(one)).toEqual({ ".mjs": "12345" });
    expect(table.get(three)).toEqual({ ".mjs": "123" });
    const gone = table.get(two);
    vi.advanceTimersByTime(codeArrivalMs);
    expect(await gone).toBeNull();
  });

  it("refuses what there is no room for, and says so to those who ask for it, now and later", async () => {
    const table = open(10);
    const early = table.get(one) as Promise<unknown>;
    expect(() => table.put(one, { ".mjs": "12345678901" }, jobA)).toThrow(/11 bytes .* at most 10 bytes/);
    await expect(early).rejects.toThrow(/at most 10 bytes/);
    expect(() => table.get(one)).toThrow(/at most 10 bytes/);
  });
});
