/**
 * The holder's end of bulk connections: sends objects of this node's store to the nodes that ask.
 *
 * An object that many want at once is sent to two at a time. The others are told of those two, and of whoever has had it before: by the time they ask
 * there, the copy is whole or nearly so, and whoever asks for a copy still on its way waits in line for it. So what one node makes
 * reaches n others in about log n rounds, and no line carries more than two of them at once.
 */
import { read } from "node:fs";
import type { Socket } from "node:net";
import { promisify } from "node:util";
import { type NodeId, type NodeKey, nodeKeyOf } from "../../../base/ids.ts";
import { copyLocation, holderOf, type ObjectStore, type OpenSegment, SegmentMissing } from "../../../objects/index.ts";
import { FrameSplitter } from "../../../wire/index.ts";
import { type Answer, decodeWant, encodeAnswer, type Want } from "./bulk-messages.ts";
import { Holders } from "./holders.ts";
import {
  bulkMessageBytesMax,
  idleConnectionMs,
  silenceMaxMs,
  sliceBytes,
  slicesInFlight,
  stillWaitingMs,
  transfersMax,
  transfersPerObjectMax,
  waitingMax,
} from "./limits.ts";

const readFile = promisify(read);

export interface BulkServerHandlers {
  /** Settles when this node's own pull of `copy`, if one is under way, is over; else `undefined`. */
  pulling(copy: Location): Promise<unknown> | undefined;
  /** A line for the log. */
  report(text: string): void;
}

type Location = Want["location"];

export interface ServeStats {
  readonly served: number;
  readonly bytesServed: number;
  readonly sentOn: number;
  readonly serving: number;
}

/** A peer's connection and what it asked for last. */
interface Client {
  readonly key: NodeKey;
  readonly socket: Socket;
  readonly frames: FrameSplitter;
  want: Want | null;
  /** Name common to all copies of what it asked for. */
  object: string;
  /** Tells it every few seconds that it has not been forgotten, while it waits. */
  reminder: NodeJS.Timeout | undefined;
}

export class BulkServer {
  private readonly self: NodeKey;
  private readonly store: ObjectStore;
  private readonly handlers: BulkServerHandlers;
  private readonly holders = new Holders();
  private readonly clients = new Set<Client>();
  /** Who is being sent, or waits for this node's own copy of, each object. */
  private readonly takers = new Map<string, Set<Client>>();
  /** In line for a place, first come first served. */
  private readonly line: Client[] = [];
  private serving = 0;
  private served = 0;
  private bytesServed = 0;
  private sentOn = 0;

  constructor(self: NodeKey, store: ObjectStore, handlers: BulkServerHandlers) {
    this.self = self;
    this.store = store;
    this.handlers = handlers;
  }

  stats(): ServeStats {
    const { served, bytesServed, sentOn, serving } = this;
    return { served, bytesServed, sentOn, serving };
  }

  /** Takes an authenticated connection of the node `from`. */
  accept(from: NodeId, socket: Socket): void {
    const client: Client = {
      key: nodeKeyOf(from),
      socket,
      frames: new FrameSplitter(),
      want: null,
      object: "",
      reminder: undefined,
    };
    this.clients.add(client);
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.receive(client, chunk));
    socket.on("error", () => this.forget(client));
    socket.on("close", () => this.forget(client));
    socket.on("timeout", () => socket.destroy());
    socket.setTimeout(idleConnectionMs * 2); // the other side, which knows of it first, closes what is idle
    socket.resume();
  }

  nodeDied(key: NodeKey): void {
    this.holders.forget(key);
    for (const client of this.clients) if (client.key === key) client.socket.destroy();
  }

  close(): void {
    for (const client of this.clients) client.socket.destroy();
  }

  private receive(client: Client, chunk: Buffer): void {
    try {
      if (chunk.length > bulkMessageBytesMax) throw new Error(`it sent ${chunk.length} bytes at once`);
      client.frames.push(chunk, ({ body }) => {
        if (client.want !== null) throw new Error("it asked again before it was answered");
        client.want = decodeWant(body);
        client.object = copyLocation(client.want.location, "" as NodeKey).name;
        client.socket.setTimeout(silenceMaxMs);
        this.consider(client, false);
      });
    } catch (error) {
      this.handlers.report(`Cannot go on serving objects to node ${client.key}: ${(error as Error).message}`);
      client.socket.destroy();
    }
  }

  /** Serves the client, sends it on, or lets it wait. */
  private consider(client: Client, fromLine: boolean): void {
    const { location } = client.want as Want;
    if (holderOf(location) !== this.self)
      return this.answer(client, { kind: "gone", reason: `node ${this.self} is not the one that wrote it` });
    const takers = this.takers.get(client.object);
    if (takers !== undefined && takers.size >= transfersPerObjectMax) {
      const ask = this.holders.of(
        client.object,
        [...takers].map((taker) => taker.key),
        client.key,
      );
      if (ask.length > 0 && !fromLine) {
        this.sentOn += 1;
        return this.answer(client, { kind: "busy", ask });
      }
      return this.wait(client);
    }
    const pulling = this.handlers.pulling(location);
    if (pulling === undefined && this.serving >= transfersMax) return this.wait(client);
    if (takers === undefined) this.takers.set(client.object, new Set([client]));
    else takers.add(client);
    if (pulling === undefined) return void this.serve(client);
    this.remind(client);
    pulling.then(() => {
      clearInterval(client.reminder);
      if (this.clients.has(client)) this.serve(client);
      else this.leave(client);
    });
  }

  private wait(client: Client): void {
    if (this.line.length >= waitingMax) return this.answer(client, { kind: "busy", ask: [] });
    this.line.push(client);
    this.remind(client);
  }

  private remind(client: Client): void {
    clearInterval(client.reminder);
    client.reminder = setInterval(() => client.socket.write(encodeAnswer({ kind: "wait" })), stillWaitingMs);
    client.reminder.unref();
  }

  private async serve(client: Client): Promise<void> {
    const { location, from } = client.want as Want;
    this.serving += 1;
    let segment: OpenSegment | undefined;
    let reason = "";
    try {
      segment = this.store.open(location);
      const others = this.holders.of(client.object, [], client.key);
      client.socket.write(encodeAnswer({ kind: "bytes", others }));
      await this.send(client, segment, from);
      this.served += 1;
      this.holders.add(client.object, client.key);
    } catch (error) {
      reason = (error as Error).message;
      if (!(error instanceof SegmentMissing)) {
        if (this.clients.has(client))
          this.handlers.report(`Cannot serve object '${location.name}' to node ${client.key}: ${reason}`);
        client.socket.destroy();
      }
    } finally {
      segment?.close();
      this.serving -= 1;
      this.leave(client);
    }
    if (segment === undefined) this.answer(client, { kind: "gone", reason });
    else this.answered(client);
    this.callNext();
  }

  /** Sends the object's bytes from `from` on: the next slice is read while those before it are written. */
  private async send(client: Client, segment: OpenSegment, from: number): Promise<void> {
    const slices = Array.from({ length: Math.min(slicesInFlight, Math.ceil((segment.bytes - from) / sliceBytes)) }, () =>
      Buffer.allocUnsafeSlow(Math.min(sliceBytes, segment.bytes - from)),
    );
    const written: Promise<void>[] = slices.map(() => Promise.resolve());
    for (let at = from, i = 0; at < segment.bytes; i = (i + 1) % slices.length) {
      await written[i];
      const slice = slices[i];
      const wanted = Math.min(slice.length, segment.bytes - at);
      const { bytesRead } = await readFile(segment.fd, slice, 0, wanted, segment.offset + at);
      if (bytesRead === 0) throw new Error(`its file ended at byte ${at} of ${segment.bytes}`);
      at += bytesRead;
      written[i] = write(client.socket, slice.subarray(0, bytesRead));
      written[i].catch(() => {}); // seen by whoever awaits it; the loop may have ended by another
      this.bytesServed += bytesRead;
    }
    await Promise.all(written);
  }

  private answer(client: Client, answer: Answer): void {
    client.socket.write(encodeAnswer(answer));
    this.answered(client);
  }

  private answered(client: Client): void {
    client.want = null;
    client.socket.setTimeout(idleConnectionMs * 2);
  }

  private leave(client: Client): void {
    const takers = this.takers.get(client.object);
    takers?.delete(client);
    if (takers?.size === 0) this.takers.delete(client.object);
  }

  /** A place is free: who waits in line is looked at again. */
  private callNext(): void {
    for (const client of this.line.splice(0)) {
      clearInterval(client.reminder);
      this.consider(client, true);
    }
  }

  private forget(client: Client): void {
    if (!this.clients.delete(client)) return;
    client.socket.destroy();
    clearInterval(client.reminder);
    const at = this.line.indexOf(client);
    if (at >= 0) this.line.splice(at, 1);
  }
}

function write(socket: Socket, slice: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) return reject(new Error("the connection is closed"));
    socket.write(slice, (error) => (error ? reject(error) : resolve()));
  });
}
