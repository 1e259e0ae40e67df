/**
 * Opening a sealed object's file so that it stays as it is: neither spilled nor given back while the descriptor, or a mapping made through it, is open.
 *
 * Between finding a file and locking it, it may have been spilled, freed or reused. So after locking the name is looked up again: if
 * it is no longer the same file, the search starts over, memory first, then disk, the only direction in which files move.
 */
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { objectBytesMax, readTriesMax } from "./limits.ts";
import { native } from "./native.ts";
import { type StoreFiles, unlessMissing } from "./segment-files.ts";
import { parseSegmentName } from "./segment-name.ts";
import type { Location } from "./types.ts";

/** The object's bytes are in no file of this node: freed, lost with its owner, or on another node. The runtime fetches or rebuilds it or reports it lost. */
export class SegmentMissing extends Error {
  override readonly name = "SegmentMissing";
  readonly location: Location;
  constructor(location: Location, reason: string) {
    super(`Cannot read segment '${location.name}': ${reason}`);
    this.location = location;
  }
}

/** An object's file, open and locked, for reading it piece by piece. Owned: `close` it. */
export interface OpenSegment {
  readonly fd: number;
  /** Where the object begins in the file. */
  readonly offset: number;
  readonly bytes: number;
  /** Idempotent. */
  close(): void;
}

/** Opens and locks the file of `location`. Returns the descriptor owned. Throws SegmentMissing. */
export function openLocked(files: StoreFiles, location: Location): { fd: number; size: number } {
  for (let tries = 0; tries < readTriesMax; tries++) {
    for (const dir of [files.shmDir, files.spillDir]) {
      const path = join(dir, location.name);
      const fd = unlessMissing(() => openSync(path, "r"));
      if (fd === undefined) continue;
      try {
        native().lockShared(fd);
        const { ino, size } = fstatSync(fd);
        if (statSync(path, { throwIfNoEntry: false })?.ino === ino) return { fd, size };
      } catch (error) {
        closeSync(fd);
        throw error;
      }
      closeSync(fd); // moved before it was locked: look again
      break;
    }
    if (!segmentExists(files, location.name)) break;
  }
  throw new SegmentMissing(location, "it is neither in shared memory nor on disk");
}

export function segmentExists(files: StoreFiles, name: string): boolean {
  return [files.shmDir, files.spillDir].some((dir) => statSync(join(dir, name), { throwIfNoEntry: false }) !== undefined);
}

/** A location comes from other processes: a bad one finds nothing, it never leads outside a file. Throws SegmentMissing. */
export function checkLocation(location: Location): void {
  const { name, offset, bytes } = location;
  if (typeof name !== "string" || parseSegmentName(name) === undefined)
    throw new SegmentMissing(location, "that is not a segment's name");
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % native().pageBytes !== 0) {
    throw new SegmentMissing(location, `offset ${offset} is not a whole page`);
  }
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > objectBytesMax)
    throw new SegmentMissing(location, `${bytes} is not a size`);
}

/** The location as it came from elsewhere, or null when it cannot be one. */
export function checkedLocation(value: { name?: unknown; offset?: unknown; bytes?: unknown }): Location | null {
  const location = { name: value.name, offset: value.offset, bytes: value.bytes } as Location;
  try {
    checkLocation(location);
    return location;
  } catch {
    return null;
  }
}
