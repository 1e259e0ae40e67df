import { existsSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ObjectStore } from "./object-store.ts";
import { StoreManager } from "./store-manager.ts";
import { bytesOnDevice, collectUntil, makeStoreDirs, type StoreDirs, segmentsIn } from "./testing/store-dirs.ts";
import type { Location } from "./types.ts";

const self = "00000000000000aa";
const mib = 1024 * 1024;
const bytesMax = 64 * mib;

let dirs: StoreDirs;
let manager: StoreManager;
let store: ObjectStore;

beforeEach(() => {
  dirs = makeStoreDirs();
  manager = new StoreManager({ ...dirs, bytesMax });
  store = new ObjectStore({ ...dirs, selfId: self });
});
afterEach(() => {
  store.close();
  manager.removeAll();
  dirs.remove();
});

const put = (index: number, bytes: number, owner = self): Location => {
  const value = new Uint8Array(bytes).fill(index);
  return store.put(owner, index, 0, {
    bytes,
    writeTo: (target) => target.set(value),
    parts: () => [{ offset: 0, bytes: value }],
  });
};
const reads = (location: Location, index: number): boolean =>
  Buffer.compare(store.read(location), Buffer.alloc(location.bytes, index)) === 0;

describe("StoreManager", () => {
  it("spills the least recently used objects, which stay readable and free their memory", async () => {
    const locations = [1, 2, 3, 4, 5, 6].map((index) => put(index, 10 * mib));
    for (const [age, index] of [0, 1, 5, 4, 3, 2].entries())
      utimesSync(join(dirs.shmDir, locations[index].name), 1000 + age, 1000);
    const spilled = await manager.spillDown(0.5);
    expect(spilled).toEqual({ objects: 3, bytes: 30 * mib, diskFull: false });
    expect(readdirSync(dirs.spillDir).sort()).toEqual([0, 1, 5].map((index) => locations[index].name));
    expect(bytesOnDevice(dirs.shmDir)).toBeLessThan(31 * mib);
    for (const [index, location] of locations.entries()) expect(reads(location, index + 1)).toBe(true);
    expect(await manager.stats()).toMatchObject({
      objects: 3,
      spilledObjects: 3,
      diskBytes: 30 * mib,
      bytesSpilled: 30 * mib,
      bytesDead: 0,
    });
    await collectUntil(() => store.stats().views === 0); // what is still viewed when freed does not become warm at once
    for (const location of locations) store.free(location);
    expect(readdirSync(dirs.spillDir)).toEqual([]);
    expect(store.stats().bytesWarm).toBe(30 * mib);
  });

  it("spares what a reader maps, what is being written, and slabs that may grow", async () => {
    const mapped = put(1, 10 * mib);
    const view = store.read(mapped);
    const writer = store.create(self, 2, 0, 10 * mib);
    const slabbed = put(3, 200_000);
    const idle = put(4, 10 * mib);
    await manager.spillDown(0);
    expect(readdirSync(dirs.spillDir)).toEqual([idle.name]);
    writer.target.fill(2);
    expect(reads(writer.seal(), 2)).toBe(true);
    expect(reads(slabbed, 3)).toBe(true);
    expect(view[0]).toBe(1);
  });

  it("gives up a copy when the object is read or freed meanwhile", async () => {
    const read = put(1, 10 * mib);
    const spilling = manager.spillDown(0);
    const view = store.read(read); // the copy has not started: spillDown's first step is to list the directory
    await spilling;
    expect(readdirSync(dirs.spillDir)).toEqual([]);
    expect(view[0]).toBe(1);
    const freed = put(2, 10 * mib);
    const again = manager.spillDown(0);
    store.free(freed);
    await again;
    expect(readdirSync(dirs.spillDir)).toEqual([]);
  });

  it("takes warm segments first, and joins calls that overlap", async () => {
    const kept = put(1, 10 * mib);
    store.free(put(2, 20 * mib));
    const [first, second] = [manager.spillDown(0.2), manager.spillDown(0.2)];
    expect(second).toBe(first);
    expect(await first).toEqual({ objects: 0, bytes: 0, diskFull: false });
    expect(segmentsIn(dirs.shmDir)).toEqual([kept.name]);
    expect(reads(put(3, 20 * mib), 3)).toBe(true); // the writer notices that its warm segment is gone
  });

  it("removes all of an owner that died, while views stay", async () => {
    const empty = manager.bytesUsed;
    const location = put(1, 5 * mib);
    put(2, 200_000);
    put(3, 10 * mib);
    await manager.spillDown(0.1);
    put(4, 10 * mib, "00000000000000bb");
    let view: Uint8Array | undefined = reads(location, 1) ? store.read(location) : undefined;
    store.close();
    manager.onOwnerDied(self);
    manager.onProcessDied(self);
    expect(readdirSync(dirs.spillDir)).toEqual([]);
    expect(segmentsIn(dirs.shmDir).filter((name) => !name.startsWith("dead."))).toEqual([`00000000000000bb.4.0.${self}`]);
    expect(view![0]).toBe(1);
    view = undefined;
    await collectUntil(() => {
      manager.sweep();
      return segmentsIn(dirs.shmDir).length === 1;
    });
    expect(manager.bytesUsed).toBe(empty + 10 * mib);
  });

  it("corrects the accounting by what a dead process left behind", () => {
    const empty = manager.bytesUsed;
    writeFileSync(join(dirs.shmDir, "tmp.dd.aa.1.0"), new Uint8Array(8192));
    manager.onProcessDied("dd");
    expect(segmentsIn(dirs.shmDir)).toEqual([]);
    expect(manager.bytesUsed).toBe(empty);
  });

  it("does not keep segments warm for a dead writer", () => {
    const location = put(1, 5 * mib, "00000000000000bb");
    manager.onProcessDied(self);
    store.free(location);
    expect(segmentsIn(dirs.shmDir)).toHaveLength(1);
    manager.sweep();
    expect(segmentsIn(dirs.shmDir)).toEqual([]);
  });

  it("cuts the limit to what the file system has", () => {
    const other = makeStoreDirs();
    const huge = new StoreManager({ ...other, bytesMax: 2 ** 50 });
    expect(huge.bytesMax).toBeLessThan(2 ** 50);
    huge.removeAll();
    huge.removeAll();
    expect(existsSync(other.shmDir)).toBe(false);
    other.remove();
  });

  it("takes back what is stored for an owner after its death", async () => {
    manager.onProcessDied("gone");
    manager.onOwnerDied("gone");
    const late = put(1, 4 * mib, "gone");
    writeFileSync(join(dirs.spillDir, late.name.replace(".1.", ".2.")), "on disk");
    const mine = put(3, 4 * mib);
    manager.sweep();
    expect([existsSync(join(dirs.shmDir, late.name)), readdirSync(dirs.spillDir)]).toEqual([false, []]);
    expect(reads(mine, 3)).toBe(true);
  });
});
