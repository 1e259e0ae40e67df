import { describe, expect, it } from "vitest";
import type { NodeKey } from "../base/ids.ts";
import { copyLocation, holderOf, isSameObject, isSlabName, parseSegmentName, segmentName, slabName } from "./segment-name.ts";
import type { Location } from "./types.ts";

describe("segment names", () => {
  it("tell owner and writer", () => {
    expect(parseSegmentName(segmentName("aa", 3, 0, "aa"))).toEqual({ owner: "aa", writer: "aa" });
    expect(parseSegmentName(segmentName("aa", 3, 2, "bb"))).toEqual({ owner: "aa", writer: "bb" });
    expect(parseSegmentName(slabName("aa", 7))).toEqual({ owner: "aa", writer: "aa" });
  });

  it("are nothing else's", () => {
    const others = [
      "",
      ".",
      "..",
      "aa",
      "aa.1",
      "aa/1.0",
      "../aa.1.0",
      "daemon.pid",
      ".accounting",
      "aa.1.0.bb.cc",
      "aa.-1.0",
      "aa.1.0\n",
    ];
    for (const name of [...others, "tmp.aa.aa.1.0", "warm.aa.aa.1.0", "dead.aa.1.0", `${"a".repeat(65)}.1.0`]) {
      expect(parseSegmentName(name)).toBeUndefined();
    }
  });
});

describe("copies", () => {
  const original: Location = { name: segmentName("a1b2c3d4e5f60718", 3, 2, "0f0f0f1111111111"), offset: 0, bytes: 10 };
  const inSlab: Location = { name: slabName("a1b2c3d4e5f60718", 7), offset: 8192, bytes: 20 };
  const node = "c0ffee" as NodeKey;

  it("have names that tell owner and holder", () => {
    for (const location of [original, inSlab]) {
      const copy = copyLocation(location, node);
      expect(parseSegmentName(copy.name)).toEqual({ owner: "a1b2c3d4e5f60718", writer: "c0ffee" });
      expect(copy).toMatchObject({ offset: 0, bytes: location.bytes });
      expect(holderOf(copy)).toBe("c0ffee");
      expect(isSlabName(copy.name)).toBe(false);
    }
    expect(holderOf(original)).toBe("0f0f0f");
    expect(holderOf(inSlab)).toBe("a1b2c3");
    expect(holderOf({ ...original, name: "tmp.x" })).toBeUndefined();
  });

  it("are the same object's, whichever they were made from", () => {
    const other = "beef00" as NodeKey;
    expect(copyLocation(copyLocation(inSlab, node), other)).toEqual(copyLocation(inSlab, other));
    expect(isSameObject(copyLocation(original, node), original)).toBe(true);
    expect(isSameObject(copyLocation(inSlab, node), inSlab)).toBe(true);
    expect(isSameObject(copyLocation(inSlab, node), { ...inSlab, offset: 4096 })).toBe(false);
    const again = { ...original, name: segmentName("a1b2c3d4e5f60718", 3, 3, "0f0f0f1111111111") };
    expect(isSameObject(copyLocation(original, node), again)).toBe(false);
  });
});
