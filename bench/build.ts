/**
 * Builds the measuring programs as plain Node programs, so that no loader runs in the processes that are measured, and so that they import the built
 * package as a user's do.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));

export interface Programs {
  readonly measure: string;
  readonly peerJobs: string;
  readonly raysMeasure: string;
  /** The driver of lab/transfer.ts. */
  readonly transfer: string;
  readonly labMeasure: string;
  remove(): void;
}

export async function buildPrograms(): Promise<Programs> {
  mkdirSync(join(here, ".build"), { recursive: true });
  const dir = mkdtempSync(join(here, ".build", "run-"));
  const remove = (): void => rmSync(dir, { recursive: true, force: true });
  process.once("exit", remove); // also when the run is interrupted
  await build({
    absWorkingDir: here,
    entryPoints: {
      measure: "measure.ts",
      jobs: "peers/jobs.ts",
      "peer-worker": "peers/peer-worker.ts",
      "start-up": "programs/start-up.ts",
      idle: "programs/idle.ts",
      profiled: "programs/profiled.ts",
      transfer: "programs/transfer.ts",
    },
    outdir: dir,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    // The package by its own name, from dist/, and not by the paths of tsconfig.json.
    tsconfigRaw: {},
    outExtension: { ".js": ".mjs" },
    logLevel: "warning",
  });
  return {
    measure: join(dir, "measure.mjs"),
    peerJobs: join(dir, "jobs.mjs"),
    raysMeasure: join(here, "ray", "measure.py"),
    transfer: join(dir, "transfer.mjs"),
    labMeasure: join(here, "lab", "transfer.ts"), // not built: it is of the tests' files
    remove,
  };
}
