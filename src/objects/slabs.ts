/**
 * Small objects of their owner share segments: one file, reservation and lock for forty objects instead of forty of each.
 *
 * Objects are laid one after the other at page boundaries, so each can be mapped by itself, and never moved. A slab that may still grow
 * is locked by its writer, so that the daemon does not spill it half written; the lock goes when the slab is full. When the last of
 * its objects is freed, the slab is freed as a segment, and comes back warm, under a new name.
 */
import { closeSync } from "node:fs";
import { slabBytes, slabObjectBytesMax, warmSegmentsMax } from "./limits.ts";
import { type Mapping, native, roundUp } from "./native.ts";
import { slabName } from "./segment-name.ts";
import { mapForWriting, type ObjectWriter, writeAll } from "./segment-writer.ts";
import type { Location } from "./types.ts";

interface Slab {
  readonly name: string;
  /**
   * Where it is written, unless it is fresh and its objects come in parts: those are written through `fd`. Kept after the slab is full, for
   * reuse, by the newest `warmSegmentsMax` slabs.
   */
  mapping: Mapping | undefined;
  /** Bytes given out. */
  used: number;
  /** Offsets of objects not freed yet, those being written included. */
  readonly live: Set<number>;
  /** Open, with a shared lock, while the slab may grow. */
  fd: number | undefined;
}

/** Where slabs come from and go. */
export interface SlabSource {
  /**
   * Returns owned a sealed segment of `slabBytes`, mapped if it was used before, with a descriptor that holds its shared lock; `undefined`
   * when shared memory has no room.
   */
  open(name: string): { mapping: Mapping | undefined; fd: number } | undefined;
  /** Takes a slab without live objects. */
  free(name: string, mapping: Mapping | undefined): void;
}

export class Slabs {
  readonly #selfId: string;
  readonly #source: SlabSource;
  /** Slabs with live objects, and the current one, oldest first. */
  readonly #slabs = new Map<string, Slab>();
  #current: Slab | undefined;
  #serial = 0;

  constructor(selfId: string, source: SlabSource) {
    this.#selfId = selfId;
    this.#source = source;
  }

  static fits(bytes: number): boolean {
    return bytes > 0 && bytes <= slabObjectBytesMax;
  }

  /** Makes room for an object of `bytes`; `undefined` when shared memory has no room for a slab. */
  create(bytes: number): ObjectWriter | undefined {
    const room = roundUp(bytes, native().pageBytes);
    if (this.#current !== undefined && this.#current.used + room > slabBytes) this.retire();
    const slab = this.#current ?? this.#open();
    if (slab === undefined) return undefined;
    const offset = slab.used;
    slab.used += room;
    slab.live.add(offset);
    return new SlabWriter(slab, { name: slab.name, offset, bytes }, (location) => this.free(location));
  }

  /** Frees an object of this process's slabs; false when it is not one. Idempotent. */
  free(location: Location): boolean {
    const slab = this.#slabs.get(location.name);
    if (slab === undefined) return false;
    slab.live.delete(location.offset);
    if (slab.live.size === 0 && slab !== this.#current) this.#remove(slab);
    return true;
  }

  /** Closes the current slab to further objects, so that it may be spilled. */
  retire(): void {
    const slab = this.#current;
    if (slab === undefined) return;
    this.#current = undefined;
    closeSync(slab.fd!);
    slab.fd = undefined;
    if (slab.live.size === 0) {
      this.#remove(slab);
      return;
    }
    const mapped = [...this.#slabs.values()].filter((old) => old.mapping !== undefined);
    for (const old of mapped.slice(0, -warmSegmentsMax)) unmap(old);
  }

  /** Counts of slabs and of objects in them. */
  stats(): { slabs: number; objects: number } {
    let objects = 0;
    for (const slab of this.#slabs.values()) objects += slab.live.size;
    return { slabs: this.#slabs.size, objects };
  }

  /** Unlocks and unmaps. Objects not freed stay readable for others. */
  close(): void {
    this.retire();
    for (const slab of this.#slabs.values()) unmap(slab);
    this.#slabs.clear();
  }

  #open(): Slab | undefined {
    const name = slabName(this.#selfId, this.#serial++);
    const opened = this.#source.open(name);
    if (opened === undefined) return undefined;
    this.#current = { name, used: 0, live: new Set(), ...opened };
    this.#slabs.set(name, this.#current);
    return this.#current;
  }

  #remove(slab: Slab): void {
    this.#slabs.delete(slab.name);
    this.#source.free(slab.name, slab.mapping);
  }
}

/** Writes one object of a slab. */
class SlabWriter implements ObjectWriter {
  readonly place = "memory";
  readonly warm: boolean;
  readonly #slab: Slab;
  readonly #location: Location;
  readonly #free: (location: Location) => void;
  #sealed = false;

  constructor(slab: Slab, location: Location, free: (location: Location) => void) {
    this.#slab = slab;
    this.#location = location;
    this.#free = free;
    this.warm = slab.mapping !== undefined;
  }

  get target(): Uint8Array {
    this.#slab.mapping ??= mapForWriting(this.#slab.fd!, slabBytes, false, "memory");
    return new Uint8Array(this.#slab.mapping.buffer, this.#location.offset, this.#location.bytes);
  }

  write(at: number, part: Uint8Array): void {
    const { offset, bytes } = this.#location;
    if (at + part.length > bytes)
      throw new RangeError(`Cannot write past the end of object: ${at + part.length} of ${bytes} bytes`);
    if (this.#slab.mapping !== undefined) this.target.set(part, at);
    else writeAll(this.#slab.fd!, part, offset + at);
  }

  seal(): Location {
    this.#sealed = true;
    return this.#location;
  }

  abort(): void {
    if (!this.#sealed) this.#free(this.#location);
    this.#sealed = true;
  }
}

function unmap(slab: Slab): void {
  if (slab.mapping !== undefined) native().unmap(slab.mapping);
  slab.mapping = undefined;
}
