/**
 * Connections to other processes. Each listens on a socket of its own; a pair of processes uses one connection for all it has to say,
 * whoever dialled first, so that what one says in order arrives in order. Processes of other nodes are reached through the daemon.
 */
import { rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type NodeKey, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import { Kind, protocolVersion } from "../../wire/index.ts";
import type { PeerMessage } from "../../wire/messages.ts";
import { Link } from "../transport/link.ts";
import { connectThroughRelay } from "../transport/relay.ts";

export interface PeerHandlers {
  onMessages(from: WorkerId, messages: readonly PeerMessage[], link: Link): void;
  onGone(peer: WorkerId, reason: string): void;
}

export class Peers {
  private readonly self: WorkerId;
  private readonly sessionDir: string;
  private readonly handlers: PeerHandlers;
  private readonly links = new Map<WorkerId, Link>();
  /** Accepted, not yet introduced. */
  private readonly strangers = new Set<Link>();
  private server: Server | null = null;
  private socketPath = "";

  constructor(self: WorkerId, sessionDir: string, handlers: PeerHandlers) {
    this.self = self;
    this.sessionDir = sessionDir;
    this.handlers = handlers;
  }

  /** Starts listening; resolves when other processes can connect. */
  listen(socketPath: string): Promise<void> {
    this.socketPath = socketPath;
    const server = createServer((socket) => this.accept(socket));
    this.server = server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(socketPath, () => {
        server.removeListener("error", reject);
        server.unref();
        resolve();
      });
    });
  }

  /** The connection to a process, dialled when there is none. Messages may be sent on it at once. `address` is that of a process of this node. */
  to(peer: WorkerId, address: string): Link {
    const known = this.links.get(peer);
    if (known !== undefined) return known;
    const link = new Link(this.dial(peer, address), {
      onMessages: (messages) => this.handlers.onMessages(peer, messages as readonly PeerMessage[], link),
      onClose: (_link, reason) => this.gone(peer, link, reason),
    });
    link.peer = peer;
    link.socket.unref();
    this.links.set(peer, link);
    link.send([Kind.Hello, { version: protocolVersion, id: this.self, address: this.socketPath }]);
    return link;
  }

  /** Who a process is says where it is. */
  private dial(peer: WorkerId, address: string): Socket {
    return nodeKeyOf(peer) === nodeKeyOf(this.self) ? connect(address) : connectThroughRelay(this.sessionDir, peer);
  }

  /** The connection to a process if there is one. */
  existing(peer: WorkerId): Link | undefined {
    return this.links.get(peer);
  }

  /** Processes of the node that there are connections to. */
  of(node: NodeKey): WorkerId[] {
    return [...this.links.keys()].filter((peer) => nodeKeyOf(peer) === node);
  }

  flushAll(): void {
    for (const link of this.links.values()) link.flush();
  }

  close(): void {
    this.server?.close();
    this.server = null;
    for (const link of [...this.links.values(), ...this.strangers]) link.end();
    this.links.clear();
    if (this.socketPath !== "") rmSync(this.socketPath, { force: true });
  }

  private accept(socket: Socket): void {
    let introduced: WorkerId | null = null;
    const link = new Link(socket, {
      onMessages: (messages, from) => {
        if (introduced !== null) return this.handlers.onMessages(introduced, messages as readonly PeerMessage[], from);
        introduced = this.introduce(messages[0] as PeerMessage, from);
        if (introduced !== null)
          this.handlers.onMessages(introduced, messages.slice(1) as unknown as readonly PeerMessage[], from);
      },
      onClose: (closed, reason) => {
        this.strangers.delete(closed);
        if (introduced !== null) this.gone(introduced, closed, reason);
      },
    });
    socket.unref();
    this.strangers.add(link);
  }

  private introduce(first: PeerMessage, link: Link): WorkerId | null {
    const hello = first[0] === Kind.Hello ? first[1] : null;
    if (hello === null || typeof hello?.id !== "string" || typeof hello.address !== "string") {
      link.fail("the first message was not a hello");
      return null;
    }
    if (hello.version !== protocolVersion) {
      link.fail(`it speaks protocol ${hello.version}, this process ${protocolVersion}`);
      return null;
    }
    this.strangers.delete(link);
    link.peer = hello.id;
    // When both dialled at once each keeps the one it dialled for what it sends; both are read.
    if (!this.links.has(hello.id)) this.links.set(hello.id, link);
    return hello.id;
  }

  private gone(peer: WorkerId, link: Link, reason: string): void {
    if (this.links.get(peer) !== link) return;
    this.links.delete(peer);
    this.handlers.onGone(peer, reason);
  }
}
