import { describe, expect, it } from "vitest";
import type { LogLine } from "../wire/messages.ts";
import { foldWindowMs, formatLogLine, LogFolder } from "./log-fold.ts";

const line = (text: string, pid = 1): LogLine => ({ source: "square", pid, stream: "stdout", text });
const texts = (folded: readonly { line: LogLine; repeated: number }[]): string[] =>
  folded.map((one) => formatLogLine(one, false));

describe("LogFolder", () => {
  it("shows a line once and tells later how often other processes printed it", () => {
    const folder = new LogFolder();
    expect(texts(folder.push(0, [line("warn", 1), line("warn", 2), line("warn", 3), line("warn", 4)]))).toEqual([
      "(square pid=1) warn",
    ]);
    expect(folder.nextWakeMs()).toBe(foldWindowMs);
    expect(folder.due(foldWindowMs - 1)).toEqual([]);
    expect(texts(folder.due(foldWindowMs))).toEqual([
      "(square pid=4) warn [repeated 3x by other workers; SHOAL_DEDUP_LOGS=0 shows all]",
    ]);
    expect(folder.nextWakeMs()).toBe(null);
  });

  it("shows what one process repeats as often as it prints it", () => {
    const folder = new LogFolder();
    expect(folder.push(0, [line("tick"), line("tick"), line("tick")])).toHaveLength(3);
    expect(folder.flush()).toEqual([]);
  });

  it("folds identical lines only, and shows a single repetition as it is", () => {
    const folder = new LogFolder();
    expect(folder.push(0, [line("took 12 ms", 1), line("took 7 ms", 2), line("took 12 ms", 2)])).toHaveLength(2);
    expect(texts(folder.flush())).toEqual(["(square pid=2) took 12 ms"]);
  });

  it("does nothing when off", () => {
    const folder = new LogFolder(false);
    expect(folder.push(0, [line("a", 1), line("a", 2)])).toHaveLength(2);
    expect(folder.nextWakeMs()).toBe(null);
  });

  it("tells the oldest at once when too many different lines are folded", () => {
    const folder = new LogFolder();
    folder.push(0, [line("first", 1), line("first", 2), line("first", 3)]);
    const word = (i: number): string => [...String(i)].map((digit) => "abcdefghij"[Number(digit)]).join("");
    const out = folder.push(
      1,
      Array.from({ length: 1000 }, (_, i) => line(word(i))),
    );
    expect(texts(out)).toContain("(square pid=3) first [repeated 2x by other workers; SHOAL_DEDUP_LOGS=0 shows all]");
  });

  it("colours only the part in brackets, and only when asked", () => {
    expect(formatLogLine({ line: line("hi"), repeated: 0 }, true)).toBe("\u001b[36m(square pid=1)\u001b[39m hi");
  });
});
