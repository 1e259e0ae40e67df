/**
 * One process's door to the node's shared-memory objects: puts, private views, frees.
 *
 * Everything here is synchronous and asks no other process. What must be agreed between processes is agreed through the kernel: names
 * (segment-name.ts), locks (private-views.ts) and the shared counters (accounting.ts). The store's limit is never passed: bytes are
 * reserved before a file is made, and what does not fit goes to disk at once, where the same mapping serves it.
 *
 * Not for ownership: when an object may be freed is the runtime's business, and freeing too early is a bug there, although it shows
 * here as SegmentMissing and never as another object's bytes.
 */

import { closeSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { performance } from "../base/clock.ts";
import { OutOfDiskError } from "../base/errors.ts";
import { Accounting } from "./accounting.ts";
import { objectBytesMax, pressureFraction, pressureIntervalMs, slabBytes } from "./limits.ts";
import { type Mapping, native, roundUp } from "./native.ts";
import { checkLocation, type OpenSegment, openLocked, SegmentMissing, segmentExists } from "./open-segment.ts";
import { PrivateViews } from "./private-views.ts";
import { endDeadSegment, freeSegment, reclaimWarm, type StoreFiles, unlinkIfThere } from "./segment-files.ts";
import { deadPrefix, isSlabName, parseSegmentName, segmentName, temporaryPrefix } from "./segment-name.ts";
import { type ObjectWriter, SegmentWriter } from "./segment-writer.ts";
import { Slabs } from "./slabs.ts";
import type { Location } from "./types.ts";
import { WarmPool } from "./warm-pool.ts";

export interface ObjectStoreOptions {
  readonly shmDir: string;
  readonly spillDir: string;
  /** The worker id of this process: part of the names of what it writes. */
  readonly selfId: string;
  /** Called, at most every 50 ms, when the store is filled above 80 % or a segment had to go to disk: the daemon should spill. */
  readonly onPressure?: () => void;
}

/** What `put` stores. `Serialized` values have this shape. */
export interface ObjectSource {
  readonly bytes: number;
  /** Writes the flat form into `target`. */
  writeTo(target: Uint8Array): void;
  /**
   * The flat form as pieces in ascending order, with gaps of less than a page. Where given, a fresh segment is written without
   * mapping it, which is several times faster.
   */
  parts?(): Iterable<{ readonly offset: number; readonly bytes: Uint8Array }>;
}

export interface ObjectStoreStats {
  readonly bytesMax: number;
  readonly bytesUsed: number;
  readonly bytesWarm: number;
  /** Private views of this process not collected yet, and their bytes of address space. */
  readonly views: number;
  readonly viewBytes: number;
  readonly slabs: number;
  readonly slabObjects: number;
}

export class ObjectStore {
  readonly #files: StoreFiles;
  readonly #selfId: string;
  readonly #onPressure: () => void;
  readonly #pool: WarmPool;
  readonly #slabs: Slabs;
  readonly #views: PrivateViews;
  #pressedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  /** Opens the store of the node whose daemon made `shmDir`. Throws when there is none. */
  constructor(options: ObjectStoreOptions) {
    const { shmDir, spillDir, selfId } = options;
    this.#files = { shmDir, spillDir, accounting: Accounting.open(shmDir, selfId) };
    this.#selfId = selfId;
    this.#onPressure = options.onPressure ?? (() => {});
    this.#pool = new WarmPool(this.#files, selfId);
    this.#views = new PrivateViews(this.#files, (name) => this.#endDead(name));
    this.#slabs = new Slabs(selfId, {
      open: (name) => this.#openSlab(name),
      free: (name, mapping) => this.#pool.freed(name, { ...freeSegment(this.#files, name, selfId), bytes: slabBytes }, mapping),
    });
  }

  /**
   * Stores one object of `owner`. Borrows `source`. Throws OutOfDiskError when neither memory nor disk has room, RangeError above
   * `objectBytesMax`, and what `source` throws; nothing is left behind then, and nothing stored is lost.
   */
  put(owner: string, index: number, attempt: number, source: ObjectSource): Location {
    const writer = this.#create(owner, index, attempt, source.bytes, false);
    try {
      fill(writer, source);
      return writer.seal();
    } catch (error) {
      writer.abort();
      if (writer.place === "disk") throw this.diskError(source.bytes, error);
      if (!isFull(error)) throw error;
    }
    const onDisk = this.#createOnDisk(segmentName(owner, index, attempt, this.#selfId), source.bytes, false);
    try {
      fill(onDisk, source);
      return onDisk.seal();
    } catch (error) {
      onDisk.abort();
      throw this.diskError(source.bytes, error);
    }
  }

  /**
   * Makes an object to be written piece by piece; its space is reserved now, so writing cannot fail for lack of room. Returns owned:
   * `seal` or `abort` it. Throws as `put`.
   */
  create(owner: string, index: number, attempt: number, bytes: number): ObjectWriter {
    return this.#create(owner, index, attempt, bytes, true);
  }

  /**
   * Makes the file of a copy of another node's object, at `copy`, to be written with `write`, which throws ENOSPC where the file system has no room; `onDisk`
   * after it did so in memory. Returns owned: `seal` or `abort` it. Throws OutOfDiskError.
   */
  createCopy(copy: Location, onDisk: boolean): ObjectWriter {
    checkLocation(copy);
    const inMemory = onDisk ? undefined : this.#createInMemory(copy.name, copy.bytes, false);
    return inMemory ?? this.#createOnDisk(copy.name, copy.bytes, false);
  }

  /** Whether the segment of `location` is on this node, in memory or on disk. */
  has(location: Location): boolean {
    return segmentExists(this.#files, location.name);
  }

  /** Opens the object for reading it in pieces. Returns owned. Throws SegmentMissing. */
  open(location: Location): OpenSegment {
    checkLocation(location);
    const { fd, size } = openLocked(this.#files, location);
    let open = true;
    const close = (): void => {
      if (open) closeSync(fd);
      open = false;
      this.#endDead(location.name);
    };
    if (size >= location.offset + location.bytes) return { fd, offset: location.offset, bytes: location.bytes, close };
    close();
    throw new SegmentMissing(location, `it ends at byte ${size}`);
  }

  /**
   * A private, writable view of the object; its ArrayBuffer holds exactly the object and starts at a page boundary. It stays valid, whatever
   * happens to the object or the store, until collected. Throws SegmentMissing.
   */
  read(location: Location): Uint8Array {
    if (location.bytes === 0) return new Uint8Array(0);
    return this.#views.view(location);
  }

  /** As `read`, of a part of the object. `start` is a multiple of the page size. */
  readRange(location: Location, start: number, bytes: number): Uint8Array {
    if (start < 0 || bytes < 0 || start + bytes > location.bytes)
      throw new RangeError(`Cannot read object past its end: ${start} + ${bytes} of ${location.bytes} bytes`);
    return this.read({ name: location.name, offset: location.offset + start, bytes });
  }

  /** Frees an object whose count is zero, in whatever process. Idempotent. Views of it stay valid; their memory is given back with the last of them. */
  free(location: Location): void {
    if (this.#closed || this.#slabs.free(location)) return;
    const parsed = parseSegmentName(location.name);
    if (parsed === undefined || isSlabName(location.name)) return;
    const freed = freeSegment(this.#files, location.name, parsed.writer);
    if (parsed.writer === this.#selfId) this.#pool.freed(location.name, freed);
  }

  /** Gives the memory back that waits for reuse, e.g. when this process goes idle. */
  releaseIdle(): void {
    if (this.#closed) return;
    this.#slabs.retire();
    this.#pool.shrink();
  }

  stats(): ObjectStoreStats {
    const { accounting } = this.#files;
    const { slabs, objects } = this.#slabs.stats();
    const { bytesMax, bytesUsed, bytesWarm } = accounting;
    return { bytesMax, bytesUsed, bytesWarm, ...this.#views.stats(), slabs, slabObjects: objects };
  }

  /** Gives back what waits for reuse. Sealed objects stay for others, and views stay valid. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#views.close();
    this.#slabs.close();
    this.#pool.close();
    this.#files.accounting.close();
  }

  #create(owner: string, index: number, attempt: number, bytes: number, reserve: boolean): ObjectWriter {
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > objectBytesMax) {
      throw new RangeError(`Cannot store object as one array: ${bytes} bytes is not between 0 and ${objectBytesMax}`);
    }
    const slabbed = owner === this.#selfId && Slabs.fits(bytes) ? this.#slabs.create(bytes) : undefined;
    if (slabbed !== undefined) return slabbed;
    const name = segmentName(owner, index, attempt, this.#selfId);
    return this.#createInMemory(name, bytes, reserve) ?? this.#createOnDisk(name, bytes, reserve);
  }

  /** A warm segment, else a fresh one; `undefined` when it would pass the limit or the file system is full. */
  #createInMemory(
    name: string,
    bytes: number,
    reserve: boolean,
    onSlab?: (mapping: Mapping | undefined) => void,
  ): SegmentWriter | undefined {
    const { shmDir: dir, accounting } = this.#files;
    const temporaryName = temporaryPrefix(this.#selfId) + name;
    const rounded = roundUp(Math.max(bytes, 1), native().pageBytes);
    const warm = this.#pool.take(rounded, temporaryName);
    const fileBytes = warm?.bytes ?? rounded;
    const writer = new SegmentWriter({
      dir,
      name,
      temporaryName,
      place: "memory",
      bytes,
      fileBytes,
      mapping: warm?.mapping,
      reused: warm !== undefined,
      sealedEmpty: onSlab !== undefined,
      onSealed: onSlab ?? ((mapping) => this.#pool.add({ name, bytes: fileBytes, mapping })),
      remove: () =>
        accounting.change(() => {
          unlinkIfThere(join(dir, temporaryName));
          accounting.release(fileBytes);
        }),
    });
    if (warm !== undefined) return writer;
    const fits =
      this.#makeFile(writer, rounded, reserve) || (this.#makeRoom(rounded) && this.#makeFile(writer, rounded, reserve));
    if (accounting.bytesUsed > accounting.bytesMax * pressureFraction) this.#press();
    return fits ? writer : undefined;
  }

  /** Reserves and makes the file of `writer`; false, and nothing made, when there is no room for it. */
  #makeFile(writer: SegmentWriter, fileBytes: number, reserve: boolean): boolean {
    const { accounting } = this.#files;
    return accounting.change(() => {
      if (!accounting.reserve(fileBytes)) return false;
      try {
        writer.createFile(reserve);
        return true;
      } catch (error) {
        accounting.release(fileBytes);
        if (isFull(error)) return false;
        throw error;
      }
    });
  }

  /**
   * Takes back memory that only waits for reuse, this process's first, then anybody's: what is missing under the limit or, where the limit
   * was not the reason, as much as is asked for. False when there is nothing to take that could be enough.
   */
  #makeRoom(bytes: number): boolean {
    const { accounting } = this.#files;
    const missing = accounting.bytesUsed + bytes - accounting.bytesMax;
    const wanted = missing > 0 ? missing : bytes;
    if (wanted > accounting.bytesWarm) return false;
    const taken = this.#pool.shrink(wanted);
    if (taken < wanted) reclaimWarm(this.#files, wanted - taken);
    return true;
  }

  #createOnDisk(name: string, bytes: number, reserve: boolean): SegmentWriter {
    this.#press();
    const dir = this.#files.spillDir;
    const temporaryName = temporaryPrefix(this.#selfId) + name;
    const writer = new SegmentWriter({
      dir,
      name,
      temporaryName,
      place: "disk",
      bytes,
      fileBytes: roundUp(Math.max(bytes, 1), native().pageBytes),
      reused: false,
      onSealed: () => {},
      remove: () => unlinkIfThere(join(dir, temporaryName)),
    });
    try {
      writer.createFile(reserve);
      return writer;
    } catch (error) {
      throw this.diskError(bytes, error);
    }
  }

  #openSlab(name: string): { mapping: Mapping | undefined; fd: number } | undefined {
    let mapping: Mapping | undefined;
    const writer = this.#createInMemory(name, slabBytes, false, (made) => {
      mapping = made;
    });
    if (writer === undefined) return undefined;
    try {
      if (writer.warm) void writer.target; // maps it
    } catch (error) {
      writer.abort();
      if (isFull(error)) return undefined;
      throw error;
    }
    const fd = openSync(join(this.#files.shmDir, temporaryPrefix(this.#selfId) + name), "r+");
    native().lockShared(fd);
    writer.seal();
    return { mapping, fd };
  }

  /** `cause` as what `put` throws when neither memory nor disk has room, if that is what it says. */
  diskError(bytes: number, cause: unknown): unknown {
    if (!isFull(cause)) return cause;
    const path = this.#files.spillDir;
    return new OutOfDiskError(
      `Cannot store object of ${bytes} bytes: shared memory is at its limit and the disk of ${path} is full`,
      { path, bytesAsked: bytes, cause },
    );
  }

  #press(): void {
    const now = performance.now();
    if (now - this.#pressedAt < pressureIntervalMs) return;
    this.#pressedAt = now;
    this.#onPressure();
  }

  /** A segment freed while this process looked at it can go now. */
  #endDead(name: string): void {
    if (this.#closed) return;
    const { shmDir } = this.#files;
    if (statSync(join(shmDir, deadPrefix + name), { throwIfNoEntry: false }) === undefined) return;
    try {
      endDeadSegment(this.#files, name, parseSegmentName(name)?.writer);
    } catch {
      // Not the concern of whoever is interrupted by this finalizer: the daemon's sweep does the same a little later.
    }
  }
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}

/** A mapped segment is written in place, a fresh one piece by piece where the source can. */
function fill(writer: ObjectWriter, source: ObjectSource): void {
  if (writer.warm || source.parts === undefined) source.writeTo(writer.target);
  else for (const part of source.parts()) writer.write(part.offset, part.bytes);
}
