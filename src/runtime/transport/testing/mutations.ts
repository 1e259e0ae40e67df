/** Frames as a broken or hostile node would send them. The same seed gives the same frames. */
import { encodeHello, nonceBytes } from "../../../wire/handshake.ts";
import { protocolVersion } from "../../../wire/limits.ts";
import { encodeCredit, encodeFrame, encodeNodeMessages, encodeTextFrame, FrameKind } from "../../../wire/node-frame.ts";
import type { NodeMessage } from "../../../wire/node-messages.ts";

export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to `below` - 1. */
  int(below: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)];
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.int(256)));
  }
}

/** Changes `frame` in one to three ways. */
export function mutate(frame: Buffer, random: Random): Buffer {
  let bytes: Buffer = Buffer.from(frame);
  for (let i = 1 + random.int(3); i > 0; i--) bytes = random.pick(changes)(bytes, random);
  return bytes;
}

const changes: readonly ((bytes: Buffer, random: Random) => Buffer)[] = [
  (bytes, random) => {
    if (bytes.length > 0) bytes[random.int(bytes.length)] ^= 1 << random.int(8);
    return bytes;
  },
  (bytes, random) => {
    if (bytes.length > 0) bytes[random.int(bytes.length)] = random.pick([0, 0x7f, 0x80, 0xc1, 0xdd, 0xdf, 0xff]);
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, random.int(bytes.length + 1)),
  (bytes, random) => {
    const at = random.int(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.int(8)), bytes.subarray(at)]);
  },
  (bytes, random) => {
    if (bytes.length >= 4) bytes.writeUInt32LE(random.pick([0, 1, 5, 1023, 1024, 1025, 65_536, 1 << 28, 0xffff_ffff]), 0);
    return bytes;
  },
  (bytes) => Buffer.concat([bytes, bytes]),
];

const target = "0123456789abcdef";

/** A frame that an honest node could send on an open connection. */
export function linkFrame(random: Random): Buffer {
  const stream = random.int(6);
  const open = 1 + 2 * random.int(20);
  return random.pick<() => Buffer>([
    () => Buffer.concat(encodeNodeMessages([[100, random.int(9), "echo", { a: [1, null, "x"], b: random.bytes(9) }]])),
    () => Buffer.concat(encodeNodeMessages([[101, random.int(9), true, "answer"] as NodeMessage])),
    () => Buffer.concat(encodeNodeMessages([[142, null, "warn"] as NodeMessage, [122, "leaving"] as NodeMessage])),
    () => encodeTextFrame(FrameKind.StreamOpen, open, target),
    () => encodeFrame(FrameKind.StreamData, open, random.bytes(random.int(64))),
    () => encodeFrame(FrameKind.StreamData, stream, Buffer.alloc(random.int(65_536), 1)),
    () => encodeFrame(FrameKind.StreamEnd, stream, Buffer.alloc(0)),
    () => encodeTextFrame(FrameKind.StreamReset, stream, "over"),
    () => encodeCredit(stream, random.int(300_000)),
    () => encodeFrame(FrameKind.Messages, 0, hostilePack(random)),
  ])();
}

/** MessagePack that promises more than it holds, or is nested without end. */
function hostilePack(random: Random): Buffer {
  const huge = random.pick([
    [0xdd, 0x01, 0xff, 0xff, 0xff],
    [0xdf, 0x7f, 0xff, 0xff, 0xff],
    [0xdc, 0xff, 0xff],
    [0xc6, 0x7f, 0xff, 0xff, 0xff],
  ]);
  return random.pick<() => Buffer>([
    () => Buffer.from(huge),
    () => Buffer.from(Array.from({ length: 1 + random.int(400) }, () => huge).flat()),
    () => Buffer.concat([Buffer.alloc(1 + random.int(20_000), 0x91), Buffer.from([0xc0])]),
    () => Buffer.concat([Buffer.from([0x91, 0xc7, 8, random.int(256)]), random.bytes(8)]),
    () => random.bytes(random.int(200)),
  ])();
}

/** A frame of a handshake, of the dialling side. */
export function handshakeFrame(random: Random): Buffer {
  const hello = encodeHello({
    version: protocolVersion,
    purpose: random.pick(["mux", "bulk"]),
    nodeId: random.bytes(8).toString("hex") as any,
    clusterId: random.pick([null, "cluster-1", "cluster-2"]),
    nonce: random.bytes(nonceBytes),
  });
  return random.pick<() => Buffer>([
    () => encodeFrame(FrameKind.Hello, 0, hello),
    () => encodeFrame(FrameKind.Proof, 0, random.bytes(64)),
    () => encodeFrame(FrameKind.Refused, 0, Buffer.concat([Buffer.from([random.int(7)]), random.bytes(random.int(60))])),
    () => encodeFrame(FrameKind.Accepted, 0, random.bytes(32)),
    () => random.bytes(random.int(200)),
  ])();
}
