/**
 * The puller's end of a bulk connection: asks for one object at a time and hands its bytes on as they come.
 *
 * Speed is in how the bytes are read. A Node stream makes a buffer of 64 KiB for each read; here the kernel fills one slice that is used again and
 * again, which takes half the CPU time, and wakes this process for half a slice at once and not for every segment. A socket can be given such a buffer only when it is made, so its handle moves to a
 * new one; where there is no plain handle to move (TLS), the stream is read as it is.
 */
import { Socket } from "node:net";
import type { NodeKey } from "../../../base/ids.ts";
import { native } from "../../../objects/index.ts";
import { decodeAnswer, encodeWant, frameBody, frameBytes, type Want } from "./bulk-messages.ts";
import { fastReadBytes, idleConnectionMs, silenceMaxMs, sliceBytes, wakeBytes } from "./limits.ts";

export type Fetched =
  | { readonly kind: "whole" }
  | { readonly kind: "gone"; readonly reason: string }
  | { readonly kind: "busy"; readonly ask: readonly NodeKey[] }
  /** The connection is of no further use. */
  | { readonly kind: "broken"; readonly reason: string };

export interface FetchSink {
  /** More nodes that have the object. */
  others(holders: readonly NodeKey[]): void;
  /** Borrows `chunk`, the next bytes of the object. What it throws ends the connection and rejects the fetch. */
  write(chunk: Buffer): void;
}

interface Fetch {
  readonly sink: FetchSink;
  bytesLeft: number;
  inBody: boolean;
  resolve(fetched: Fetched): void;
  reject(error: unknown): void;
}

export class BulkConnection {
  private readonly socket: Socket;
  private current: Fetch | null = null;
  private head: Buffer = Buffer.alloc(0);
  private open = true;
  /** Bytes that must have come before a read is tried. */
  private wakesFor = 1;
  /** Called once, when the connection is gone. */
  onClose: () => void = () => {};

  /** Takes `socket`, connected and authenticated, of which nothing has been read that belongs to the transfer. */
  constructor(socket: Socket) {
    this.socket = readInSlices(socket, (chunk) => this.receive(chunk));
    this.socket.on("error", (error) => this.close(error.message));
    this.socket.on("close", () => this.close("the other side closed the connection"));
    this.socket.on("end", () => this.close("the other side ended the connection"));
    this.socket.on("timeout", () =>
      this.close(this.current === null ? "it was idle" : `nothing came for ${silenceMaxMs / 1000} s`),
    );
    this.socket.setNoDelay(true);
    this.socket.setTimeout(idleConnectionMs);
  }

  get isOpen(): boolean {
    return this.open;
  }

  /** Asks for an object, from byte `want.from` on. One at a time. Rejects only with what `sink` throws. */
  fetch(want: Want, sink: FetchSink): Promise<Fetched> {
    if (!this.open) return Promise.resolve({ kind: "broken", reason: "the connection was closed" });
    return new Promise((resolve, reject) => {
      this.current = { sink, bytesLeft: want.location.bytes - want.from, inBody: false, resolve, reject };
      this.socket.setTimeout(silenceMaxMs);
      this.socket.write(encodeWant(want));
    });
  }

  close(reason: string): void {
    if (!this.open) return;
    this.open = false;
    this.socket.destroy();
    const fetch = this.current;
    this.current = null;
    fetch?.resolve({ kind: "broken", reason });
    this.onClose();
  }

  private receive(chunk: Buffer): void {
    try {
      let rest = chunk;
      while (rest.length > 0 && this.open) rest = this.current?.inBody ? this.receiveBody(rest) : this.receiveHead(rest);
    } catch (error) {
      const fetch = this.current;
      this.current = null;
      if ((error as Error).name === "FrameError") fetch?.resolve({ kind: "broken", reason: (error as Error).message });
      else fetch?.reject(error);
      this.close("it cannot be read any further");
    }
  }

  private receiveBody(chunk: Buffer): Buffer {
    const fetch = this.current as Fetch;
    const part = chunk.length <= fetch.bytesLeft ? chunk : chunk.subarray(0, fetch.bytesLeft);
    fetch.sink.write(part);
    fetch.bytesLeft -= part.length;
    this.wakeFor(part.length, fetch.bytesLeft);
    if (fetch.bytesLeft === 0) this.finish({ kind: "whole" });
    return chunk.subarray(part.length);
  }

  /** Where bytes come fast, this process is woken for many at once; what is left at the end must wake it too. */
  private wakeFor(bytesRead: number, bytesLeft: number): void {
    const wanted = Math.max(1, Math.min(bytesLeft, bytesRead >= fastReadBytes ? wakeBytes : this.wakesFor));
    if (wanted === this.wakesFor) return;
    this.wakesFor = wanted;
    const { _handle: handle } = this.socket as unknown as { _handle: { fd: number } | null };
    if (this.socket.constructor === Socket && handle !== null && handle.fd >= 0) native().receiveAtLeast(handle.fd, wanted);
  }

  private receiveHead(chunk: Buffer): Buffer {
    this.head = Buffer.concat([this.head, chunk]); // a copy: the chunk is borrowed
    const wanted = frameBytes(this.head);
    if (wanted === undefined || this.head.length < wanted) return Buffer.alloc(0);
    const answer = decodeAnswer(frameBody(this.head.subarray(0, wanted)));
    const rest = this.head.subarray(wanted);
    this.head = Buffer.alloc(0);
    const fetch = this.current;
    if (fetch === null) {
      this.close("an answer came that nothing was asked for");
      return rest;
    }
    if (answer.kind === "gone" || answer.kind === "busy") this.finish(answer);
    else if (answer.kind === "bytes") {
      fetch.inBody = true;
      fetch.sink.others(answer.others);
      if (fetch.bytesLeft === 0) this.finish({ kind: "whole" });
    }
    return rest;
  }

  private finish(fetched: Fetched): void {
    const fetch = this.current as Fetch;
    this.current = null;
    this.socket.setTimeout(idleConnectionMs);
    fetch.resolve(fetched);
  }
}

/** `socket`, or one that takes its place, from now on read by `receive`, which borrows what it gets. */
function readInSlices(socket: Socket, receive: (chunk: Buffer) => void): Socket {
  const handle = (socket as unknown as { _handle: object | null })._handle;
  if (socket.constructor !== Socket || handle === null) {
    socket.on("data", receive);
    socket.resume();
    return socket;
  }
  socket.pause();
  const early = socket.read() as Buffer | null;
  (socket as unknown as { _handle: object | null })._handle = null;
  socket.removeAllListeners();
  const slice = Buffer.allocUnsafeSlow(sliceBytes);
  const options = {
    handle,
    readable: true,
    writable: true,
    onread: {
      buffer: slice,
      callback: (bytes: number) => {
        receive(slice.subarray(0, bytes));
        return true;
      },
    },
  };
  const fast = new Socket(options as ConstructorParameters<typeof Socket>[0]);
  if (early !== null) setImmediate(() => receive(early));
  fast.read(0);
  return fast;
}
