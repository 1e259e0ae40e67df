import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ObjectStore } from "../../objects/index.ts";
import { makeStoreDirs, type StoreDirs } from "../../objects/testing/store-dirs.ts";
import { collectGarbage } from "../owner/collect-garbage.ts";
import { StoreKeeper } from "./store-keeper.ts";

const mib = 1024 * 1024;
let dirs: StoreDirs;
let spillDir: string;
let keeper: StoreKeeper;
let store: ObjectStore;
let collect: () => void;

beforeEach(() => {
  dirs = makeStoreDirs();
  const sessionDir = dirs.spillDir;
  spillDir = join(sessionDir, "spill");
  mkdirSync(spillDir);
  collect = () => {};
  keeper = new StoreKeeper(dirs.shmDir, sessionDir, 64 * mib, {
    collect: () => collect(),
    failed: (text) => expect.fail(text),
  });
  store = new ObjectStore({ shmDir: dirs.shmDir, spillDir, selfId: "00000000000000aa" });
});
afterEach(() => {
  store.close();
  keeper.remove();
  dirs.remove();
});

const put = (index: number) =>
  store.put("00000000000000aa", index, 0, { bytes: 10 * mib, writeTo: (target) => target.fill(index) });

describe("StoreKeeper", () => {
  it("spills what the collection it asks for lets go", async () => {
    const locations = [1, 2, 3, 4, 5].map(put);
    let views: Uint8Array[] = locations.map((location) => store.read(location));
    expect(views.length).toBe(5);
    // The process that views them collects only when it is asked, and not at once.
    collect = () =>
      setTimeout(() => {
        views = [];
        collectGarbage();
      }, 50);
    keeper.pressure();
    await vi.waitFor(
      () => {
        collectGarbage(); // finalizers run in later turns
        expect(readdirSync(spillDir).length).toBeGreaterThan(0);
        expect(keeper.bytesUsed).toBeLessThan(50 * mib);
      },
      { timeout: 10_000, interval: 50 },
    );
  });

  it("gives up when nothing lets go, until the next pressure", async () => {
    const views = [1, 2, 3, 4, 5].map(put).map((location) => store.read(location));
    const spillDown = vi.spyOn(Reflect.get(keeper, "manager"), "spillDown");
    keeper.pressure();
    await vi.waitFor(() => expect(spillDown).toHaveBeenCalledTimes(6), { timeout: 10_000 });
    expect(Reflect.get(keeper, "againTimer")).toBe(null);
    keeper.pressure();
    expect(spillDown).toHaveBeenCalledTimes(7);
    expect(views.length).toBe(5);
  });
});
