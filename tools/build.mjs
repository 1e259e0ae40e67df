/**
 * Builds dist/: JavaScript by esbuild (one shared set of chunks, so that the worker's runtime and a user's `import "shoal"`
 * inside a task are the same module instances) and type declarations by tsc. `--if-stale` skips the work when dist/ is newer
 * than every source.
 *
 * It is written into a directory of its own that then takes the place of dist/: programs that run meanwhile find all of the old one until
 * all of the new one is there, and a build that fails changes nothing.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");
const stamp = join(dist, ".built");

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

/** Puts the directory `fresh` in the place of dist/. Another build may do the same at the same time: the last one stays. */
function takePlace(fresh) {
  const former = `${fresh}.former`;
  for (let tries = 0; ; tries++) {
    try {
      if (existsSync(dist)) renameSync(dist, former);
      renameSync(fresh, dist);
      return;
    } catch (error) {
      if (tries === 10 || !["ENOENT", "ENOTEMPTY", "EEXIST"].includes(error.code)) throw error;
    } finally {
      rmSync(former, { recursive: true, force: true });
    }
  }
}

/** The codec without its native part and its streams, which take long to load; src/wire/native-strings.ts. */
const plainCodec = {
  name: "plain codec",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^msgpackr$/ }, () => ({ path: "msgpackr", namespace: "plain-codec" }));
    onLoad({ filter: /.*/, namespace: "plain-codec" }, () => ({
      contents: 'export * from "./pack.js"; export * from "./unpack.js";',
      resolveDir: join(root, "node_modules", "msgpackr"),
    }));
  },
};

const fresh = mkdtempSync(join(root, "dist.new-"));
process.on("exit", () => rmSync(fresh, { recursive: true, force: true }));
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
  outdir: fresh,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  plugins: [plainCodec],
  sourcemap: true,
  chunkNames: "chunks/[name]-[hash]",
  logLevel: "warning",
  // revive.ts passes on the import attributes of users' functions, which nobody can know here; such an import() is left as it is.
  logOverride: { "unsupported-dynamic-import": "silent" },
});
// The dashboard's page: what the browser loads.
if (existsSync(join(root, "src", "dashboard", "page"))) {
  await build({
    entryPoints: { page: "src/dashboard/page/page.ts" },
    absWorkingDir: root,
    outdir: join(fresh, "dashboard-page"),
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    minify: true,
    logLevel: "warning",
  });
  for (const name of ["index.html", "page.css"])
    copyFileSync(join(root, "src", "dashboard", "page", name), join(fresh, "dashboard-page", name));
}
if (!process.argv.includes("--no-types")) {
  const types = spawnSync(
    process.execPath,
    [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json", "--outDir", fresh],
    { cwd: root, stdio: "inherit" },
  );
  if (types.status !== 0) process.exit(types.status ?? 1);
}
chmodSync(fresh, 0o755); // mkdtemp's is for its owner alone
if (existsSync(join(fresh, "cli.js"))) chmodSync(join(fresh, "cli.js"), 0o755);
writeFileSync(join(fresh, ".built"), "");
takePlace(fresh);
