/** A user's account on the cluster: the package, a `ray` and a `shoal` on the PATH, programs beside the job scripts; and what is left. */
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../lab/lab.ts";
import type { LabHost } from "../lab/lab-host.ts";

export interface Account {
  /** Environment of the user's shell. */
  readonly env: Record<string, string>;
}

/** Sets the account up in the directory that jobs are submitted from. */
export function makeAccount(home: string, workDir: string): Account {
  const bin = join(home, "venv", "bin");
  mkdirSync(bin, { recursive: true });
  const localBin = join(workDir, "node_modules", ".bin");
  mkdirSync(localBin, { recursive: true });
  symlinkSync(repository, join(workDir, "node_modules", "shoal"));
  const names: Record<string, string> = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")).bin;
  for (const [name, path] of Object.entries(names)) {
    // What npm makes of it: a link; and dist/ need not be executable.
    writeFileSync(join(bin, name), `#!/bin/sh\nexec node ${join(repository, path)} "$@"\n`, { mode: 0o755 });
    symlinkSync(join(bin, name), join(localBin, name));
  }
  writeFileSync(join(workDir, "package.json"), '{ "type": "module" }\n');
  for (const name of ["driver.mjs", "members.mjs"]) copyFileSync(join(import.meta.dirname, name), join(workDir, name));
  return { env: { PATH: `${bin}:${process.execPath.replace(/\/node$/, "")}:/usr/sbin:/usr/bin:/sbin:/bin` } };
}

/** Processes and shared memory of the runtime that a host has, a line each. */
export async function leftOn(host: LabHost): Promise<string[]> {
  // The pattern stays out of the command, which would find itself.
  const look = `for p in /proc/[0-9]*; do
      printf '%s ' "process \${p#/proc/}"; tr '\\0' ' ' <"$p/cmdline" 2>/dev/null; echo
    done
    ls -d /dev/shm/shoal-*/* /tmp/shoal-*/*/sockets/* 2>/dev/null; true`;
  const lines = (await host.must(["sh", "-c", look])).split("\n");
  return lines.filter((line) => line.includes(`${repository}/dist/`) || /^\/(dev|tmp)\//.test(line));
}
