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
 */

import { closeSync, fstatSync, futimesSync, readSync } from "node:fs";
import { dateNow } from "../base/clock.ts";
import { viewedFilesOpenMax, viewsMax } from "./limits.ts";
import { type Mapping, native } from "./native.ts";
import { checkLocation, openLocked, SegmentMissing } from "./open-segment.ts";
import type { StoreFiles } from "./segment-files.ts";
import type { Location } from "./types.ts";

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
    checkLocation(location);
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
    const now = dateNow();
    if (known?.fd !== undefined) {
      if (now - known.usedAtMs > accessTimeSlackMs) renewAccessTime(known, now);
      return known;
    }
    const { fd, size } = openLocked(this.#files, location);
    const viewed = known ?? { name: location.name, fd, size, views: 0, usedAtMs: 0 };
    viewed.fd = fd;
    this.#viewed.set(viewed.name, viewed);
    this.#open.add(viewed);
    if (this.#open.size > viewedFilesOpenMax) this.#closeFile(this.#open.values().next().value!);
    renewAccessTime(viewed, now);
    return viewed;
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
