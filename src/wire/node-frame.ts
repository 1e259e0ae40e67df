/**
 * Frames between node daemons: 4 bytes body length (little endian), 1 byte kind, 4 bytes stream number (0 where there is none), body.
 * docs/protocol-nodes.md says what each kind is for. The handshake uses the same frames, with small bodies.
 */
import { decodeBounded, encodeBehind } from "./bounded-decode.ts";
import { FrameError } from "./frame.ts";
import { bulkFirstBytesMax, frameBytesMax, handshakeBytesMax, streamChunkBytesMax, streamTextBytesMax } from "./limits.ts";
import type { NodeMessage } from "./node-messages.ts";

/** Kinds of frame between daemons. The first four are the same in all versions of the protocol. */
export const FrameKind = {
  Hello: 1,
  Refused: 2,
  Proof: 3,
  Accepted: 4,
  Messages: 10,
  /** The connection is ended on purpose; the body says why. */
  Bye: 11,
  StreamOpen: 20,
  StreamData: 21,
  StreamEnd: 22,
  StreamReset: 23,
  StreamCredit: 24,
  BulkFirst: 30,
} as const;

export const nodeHeaderBytes = 9;

/** Longest body of each kind; 0 or absent: the kind is not allowed there. */
export type BodyLimits = ReadonlyMap<number, number>;

export const handshakeLimits: BodyLimits = new Map(
  [FrameKind.Hello, FrameKind.Refused, FrameKind.Proof, FrameKind.Accepted].map((kind) => [kind, handshakeBytesMax]),
);

export const linkLimits: BodyLimits = new Map<number, number>([
  [FrameKind.Messages, frameBytesMax],
  [FrameKind.Bye, streamTextBytesMax],
  [FrameKind.StreamOpen, streamTextBytesMax],
  [FrameKind.StreamData, streamChunkBytesMax],
  [FrameKind.StreamEnd, 0],
  [FrameKind.StreamReset, streamTextBytesMax],
  [FrameKind.StreamCredit, 4],
]);

export const bulkLimits: BodyLimits = new Map<number, number>([[FrameKind.BulkFirst, bulkFirstBytesMax]]);

export interface NodeFrame {
  readonly kind: number;
  readonly stream: number;
  /** A view of what was read from the socket. */
  readonly body: Buffer;
}

/** Cuts a stream of chunks into frames. Bodies are views of the chunks where they lie whole in one. */
export class NodeFrameSplitter {
  private readonly limits: BodyLimits;
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private wantedBytes = nodeHeaderBytes;

  constructor(limits: BodyLimits) {
    this.limits = limits;
  }

  /** Takes `chunk` and calls `onFrame` for each whole frame. Throws `FrameError` for a header out of bounds; the connection is then useless. */
  push(chunk: Buffer, onFrame: (frame: NodeFrame) => void): void {
    let data = chunk;
    if (this.pendingBytes > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
      if (this.pendingBytes < this.wantedBytes) return;
      data = Buffer.concat(this.pending, this.pendingBytes);
      this.pending = [];
      this.pendingBytes = 0;
    }
    let at = 0;
    this.wantedBytes = nodeHeaderBytes;
    while (data.length - at >= nodeHeaderBytes) {
      const frame = readFrame(data, at, this.limits);
      if (typeof frame === "number") {
        this.wantedBytes = frame;
        break;
      }
      at += nodeHeaderBytes + frame.body.length;
      onFrame(frame);
    }
    if (at < data.length) {
      this.pending.push(at === 0 ? data : data.subarray(at));
      this.pendingBytes = data.length - at;
    }
  }
}

/** The frame at `at`, or how many bytes from `at` on are wanted for it. Throws `FrameError`. */
export function readFrame(data: Buffer, at: number, limits: BodyLimits): NodeFrame | number {
  if (data.length - at < nodeHeaderBytes) return nodeHeaderBytes;
  const bodyBytes = data.readUInt32LE(at);
  const kind = data[at + 4];
  const limit = limits.get(kind);
  if (limit === undefined) throw new FrameError(`Cannot read a frame of kind ${kind} here`);
  if (bodyBytes > limit)
    throw new FrameError(`Cannot read a frame of kind ${kind} with ${bodyBytes} bytes as the limit is ${limit}`);
  const bodyStart = at + nodeHeaderBytes;
  if (data.length - bodyStart < bodyBytes) return nodeHeaderBytes + bodyBytes;
  return { kind, stream: data.readUInt32LE(at + 5), body: data.subarray(bodyStart, bodyStart + bodyBytes) };
}

export function nodeHeader(kind: number, stream: number, bodyBytes: number): Buffer {
  return writeHeader(Buffer.allocUnsafe(nodeHeaderBytes), kind, stream, bodyBytes);
}

function writeHeader(target: Buffer, kind: number, stream: number, bodyBytes: number): Buffer {
  target.writeUInt32LE(bodyBytes, 0);
  target[4] = kind;
  target.writeUInt32LE(stream, 5);
  return target;
}

/** A frame with a body of bytes. */
export function encodeFrame(kind: number, stream: number, body: Uint8Array): Buffer {
  return Buffer.concat([nodeHeader(kind, stream, body.length), body]);
}

/** A frame whose body is text, cut to what such a body may have. */
export function encodeTextFrame(kind: number, stream: number, text: string): Buffer {
  return encodeFrame(kind, stream, Buffer.from(text, "utf8").subarray(0, streamTextBytesMax));
}

export function encodeCredit(stream: number, bytes: number): Buffer {
  const frame = Buffer.allocUnsafe(nodeHeaderBytes + 4);
  writeHeader(frame, FrameKind.StreamCredit, stream, 4);
  frame.writeUInt32LE(bytes, nodeHeaderBytes);
  return frame;
}

/** A frame whose body is `value`. */
export function encodeValueFrame(kind: number, value: unknown): Buffer {
  const frame = encodeBehind(nodeHeaderBytes, value);
  return writeHeader(frame, kind, 0, frame.length - nodeHeaderBytes);
}

/** Frames that hold `messages` in order: one, unless that would be too long for a frame. Throws `FrameError` when a single message is. */
export function encodeNodeMessages(messages: readonly NodeMessage[]): Buffer[] {
  const frame = encodeValueFrame(FrameKind.Messages, messages);
  if (frame.length - nodeHeaderBytes <= frameBytesMax) return [frame];
  if (messages.length === 1)
    throw new FrameError(`Cannot send a message of ${frame.length} bytes to another node as the limit is ${frameBytesMax}`);
  const middle = messages.length >> 1;
  return [...encodeNodeMessages(messages.slice(0, middle)), ...encodeNodeMessages(messages.slice(middle))];
}

/** The messages of a frame's body. Throws `FrameError` for anything that is not an array of arrays that begin with a number. */
export function decodeNodeMessages(body: Buffer): NodeMessage[] {
  const batch = decodeBounded(body);
  if (!Array.isArray(batch)) throw new FrameError(`Cannot read a frame as a batch of messages: ${typeof batch}`);
  for (const message of batch) {
    if (!Array.isArray(message) || typeof message[0] !== "number")
      throw new FrameError("Cannot read a message as an array that begins with its kind");
  }
  return batch as NodeMessage[];
}
