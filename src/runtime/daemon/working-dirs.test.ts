/** Two nodes, each with a directory for what it packs and unpacks; one asks the other directly. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { JobId, NodeId } from "../../base/ids.ts";
import { packDirectory, unpackDirectory } from "./dir-pack.ts";
import { type AskNode, pieceBytes, type WantedDirectory, WorkingDirs } from "./working-dirs.ts";

let dir: string;
let project: string;
let here: WorkingDirs;
let there: WorkingDirs;
let asked: string[];
const driverNode = "aaaaaa0000000000" as NodeId;
const jobId = "11111111" as JobId;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "shoal-dirs-"));
  project = join(dir, "project");
  asked = [];
  const nobody: AskNode = () => Promise.reject(new Error("nobody asks from here"));
  here = new WorkingDirs(join(dir, "here"), nobody);
  there = new WorkingDirs(join(dir, "there"), async (node, method, params: any) => {
    asked.push(`${node} ${method}`);
    return method === "packDirectory" ? here.pack(params) : here.read(params.hash, params.offset, params.bytes);
  });
});
afterEach(() => rmSync(dir, { recursive: true }));

function write(files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(project, name)), { recursive: true });
    writeFileSync(join(project, name), text);
  }
}

const wanted = (overrides: Partial<WantedDirectory> = {}): WantedDirectory => ({
  jobId,
  path: project,
  excludes: [],
  ...overrides,
});
const fetch = (overrides: Partial<WantedDirectory> = {}) => there.fetch(driverNode, wanted(overrides), 1_000);

function tree(directory: string): string[] {
  return (readdirSync(directory, { recursive: true }) as string[]).sort();
}

describe("A working directory on another node", () => {
  it("has the same files, modes and links, whatever their sizes", async () => {
    const large = new Uint8Array(3 * pieceBytes + 5).map(() => Math.random() * 256);
    write({ "main.mjs": "1", "data/empty": "", "data/large.bin": large, "bin/tool": "#!/bin/sh" });
    chmodSync(join(project, "bin/tool"), 0o755);
    mkdirSync(join(project, "nothing"));
    symlinkSync("data/large.bin", join(project, "link"));
    const place = await fetch();
    expect(tree(place)).toEqual(tree(project));
    expect(readFileSync(join(place, "data/large.bin")).equals(large)).toBe(true);
    expect(statSync(join(place, "bin/tool")).mode & 0o111).toBe(0o111);
    expect(readlinkSync(join(place, "link"))).toBe("data/large.bin");
  });

  it("leaves out what excludes match, as in .gitignore, and .git", async () => {
    write({ "a.mjs": "", "a.bin": "", "keep.bin": "", "deep/b.bin": "", "build/x": "", ".git/HEAD": "", "deep/build.txt": "" });
    const place = await fetch({ excludes: ["*.bin", "!keep.bin", "build/"] });
    expect(tree(place)).toEqual(["a.mjs", "deep", "deep/build.txt", "keep.bin"]);
  });

  it("has the content of links that lead out of it", async () => {
    mkdirSync(join(dir, "outside"));
    writeFileSync(join(dir, "outside", "shared.txt"), "shared");
    write({ "main.mjs": "" });
    symlinkSync(join(dir, "outside"), join(project, "lib"));
    symlinkSync("../outside/shared.txt", join(project, "text"));
    symlinkSync("/no/such/file", join(project, "broken"));
    const place = await fetch();
    expect(readFileSync(join(place, "lib/shared.txt"), "utf8")).toBe("shared");
    expect(readFileSync(join(place, "text"), "utf8")).toBe("shared");
    expect(existsSync(join(place, "broken"))).toBe(false);
  });

  it("travels once, however many ask and whatever the job, and is the same for all of a job", async () => {
    write({ "main.mjs": "1" });
    const [first, second] = await Promise.all([fetch(), fetch()]);
    expect(second).toBe(first);
    write({ "main.mjs": "2" });
    expect(await fetch()).toBe(first);
    expect(asked).toEqual([`${driverNode} packDirectory`, `${driverNode} readPack`]);
    write({ "main.mjs": "1" });
    expect(await fetch({ jobId: "22222222" as JobId })).toBe(first);
    expect(asked).toHaveLength(3);
    expect(readdirSync(join(dir, "there"))).toHaveLength(1);
  });

  it("that is not there is an error that names it, and looked for again the next time", async () => {
    await expect(fetch()).rejects.toThrow(`'${project}' as working directory as it is not a directory on the driver's node`);
    write({ "main.mjs": "1" });
    expect(tree(await fetch())).toEqual(["main.mjs"]);
  });

  it("that is too large is an error that names the largest file", async () => {
    write({ "a.txt": "12345", "b.txt": "1234567890" });
    await expect(packDirectory(project, [], join(dir, "pack"), 12)).rejects.toThrow(
      /more than 12 bytes; the largest file seen is b.txt with 10: leave out .* runtimeEnv.excludes/,
    );
  });

  it("whose pack is cut off is not taken for whole", async () => {
    write({ "a.txt": new Uint8Array(100_000).map(() => Math.random() * 256) });
    const pack = join(dir, "pack");
    await packDirectory(project, [], pack);
    truncateSync(pack, 50_000);
    await expect(unpackDirectory(pack, join(dir, "out"))).rejects.toThrow();
  });
});
