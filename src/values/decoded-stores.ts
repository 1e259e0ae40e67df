/**
 * The memory behind the views of one value, on the decoder's side. Ranges of 100 KiB and more are not copied in alias mode: they are
 * mapped once more by themselves where the caller can, so that `view.buffer` is exactly what it was and a bare ArrayBuffer costs no copy;
 * else views are built on the mapping of the whole value. Smaller ranges are copied, which is as fast as a mapping and keeps `.buffer` exact.
 */

import type { ByteReader } from "./byte-reader.ts";
import { DecodeError } from "./decode-error.ts";
import {
  alignmentOf,
  alignUp,
  elementBytes,
  KIND_BUFFER,
  KIND_UINT8,
  MAPPED_BYTES_MIN,
  PAGE_SHIFT_MAX,
  PAGE_SHIFT_MIN,
  STORE_TEXT,
  STORE_WHOLE,
  viewConstructors,
} from "./format.ts";
import type { MapArrayBuffer } from "./hooks.ts";

/** More ranges than this are not mapped one by one: a process has a limited number of mappings. */
const MAPPINGS_MAX = 256;
/** So few bytes are copied faster one by one than by asking for the buffer they lie in (see ByteReader.view). */
const COPIED_ONE_BY_ONE_MAX = 64;

interface Range {
  /** Of the original ArrayBuffer. */
  readonly begin: number;
  readonly bytes: number;
  /** In the flat form. */
  offset: number;
  /** Once used: the memory, and where in it the range begins. */
  buffer: ArrayBuffer | undefined;
  base: number;
  /** The view that was made of all of it, before anything asked for the memory. */
  first: Uint8Array | undefined;
}

interface Store {
  readonly whole: boolean;
  readonly text: boolean;
  readonly ranges: readonly Range[];
}

export class DecodedStores {
  private readonly flat: Uint8Array;
  private readonly alias: boolean;
  private readonly map: MapArrayBuffer | undefined;
  private readonly stores: Store[] = [];
  private empty: ArrayBuffer | undefined;
  private mappings = 0;
  private pageShift = PAGE_SHIFT_MIN;

  constructor(flat: Uint8Array, alias: boolean, map: MapArrayBuffer | undefined) {
    this.flat = flat;
    this.alias = alias;
    this.map = map;
  }

  readTable(reader: ByteReader): void {
    this.pageShift = reader.readVarint();
    if (this.pageShift < PAGE_SHIFT_MIN || this.pageShift > PAGE_SHIFT_MAX) reader.fail("there are no such pages");
    const count = reader.readCount(1);
    for (let i = 0; i < count; i++) {
      const code = reader.readVarint();
      const rangeCount = Math.floor(code / 4);
      if (rangeCount * 2 > reader.end - reader.pos) reader.fail("a backing store has too many ranges");
      const ranges: Range[] = [];
      for (let j = 0; j < rangeCount; j++) {
        const begin = reader.readVarint();
        const bytes = reader.readVarint();
        const previous = ranges[j - 1];
        if (begin + bytes > Number.MAX_SAFE_INTEGER) reader.fail("a range is too large");
        if (previous !== undefined && begin < previous.begin + previous.bytes) reader.fail("ranges overlap");
        ranges.push({ begin, bytes, offset: 0, buffer: undefined, base: 0, first: undefined });
      }
      this.stores.push({ whole: (code & STORE_WHOLE) !== 0, text: (code & STORE_TEXT) !== 0, ranges });
    }
  }

  /** Finds the ranges behind a header of `headerBytes`; they must end where the value ends. */
  place(headerBytes: number): void {
    let end = headerBytes;
    for (const { ranges, text } of this.stores) {
      for (const range of ranges) {
        range.offset = alignUp(end, text ? 8 : alignmentOf(range.bytes, this.pageShift));
        end = range.offset + range.bytes;
        if (end > this.flat.length)
          throw new DecodeError(`Cannot decode ${this.flat.length} bytes as a value: its buffers end at ${end}`);
      }
    }
    if (end !== this.flat.length) throw new DecodeError(`Cannot decode ${this.flat.length} bytes as a value: it ends at ${end}`);
  }

  arrayBuffer(index: number): ArrayBuffer {
    const store = this.store(index);
    const range = store.ranges[0];
    if (!store.whole || store.ranges.length !== 1 || range.begin !== 0)
      throw new DecodeError("Cannot decode an ArrayBuffer of a part of one");
    return this.memoryOf(store, range);
  }

  view(kind: number, index: number, byteOffset: number, length: number): object {
    const Class = viewConstructors[kind];
    if (Class === undefined) throw new DecodeError(`Cannot decode a view of kind ${kind} in this version of Node`);
    const store = this.store(index);
    const byteLength = length * elementBytes[kind];
    let buffer: ArrayBuffer;
    let offset = 0;
    if (byteLength === 0) {
      buffer = store.ranges.length > 0 ? this.memoryOf(store, store.ranges[0]) : this.emptyMemory();
      if (store.whole && byteOffset <= buffer.byteLength && byteOffset % elementBytes[kind] === 0) offset = byteOffset;
    } else {
      const range = rangeAt(store.ranges, byteOffset);
      if (range === undefined || byteOffset + byteLength > range.begin + range.bytes)
        throw new DecodeError("Cannot decode a view as part of its store: it lies outside");
      if (kind === KIND_UINT8 && range.buffer === undefined && range.bytes === byteLength && byteLength <= COPIED_ONE_BY_ONE_MAX)
        return this.firstOf(range);
      buffer = this.memoryOf(store, range);
      offset = range.base + byteOffset - range.begin;
      if (offset % elementBytes[kind] !== 0)
        throw new DecodeError("Cannot decode a view as part of its store: it is not aligned");
    }
    if (kind === KIND_BUFFER) return Buffer.from(buffer, offset, length);
    return new (Class as Uint8ArrayConstructor)(buffer, offset, length);
  }

  /** Where the bytes of a string lie in the flat form. */
  textRange(index: number): { begin: number; bytes: number } {
    const { text, ranges } = this.store(index);
    if (!text || ranges.length !== 1) throw new DecodeError("Cannot decode a string of something else");
    return { begin: ranges[0].offset, bytes: ranges[0].bytes };
  }

  private store(index: number): Store {
    const store = this.stores[index];
    if (store === undefined) throw new DecodeError(`Cannot decode backing store ${index}: there are ${this.stores.length}`);
    return store;
  }

  private emptyMemory(): ArrayBuffer {
    this.empty ??= new ArrayBuffer(0);
    return this.empty;
  }

  private memoryOf(store: Store, range: Range): ArrayBuffer {
    range.buffer ??= (range.first?.buffer as ArrayBuffer | undefined) ?? this.makeMemory(store, range);
    return range.buffer;
  }

  /** A few bytes by themselves, mostly the only view of their memory: that is asked for when there is another. */
  private firstOf(range: Range): Uint8Array {
    if (range.first !== undefined) return new Uint8Array(range.first.buffer);
    range.first = this.copyOf(range);
    return range.first;
  }

  private copyOf(range: Range): Uint8Array {
    const copy = new Uint8Array(range.bytes);
    for (let i = 0; i < copy.length; i++) copy[i] = this.flat[range.offset + i];
    return copy;
  }

  private makeMemory(store: Store, range: Range): ArrayBuffer {
    const { flat } = this;
    if (this.alias && range.bytes >= MAPPED_BYTES_MIN) {
      if (this.map && this.mappings < MAPPINGS_MAX) {
        const mapped = this.map(range.offset, range.bytes);
        if (mapped !== undefined) {
          this.mappings++;
          return mapped;
        }
      }
      const base = flat.byteOffset + range.offset;
      if (!store.whole && base % 8 === 0) {
        range.base = base;
        return flat.buffer as ArrayBuffer;
      }
    }
    if (range.bytes <= COPIED_ONE_BY_ONE_MAX) return this.copyOf(range).buffer as ArrayBuffer;
    const begin = flat.byteOffset + range.offset;
    return flat.buffer.slice(begin, begin + range.bytes) as ArrayBuffer;
  }
}

/** The last range that begins at or before `offset`; they are in order. */
function rangeAt(ranges: readonly Range[], offset: number): Range | undefined {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle].begin <= offset) low = middle + 1;
    else high = middle;
  }
  return ranges[low - 1];
}
