/**
 * What may happen to a sealed segment's file, said once for writers, freers and the daemon: removal, warming, death.
 *
 * Renaming and unlinking are atomic, so of two processes that want the same file exactly one succeeds and the other sees ENOENT; the
 * winner alone changes the accounting. Whether a reader still maps a segment is asked of the kernel by its lock.
 */
import { closeSync, fstatSync, openSync, readdirSync, renameSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Accounting } from "./accounting.ts";
import { warmFractionMax } from "./limits.ts";
import { native } from "./native.ts";
import { anyWarmPrefix, deadPrefix, warmPrefix } from "./segment-name.ts";

/** The places of one node's store, as one process sees them. */
export interface StoreFiles {
  readonly shmDir: string;
  readonly spillDir: string;
  readonly accounting: Accounting;
}

/** What became of a freed segment, and its file's size. "missing": somebody else removed it, or it never was. */
export interface Freed {
  readonly fate: "warm" | "removed" | "dead" | "spilled" | "missing";
  readonly bytes: number;
}

/** Runs `action`; `undefined` instead of its result when the file is not there. */
export function unlessMissing<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Unlinks `path`; false when it was not there. */
export function unlinkIfThere(path: string): boolean {
  return (
    unlessMissing(() => {
      unlinkSync(path);
      return true;
    }) ?? false
  );
}

/** Renames; false when `from` was not there. */
export function renameIfThere(from: string, to: string): boolean {
  return (
    unlessMissing(() => {
      renameSync(from, to);
      return true;
    }) ?? false
  );
}

/**
 * Frees the sealed segment `name` wherever it is. In memory and mapped by nobody it stays warm for `writer` (unless that is
 * undefined or too much is warm already), else it is removed; mapped by a reader it waits, still accounted, as a dead file.
 */
export function freeSegment(files: StoreFiles, name: string, writer: string | undefined): Freed {
  const path = join(files.shmDir, name);
  const fd = unlessMissing(() => openSync(path, "r+"));
  if (fd === undefined) return freeSpilled(files, name);
  try {
    const bytes = fstatSync(fd).size;
    if (!native().tryLockExclusive(fd)) {
      return renameIfThere(path, join(files.shmDir, deadPrefix + name)) ? { fate: "dead", bytes } : freeSpilled(files, name);
    }
    if (writer !== undefined && keepWarm(files, path, name, writer, bytes)) return { fate: "warm", bytes };
    return removeOpen(files, path, fd, bytes, 0) ? { fate: "removed", bytes } : freeSpilled(files, name);
  } finally {
    closeSync(fd);
  }
}

/** Not in memory: what there is of it is on disk. */
function freeSpilled(files: StoreFiles, name: string): Freed {
  return { fate: unlinkIfThere(join(files.spillDir, name)) ? "spilled" : "missing", bytes: 0 };
}

/**
 * Ends the dead segment `name` if no reader maps it any more: warm for `writer` (unless undefined), else removed. Nothing if it is still mapped
 * or there is none.
 */
export function endDeadSegment(files: StoreFiles, name: string, writer: string | undefined): void {
  const path = join(files.shmDir, deadPrefix + name);
  const fd = unlessMissing(() => openSync(path, "r+"));
  if (fd === undefined) return;
  try {
    if (!native().tryLockExclusive(fd)) return;
    const bytes = fstatSync(fd).size;
    if (writer === undefined || !keepWarm(files, path, name, writer, bytes)) removeOpen(files, path, fd, bytes, 0);
  } finally {
    closeSync(fd);
  }
}

/** Renames the segment's file at `path` to a warm one; false if too much is warm or somebody else was first. */
function keepWarm(files: StoreFiles, path: string, name: string, writer: string, bytes: number): boolean {
  const { accounting, shmDir } = files;
  if (accounting.bytesWarm + bytes > accounting.bytesMax * warmFractionMax) return false;
  return accounting.change(() => {
    if (!renameIfThere(path, join(shmDir, warmPrefix(writer) + name))) return false;
    accounting.addWarm(bytes);
    return true;
  });
}

/** Removes the file and gives its memory back, even where its writer still maps it. False when somebody else was first. */
function removeOpen(files: StoreFiles, path: string, fd: number, bytes: number, warmBytes: number): boolean {
  return files.accounting.change(() => {
    if (!unlinkIfThere(path)) return false;
    native().punch(fd, bytes);
    files.accounting.release(bytes);
    if (warmBytes > 0) files.accounting.addWarm(-warmBytes);
    return true;
  });
}

/** Removes a file that only its writer or nobody maps (warm, temporary of a dead writer). Returns the bytes given back. */
export function removeUnshared(files: StoreFiles, fileName: string): number {
  const path = join(files.shmDir, fileName);
  const fd = unlessMissing(() => openSync(path, "r+"));
  if (fd === undefined) return 0;
  try {
    const bytes = fstatSync(fd).size;
    return removeOpen(files, path, fd, bytes, fileName.startsWith(anyWarmPrefix) ? bytes : 0) ? bytes : 0;
  } finally {
    closeSync(fd);
  }
}

/** Removes warm segments, of whatever writer, until `bytes` are given back. Returns how many were. */
export function reclaimWarm(files: StoreFiles, bytes: number): number {
  let reclaimed = 0;
  if (files.accounting.bytesWarm === 0) return 0;
  for (const name of readdirSync(files.shmDir)) {
    if (reclaimed >= bytes) break;
    if (name.startsWith(anyWarmPrefix)) reclaimed += removeUnshared(files, name);
  }
  return reclaimed;
}
