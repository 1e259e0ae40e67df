import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Accounting } from "./accounting.ts";
import { makeStoreDirs, type StoreDirs } from "./testing/store-dirs.ts";

let dirs: StoreDirs;
let daemon: Accounting;
let writer: Accounting;

beforeEach(() => {
  dirs = makeStoreDirs();
  daemon = Accounting.create(dirs.shmDir, 10_000_000);
  writer = Accounting.open(dirs.shmDir, "aa");
});
afterEach(() => {
  writer.close();
  daemon.close();
  dirs.remove();
});

describe("Accounting", () => {
  it("is one set of counters for every process that opens it", () => {
    const empty = daemon.bytesUsed;
    expect(writer.bytesMax).toBe(10_000_000);
    expect(writer.change(() => writer.reserve(5_000_000))).toBe(true);
    expect(daemon.bytesUsed).toBe(empty + 5_000_000);
    expect(writer.change(() => writer.reserve(5_000_000))).toBe(false);
    writer.change(() => writer.release(5_000_000));
    expect(daemon.bytesUsed).toBe(empty);
  });

  it("corrects what a dead process left, but never while somebody changes it", () => {
    const empty = daemon.bytesUsed;
    const measure = () => ({ used: empty, warm: 0 });
    writer.change(() => {
      writer.reserve(1000);
      expect(daemon.reconcile(measure)).toBe(false);
    });
    const interrupted = () => {
      writer.change(() => {});
      return measure();
    };
    expect(daemon.reconcile(interrupted)).toBe(false);
    expect(daemon.bytesUsed).toBe(empty + 1000);
    expect(daemon.reconcile(measure)).toBe(true);
    expect(daemon.bytesUsed).toBe(empty);
  });

  it("does not wait for a process that died inside a change", () => {
    expect(() =>
      writer.change(() => {
        daemon.forget("aa");
        expect(daemon.reconcile(() => ({ used: 1, warm: 0 }))).toBe(true);
        throw new Error("died");
      }),
    ).toThrow("died");
  });

  it("throws once closed instead of touching memory that is gone", () => {
    writer.close();
    writer.close();
    expect(() => writer.bytesUsed).toThrow(RangeError);
  });
});
