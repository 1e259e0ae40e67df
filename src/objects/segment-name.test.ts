import { describe, expect, it } from "vitest";
import { parseSegmentName, segmentName, slabName } from "./segment-name.ts";

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
