/** Directories for a store under test, and what lies in them. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { sharedMemoryRoot } from "../store-limit.ts";

export interface StoreDirs {
  readonly shmDir: string;
  readonly spillDir: string;
  remove(): void;
}

export function makeStoreDirs(): StoreDirs {
  const shmRoot = dirname(sharedMemoryRoot());
  mkdirSync(shmRoot, { recursive: true });
  const shmDir = mkdtempSync(join(shmRoot, "shoal-test-"));
  const spillDir = mkdtempSync(join(tmpdir(), "shoal-test-"));
  return {
    shmDir,
    spillDir,
    remove() {
      for (const dir of [shmDir, spillDir]) rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Bytes really taken by the directory's files: what `du` says. */
export function bytesOnDevice(dir: string): number {
  return readdirSync(dir).reduce(
    (sum, name) => sum + (statSync(join(dir, name), { throwIfNoEntry: false })?.blocks ?? 0) * 512,
    0,
  );
}

/** Bytes the directory's files will take once every page of them is written: what the accounting counts. */
export function bytesReserved(dir: string): number {
  return readdirSync(dir)
    .filter((name) => name !== "daemon.pid")
    .reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}

/** Names of the segments, warm and dead files in a directory; not the store's own files. */
export function segmentsIn(dir: string): string[] {
  return readdirSync(dir).filter((name) => name !== ".accounting" && name !== "daemon.pid");
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Collects garbage until `done()`, giving finalizers their turn. */
export async function collectUntil(done: () => boolean): Promise<void> {
  while (!done()) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
