/**
 * What a reader gets: a mapping of its own of a sealed object, at the cost of a few system calls whatever the size.
 *
 * The mapping is private: the pages are those of the file until the reader writes one, which then is the reader's alone. A shared lock
 * on the open file says that it is mapped; it lives as long as the descriptor or any mapping made through it, because the
 * kernel keeps the open file for them, so the reader's death in any manner releases it (measured in docs/decisions/0005). When an
 * array is collected its memory is unmapped.
 *
 * All views of one file in one process are made through one descriptor and so share one lock: the kernel looks through a file's locks
 * one by one, which would make the thousandth view a thousand times dearer than the first.
 *
 * Between finding a file and locking it, it may have been spilled, freed or reused. So after locking the name is looked up again: if
 * it is no longer the same file, the search starts over, memory first, then disk, the only direction in which files move.
 */
import { closeSync, fstatSync, futimesSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { objectBytesMax, readTriesMax, viewedFilesOpenMax, viewsMax } from "./limits.ts";
import { type Mapping, native } from "./native.ts";
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
const collected = new FinalizationRegistry<() => void>((unmap) => unmap());

/** How stale a file's access time may be before a reader renews it, so that a hot object costs no write per read. */
const accessTimeSlackMs = 1000;

/** A file this process has views of. */
interface Viewed {
  readonly name: string;
  /** Holds the shared lock; undefined when too many files were open, the mappings hold it then. */
  fd: number | undefined;
  size: number;
  /** Views not collected yet. The file is forgotten at zero. */
  views: number;
  usedAtMs: number;
}

export class PrivateViews {
  readonly #files: StoreFiles;
  /** Called when this process has no view of the file `name` any more. */
  readonly #unviewed: (name: string) => void;
  readonly #viewed = new Map<string, Viewed>();
  /** Those of `#viewed` whose `fd` is open, oldest first. */
  readonly #open = new Set<Viewed>();
  #views = 0;
  #bytes = 0;

  constructor(files: StoreFiles, unviewed: (name: string) => void) {
    this.#files = files;
    this.#unviewed = unviewed;
  }

  /** Views not collected yet, and their bytes of address space. */
  stats(): { views: number; viewBytes: number } {
    return { views: this.#views, viewBytes: this.#bytes };
  }

  /** Maps the object. Throws SegmentMissing. */
  view(location: Location): Uint8Array {
    check(location);
    const viewed = this.#find(location);
    try {
      if (viewed.size < location.offset + location.bytes) throw new SegmentMissing(location, `it ends at byte ${viewed.size}`);
      return this.#map(viewed, location);
    } finally {
      if (viewed.views === 0) this.#forget(viewed);
    }
  }

  /** Closes the descriptors. Views stay valid and locked. */
  close(): void {
    for (const viewed of [...this.#open]) this.#closeFile(viewed);
  }

  #map(viewed: Viewed, location: Location): Uint8Array {
    const mapping = this.#views < viewsMax ? mapUnlessFull(viewed.fd!, location) : undefined;
    if (mapping === undefined) return copyOf(viewed.fd!, location);
    viewed.views += 1;
    this.#views += 1;
    this.#bytes += location.bytes;
    const { address, bytes } = mapping;
    collected.register(mapping.buffer, () => {
      viewed.views -= 1;
      this.#views -= 1;
      this.#bytes -= location.bytes;
      if (viewed.views === 0) this.#forget(viewed);
      native().unmap({ address, bytes });
      if (viewed.views === 0) this.#unviewed(viewed.name);
    });
    return new Uint8Array(mapping.buffer);
  }

  /** The object's file, open and locked. */
  #find(location: Location): Viewed {
    const known = this.#viewed.get(location.name);
    const now = Date.now();
    if (known?.fd !== undefined) {
      if (now - known.usedAtMs > accessTimeSlackMs) renewAccessTime(known, now);
      return known;
    }
    const { fd, size } = this.#openLocked(location);
    const viewed = known ?? { name: location.name, fd, size, views: 0, usedAtMs: 0 };
    viewed.fd = fd;
    this.#viewed.set(viewed.name, viewed);
    this.#open.add(viewed);
    if (this.#open.size > viewedFilesOpenMax) this.#closeFile(this.#open.values().next().value!);
    renewAccessTime(viewed, now);
    return viewed;
  }

  #openLocked(location: Location): { fd: number; size: number } {
    for (let tries = 0; tries < readTriesMax; tries++) {
      for (const dir of [this.#files.shmDir, this.#files.spillDir]) {
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
      if (!exists(this.#files, location.name)) break;
    }
    throw new SegmentMissing(location, "it is neither in shared memory nor on disk");
  }

  #forget(viewed: Viewed): void {
    this.#closeFile(viewed);
    if (this.#viewed.get(viewed.name) === viewed) this.#viewed.delete(viewed.name);
  }

  #closeFile(viewed: Viewed): void {
    this.#open.delete(viewed);
    if (viewed.fd !== undefined) closeSync(viewed.fd);
    viewed.fd = undefined;
  }
}

/** The spiller moves what was read longest ago. */
function renewAccessTime(viewed: Viewed, nowMs: number): void {
  viewed.usedAtMs = nowMs;
  const { mtimeMs } = fstatSync(viewed.fd!);
  futimesSync(viewed.fd!, nowMs / 1000, mtimeMs / 1000);
}

/** The mapping; `undefined` when the process may have no more of them. */
function mapUnlessFull(fd: number, { bytes, offset }: Location): Mapping | undefined {
  try {
    return native().map(fd, bytes, offset, "private", bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOMEM") return undefined;
    throw error;
  }
}

function copyOf(fd: number, location: Location): Uint8Array {
  const bytes = new Uint8Array(location.bytes);
  for (let done = 0; done < bytes.length; )
    done += readSync(fd, bytes, done, Math.min(bytes.length - done, 2 ** 30), location.offset + done);
  return bytes;
}

function exists(files: StoreFiles, name: string): boolean {
  return [files.shmDir, files.spillDir].some((dir) => statSync(join(dir, name), { throwIfNoEntry: false }) !== undefined);
}

/** A location comes from other processes: a bad one finds nothing, it never maps outside a file. */
function check(location: Location): void {
  const { name, offset, bytes } = location;
  if (parseSegmentName(name) === undefined) throw new SegmentMissing(location, "that is not a segment's name");
  if (!Number.isSafeInteger(offset) || offset < 0 || offset % native().pageBytes !== 0) {
    throw new SegmentMissing(location, `offset ${offset} is not a whole page`);
  }
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > objectBytesMax)
    throw new SegmentMissing(location, `${bytes} is not a size`);
}
