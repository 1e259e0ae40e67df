/**
 * The object store alone: put, private view and free in one process, beside a plain copy of the same bytes timed in the same run.
 *
 *   npx tsx bench/store.ts [--small]
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Accounting } from "../src/objects/accounting.ts";
import { type ObjectSource, ObjectStore } from "../src/objects/object-store.ts";

const small = process.argv.includes("--small");
const large = small ? 8e6 : 800e6;
const shmDir = mkdtempSync("/dev/shm/shoal-bench-");
const spillDir = mkdtempSync(join(tmpdir(), "shoal-bench-"));
mkdirSync(spillDir, { recursive: true });
Accounting.create(shmDir, small ? 64e6 : 3e9).close();
const selfId = "00000000000000aa";
const store = new ObjectStore({ shmDir, spillDir, selfId });

function source(bytes: Uint8Array, parts: boolean): ObjectSource {
  const whole = { bytes: bytes.length, writeTo: (target: Uint8Array) => target.set(bytes) };
  return parts ? { ...whole, parts: () => [{ offset: 0, bytes }] } : whole;
}

function timed(name: string, bytes: number, rounds: number, action: () => unknown): void {
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    action();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const median = times[times.length >> 1];
  const speed = bytes > 0 ? `${(bytes / median / 1e6).toFixed(2)} GB/s` : "";
  console.log(`${name.padEnd(44)} median ${median.toFixed(4)} ms  best ${times[0].toFixed(4)} ms  ${speed}`);
}

try {
  const value = new Uint8Array(large).fill(7);
  const copy = new Uint8Array(large).fill(1);
  let index = 0;
  timed("memcpy into touched memory", large, 7, () => copy.set(value));
  timed("put, fresh, through a mapping", large, 1, () => store.free(store.put(selfId, index++, 0, source(value, false))));
  store.releaseIdle();
  timed("put, fresh, in parts", large, 1, () => store.free(store.put(selfId, index++, 0, source(value, true))));
  timed("put, first reuse", large, 1, () => store.free(store.put(selfId, index++, 0, source(value, true))));
  timed("put + free, steady", large, 9, () => store.free(store.put(selfId, index++, 0, source(value, true))));
  const location = store.put(selfId, index++, 0, source(value, true));
  timed("get (a private view)", 0, 9, () => store.read(location));
  timed("get and sum every page", large, 3, () => {
    const view = store.read(location);
    let sum = 0;
    for (let i = 0; i < view.length; i += 4096) sum += view[i];
    return sum;
  });
  store.free(location);

  const medium = value.subarray(0, 200 * 1024);
  timed("memcpy 200 KiB", medium.length, 1000, () => copy.set(medium));
  timed("put + free 200 KiB (slab)", medium.length, 5000, () => store.free(store.put(selfId, index++, 0, source(medium, true))));
  const kept = store.put(selfId, index++, 0, source(medium, true));
  timed("get 200 KiB", 0, 5000, () => store.read(kept));
  timed("put 200 KiB, kept", medium.length, small ? 100 : 2000, () => store.put(selfId, index++, 0, source(medium, true)));
  timed("put + free 200 KiB of another owner", medium.length, 2000, () =>
    store.free(store.put("00000000000000bb", index++, 0, source(medium, true))),
  );
  console.log(store.stats());
} finally {
  store.close();
  rmSync(shmDir, { recursive: true, force: true });
  rmSync(spillDir, { recursive: true, force: true });
}
