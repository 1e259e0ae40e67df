/** What happens when shared memory or the disk is really full. Needs the right to mount small file systems; skipped without. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OutOfDiskError } from "../base/errors.ts";
import { type ObjectSource, ObjectStore } from "./object-store.ts";
import { StoreManager } from "./store-manager.ts";
import { collectUntil, segmentsIn } from "./testing/store-dirs.ts";
import type { Location } from "./types.ts";

const mib = 1024 * 1024;
const self = "00000000000000aa";

let root: string;
let store: ObjectStore;
let manager: StoreManager;

function mount(dir: string, megabytes: number): boolean {
  mkdirSync(dir);
  return spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "shoal-test", dir]).status === 0;
}

const mountable = (() => {
  const dir = mkdtempSync(join(tmpdir(), "shoal-test-"));
  const mounted = mount(join(dir, "small"), 1);
  if (mounted) spawnSync("umount", [join(dir, "small")]);
  rmSync(dir, { recursive: true });
  return mounted;
})();

const source = (bytes: number, fill: number, inParts: boolean): ObjectSource => {
  const value = new Uint8Array(bytes).fill(fill);
  const whole = { bytes, writeTo: (target: Uint8Array) => target.set(value) };
  return inParts ? { ...whole, parts: () => [{ offset: 0, bytes: value }] } : whole;
};
const reads = (location: Location, fill: number): boolean =>
  Buffer.compare(store.read(location), Buffer.alloc(location.bytes, fill)) === 0;

// Skipped where mounting is refused (not root, or a container without the capability): a full file system cannot be had otherwise.
describe.skipIf(!mountable)("Object store on full file systems", () => {
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "shoal-test-"));
    mount(join(root, "shm"), 16);
    mount(join(root, "disk"), 24);
    manager = new StoreManager({ shmDir: join(root, "shm"), spillDir: join(root, "disk"), bytesMax: 15 * mib });
    store = new ObjectStore({ shmDir: join(root, "shm"), spillDir: join(root, "disk"), selfId: self });
  });
  afterEach(() => {
    store.close();
    spawnSync("umount", ["--lazy", join(root, "shm")]);
    spawnSync("umount", ["--lazy", join(root, "disk")]);
    rmSync(root, { recursive: true });
  });

  for (const inParts of [true, false]) {
    it(`goes to disk when others fill the shared memory (${inParts ? "written in parts" : "through a mapping"})`, () => {
      writeFileSync(join(root, "shm", "filler"), new Uint8Array(8 * mib));
      const used = manager.bytesUsed;
      const first = store.put(self, 1, 0, source(9 * mib, 1, inParts));
      const small = store.put(self, 2, 0, source(150_000, 2, inParts));
      expect(readdirSync(join(root, "disk"))).toContain(first.name);
      expect(segmentsIn(join(root, "shm")).filter((name) => name.startsWith("tmp."))).toEqual([]);
      expect(manager.bytesUsed).toBeLessThanOrEqual(used + 8 * mib);
      expect(reads(first, 1) && reads(small, 2)).toBe(true);
      unlinkSync(join(root, "shm", "filler"));
    });

    it(`says so when the disk is full too, and loses nothing stored (${inParts ? "written in parts" : "through a mapping"})`, async () => {
      const stored = [0, 1, 2, 3].map((index) => store.put(self, index, 0, source(7 * mib, index, inParts)));
      const full = expect(() => store.put(self, 10, 0, source(12 * mib, 9, inParts)));
      full.toThrow(OutOfDiskError);
      full.toThrow("Cannot store object of 12582912 bytes");
      expect(() => store.create(self, 11, 0, 12 * mib)).toThrow(OutOfDiskError);
      for (const dir of ["shm", "disk"])
        expect(segmentsIn(join(root, dir)).filter((name) => name.startsWith("tmp."))).toEqual([]);
      for (const [index, location] of stored.entries()) expect(reads(location, index)).toBe(true);
      await collectUntil(() => store.stats().views === 0); // a disk gives mapped bytes back only when they are unmapped
      for (const location of stored) store.free(location);
      expect(reads(store.put(self, 12, 0, source(12 * mib, 9, inParts)), 9)).toBe(true);
    });
  }

  it("keeps in memory what a full disk does not take", async () => {
    writeFileSync(join(root, "disk", "filler"), new Uint8Array(23 * mib));
    const location = store.put(self, 1, 0, source(6 * mib, 1, true));
    expect(await manager.spillDown(0)).toEqual({ objects: 0, bytes: 0, diskFull: true });
    expect(readdirSync(join(root, "disk"))).toEqual(["filler"]);
    expect(reads(location, 1)).toBe(true);
  });
});
