/** Compiles round-trip.ts and its child to JavaScript that plain node runs, into a directory that the caller removes. */
import { mkdtempSync, realpathSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));

/** Returns the directory, which has `round-trip.mjs`, `round-trip-child.mjs` and the repository's `node_modules`. */
export async function bundleRoundTrip(): Promise<string> {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "shoal-round-trip-")));
  symlinkSync(join(here, "..", "..", "..", "node_modules"), join(directory, "node_modules"));
  await build({
    entryPoints: [join(here, "round-trip.ts"), join(here, "round-trip-child.ts")],
    outdir: directory,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    logLevel: "error",
    logOverride: { "unsupported-dynamic-import": "silent" },
  });
  return directory;
}
