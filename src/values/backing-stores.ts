/**
 * The memory behind the views of one value, on the encoder's side. Several views of one ArrayBuffer must still share one after decoding,
 * and a 10-byte Buffer must not drag the 8 KiB pool along in which it lies. So views are noted by their range of the store, and what
 * travels of a store is the hull of its ranges; of Node's Buffer pool, where neighbours are strangers, each connected range by itself.
 */
import { alignmentOf, alignUp, PAGE_SHIFT, STORE_TEXT, STORE_WHOLE } from "./format.ts";

interface BackingStore {
  readonly buffer: ArrayBuffer;
  /** Alternating begin and end. At most one range unless `pooled`; then in order only once the table is written. */
  ranges: number[];
  readonly pooled: boolean;
  /** Size of the largest element seen: ranges begin at its multiples. */
  unit: number;
  /** The ArrayBuffer itself is part of the value. */
  whole: boolean;
  /** The bytes are those of a string: never seen as memory, so never worth a page of their own. */
  readonly text: boolean;
}

/** A range that travels, and where it goes in the flat form. */
export interface PlacedRange {
  readonly buffer: ArrayBuffer;
  readonly begin: number;
  readonly bytes: number;
  readonly offset: number;
}

export class BackingStores {
  private readonly stores: BackingStore[] = [];
  private readonly indexes = new Map<ArrayBuffer, number>();

  get count(): number {
    return this.stores.length;
  }

  /** Notes that `byteLength` bytes at `begin` are seen by a view with elements of `elementBytes`; returns the number of the store. */
  addRange(buffer: ArrayBuffer, begin: number, byteLength: number, elementBytes: number, pooled: boolean): number {
    const index = this.indexOf(buffer, pooled);
    const store = this.stores[index];
    if (store.whole || byteLength === 0) return index;
    if (elementBytes > store.unit) store.unit = elementBytes;
    const { ranges } = store;
    const end = begin + byteLength;
    if (store.pooled) {
      ranges.push(begin, end);
    } else if (ranges.length === 0) {
      ranges.push(begin - (begin % 8), end);
    } else {
      if (begin < ranges[0]) ranges[0] = begin - (begin % 8);
      if (end > ranges[1]) ranges[1] = end;
    }
    return index;
  }

  /** Notes that the ArrayBuffer itself is part of the value; returns the number of the store. */
  addWhole(buffer: ArrayBuffer): number {
    const index = this.indexOf(buffer, false);
    const store = this.stores[index];
    store.whole = true;
    store.ranges = [0, buffer.byteLength];
    return index;
  }

  /** Adds the bytes of a string; returns the number of the store. */
  addText(bytes: Buffer): number {
    const ranges = [bytes.byteOffset, bytes.byteOffset + bytes.length];
    return (
      this.stores.push({ buffer: bytes.buffer as ArrayBuffer, ranges, pooled: false, unit: 1, whole: false, text: true }) - 1
    );
  }

  private indexOf(buffer: ArrayBuffer, pooled: boolean): number {
    let index = this.indexes.get(buffer);
    if (index === undefined) {
      index = this.stores.length;
      this.stores.push({ buffer, ranges: [], pooled, unit: 1, whole: false, text: false });
      this.indexes.set(buffer, index);
    }
    return index;
  }

  /** Forgets the stores that were added since `count` was read. Ranges that grew meanwhile stay, which costs bytes but no truth. */
  truncate(count: number): void {
    while (this.stores.length > count) this.indexes.delete(this.stores.pop()!.buffer);
  }

  clear(): void {
    this.stores.length = 0;
    this.indexes.clear();
  }

  /** Writes the table of stores by way of `writeVarint`. */
  writeTable(writeVarint: (value: number) => void): void {
    writeVarint(PAGE_SHIFT);
    writeVarint(this.stores.length);
    for (const store of this.stores) {
      if (store.pooled && !store.whole) store.ranges = connected(store.ranges, store.unit);
      writeVarint((store.ranges.length / 2) * 4 + (store.text ? STORE_TEXT : 0) + (store.whole ? STORE_WHOLE : 0));
      for (let i = 0; i < store.ranges.length; i += 2) {
        writeVarint(store.ranges[i]);
        writeVarint(store.ranges[i + 1] - store.ranges[i]);
      }
    }
  }

  /** Places every range behind a header of `headerBytes`, in the order of the table. */
  place(headerBytes: number): { placed: PlacedRange[]; bytes: number; align: number } {
    const placed: PlacedRange[] = [];
    let end = headerBytes;
    let align = 64;
    for (const { buffer, ranges, text } of this.stores) {
      for (let i = 0; i < ranges.length; i += 2) {
        const bytes = ranges[i + 1] - ranges[i];
        const alignment = text ? 8 : alignmentOf(bytes, PAGE_SHIFT);
        if (alignment > align) align = alignment;
        const offset = alignUp(end, alignment);
        placed.push({ buffer, begin: ranges[i], bytes, offset });
        end = offset + bytes;
      }
    }
    return { placed, bytes: end, align };
  }
}

/** Joins ranges that overlap, once each begins at a multiple of `unit`. */
function connected(ranges: readonly number[], unit: number): number[] {
  const pairs: [number, number][] = [];
  for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i] - (ranges[i] % unit), ranges[i + 1]]);
  pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const joined: number[] = [];
  for (const [begin, end] of pairs) {
    const last = joined.length - 1;
    if (last > 0 && begin < joined[last]) joined[last] = Math.max(joined[last], end);
    else joined.push(begin, end);
  }
  return joined;
}
