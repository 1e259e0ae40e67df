/** Reads single frames from a socket before it is handed to whoever uses the connection. Reads nothing ahead of what is asked for. */

import type { Duplex } from "node:stream";
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { FrameError } from "../../wire/frame.ts";
import { looksLikeHello, RefusalCode } from "../../wire/handshake.ts";
import { type BodyLimits, handshakeLimits, type NodeFrame, nodeHeaderBytes, readFrame } from "../../wire/node-frame.ts";

/** The connection does not come to be. `code` decides what the other side is told and what error the dialling side throws. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: RefusalCode;
  /** It said itself why it closes, or closed without having said anything: nothing to log. */
  readonly quiet: boolean;
  /** The other side speaks our protocol, in whatever version, and can read a refusal. */
  readonly understood: boolean;
  /** The same as the other side is to read it, where that differs: "it" is this node there. */
  readonly toPeer: string;
  constructor(code: RefusalCode, text: string, how: { quiet?: boolean; understood?: boolean; toPeer?: string } = {}) {
    super(text);
    this.code = code;
    this.toPeer = how.toPeer ?? `it says: ${text}`;
    this.quiet = how.quiet ?? false;
    this.understood = how.understood ?? true;
  }
}

export class HandshakeReader {
  private readonly socket: Duplex;
  private buffered: Buffer = Buffer.alloc(0);
  private failure: Error | null = null;
  private anything = false;
  /** Nothing has been read yet: what comes may be anything. */
  private first: boolean;
  private waiting: { limits: BodyLimits; resolve(frame: NodeFrame): void; reject(error: Error): void } | null = null;
  private readonly timer: NodeJS.Timeout;

  constructor(socket: Duplex, timeoutMs: number, first = true) {
    this.socket = socket;
    this.first = first;
    this.timer = setTimeout(() => {
      this.fail(new Refusal(RefusalCode.Other, `it did not finish the handshake within ${timeoutMs} ms`, { understood: false }));
    }, timeoutMs);
    this.timer.unref();
    socket.pause();
    socket.on("data", this.onData);
    socket.on("end", this.onEnd);
    socket.on("close", this.onEnd);
    socket.on("error", this.onError);
  }

  /** The next frame. Rejects with a `Refusal` when it is none, when the connection ends, or when the time is up. */
  next(limits: BodyLimits = handshakeLimits): Promise<NodeFrame> {
    return new Promise((resolve, reject) => {
      if (this.failure !== null) return reject(this.failure);
      this.waiting = { limits, resolve, reject };
      this.parse();
      if (this.waiting !== null) this.socket.resume();
    });
  }

  fail(error: Error): void {
    this.failure ??= error;
    const waiting = this.waiting;
    this.waiting = null;
    waiting?.reject(this.failure);
  }

  /** Lets go of the socket, paused; returns what was read beyond the last frame. */
  release(): Buffer {
    clearTimeout(this.timer);
    this.socket.pause();
    this.socket.off("data", this.onData);
    this.socket.off("end", this.onEnd);
    this.socket.off("close", this.onEnd);
    this.socket.off("error", this.onError);
    return this.buffered;
  }

  private readonly onData = (chunk: Buffer): void => {
    this.anything = true;
    this.buffered = this.buffered.length === 0 ? chunk : Buffer.concat([this.buffered, chunk]);
    this.parse();
  };

  private readonly onEnd = (): void => {
    const text = this.anything ? "it closed the connection during the handshake" : "it closed the connection without a word";
    this.fail(new Refusal(RefusalCode.Other, text, { quiet: !this.anything, understood: false }));
  };

  private readonly onError = (error: Error): void => {
    this.fail(new Refusal(RefusalCode.Other, `the connection broke: ${error.message}`, { understood: false }));
  };

  private parse(): void {
    const waiting = this.waiting;
    if (waiting === null) return void this.socket.pause();
    try {
      if (this.first) this.checkStart();
      const frame = readFrame(this.buffered, 0, waiting.limits);
      if (typeof frame === "number") return;
      this.buffered = this.buffered.subarray(nodeHeaderBytes + frame.body.length);
      this.first = false;
      this.waiting = null;
      this.socket.pause();
      waiting.resolve(frame);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.fail(new Refusal(RefusalCode.Other, whatItSpeaks(this.buffered) ?? error.message, { understood: !this.first }));
    }
  }

  /** Refuses as soon as the bytes cannot become a frame of ours, not when enough of them have come. */
  private checkStart(): void {
    const bytes = this.buffered;
    const refusal = bytes.length > 4 && bytes[4] === 2;
    const longLength = bytes.length >= 4 && bytes.readUInt32LE(0) > 0xffff;
    if (longLength || (!refusal && !looksLikeHello(bytes, nodeHeaderBytes)))
      throw new FrameError("it does not speak the protocol of Shoal's nodes");
  }
}

/** What a stranger's first bytes look like, when they are of a kind that people connect by mistake. */
function whatItSpeaks(bytes: Buffer): string | null {
  const start = bytes.toString("latin1", 0, 8);
  if (/^(GET|POST|PUT|HEAD|OPTIONS|PRI|CONNECT) /.test(start)) return "it speaks HTTP";
  if (start.startsWith("SSH-")) return "it speaks SSH";
  if ((bytes[0] === 0x16 || bytes[0] === 0x15) && bytes[1] === 0x03) return "it speaks TLS, which is not switched on here";
  return null;
}
