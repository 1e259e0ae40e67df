/** What a session's object store holds, measured where the bytes are: in its directories. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { shmDirOf } from "./ledger.ts";

const blockBytes = 512;

function bytesUnder(dir: string): number {
  let bytes = 0;
  let entries: string[] = [];
  try {
    entries = readdirSync(dir, { recursive: true }) as string[];
  } catch {
    return 0; // made on first use
  }
  for (const name of entries) {
    const found = statSync(join(dir, name), { throwIfNoEntry: false });
    if (found?.isFile()) bytes += found.blocks * blockBytes;
  }
  return bytes;
}

/** Bytes the session really takes of shared memory and of the disk behind it. */
export function storeUse(context: { readonly sessionDir: string }): { shmBytes: number; spillBytes: number } {
  return { shmBytes: bytesUnder(shmDirOf(context.sessionDir)), spillBytes: bytesUnder(join(context.sessionDir, "spill")) };
}

/** Files with objects in the session's shared memory, by path; the store's own bookkeeping is not among them. */
export function segmentFiles(context: { readonly sessionDir: string }): string[] {
  return objectFilesIn(shmDirOf(context.sessionDir));
}

/** Files with objects in the session's shared memory and on disk that hold at least `bytes`. */
export function filesOfAtLeast(bytes: number, context: { readonly sessionDir: string }): { shm: string[]; spilled: string[] } {
  const large = (path: string) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) >= bytes;
  const { sessionDir } = context;
  return {
    shm: objectFilesIn(shmDirOf(sessionDir)).filter(large),
    spilled: objectFilesIn(join(sessionDir, "spill")).filter(large),
  };
}

function objectFilesIn(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => !name.startsWith(".") && name !== "daemon.pid")
    .map((name) => join(dir, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}
