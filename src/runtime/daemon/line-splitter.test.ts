import { describe, expect, it } from "vitest";
import { logLineBytesMax } from "./config.ts";
import { LineSplitter } from "./line-splitter.ts";

function split(...chunks: (string | Buffer)[]): string[] {
  const out: string[] = [];
  const splitter = new LineSplitter("worker", (source, text) => out.push(`${source}: ${text}`));
  for (const chunk of chunks) splitter.push(Buffer.from(chunk as string));
  splitter.end();
  return out;
}

describe("LineSplitter", () => {
  it("gives whole lines however the chunks are cut, and the rest at the end", () => {
    expect(split("one\ntw", "o\n\nthr", "ee")).toEqual(["worker: one", "worker: two", "worker: ", "worker: three"]);
  });

  it("takes names out of the stream, also when a marker is cut", () => {
    expect(split("a\n\u0001squ", "are\u0001b\nc", "\n\u0001cube\u0001", "d\n")).toEqual([
      "worker: a",
      "square: b",
      "square: c",
      "cube: d",
    ]);
  });

  it("ends a line that has no end when another name prints", () => {
    expect(split("\u0001a\u0001half\u0001b\u0001other\n")).toEqual(["a: half", "b: other"]);
  });

  it("keeps a control character that is no marker", () => {
    expect(split("x\u0001y\nz\u0001w\n")).toEqual(["worker: x\u0001y", "worker: z\u0001w"]);
    expect(split(`\u0001${"n".repeat(300)}\n`)).toEqual([`worker: \u0001${"n".repeat(300)}`]);
  });

  it("keeps characters that are cut between chunks", () => {
    const bytes = Buffer.from("grüße\n");
    expect(split(bytes.subarray(0, 3), bytes.subarray(3))).toEqual(["worker: grüße"]);
  });

  it("cuts a line without end at the limit", () => {
    const lines = split("x".repeat(logLineBytesMax * 2 + 10), "\n");
    expect(lines.join("").replaceAll("worker: ", "")).toBe("x".repeat(logLineBytesMax * 2 + 10));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(logLineBytesMax + "worker: ".length);
  });

  it("takes carriage returns at the end of lines away", () => {
    expect(split("a\r\nb\r\n")).toEqual(["worker: a", "worker: b"]);
  });
});
