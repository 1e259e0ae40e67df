/**
 * What a reader gets: a mapping of its own of a sealed object, at the cost of a few system calls whatever the size.
 *
 * The mapping is private: the pages are those of the file until the reader writes one, which then is the reader's alone. The shared
 * lock taken before mapping lives as long as the mapping, because the kernel keeps the open file for it, so the reader's death
 * in any manner releases it (measured in docs/decisions/0005). When the array is collected the memory is unmapped.
 *
 * Between finding a file and locking it, it may have been spilled, freed or reused. So after locking the name is looked up again: if
 * it is no longer the same file, the search starts over, memory first, then disk, the only direction in which files move.
 */
import { closeSync, fstatSync, futimesSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { objectBytesMax, readTriesMax } from "./limits.ts";
import { native } from "./native.ts";
import { type StoreFiles, unlessMissing } from "./segment-files.ts";
import { parseSegmentName } from "./segment-name.ts";
import type { Location } from "./types.ts";

/** The object's bytes are in no file: freed, or lost with its owner. The runtime rebuilds it or reports it lost. */
export class SegmentMissing extends Error {
  override readonly name = "SegmentMissing";
  readonly location: Location;
  constructor(location: Location, reason: string) {
    super(`Cannot read segment '${location.name}': ${reason}`);
    this.location = location;
  }
}

/** Unmaps a view's memory once its ArrayBuffer is collected. Belongs to the process, because arrays outlive the store they came from. */
const views = new FinalizationRegistry<() => void>((unmap) => unmap());

/** How stale a file's access time may be before a reader renews it, so that a hot object costs no write per read. */
const accessTimeSlackMs = 1000;

/** Maps the object at `location`. `released` is called after its memory was unmapped. Throws SegmentMissing. */
export function mapPrivate(files: StoreFiles, location: Location, released: () => void): Uint8Array {
  check(location);
  for (let tries = 0; tries < readTriesMax; tries++) {
    for (const dir of [files.shmDir, files.spillDir]) {
      const path = join(dir, location.name);
      const fd = unlessMissing(() => openSync(path, "r"));
      if (fd === undefined) continue;
      try {
        native().lockShared(fd);
        const found = fstatSync(fd);
        const named = statSync(path, { throwIfNoEntry: false });
        if (named === undefined || named.ino !== found.ino) break; // moved before it was locked: look again
        if (found.size < location.offset + location.bytes) throw new SegmentMissing(location, `it ends at byte ${found.size}`);
        const now = Date.now();
        if (now - found.atimeMs > accessTimeSlackMs) futimesSync(fd, now / 1000, found.mtimeMs / 1000);
        return view(fd, location, released);
      } finally {
        closeSync(fd);
      }
    }
    if (!exists(files, location.name)) break;
  }
  throw new SegmentMissing(location, "it is neither in shared memory nor on disk");
}

function view(fd: number, location: Location, released: () => void): Uint8Array {
  const mapping = native().map(fd, location.bytes, location.offset, "private", location.bytes);
  const { address, bytes } = mapping;
  views.register(mapping.buffer, () => {
    native().unmap({ address, bytes });
    released();
  });
  return new Uint8Array(mapping.buffer);
}

function exists(files: StoreFiles, name: string): boolean {
  return [files.shmDir, files.spillDir].some((dir) => statSync(join(dir, name), { throwIfNoEntry: false }) !== undefined);
}

/** A location comes from other processes: a bad one finds nothing, it never maps outside a file. */
function check(location: Location): void {
  const { name, offset, bytes } = location;
  if (parseSegmentName(name) === undefined) throw new SegmentMissing(location, "that is not a segment's name");
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % native().pageBytes !== 0)
    throw new SegmentMissing(location, `offset ${offset} is not a whole page`);
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > objectBytesMax)
    throw new SegmentMissing(location, `${bytes} is not a size`);
}
