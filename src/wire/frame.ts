/**
 * Frames: 4 bytes body length (little endian), 1 byte kind, 1 byte destination length, destination (ASCII), body.
 * Every process speaks this on every connection. A splitter turns a byte stream into frames without copying a frame that lies
 * whole in one chunk.
 */
import { destinationBytesMax, frameBytesMax } from "./limits.ts";

/** The body is a MessagePack array of messages. */
export const frameKindBatch = 1;

export const frameHeaderBytes = 6;

/** The bytes cannot be a frame. Closes the connection it came from, nothing else. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

export interface Frame {
  readonly kind: number;
  readonly destination: string;
  /** Borrowed: valid until the handler returns. */
  readonly body: Buffer;
}

/** Cuts a stream of chunks into frames. */
export class FrameSplitter {
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private wantedBytes = frameHeaderBytes;

  /** Calls `onFrame` for each whole frame. Throws `FrameError` when a header is out of bounds; the stream is then useless. */
  push(chunk: Buffer, onFrame: (frame: Frame) => void): void {
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
    while (data.length - at >= frameHeaderBytes) {
      const bodyBytes = data.readUInt32LE(at);
      const kind = data[at + 4];
      const destinationBytes = data[at + 5];
      if (bodyBytes > frameBytesMax)
        throw new FrameError(`Cannot read a frame of ${bodyBytes} bytes as the limit is ${frameBytesMax}`);
      if (destinationBytes > destinationBytesMax)
        throw new FrameError(
          `Cannot read a frame whose destination has ${destinationBytes} bytes as the limit is ${destinationBytesMax}`,
        );
      if (kind !== frameKindBatch) throw new FrameError(`Cannot read a frame of unknown kind ${kind}`);
      const bodyStart = at + frameHeaderBytes + destinationBytes;
      const end = bodyStart + bodyBytes;
      if (end > data.length) {
        this.wantedBytes = end - at;
        break;
      }
      const destination = destinationBytes === 0 ? "" : data.toString("latin1", at + frameHeaderBytes, bodyStart);
      onFrame({ kind, destination, body: data.subarray(bodyStart, end) });
      at = end;
      this.wantedBytes = frameHeaderBytes;
    }
    if (at < data.length) {
      this.pending.push(at === 0 ? data : data.subarray(at));
      this.pendingBytes = data.length - at;
    }
  }
}

/** Writes a frame header for a body of `bodyBytes` into `target` at 0; returns the header's length. */
export function writeFrameHeader(target: Buffer, bodyBytes: number, destination: string): number {
  target.writeUInt32LE(bodyBytes, 0);
  target[4] = frameKindBatch;
  target[5] = destination.length;
  if (destination.length > 0) target.write(destination, frameHeaderBytes, "latin1");
  return frameHeaderBytes + destination.length;
}
