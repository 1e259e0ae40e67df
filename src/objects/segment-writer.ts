/**
 * A segment while it is written. It has a temporary name until sealed, so no other process takes it for an object.
 *
 * There are two ways to write. Through `target`, the mapped segment: fastest into a warm one, whose pages are present. By
 * `write`, which a fresh segment turns into write(2): the kernel allocates and fills pages in one pass, three to twenty times faster
 * than faulting them through a new mapping.
 */
import { closeSync, ftruncateSync, openSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../base/assert.ts";
import { type Mapping, native } from "./native.ts";
import type { Location } from "./types.ts";

export interface ObjectWriter {
  /** The object's memory, page-aligned. Borrowed: not to be touched after `seal` or `abort`. Mapped at first use. */
  readonly target: Uint8Array;
  /** True when the segment was used before, so that writing through `target` is the faster way, now or from the next time on. */
  readonly warm: boolean;
  /** Where the bytes are. */
  readonly place: "memory" | "disk";
  /** Writes `part` at `offset`. Throws ENOSPC when there is no room. */
  write(offset: number, part: Uint8Array): void;
  /** Makes the object visible to readers. */
  seal(): Location;
  /** Removes it. Idempotent, does nothing after `seal`. */
  abort(): void;
}

export interface SegmentWriterOptions {
  readonly dir: string;
  readonly name: string;
  readonly temporaryName: string;
  readonly place: "memory" | "disk";
  /** Exact bytes of the object. */
  readonly bytes: number;
  /** Bytes of the file: whole pages, at least `bytes`. */
  readonly fileBytes: number;
  /** The mapping of a warm segment. Takes it. */
  readonly mapping?: Mapping;
  /** The file exists and has its size and memory: it is warm. */
  readonly reused: boolean;
  /** The file is sealed before it is written: a slab, whose objects are written one by one. */
  readonly sealedEmpty?: boolean;
  onSealed(mapping: Mapping | undefined): void;
  /** Removes the temporary file and gives back what was reserved for it. */
  remove(): void;
}

export class SegmentWriter implements ObjectWriter {
  readonly warm: boolean;
  readonly place: "memory" | "disk";
  readonly #options: SegmentWriterOptions;
  #mapping: Mapping | undefined;
  #fd: number | undefined;
  /** The file's space is reserved: it may be written through a mapping. */
  #reserved: boolean;
  /** Bytes written by `write`, alignment gaps included. */
  #written = 0;
  #state: "writing" | "sealed" | "aborted" = "writing";

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#mapping = options.mapping;
    this.warm = options.reused;
    this.place = options.place;
    this.#reserved = options.mapping !== undefined;
  }

  /** Makes the file of a segment that is not reused; with its space if `reserve`, else writing takes it. Throws ErrnoExceptions, having made nothing. */
  createFile(reserve: boolean): void {
    const { dir, temporaryName, fileBytes } = this.#options;
    const path = join(dir, temporaryName);
    const fd = openSync(path, "wx+", 0o600);
    try {
      if (reserve) native().reserve(fd, fileBytes);
      else ftruncateSync(fd, fileBytes);
    } catch (error) {
      closeSync(fd);
      unlinkSync(path);
      throw error;
    }
    this.#fd = fd;
    this.#reserved = reserve;
  }

  get target(): Uint8Array {
    assert(this.#state === "writing", () => `segment ${this.#options.name} is written while ${this.#state}`);
    this.#mapping ??= this.#map();
    return new Uint8Array(this.#mapping.buffer, 0, this.#options.bytes);
  }

  write(offset: number, part: Uint8Array): void {
    assert(this.#state === "writing", () => `segment ${this.#options.name} is written while ${this.#state}`);
    if (offset + part.length > this.#options.bytes)
      throw new RangeError(`Cannot write past the end of object: ${offset + part.length} of ${this.#options.bytes} bytes`);
    if (this.#mapping !== undefined) {
      this.target.set(part, offset);
      return;
    }
    this.#written += part.length + native().pageBytes; // a gap of less than a page leaves no page out
    const fd = this.#open();
    writeAll(fd, part, offset);
  }

  seal(): Location {
    assert(this.#state === "writing", () => `segment ${this.#options.name} is sealed while ${this.#state}`);
    const { dir, name, temporaryName, bytes, place } = this.#options;
    // Pages nobody wrote would be made when a reader touches them, which ends the reader if there is no room then.
    if (!this.#reserved && this.#written < bytes && this.#options.sealedEmpty !== true)
      native().reserve(this.#open(), this.#options.fileBytes);
    this.#closeFile();
    renameSync(join(dir, temporaryName), join(dir, name));
    this.#state = "sealed";
    if (place === "disk") this.#unmap();
    this.#options.onSealed(this.#mapping);
    return { name, offset: 0, bytes };
  }

  abort(): void {
    if (this.#state !== "writing") return;
    this.#state = "aborted";
    this.#closeFile();
    this.#unmap();
    this.#options.remove();
  }

  #map(): Mapping {
    const { fileBytes, place } = this.#options;
    const mapping = mapForWriting(this.#open(), fileBytes, this.#reserved, place);
    this.#reserved = true;
    this.#closeFile();
    return mapping;
  }

  #open(): number {
    this.#fd ??= openSync(join(this.#options.dir, this.#options.temporaryName), "r+");
    return this.#fd;
  }

  #closeFile(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #unmap(): void {
    if (this.#mapping !== undefined) native().unmap(this.#mapping);
    this.#mapping = undefined;
  }
}

/** Writes all of `part` at `offset` of the file. */
export function writeAll(fd: number, part: Uint8Array, offset: number): void {
  for (let done = 0; done < part.length; )
    done += writeSync(fd, part, done, Math.min(part.length - done, 2 ** 30), offset + done);
}

/** Maps a file for writing, its space reserved first, so that a full file system is an error here and not a signal later. */
export function mapForWriting(fd: number, bytes: number, reserved: boolean, place: "memory" | "disk"): Mapping {
  if (!reserved) native().reserve(fd, bytes);
  const mapping = native().map(fd, bytes, 0, "shared");
  if (place === "memory") native().populate(mapping);
  return mapping;
}
