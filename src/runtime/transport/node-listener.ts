/**
 * The port that other nodes reach this one on. Whoever connects is a stranger until the handshake is through: strangers are few, known
 * for ten seconds at most, and each that is refused is one line in the log.
 */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { RefusalCode } from "../../wire/handshake.ts";
import { handshakeMs, strangersMax } from "../../wire/limits.ts";
import { type AcceptRules, acceptHandshake, type Handshaken, type Identity, sayRefused } from "./handshake.ts";
import { Refusal } from "./handshake-reader.ts";
import { certificateTrouble, type LoadedTls, serverTls } from "./node-tls.ts";
import type { RefusalLog } from "./refusal-log.ts";

interface Stranger {
  readonly from: string;
  readonly raw: Socket;
  /** Ends its handshake; until that began there is only the socket. */
  refuse: ((refusal: Refusal) => void) | null;
  /** Refused already, and said so. */
  said: boolean;
}

export interface ListenerRules {
  readonly decide: AcceptRules["decide"];
  /** Takes the socket, authenticated and paused. */
  onAccepted(socket: Socket, result: Handshaken): void;
}

export class NodeListener {
  private readonly self: Identity;
  private readonly rules: ListenerRules;
  private readonly refusals: RefusalLog;
  private readonly server: Server;
  /** In the order they came. By address and port, by which a TLS socket and the socket under it are matched. */
  private readonly strangers = new Map<string, Stranger>();
  private readonly timeoutMs: number;

  constructor(self: Identity, tls: LoadedTls | null, rules: ListenerRules, refusals: RefusalLog, timeoutMs = handshakeMs) {
    this.self = self;
    this.rules = rules;
    this.refusals = refusals;
    this.timeoutMs = timeoutMs;
    if (tls === null) {
      this.server = createServer((socket) => {
        const stranger = this.meet(socket);
        if (stranger !== null) void this.accept(socket, stranger);
      });
      return;
    }
    const server = createTlsServer({ ...serverTls(tls), handshakeTimeout: timeoutMs });
    server.on("connection", (raw: Socket) => this.meet(raw));
    server.on("secureConnection", (socket) => {
      const stranger = this.strangers.get(nameOf(socket));
      const trouble = certificateTrouble(socket);
      if (stranger === undefined) socket.destroy();
      else if (trouble === null) void this.accept(socket, stranger);
      else {
        this.say(stranger, trouble);
        sayRefused(socket, new Refusal(RefusalCode.Other, trouble));
      }
    });
    server.on("tlsClientError", (error, socket) => {
      socket.on("error", () => {});
      const stranger = this.strangers.get(nameOf(socket));
      if (stranger !== undefined && stranger.raw.bytesRead > 0) this.say(stranger, tlsTrouble(error));
      socket.destroy();
    });
    this.server = server;
  }

  /** Connections that have not proved themselves. */
  get strangerCount(): number {
    return this.strangers.size;
  }

  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void =>
        reject(new Error(`Cannot listen for other nodes on ${host}:${port}: ${error.message}`, { cause: error }));
      this.server.once("error", failed);
      this.server.listen({ host, port, backlog: 1024 }, () => {
        this.server.off("error", failed);
        // Out of descriptors, for one: later connections come in again when there are some.
        this.server.on("error", (error) => this.refusals.refused("somebody", error.message));
        resolve((this.server.address() as AddressInfo).port);
      });
    });
  }

  close(): Promise<void> {
    for (const { raw } of this.strangers.values()) raw.destroy();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private meet(raw: Socket): Stranger | null {
    raw.on("error", () => {});
    const from = nameOf(raw);
    // Gone before it was looked at.
    if (raw.remotePort === undefined) {
      raw.destroy();
      return null;
    }
    const stranger: Stranger = { from, raw, refuse: null, said: false };
    this.strangers.set(from, stranger);
    raw.once("close", () => {
      if (this.strangers.get(from) === stranger) this.strangers.delete(from);
    });
    if (this.strangers.size > strangersMax) this.makeRoom();
    return stranger;
  }

  private makeRoom(): void {
    const [oldest] = this.strangers.values();
    this.strangers.delete(oldest.from);
    const text = `it had not finished the handshake, and more than ${strangersMax} others are waiting`;
    if (oldest.refuse !== null) oldest.refuse(new Refusal(RefusalCode.Busy, text, { understood: false }));
    else {
      this.say(oldest, text);
      oldest.raw.destroy();
    }
  }

  private async accept(socket: Socket, stranger: Stranger): Promise<void> {
    try {
      await acceptHandshake(
        socket,
        this.self,
        {
          onStarted: (refuse) => {
            stranger.refuse = refuse;
          },
          decide: (...about) => this.rules.decide(...about),
          onAccepted: (result) => {
            this.strangers.delete(stranger.from);
            this.rules.onAccepted(socket, result);
          },
        },
        this.timeoutMs,
      );
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (!error.quiet) this.say(stranger, error.message);
    }
  }

  private say(stranger: Stranger, reason: string): void {
    if (stranger.said) return;
    stranger.said = true;
    this.refusals.refused(stranger.from, reason);
  }
}

const nameOf = (socket: Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;

/** What went wrong before there was a TLS connection, in words. */
function tlsTrouble(error: NodeJS.ErrnoException & { reason?: string }): string {
  const reason = error.reason ?? error.message;
  if (/wrong version number|http request|unsupported protocol|packet length too long/i.test(reason))
    return `it does not speak TLS, which this node requires (${reason})`;
  return `TLS: ${reason.trim()}`;
}
