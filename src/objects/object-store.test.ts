import { readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { objectBytesMax, slabObjectBytesMax } from "./limits.ts";
import { type ObjectSource, ObjectStore } from "./object-store.ts";
import { SegmentMissing } from "./open-segment.ts";
import { StoreManager } from "./store-manager.ts";
import { bytesOnDevice, collectUntil, makeStoreDirs, type StoreDirs, segmentsIn } from "./testing/store-dirs.ts";
import type { Location } from "./types.ts";

const self = "00000000000000aa";
const mib = 1024 * 1024;
const bytesMax = 64 * mib;

let dirs: StoreDirs;
let manager: StoreManager;
let store: ObjectStore;
let pressed: number;

beforeEach(() => {
  dirs = makeStoreDirs();
  manager = new StoreManager({ ...dirs, bytesMax });
  pressed = 0;
  store = new ObjectStore({ ...dirs, selfId: self, onPressure: () => pressed++ });
});

afterEach(() => {
  store.close();
  manager.removeAll();
  dirs.remove();
});

/** Bytes that differ by seed and by place. */
const pattern = (bytes: number, seed: number): Uint8Array => {
  const period = Uint8Array.from({ length: 4099 }, (_, at) => (at * 31 + seed) & 255); // prime, so no two pages are equal
  return new Uint8Array(Buffer.alloc(bytes, period));
};
const whole = (value: Uint8Array): ObjectSource => ({ bytes: value.length, writeTo: (target) => target.set(value) });
const parts = (value: Uint8Array): ObjectSource => ({
  ...whole(value),
  parts: () => [
    { offset: 0, bytes: value.subarray(0, value.length >> 1) },
    { offset: value.length >> 1, bytes: value.subarray(value.length >> 1) },
  ],
});
const put = (index: number, value: Uint8Array, owner = self): Location => store.put(owner, index, 0, parts(value));
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe("ObjectStore", () => {
  it("gives back what was put, whatever the size and the way of writing", () => {
    const sizes = [0, 1, 63, 4095, 4096, 4097, 102_401, slabObjectBytesMax, slabObjectBytesMax + 1, 5 * mib + 3];
    sizes.forEach((bytes, index) => {
      const value = pattern(bytes, index);
      for (const location of [
        store.put(self, index, 0, whole(value)),
        store.put(self, index, 1, parts(value)),
        store.put("bb", index, 0, parts(value)),
      ]) {
        expect(location.bytes).toBe(bytes);
        const view = store.read(location);
        expect(same(view, value)).toBe(true);
        expect(view.byteOffset).toBe(0);
        expect(view.buffer.byteLength).toBe(bytes);
      }
    });
  });

  it("keeps a view's writes to itself", () => {
    for (const bytes of [200_000, 3 * mib]) {
      const value = pattern(bytes, 5);
      const location = put(bytes, value);
      const first = store.read(location);
      const second = store.read(location);
      first.fill(9);
      expect(same(second, value)).toBe(true);
      expect(same(store.read(location), value)).toBe(true);
    }
  });

  it("reads a page-aligned part as an array of its own", () => {
    const value = pattern(3 * mib, 1);
    const part = store.readRange(put(1, value), 4096, 10_000);
    expect(same(part, value.subarray(4096, 14_096))).toBe(true);
    expect(part.buffer.byteLength).toBe(10_000);
    expect(() => store.readRange(put(2, value), mib, 3 * mib)).toThrow(RangeError);
  });

  it("finds nothing at a freed, foreign or malformed location", () => {
    const location = put(1, pattern(3 * mib, 1));
    store.free(location);
    const bad: Location[] = [
      location,
      { name: "bb.1.0", offset: 0, bytes: 10 },
      { name: "../../etc/passwd", offset: 0, bytes: 10 },
      { name: "daemon.pid", offset: 0, bytes: 1 },
      { ...put(2, pattern(2 * mib, 2)), offset: 1 },
      { ...put(3, pattern(2 * mib, 2)), bytes: 2 * mib + 4097 },
      { ...put(4, pattern(2 * mib, 2)), bytes: -1 },
    ];
    for (const one of bad) expect(() => store.read(one)).toThrow(SegmentMissing);
  });

  it("writes a freed segment again when the next is of nearly its size", () => {
    const first = put(1, pattern(10 * mib, 1));
    store.free(first);
    expect(segmentsIn(dirs.shmDir)).toEqual([`warm.${self}.${first.name}`]);
    const second = put(2, pattern(9.5 * mib, 2));
    expect(segmentsIn(dirs.shmDir)).toEqual([second.name]);
    expect(same(store.read(second), pattern(9.5 * mib, 2))).toBe(true);
    expect(() => store.read(first)).toThrow(SegmentMissing);
    store.free(second);
    put(3, pattern(4 * mib, 3));
    expect(segmentsIn(dirs.shmDir)).toHaveLength(2);
  });

  it("does not write a freed segment again while a view shows it", async () => {
    const value = pattern(10 * mib, 1);
    const first = put(1, value);
    let view: Uint8Array | undefined = store.read(first);
    store.free(first);
    expect(segmentsIn(dirs.shmDir)).toEqual([`dead.${first.name}`]);
    const used = manager.bytesUsed;
    const second = put(2, pattern(10 * mib, 2));
    expect(same(view, value)).toBe(true);
    expect(manager.bytesUsed).toBe(used + 10 * mib);
    view = undefined;
    await collectUntil(() => store.stats().views === 0);
    expect(segmentsIn(dirs.shmDir)).toEqual([second.name, `warm.${self}.${first.name}`]);
    expect(manager.bytesUsed).toBe(used + 10 * mib);
    put(3, pattern(10 * mib, 3));
    expect(manager.bytesUsed).toBe(used + 10 * mib);
  });

  it("packs small objects into slabs, and takes an empty slab again under a new name", () => {
    const locations = Array.from({ length: 100 }, (_, index) => put(index, pattern(200_000, index)));
    expect(new Set(locations.map((location) => location.name)).size).toBe(3);
    for (const [index, location] of locations.entries()) expect(same(store.read(location), pattern(200_000, index))).toBe(true);
    const names = new Set<string>();
    for (let index = 0; index < 400; index++) {
      const location = put(1000 + index, pattern(200_000, index));
      names.add(location.name);
      store.free(location);
      store.free(location);
    }
    expect(names.size).toBeGreaterThan(8);
    expect(segmentsIn(dirs.shmDir).length).toBeLessThan(8);
    for (const [index, location] of locations.entries()) expect(same(store.read(location), pattern(200_000, index))).toBe(true);
  });

  it("leaves nothing of an object that was aborted or whose source threw", () => {
    const before = manager.bytesUsed;
    store.create(self, 1, 0, 3 * mib).abort();
    const failing = {
      bytes: 3 * mib,
      writeTo: () => {
        throw new Error("no");
      },
    };
    expect(() => store.put(self, 2, 0, failing)).toThrow("no");
    expect(segmentsIn(dirs.shmDir)).toEqual([]);
    expect(manager.bytesUsed).toBe(before);
  });

  it("writes piece by piece into reserved space", () => {
    const value = pattern(3 * mib + 5, 3);
    const writer = store.create("bb", 1, 0, value.length);
    writer.write(mib, value.subarray(mib));
    writer.write(0, value.subarray(0, mib));
    expect(() => writer.write(value.length, new Uint8Array(1))).toThrow(RangeError);
    const location = writer.seal();
    writer.abort();
    expect(same(store.read(location), value)).toBe(true);
  });

  it("puts what does not fit under the limit on disk, and never passes the limit", () => {
    const locations = Array.from({ length: 20 }, (_, index) => {
      const location = put(index, pattern(8 * mib, index));
      expect(manager.bytesUsed).toBeLessThanOrEqual(bytesMax);
      expect(bytesOnDevice(dirs.shmDir)).toBeLessThanOrEqual(bytesMax + 4096);
      return location;
    });
    expect(readdirSync(dirs.spillDir).length).toBeGreaterThan(10);
    expect(pressed).toBeGreaterThan(0);
    for (const [index, location] of locations.entries()) expect(same(store.read(location), pattern(8 * mib, index))).toBe(true);
    for (const location of locations) store.free(location);
    expect(readdirSync(dirs.spillDir)).toEqual([]);
  });

  it("takes warm segments back before it goes to disk", () => {
    for (let index = 0; index < 6; index++) {
      const location = put(index, pattern((2 + index * 2) * mib, index));
      store.free(location);
    }
    put(10, pattern(50 * mib, 1));
    expect(readdirSync(dirs.spillDir)).toEqual([]);
  });

  it("refuses what one array cannot hold", () => {
    const tooLarge = { bytes: 5 * 1024 ** 3, writeTo: () => {} };
    expect(() => store.put(self, 1, 0, tooLarge)).toThrow(RangeError);
    expect(() => store.create(self, 1, 0, objectBytesMax + 1)).toThrow(RangeError);
    expect(() => store.create(self, 1, 0, -1)).toThrow(RangeError);
    expect(() => store.create(self, 1, 0, Number.NaN)).toThrow(RangeError);
  });

  it("keeps views readable after the store and its files are gone", () => {
    const value = pattern(3 * mib, 7);
    const view = store.read(put(1, value));
    store.close();
    manager.removeAll();
    expect(same(view, value)).toBe(true);
    view.fill(1);
  });

  it("makes a thousand views of one object as cheaply as one, and unmaps them all", async () => {
    const location = put(1, pattern(200_000, 1));
    let views: Uint8Array[] = Array.from({ length: 1000 }, () => store.read(location));
    views[0].fill(0);
    expect(same(views[999], pattern(200_000, 1))).toBe(true);
    expect(store.stats()).toMatchObject({ views: 1000, viewBytes: 200_000_000 });
    store.free(location);
    expect(() => store.read(put(2, pattern(10, 1)))).not.toThrow();
    views = [];
    await collectUntil(() => store.stats().views === 0);
    store.releaseIdle();
    expect(segmentsIn(dirs.shmDir).filter((name) => name.startsWith("dead."))).toEqual([]);
  });

  it("leaves only sealed objects when closed", () => {
    const kept = put(1, pattern(3 * mib, 1));
    store.free(put(2, pattern(5 * mib, 1)));
    put(3, pattern(200_000, 1));
    store.close();
    store.close();
    store.free(kept);
    expect(segmentsIn(dirs.shmDir).sort()).toEqual([kept.name, `${self}.slab0`].sort());
  });

  it("gives the memory that waits for reuse back when asked", () => {
    const before = manager.bytesUsed;
    store.free(put(1, pattern(5 * mib, 1)));
    store.free(put(2, pattern(200_000, 1)));
    store.releaseIdle();
    expect(manager.bytesUsed).toBe(before);
    expect(manager.bytesUsed).toBe(bytesOnDevice(dirs.shmDir) - 4096);
  });
});
