import { expect, test } from "vitest";
import { decodeBounded, encodeBehind } from "./bounded-decode.ts";
import { FrameError } from "./frame.ts";
import { nodeDepthMax, nodeValuesMax } from "./limits.ts";
import {
  decodeNodeMessages,
  encodeFrame,
  encodeNodeMessages,
  FrameKind,
  linkLimits,
  type NodeFrame,
  NodeFrameSplitter,
} from "./node-frame.ts";
import { NodeKind, type NodeMessage } from "./node-messages.ts";

/** One value of each form that MessagePack has. */
const values = [
  ...[null, undefined, true, false, 0, 127, -1, -32, 128, 65_535, 2 ** 31, -(2 ** 31), 2 ** 40, -(2 ** 40), 1.5, Number.NaN],
  ...["", "x", "é".repeat(40), "y".repeat(300), "z".repeat(70_000)],
  ...[Buffer.alloc(0), Buffer.alloc(300, 1), Buffer.alloc(70_000, 2)],
  ...[[], Array(20).fill(1), Array(70_000).fill("a"), {}, { a: { b: [{ c: null }] } }, new Date(0), new Date(1.7e12)],
  Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i])),
  Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, [i]])),
];

test("`decodeBounded()` takes every form of value, and refuses it with a byte too few or too many", () => {
  for (const value of values) {
    const bytes = encodeBehind(0, value);
    expect(decodeBounded(bytes)).toEqual(value);
    expect(() => decodeBounded(bytes.subarray(0, bytes.length - 1))).toThrow(FrameError);
    expect(() => decodeBounded(Buffer.concat([bytes, Buffer.from([0xc0])]))).toThrow("1 bytes too many");
  }
});

test("`decodeBounded()` refuses what a header promises and does not hold, before anything is made of it", () => {
  for (const header of ["dd01ffffff", "df01ffffff", "dcffff", "deffff", "9f", "8f"])
    expect(() => decodeBounded(Buffer.from(header, "hex"))).toThrow(/values are promised, 0 bytes are there/);
  // Each level promises thirty million elements: decoded, each would take 240 MB before the next is looked at.
  const nested = Buffer.concat([...Array(100).fill(Buffer.from("dd01ffffff", "hex")), Buffer.alloc(1000)]);
  expect(() => decodeBounded(nested)).toThrow(/33554431 values are promised/);
  for (const header of ["c6ffffffff", "dbffffffff", "c4ff", "d9ff", "bf", "cb00", "c9ffffffff00"])
    expect(() => decodeBounded(Buffer.from(header, "hex"))).toThrow(/it ends early/);
});

test("`decodeBounded()` has limits for depth and number, and takes no extension it does not know", () => {
  const deep = (levels: number) => Buffer.concat([Buffer.alloc(levels, 0x91), Buffer.from([0xc0])]);
  expect(decodeBounded(deep(nodeDepthMax))).toBeInstanceOf(Array);
  expect(() => decodeBounded(deep(nodeDepthMax + 1))).toThrow(`more than ${nodeDepthMax} levels`);
  const many = Buffer.alloc(5 + nodeValuesMax, 0xc0);
  many[0] = 0xdd;
  many.writeUInt32BE(nodeValuesMax, 1);
  expect(() => decodeBounded(many)).toThrow(`more than ${nodeValuesMax} values`);
  for (const extension of ["d472aa", "d50000aa", "c70374aabbcc", "c1"])
    expect(() => decodeBounded(Buffer.from(extension, "hex"))).toThrow(FrameError);
});

test("a message of a key named `__proto__` changes no prototype", () => {
  const bytes = Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from("__proto__"), Buffer.from([0x81, 0xa1, 0x78, 0x01])]);
  expect((decodeBounded(bytes) as any).x).toBeUndefined();
  expect(({} as any).x).toBeUndefined();
});

test("`decodeNodeMessages()` takes arrays of arrays that begin with a number only", () => {
  const messages: NodeMessage[] = [
    [NodeKind.Leaving, "why"],
    [NodeKind.Warn, null, "text"],
  ];
  const [frame] = encodeNodeMessages(messages);
  expect(decodeNodeMessages(frame.subarray(9))).toEqual(messages);
  for (const other of [{}, 1, "x", null, [1], [["x"]], [[]], [{}]])
    expect(() => decodeNodeMessages(encodeBehind(0, other))).toThrow(FrameError);
});

test("`NodeFrameSplitter` gives the same frames however the bytes are cut", () => {
  const bodies = [0, 1, 100, 65_536].map((length) => Buffer.alloc(length, length % 251));
  const bytes = Buffer.concat(bodies.map((body, i) => encodeFrame(FrameKind.StreamData, i + 1, body)));
  for (const size of [1, 2, 8, 9, 10, 4096, 65_536, bytes.length]) {
    const splitter = new NodeFrameSplitter(linkLimits);
    const frames: NodeFrame[] = [];
    for (let at = 0; at < bytes.length; at += size)
      splitter.push(bytes.subarray(at, at + size), (frame) => frames.push({ ...frame, body: Buffer.from(frame.body) }));
    expect(frames.map(({ stream, body }) => [stream, body.length])).toEqual(bodies.map((body, i) => [i + 1, body.length]));
    expect(Buffer.concat(frames.map(({ body }) => body)).equals(Buffer.concat(bodies))).toBe(true);
  }
});

test("`NodeFrameSplitter` refuses a header at once", () => {
  const push = (header: Buffer) => () => new NodeFrameSplitter(linkLimits).push(header, () => {});
  const header = Buffer.alloc(9);
  header[4] = FrameKind.StreamData;
  header.writeUInt32LE(65_537, 0);
  expect(push(header)).toThrow("65537 bytes as the limit is 65536");
  header[4] = FrameKind.Hello;
  expect(push(header)).toThrow("kind 1 here");
});
