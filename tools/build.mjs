/**
 * Builds dist/: JavaScript by esbuild (one shared set of chunks, so that the worker's runtime and a user's `import "shoal"`
 * inside a task are the same module instances) and type declarations by tsc. `--if-stale` skips the work when dist/ is newer
 * than every source.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stamp = join(root, "dist", ".built");

function newest(dir) {
  let time = 0;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) time = Math.max(time, newest(path));
    else if (!entry.name.endsWith(".test.ts")) time = Math.max(time, statSync(path).mtimeMs);
  }
  return time;
}

if (process.argv.includes("--if-stale") && existsSync(stamp)) {
  const sources = Math.max(
    newest(join(root, "src")),
    statSync(join(root, "package.json")).mtimeMs,
    statSync(fileURLToPath(import.meta.url)).mtimeMs,
  );
  if (statSync(stamp).mtimeMs > sources) process.exit(0);
}

rmSync(join(root, "dist"), { recursive: true, force: true });
const entries = {
  index: "src/index.ts",
  util: "src/util/index.ts",
  testing: "src/testing/index.ts",
  worker: "src/runtime/worker/main.ts",
  daemon: "src/runtime/daemon/main.ts",
  cli: "src/cli/main.ts",
};
const present = Object.fromEntries(Object.entries(entries).filter(([, path]) => existsSync(join(root, path))));
await build({
  entryPoints: present,
  absWorkingDir: root,
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  sourcemap: true,
  chunkNames: "chunks/[name]-[hash]",
  logLevel: "warning",
});
if (!process.argv.includes("--no-types")) {
  const types = spawnSync(
    process.execPath,
    [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"],
    { cwd: root, stdio: "inherit" },
  );
  if (types.status !== 0) process.exit(types.status ?? 1);
}
if (existsSync(join(root, "dist", "cli.js"))) chmodSync(join(root, "dist", "cli.js"), 0o755);
writeFileSync(stamp, "");
