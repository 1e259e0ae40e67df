/** The store between processes: isolation, reuse, crashes, the limit. */
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ObjectStore } from "./object-store.ts";
import { StoreManager } from "./store-manager.ts";
import { Peer } from "./testing/peer.ts";
import { bytesOnDevice, bytesReserved, collectUntil, makeStoreDirs, type StoreDirs, segmentsIn } from "./testing/store-dirs.ts";
import type { Location } from "./types.ts";

const self = "00000000000000aa";
const mib = 1024 * 1024;
const bytesMax = 14 * mib;

let dirs: StoreDirs;
let manager: StoreManager;
let store: ObjectStore;
let peers: Peer[];

beforeEach(() => {
  dirs = makeStoreDirs();
  manager = new StoreManager({ ...dirs, bytesMax });
  store = new ObjectStore({ ...dirs, selfId: self });
  peers = [];
});
afterEach(async () => {
  for (const peer of peers) await peer.kill();
  store.close();
  manager.removeAll();
  dirs.remove();
});

const startPeer = async (selfId: string): Promise<Peer> => {
  const peer = await Peer.start(dirs, selfId);
  peers.push(peer);
  return peer;
};
const put = (index: number, bytes: number, fill = index, owner = self): Location => {
  const value = new Uint8Array(bytes).fill(fill);
  return store.put(owner, index, 0, {
    bytes,
    writeTo: (target) => target.set(value),
    parts: () => [{ offset: 0, bytes: value }],
  });
};

describe("Object store between processes", () => {
  it("keeps one process's writes from every other", async () => {
    const [a, b] = await Promise.all([startPeer("b1"), startPeer("b2")]);
    for (const location of [put(1, 5 * mib), put(2, 200_000, 1)]) {
      await a.do({ op: "view", key: "x", location });
      await b.do({ op: "view", key: "x", location });
      await a.do({ op: "write", key: "x", fill: 9 });
      expect(await b.do({ op: "bytes", key: "x" })).toEqual({ first: 1, last: 1, same: true });
      expect(store.read(location).every((byte) => byte === 1)).toBe(true);
      expect(await a.do({ op: "bytes", key: "x" })).toEqual({ first: 9, last: 9, same: true });
    }
  });

  it("keeps a reader's old bytes while the writer frees and puts again, and reuses the memory once the reader drops them", async () => {
    const reader = await startPeer("b1");
    const first = put(1, 4 * mib);
    await reader.do({ op: "view", key: "x", location: first });
    store.free(first);
    for (let index = 2; index < 5; index++) store.free(put(index, 4 * mib));
    expect(await reader.do({ op: "bytes", key: "x" })).toEqual({ first: 1, last: 1, same: true });
    expect(segmentsIn(dirs.shmDir)).toContain(`dead.${first.name}`);
    const used = manager.bytesUsed;
    await reader.do({ op: "drop", key: "x" });
    expect(segmentsIn(dirs.shmDir)).not.toContain(`dead.${first.name}`);
    put(6, 4 * mib);
    put(7, 4 * mib);
    expect(manager.bytesUsed).toBe(used);
  });

  it("frees the memory of a reader that was killed", async () => {
    const reader = await startPeer("b1");
    const location = put(1, 4 * mib);
    await reader.do({ op: "view", key: "x", location });
    store.free(location);
    manager.sweep();
    expect(segmentsIn(dirs.shmDir)).toEqual([`dead.${location.name}`]);
    await reader.kill();
    manager.onProcessDied("b1");
    manager.sweep();
    expect(segmentsIn(dirs.shmDir)).toEqual([`warm.${self}.${location.name}`]);
  });

  it("frees the memory of a writer that was killed before it sealed", async () => {
    const empty = manager.bytesUsed;
    const writer = await startPeer("b1");
    await writer.do({ op: "open", index: 1, bytes: 6 * mib });
    expect(manager.bytesUsed).toBe(empty + 6 * mib);
    await writer.kill();
    manager.onProcessDied("b1");
    expect(segmentsIn(dirs.shmDir)).toEqual([]);
    expect(manager.bytesUsed).toBe(empty);
  });

  it("gives a result's memory back to the worker that wrote it, without a message", async () => {
    const worker = await startPeer("b1");
    const names = new Set<string>();
    for (let index = 0; index < 4; index++) {
      const location: Location = await worker.do({ op: "put", owner: self, index, bytes: 4 * mib, fill: index });
      expect(store.read(location)[2 * mib]).toBe(index);
      names.add(location.name);
      await collectUntil(() => store.stats().views === 0);
      store.free(location);
    }
    expect(names.size).toBe(4);
    expect(segmentsIn(dirs.shmDir)).toEqual([`warm.b1.${self}.3.0.b1`]);
  });

  it("reads every byte of five times its limit while the daemon spills, and never passes the limit", async () => {
    const [a, b] = await Promise.all([startPeer("b1"), startPeer("b2")]);
    const locations: Location[] = [];
    let spilling: Promise<unknown> = Promise.resolve();
    const sizes = [4 * mib, 700_000, 2 * mib + 1, 3 * mib];
    for (let index = 0, total = 0; total < 5 * bytesMax; index++) {
      const bytes = sizes[index % sizes.length];
      total += bytes;
      const fill = index % 251;
      const locate = index % 2 === 0 ? a.do({ op: "put", index, bytes, fill }) : Promise.resolve(put(index, bytes, fill));
      locations.push(await locate);
      spilling = manager.bytesUsed > 0.8 * bytesMax ? manager.spillDown() : spilling;
      expect(bytesOnDevice(dirs.shmDir)).toBeLessThanOrEqual(bytesMax + 4096);
      if (index % 3 === 0) {
        await b.do({ op: "view", key: "x", location: locations[index >> 1] });
        expect(await b.do({ op: "bytes", key: "x" })).toMatchObject({ first: (index >> 1) % 251, same: true });
        await b.do({ op: "drop", key: "x" });
      }
    }
    await spilling;
    for (const [index, location] of locations.entries()) {
      await b.do({ op: "view", key: "x", location });
      expect(await b.do({ op: "bytes", key: "x" })).toEqual({ first: index % 251, last: index % 251, same: true });
      await b.do({ op: "drop", key: "x" });
    }
    expect((await manager.stats()).bytesSpilled).toBeGreaterThan(0);
  });

  it("adds up again after processes were killed at any point", async () => {
    const empty = manager.bytesUsed;
    for (let run = 0; run < 3; run++) {
      const selfId = `c${run}`;
      const peer = await startPeer(selfId);
      const killAt = 3 + run * 8;
      await new Promise<void>((resolve, reject) => {
        peer.onRound((round) => {
          if (round % 5 === 0) manager.spillDown(0.3).catch(reject);
          if (round === killAt) peer.kill().then(resolve, reject);
        });
        peer.do({ op: "churn", rounds: 10_000 }).catch((error) => error.message !== "the peer ended" && reject(error));
      });
      manager.onProcessDied(selfId);
      manager.onOwnerDied(selfId);
      expect(bytesOnDevice(dirs.shmDir)).toBeLessThanOrEqual(bytesMax + 4096);
    }
    await manager.spillDown(1);
    manager.onOwnerDied("other");
    manager.sweep();
    expect(segmentsIn(dirs.shmDir)).toEqual([]);
    expect(readdirSync(dirs.spillDir)).toEqual([]);
    expect(manager.bytesUsed).toBe(empty);
  });

  it("counts exactly when processes change the counters at once", async () => {
    const empty = manager.bytesUsed;
    const all = await Promise.all([startPeer("d1"), startPeer("d2")]);
    await Promise.all(all.map((peer) => peer.do({ op: "churn", rounds: 100 })));
    await Promise.all(all.map((peer) => peer.kill()));
    expect(manager.bytesUsed).toBe(bytesReserved(dirs.shmDir));
    for (const peer of all) {
      manager.onProcessDied(peer.selfId);
      manager.onOwnerDied(peer.selfId);
    }
    manager.onOwnerDied("other");
    manager.sweep();
    expect(manager.bytesUsed).toBe(empty);
  });
});
