/**
 * Moves sealed segments from shared memory to disk, least recently read first, while their owners and readers go on.
 *
 * Sealed bytes never change, so the copy is made without any lock, off the event loop. Only the exchange at the end is exclusive: under
 * the file's lock, which no reader then holds, the copy gets its name and the original is removed. If a reader mapped it meanwhile, the
 * memory would not be given back, so the copy is dropped. If the owner freed it meanwhile, the original is gone from under its
 * name, and the copy is dropped too.
 */
import { closeSync, fstatSync, openSync, renameSync } from "node:fs";
import { copyFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { native } from "./native.ts";
import { endDeadSegment, type StoreFiles, unlessMissing, unlinkIfThere } from "./segment-files.ts";
import { parseSegmentName, temporaryPrefix } from "./segment-name.ts";

export interface Spilled {
  readonly objects: number;
  readonly bytes: number;
  /** The disk has no room for more: what is left stays in memory. */
  readonly diskFull: boolean;
}

interface Candidate {
  readonly name: string;
  readonly bytes: number;
  readonly usedAtMs: number;
}

/** Spills until no more than `bytesTarget` are used, everything left is in use, or the disk is full. */
export async function spillUntil(files: StoreFiles, bytesTarget: number): Promise<Spilled> {
  let objects = 0;
  let bytes = 0;
  for (const candidate of await candidates(files)) {
    if (files.accounting.bytesUsed <= bytesTarget) break;
    const outcome = await spillOne(files, candidate.name);
    if (outcome === "disk full") return { objects, bytes, diskFull: true };
    if (outcome === "kept") continue;
    objects += 1;
    bytes += candidate.bytes;
  }
  return { objects, bytes, diskFull: false };
}

/** Sealed segments in memory, least recently read first. */
async function candidates(files: StoreFiles): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const name of await readdir(files.shmDir)) {
    if (parseSegmentName(name) === undefined) continue;
    const stats = await stat(join(files.shmDir, name)).catch(() => undefined); // freed meanwhile
    if (stats !== undefined) found.push({ name, bytes: stats.size, usedAtMs: stats.atimeMs });
  }
  return found.sort((a, b) => a.usedAtMs - b.usedAtMs);
}

async function spillOne(files: StoreFiles, name: string): Promise<"spilled" | "kept" | "disk full"> {
  if (!mappedByNobody(files, name)) return "kept";
  const copy = join(files.spillDir, temporaryPrefix("daemon") + name);
  try {
    await copyFile(join(files.shmDir, name), copy);
  } catch (error) {
    unlinkIfThere(copy);
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") return "disk full";
    if (code === "ENOENT") return "kept"; // freed meanwhile
    throw error;
  }
  return exchange(files, name, copy) ? "spilled" : "kept";
}

function mappedByNobody(files: StoreFiles, name: string): boolean {
  const fd = unlessMissing(() => openSync(join(files.shmDir, name), "r"));
  if (fd === undefined) return false;
  try {
    return native().tryLockExclusive(fd);
  } finally {
    closeSync(fd);
  }
}

/** Puts the copy in the segment's place. False, and the copy removed, when the segment is in use or gone. */
function exchange(files: StoreFiles, name: string, copy: string): boolean {
  const { shmDir, spillDir, accounting } = files;
  const path = join(shmDir, name);
  const fd = unlessMissing(() => openSync(path, "r+"));
  let removed = false;
  if (fd !== undefined) {
    try {
      if (native().tryLockExclusive(fd)) {
        renameSync(copy, join(spillDir, name));
        removed = accounting.change(() => {
          if (!unlinkIfThere(path)) return false;
          const bytes = fstatSync(fd).size;
          native().punch(fd, bytes);
          accounting.release(bytes);
          return true;
        });
        if (!removed) unlinkIfThere(join(spillDir, name)); // freed between the two
      }
    } finally {
      closeSync(fd);
    }
  }
  if (removed) return true;
  unlinkIfThere(copy);
  endDeadSegment(files, name, parseSegmentName(name)?.writer); // whoever freed it just now took our lock for a reader's
  return false;
}
