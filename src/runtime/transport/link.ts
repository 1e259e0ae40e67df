/**
 * A connection to another process: messages out in batches, batches in as messages.
 *
 * All messages sent in one turn of the event loop go out in one write: the cost of a message is then its encoding, not a system call.
 * A frame that cannot be decoded closes this connection with one line and costs the process nothing else.
 */

import type { Socket } from "node:net";
import { setImmediate } from "../../base/clock.ts";
import { batchMessagesMax, decodeBatch, encodeBatch, FrameSplitter } from "../../wire/index.ts";
import type { AnyMessage } from "../../wire/messages.ts";

export interface LinkHandlers {
  /** One batch as it arrived; must not throw for bad content: return after `link.fail(reason)`. */
  onMessages(messages: readonly AnyMessage[], link: Link): void;
  /** Called once, however the connection ended. */
  onClose(link: Link, reason: string): void;
}

export class Link {
  readonly socket: Socket;
  /** Whatever the layer above wants to remember about the peer. */
  peer = "";
  /** Ids of the task definitions already sent on this connection. */
  readonly definitionsSent = new Set<number>();
  private outgoing: AnyMessage[] = [];
  private flushing = false;
  private open = true;
  private readonly handlers: LinkHandlers;
  private readonly splitter = new FrameSplitter();
  private readonly flushNow = (): void => this.flush();

  constructor(socket: Socket, handlers: LinkHandlers) {
    this.socket = socket;
    this.handlers = handlers;
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("error", (error) => this.close(error.message));
    socket.on("close", () => this.close("the other side closed the connection"));
  }

  get isOpen(): boolean {
    return this.open;
  }

  /** Takes `message`. Sent at the end of this turn; dropped when the connection is closed. */
  send(message: AnyMessage): void {
    if (!this.open) return;
    this.outgoing.push(message);
    if (!this.flushing) {
      this.flushing = true;
      setImmediate(this.flushNow);
    } else if (this.outgoing.length >= batchMessagesMax) this.flushBatch();
  }

  /** Writes what is waiting now. */
  flush(): void {
    this.flushing = false;
    if (this.outgoing.length > 0) this.flushBatch();
  }

  /** Closes after writing what is waiting. */
  end(): void {
    this.flush();
    this.socket.end();
  }

  /** Closes at once and reports `reason` to `onClose`. */
  fail(reason: string): void {
    this.close(reason);
  }

  private flushBatch(): void {
    const batch = this.outgoing;
    this.outgoing = [];
    if (!this.open) return;
    this.socket.write(encodeBatch(batch));
  }

  private receive(chunk: Buffer): void {
    try {
      this.splitter.push(chunk, (frame) => {
        if (this.open) this.handlers.onMessages(decodeBatch(frame.body), this);
      });
    } catch (error) {
      if ((error as Error).name !== "FrameError") throw error;
      this.close((error as Error).message);
    }
  }

  private close(reason: string): void {
    if (!this.open) return;
    this.open = false;
    this.outgoing = [];
    this.socket.destroy();
    this.handlers.onClose(this, reason);
  }
}
