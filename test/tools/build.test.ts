/** `tools/build.mjs` beside programs that use what it built before. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "shoal-build-"));
  mkdirSync(join(root, "src"));
  cpSync(join(repository, "tools", "build.mjs"), join(root, "tools", "build.mjs"));
  symlinkSync(join(repository, "node_modules"), join(root, "node_modules"));
  writeFileSync(join(root, "package.json"), "{}");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function build(source: string) {
  writeFileSync(join(root, "src", "index.ts"), source);
  return spawnSync(process.execPath, [join(root, "tools", "build.mjs"), "--no-types"], { encoding: "utf8", timeout: 60_000 });
}
const built = () => readFileSync(join(root, "dist", "index.js"), "utf8");

test("a build takes the place of the one before, and leaves nothing else", () => {
  expect(build("export const first = 1;").status).toBe(0);
  writeFileSync(join(root, "dist", "left-over.js"), "");
  expect(build("export const second = 2;").status).toBe(0);
  expect(built()).toContain("second = 2");
  expect(existsSync(join(root, "dist", "left-over.js"))).toBe(false);
  expect(readdirSync(root).toSorted()).toEqual(["dist", "node_modules", "package.json", "src", "tools"]);
});

test("a build that fails leaves what was built before", () => {
  expect(build("export const first = 1;").status).toBe(0);
  expect(build("export const second = ;").status).not.toBe(0);
  expect(built()).toContain("first = 1");
  expect(readdirSync(root).toSorted()).toEqual(["dist", "node_modules", "package.json", "src", "tools"]);
});

test("builds that run at the same time leave one whole build", () => {
  writeFileSync(join(root, "src", "index.ts"), "export const both = 1;");
  const script = join(root, "tools", "build.mjs");
  const { status, stderr } = spawnSync("sh", ["-c", `node ${script} --no-types & node ${script} --no-types && wait $!`], {
    encoding: "utf8",
    timeout: 60_000,
  });
  expect([status, stderr]).toEqual([0, ""]);
  expect(built()).toContain("both = 1");
  expect(readdirSync(root).toSorted()).toEqual(["dist", "node_modules", "package.json", "src", "tools"]);
});

test("building this package says nothing", () => {
  cpSync(join(repository, "src"), join(root, "src"), { recursive: true });
  cpSync(join(repository, "package.json"), join(root, "package.json"));
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(root, "tools", "build.mjs"), "--no-types"], {
    encoding: "utf8",
    timeout: 60_000,
  });
  expect([stdout, stderr, status]).toEqual(["", "", 0]);
});
