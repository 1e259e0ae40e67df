import { describe, expect, it } from "vitest";
import type { NodeKey } from "../../base/ids.ts";
import { newObjectRecord, type ObjectRecord } from "../../core/object-record.ts";
import { argumentsNode } from "./arguments.ts";

const self = "aaaaaa" as NodeKey;
const mebibyte = 1024 * 1024;

function stored(name: string, bytes: number): ObjectRecord {
  const record = newObjectRecord(1 as ObjectRecord["index"], null);
  record.state = "stored";
  record.location = { name, offset: 0, bytes };
  return record;
}

describe("argumentsNode()", () => {
  const owner = "aaaaaa0000000001";
  const there = "bbbbbb0000000001";
  const elsewhere = "cccccc0000000001";

  it("is the node of the process that wrote most of the arguments' bytes", () => {
    const args = [
      1,
      stored(`${owner}.1.0.${there}`, 600_000),
      stored(`${there}.slab3`, 600_000),
      stored(`${owner}.2.0`, 900_000),
    ];
    expect(argumentsNode(args, self)).toBe("bbbbbb");
    expect(argumentsNode([...args, stored(`${owner}.4.0.${elsewhere}`, 2 * mebibyte)], self)).toBe("cccccc");
  });

  it("is nothing when most is here, or too little to matter", () => {
    expect(argumentsNode([stored(`${owner}.1.0`, 3 * mebibyte), stored(`${owner}.2.0.${there}`, 2 * mebibyte)], self)).toBe(null);
    expect(argumentsNode([stored(`${owner}.2.0.${there}`, mebibyte - 1)], self)).toBe(null);
    expect(argumentsNode([stored(`${owner}.2.0.${there}`, mebibyte)], self)).toBe("bbbbbb");
    expect(argumentsNode(["x", 1, null], self)).toBe(null);
  });
});
