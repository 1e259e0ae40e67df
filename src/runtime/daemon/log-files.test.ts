import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NodeId } from "../../base/ids.ts";
import { LogFiles, logPartBytesMax } from "./log-files.ts";

const nodeId = "aaaaaa0000000000" as NodeId;
let dir: string;
let files: LogFiles;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "shoal-log-files-"));
  mkdirSync(join(dir, "logs"));
  files = new LogFiles(dir, nodeId);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const write = (name: string, content: string | Buffer): void => writeFileSync(join(dir, "logs", name), content);

describe("LogFiles", () => {
  it("lists files by name, and only files", async () => {
    write("b.out", "four");
    write("a.out", "");
    mkdirSync(join(dir, "logs", "c"));
    expect(await files.list()).toEqual([
      { nodeId, file: "a.out", bytes: 0 },
      { nodeId, file: "b.out", bytes: 4 },
    ]);
  });

  it("reads a part of a file, never more than its bound, and says how long the file is", async () => {
    write("a.out", Buffer.alloc(3 * logPartBytesMax, "x"));
    expect((await files.read("a.out", 0, 3 * logPartBytesMax)).bytes).toHaveLength(logPartBytesMax);
    const { bytes, size } = await files.read("a.out", size3 - 5, 100);
    expect([Buffer.from(bytes).toString(), size]).toEqual(["xxxxx", size3]);
    expect((await files.read("a.out", size3 + 5, 100)).bytes).toHaveLength(0);
  });

  it("reads nothing outside the directory", async () => {
    writeFileSync(join(dir, "secret"), "secret");
    symlinkSync(join(dir, "secret"), join(dir, "logs", "link"));
    for (const name of ["../secret", "..", ".", "", join(dir, "secret")])
      await expect(files.read(name, 0, 10)).rejects.toThrow(/is not a file's name/);
    await expect(files.read("link", 0, 10)).rejects.toThrow(/ELOOP/);
    await expect(files.read("absent", 0, 10)).rejects.toThrow(/Cannot read log 'absent' of node aaaaaa0000000000: ENOENT/);
  });
});

const size3 = 3 * logPartBytesMax;
