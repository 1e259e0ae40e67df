/** How much memory a store takes unless told, and where it can be. */
import { accessSync, constants, statfsSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { shmHeadroomFraction, storeMemoryFraction } from "./limits.ts";

/** The directory under which this user's sessions keep shared memory: on tmpfs where the system has one for that, else in the temporary directory. */
export function sharedMemoryRoot(): string {
  const name = `shoal-${process.getuid?.() ?? 0}`;
  try {
    accessSync("/dev/shm", constants.W_OK | constants.X_OK);
    return join("/dev/shm", name);
  } catch {
    return join(process.env.SHOAL_TMPDIR ?? tmpdir(), name, "shm");
  }
}

/** The limit of a store unless told: 30 % of the memory this process may use, its cgroup included. */
export function defaultStoreBytes(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.floor(memory * storeMemoryFraction);
}

/** The limit of a store in `dir`: what is asked, but no more than its file system has free, less 5 % that is left to others. */
export function storeBytesMax(dir: string, asked = defaultStoreBytes()): number {
  const { bavail, bsize } = statfsSync(dir);
  return Math.floor(Math.min(asked, bavail * bsize * (1 - shmHeadroomFraction)));
}
