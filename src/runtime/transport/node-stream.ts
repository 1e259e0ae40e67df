/**
 * One stream of bytes between two processes, carried by the connection of their daemons.
 *
 * Credit keeps streams apart: a sender may have `streamWindowBytes` under way or unread; the receiver gives credit back as its reader
 * takes bytes. So a reader that stalls fills its own window and nothing else. Ending one direction leaves the other open, as on a socket.
 */
import { Duplex } from "node:stream";
import { FrameError } from "../../wire/frame.ts";
import { streamWindowBytes } from "../../wire/limits.ts";

/** What a stream needs of its connection. */
export interface StreamCarrier {
  /** The stream has bytes to send, or ended; the carrier sends what `nextChunk` gives. */
  pump(stream: NodeStream): void;
  sendCredit(stream: NodeStream, bytes: number): void;
  /** The stream is over here; `reason` null when both directions had ended in order. */
  closed(stream: NodeStream, reason: string | null): void;
}

/** Below this a chunk is copied on arrival, so that a few bytes do not hold the whole buffer that they were read in. */
const copyBelowBytes = 4 * 1024;

export class NodeStream extends Duplex {
  /** Number on the connection; set by the carrier. */
  number = 0;
  private carrier: StreamCarrier | null = null;
  /** Bytes that we may send. */
  private sendCredit = streamWindowBytes;
  /** Bytes that the other side may send. */
  private receiveCredit = streamWindowBytes;
  private outgoing: { chunk: Buffer; at: number; done: (error?: Error | null) => void } | null = null;
  private ending: ((error?: Error | null) => void) | null = null;
  private endSent = false;
  private endReceived = false;
  /** The other side takes nothing more; what it sent before is still to be read. */
  private unread = false;
  private over = false;

  constructor() {
    super({ allowHalfOpen: true, readableHighWaterMark: streamWindowBytes / 4, writableHighWaterMark: streamWindowBytes / 4 });
    // Whoever uses the stream may listen as well; nobody's oversight ends the process.
    this.on("error", () => {});
    this.once("end", () => {
      if (this.unread) this.destroy();
    });
  }

  /** Called by the carrier once it is there. */
  attach(carrier: StreamCarrier, number: number): void {
    this.carrier = carrier;
    this.number = number;
    if (this.outgoing !== null || this.ending !== null) carrier.pump(this);
  }

  // ---------------------------------------------------------------- sending

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.unread || chunk.length === 0) return done();
    this.outgoing = { chunk, at: 0, done };
    this.carrier?.pump(this);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.ending = done;
    this.carrier?.pump(this);
  }

  /** Small writes that wait together go out together. */
  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), "buffer", done);
  }

  /** Up to `bytesMax` bytes to send now; null when there is nothing or no credit. Call `chunkSent` when they are on their way. */
  nextChunk(bytesMax: number): Buffer | null {
    const out = this.outgoing;
    if (out === null || this.sendCredit === 0) return null;
    const end = Math.min(out.chunk.length, out.at + bytesMax, out.at + this.sendCredit);
    const part = out.chunk.subarray(out.at, end);
    this.sendCredit -= part.length;
    out.at = end;
    return part;
  }

  /** Lets the writer go on when all it wrote is sent; that may write more at once. */
  chunkSent(): void {
    const out = this.outgoing;
    if (out === null || out.at < out.chunk.length) return;
    this.outgoing = null;
    out.done();
  }

  /** There is something that could be sent at once. */
  get canSend(): boolean {
    return this.outgoing !== null && this.sendCredit > 0;
  }

  /** All is sent, and the end is next. */
  get canEnd(): boolean {
    return this.ending !== null && this.outgoing === null;
  }

  ended(): void {
    const done = this.ending;
    this.ending = null;
    this.endSent = true;
    done?.();
  }

  // ---------------------------------------------------------------- receiving

  override _read(): void {
    this.returnCredit();
  }

  /** Throws `FrameError` when the other side sends more than it may, or after its end. */
  onData(body: Buffer): void {
    if (this.endReceived) throw new FrameError(`Cannot take data of stream ${this.number} as it had ended`);
    if (body.length > this.receiveCredit)
      throw new FrameError(`Cannot take ${body.length} bytes of stream ${this.number} as its credit is ${this.receiveCredit}`);
    this.receiveCredit -= body.length;
    if (body.length > 0 && !this.destroyed) this.push(body.length < copyBelowBytes ? Buffer.from(body) : body);
  }

  onEnd(): void {
    if (this.endReceived) throw new FrameError(`Cannot end stream ${this.number} twice`);
    this.endReceived = true;
    this.push(null);
  }

  onCredit(bytes: number): void {
    if (bytes > streamWindowBytes - this.sendCredit)
      throw new FrameError(`Cannot give stream ${this.number} ${bytes} bytes of credit as that is more than its window`);
    this.sendCredit += bytes;
    this.carrier?.pump(this);
  }

  /** The other side is gone. What it sent and ended in order is still read. */
  onReset(reason: string): void {
    this.over = true;
    if (this.endReceived && !this.readableEnded && !this.destroyed) {
      this.unread = true;
      const out = this.outgoing;
      this.outgoing = null;
      out?.done();
      this.ending?.();
      this.ending = null;
      return;
    }
    this.destroy(reason === "" ? undefined : new Error(reason));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const inOrder = this.endSent && this.endReceived;
    const out = this.outgoing;
    this.outgoing = null;
    this.ending = null;
    if (!this.over) this.carrier?.closed(this, inOrder ? null : (error?.message ?? ""));
    this.over = true;
    out?.done(error ?? new Error("Cannot write to a stream as it is closed"));
    done(error);
  }

  /** Gives back what the reader has taken, half a window at a time. */
  private returnCredit(): void {
    if (this.carrier === null || this.over || this.endReceived) return;
    const bytes = streamWindowBytes - this.receiveCredit - this.readableLength;
    if (bytes < streamWindowBytes / 2) return;
    this.receiveCredit += bytes;
    this.carrier.sendCredit(this, bytes);
  }
}
