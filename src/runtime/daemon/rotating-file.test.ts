import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RotatingFile } from "./rotating-file.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "shoal-rotating-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

describe("RotatingFile", () => {
  it("keeps at most two files of the limit each, the newest lines among them", async () => {
    const path = join(dir, "log");
    const file = new RotatingFile(path, 20);
    for (let i = 0; i < 10; i++) {
      file.write(`line ${i}\n`);
      await file.flush();
    }
    file.close();
    expect(readFileSync(path, "utf8")).toBe("line 8\nline 9\n");
    expect(readFileSync(`${path}.1`, "utf8")).toBe("line 6\nline 7\n");
  });

  it("loses nothing but the log when the disk fails", async () => {
    const file = new RotatingFile(join(dir, "missing", "log"), 20);
    file.write("one\n");
    await new Promise((resolve) => setImmediate(resolve));
    file.write("two\n");
    await file.flush();
    file.close();
  });
});
