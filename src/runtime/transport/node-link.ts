/**
 * The authenticated connection of two daemons: their messages, and the streams of their processes.
 *
 * Messages of one turn go out in one frame. Streams take turns, a chunk each, and only while little waits in the socket, so that messages
 * never queue behind more than `linkBufferBytes` of them. A frame that breaks the rules closes the connection with one line and costs the
 * process nothing else.
 */

import type { Socket } from "node:net";
import { clearTimeout, setImmediate, setTimeout } from "../../base/clock.ts";
import type { NodeId } from "../../base/ids.ts";
import { FrameError } from "../../wire/frame.ts";
import { batchMessagesMax, linkBacklogBytesMax, linkBufferBytes, streamChunkBytesMax, streamsMax } from "../../wire/limits.ts";
import {
  decodeNodeMessages,
  encodeCredit,
  encodeNodeMessages,
  encodeTextFrame,
  FrameKind,
  linkLimits,
  type NodeFrame,
  NodeFrameSplitter,
  nodeHeader,
} from "../../wire/node-frame.ts";
import type { NodeMessage } from "../../wire/node-messages.ts";
import { NodeStream, type StreamCarrier } from "./node-stream.ts";

export interface NodeLinkHandlers {
  /** May throw `FrameError` for bad content: closes this connection. */
  onMessages(messages: readonly NodeMessage[], link: NodeLink): void;
  onStream(target: string, stream: NodeStream, link: NodeLink): void;
  /** A message that could not be encoded. */
  onUnsendable(message: NodeMessage, error: Error, link: NodeLink): void;
  /** Called once, however the connection ended. */
  onClose(link: NodeLink, reason: string): void;
}

export interface NodeLinkFacts {
  readonly peer: NodeId;
  /** Which side dialled. */
  readonly dialled: "by us" | "by them";
  /** Names this connection to both sides. */
  readonly connectionId: Buffer;
}

export class NodeLink implements StreamCarrier {
  readonly facts: NodeLinkFacts;
  private readonly socket: Socket;
  private readonly handlers: NodeLinkHandlers;
  private readonly splitter = new NodeFrameSplitter(linkLimits);
  private outgoing: NodeMessage[] = [];
  private flushing = false;
  private corked = false;
  private open = true;
  private readonly streams = new Map<number, NodeStream>();
  /** Streams that could send but for what waits in the socket, in the order of their turns. */
  private readonly waiting = new Set<NodeStream>();
  private nextStream: number;

  /** Takes `socket`, authenticated. Call `start` when ready for what arrives. */
  constructor(socket: Socket, facts: NodeLinkFacts, handlers: NodeLinkHandlers) {
    this.socket = socket;
    this.facts = facts;
    this.handlers = handlers;
    this.nextStream = facts.dialled === "by us" ? 1 : 2;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("drain", () => this.drained());
    socket.on("error", (error) => this.close(error.message));
    socket.on("end", () => this.close("the other side closed the connection"));
    socket.on("close", () => this.close("the other side closed the connection"));
  }

  /** Begins to read; `rest` is what was read beyond the handshake. */
  start(rest: Buffer): void {
    if (rest.length > 0) this.receive(rest);
    if (this.open) this.socket.resume();
  }

  get isOpen(): boolean {
    return this.open;
  }

  get streamCount(): number {
    return this.streams.size;
  }

  // ---------------------------------------------------------------- messages

  /** Takes `message`. Sent at the end of this turn; dropped when the connection is closed. */
  send(message: NodeMessage): void {
    if (!this.open) return;
    this.outgoing.push(message);
    if (this.outgoing.length >= batchMessagesMax) this.flushBatch();
    else if (!this.flushing) {
      this.flushing = true;
      setImmediate(() => this.flush());
    }
  }

  /** Writes what is waiting now. */
  flush(): void {
    this.flushing = false;
    if (this.outgoing.length > 0) this.flushBatch();
  }

  private flushBatch(): void {
    const batch = this.outgoing;
    this.outgoing = [];
    if (!this.open) return;
    for (const frame of this.encode(batch)) this.write(frame);
    if (this.socket.writableLength > linkBacklogBytesMax)
      this.close(`it has not read ${this.socket.writableLength} bytes that wait for it`);
  }

  /** A message that cannot be encoded (a symbol in what a user gave, more bytes than a frame may have) is left out; the others go. */
  private encode(batch: readonly NodeMessage[]): Buffer[] {
    try {
      return encodeNodeMessages(batch);
    } catch (error) {
      if (batch.length > 1) return batch.flatMap((message) => this.encode([message]));
      this.handlers.onUnsendable(batch[0], error as Error, this);
      return [];
    }
  }

  /** Closes after writing what is waiting; the other side learns why. */
  end(reason: string): void {
    if (!this.open) return;
    this.flush();
    if (!this.open) return;
    this.write(encodeTextFrame(FrameKind.Bye, 0, reason));
    const { socket } = this;
    socket.end();
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), 1_000);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
    this.closeWithout(reason);
  }

  /** Closes at once. */
  close(reason: string): void {
    if (!this.open) return;
    this.socket.destroy();
    this.closeWithout(reason);
  }

  private closeWithout(reason: string): void {
    this.open = false;
    this.outgoing = [];
    this.waiting.clear();
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const stream of streams) stream.onReset(`Cannot reach node ${this.facts.peer}: ${reason}`);
    this.handlers.onClose(this, reason);
  }

  // ---------------------------------------------------------------- streams

  /** Carries `stream`, which may hold bytes already, to `target` there. */
  openStream(stream: NodeStream, target: string): void {
    if (this.streams.size >= streamsMax) return void stream.destroy(new Error(`Cannot open a stream as ${streamsMax} are open`));
    while (this.streams.has(this.nextStream)) this.advance();
    const number = this.nextStream;
    this.advance();
    this.streams.set(number, stream);
    this.write(encodeTextFrame(FrameKind.StreamOpen, number, target));
    stream.attach(this, number);
  }

  private advance(): void {
    this.nextStream += 2;
    if (this.nextStream > 0xffff_ffff) this.nextStream = this.facts.dialled === "by us" ? 1 : 2;
  }

  pump(stream: NodeStream): void {
    if (!this.open) return;
    while (stream.canSend) {
      if (this.socket.writableLength > linkBufferBytes) return void this.waiting.add(stream);
      this.sendChunk(stream);
    }
    if (!stream.canEnd) return;
    this.write(nodeHeader(FrameKind.StreamEnd, stream.number, 0));
    stream.ended();
  }

  private sendChunk(stream: NodeStream): void {
    const chunk = stream.nextChunk(streamChunkBytesMax);
    if (chunk === null) return;
    this.write(nodeHeader(FrameKind.StreamData, stream.number, chunk.length));
    this.write(chunk);
    stream.chunkSent();
  }

  sendCredit(stream: NodeStream, bytes: number): void {
    if (this.open) this.write(encodeCredit(stream.number, bytes));
  }

  closed(stream: NodeStream, reason: string | null): void {
    this.waiting.delete(stream);
    if (this.streams.get(stream.number) !== stream) return;
    this.streams.delete(stream.number);
    if (reason !== null && this.open) this.write(encodeTextFrame(FrameKind.StreamReset, stream.number, reason));
  }

  /** The socket took all: the streams that waited send a chunk each in turn, until enough waits again. */
  private drained(): void {
    while (this.open && this.waiting.size > 0 && this.socket.writableLength <= linkBufferBytes) {
      const [stream] = this.waiting;
      this.waiting.delete(stream);
      this.sendChunk(stream);
      if (stream.canSend) this.waiting.add(stream);
      else this.pump(stream);
    }
  }

  /** Frames of one turn go out in one system call. */
  private write(bytes: Buffer): void {
    if (!this.corked) {
      this.corked = true;
      this.socket.cork();
      setImmediate(() => {
        this.corked = false;
        this.socket.uncork();
      });
    }
    this.socket.write(bytes);
  }

  // ---------------------------------------------------------------- what arrives

  private receive(chunk: Buffer): void {
    if (!this.open) return;
    try {
      this.splitter.push(chunk, (frame) => {
        if (this.open) this.onFrame(frame);
      });
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.end(error.message);
    }
  }

  private onFrame({ kind, stream: number, body }: NodeFrame): void {
    if (kind === FrameKind.Messages) return this.handlers.onMessages(decodeNodeMessages(body), this);
    if (kind === FrameKind.Bye) return this.close(`it says: ${textOf(body)}`);
    if (kind === FrameKind.StreamOpen) return this.accept(number, body);
    // A stream that is over here may still be spoken of by frames that were under way.
    const stream = this.streams.get(number);
    if (stream === undefined) return;
    if (kind === FrameKind.StreamData) stream.onData(body);
    else if (kind === FrameKind.StreamEnd) stream.onEnd();
    else if (kind === FrameKind.StreamCredit) {
      if (body.length !== 4) throw new FrameError(`Cannot read a credit of ${body.length} bytes`);
      stream.onCredit(body.readUInt32LE(0));
    } else {
      this.streams.delete(number);
      this.waiting.delete(stream);
      stream.onReset(textOf(body));
    }
  }

  private accept(number: number, body: Buffer): void {
    const theirs = this.facts.dialled === "by us" ? 0 : 1;
    if (number === 0 || number % 2 !== theirs || this.streams.has(number))
      throw new FrameError(`Cannot open stream ${number} as the number is not free to the other side`);
    if (this.streams.size >= streamsMax)
      return this.write(encodeTextFrame(FrameKind.StreamReset, number, `Cannot open a stream as ${streamsMax} are open`));
    const stream = new NodeStream();
    this.streams.set(number, stream);
    stream.attach(this, number);
    this.handlers.onStream(textOf(body), stream, this);
  }
}

/** Text from another node, printable. */
const textOf = (body: Buffer): string => body.toString("utf8").replace(/[^\x20-\x7e]/g, "?");
