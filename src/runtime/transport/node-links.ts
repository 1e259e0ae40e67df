/**
 * This daemon's connections to the other nodes: one for each, made when first needed, by whoever needs it.
 *
 * When two dial each other at once both must keep the same connection, and no message may be lost with the other. So nothing is sent on a
 * connection before its acceptor said Accepted, and an acceptor says that to one only: with a dial of its own under way the node of
 * the smaller id lets the other's wait for the outcome, and that of the larger id gives its own up. Messages wait in the meantime.
 */

import { isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { AssertionFailed, assert } from "../../base/assert.ts";
import { performance } from "../../base/clock.ts";
import { ClusterConnectionError } from "../../base/errors.ts";
import { type NodeId, type NodeKey, nodeKeyOf } from "../../base/ids.ts";
import { decodeBounded } from "../../wire/bounded-decode.ts";
import { FrameError } from "../../wire/frame.ts";
import { type Purpose, RefusalCode } from "../../wire/handshake.ts";
import { bulkFirstBytesMax, dialQueueMax, handshakeMs } from "../../wire/limits.ts";
import { bulkLimits, encodeValueFrame, FrameKind, nodeHeaderBytes } from "../../wire/node-frame.ts";
import { NodeKind, type NodeMessage } from "../../wire/node-messages.ts";
import { toWireError } from "../daemon/method-handlers.ts";
import { type Decision, dialHandshake, type Handshaken, type Identity, noConnection, readOne } from "./handshake.ts";
import { Refusal } from "./handshake-reader.ts";
import { type Connecting, connectTo, dialError } from "./node-dial.ts";
import { NodeLink } from "./node-link.ts";
import { NodeListener } from "./node-listener.ts";
import { NodeRequests } from "./node-requests.ts";
import { NodeStream } from "./node-stream.ts";
import { type LoadedTls, loadTls, type NodeTls } from "./node-tls.ts";
import { RefusalLog } from "./refusal-log.ts";

export interface NodeLinksOptions extends Identity {
  readonly nodeId: NodeId;
  /** Shared by all nodes of the cluster; never sent. */
  readonly token: string;
  /** The cluster this node is a member of; null while it has not joined one. */
  clusterId(): string | null;
  readonly tls?: NodeTls | null;
  log(line: string): void;
}

export interface NodeLinksHandlers {
  /** May throw `FrameError` for a message that cannot be right: closes that node's connection. */
  onMessage(from: NodeId, message: NodeMessage): void;
  /** What it throws or rejects with is what the asker's `request` rejects with. */
  onRequest(from: NodeId, method: string, params: unknown): unknown;
  onOpen(node: NodeId): void;
  /** Follows every `onOpen`, and every dial for `send`, `request` or a stream that failed: what was sent is lost. */
  onClosed(node: NodeId, reason: string): void;
  /** `target`: the id of a process of this node, or "daemon". */
  onStream(from: NodeId, target: string, stream: Duplex): void;
  /** Takes `socket`, authenticated and paused; `first` is what `dialBulk` was given. */
  onBulk(from: NodeId, socket: Socket, first: unknown): void;
}

export interface NodeAddress {
  readonly nodeId: NodeId;
  readonly host: string;
  readonly port: number;
}

interface Peer {
  readonly nodeId: NodeId;
  address: { readonly host: string; readonly port: number } | null;
  link: NodeLink | null;
  dial: Dial | null;
  /** The connection there was last, open or not. Tells the peer of a new dial whether we know of the one it has. */
  lastConnection: Buffer;
  /** Sent while there is no connection; goes out first on the next, or is dropped with the dial. */
  queue: NodeMessage[];
  streams: { readonly stream: NodeStream; readonly target: string }[];
}

/** A connection being made by us. `done` settles when the peer is connected, by this dial or by its own, or when there is none. */
interface Dial {
  connecting: Connecting | null;
  /** Ends the handshake, telling the other side; null before it began. */
  refuse: ((refusal: Refusal) => void) | null;
  state: "under way" | "given up";
  readonly done: Promise<void>;
  settle(error: Error | null): void;
}

export class NodeLinks {
  private readonly options: NodeLinksOptions;
  private readonly handlers: NodeLinksHandlers;
  private readonly tls: LoadedTls | null;
  private readonly refusals: RefusalLog;
  private readonly listener: NodeListener;
  private readonly requests: NodeRequests;
  /** Added when a node is learned, dialled or accepted; removed by `drop`. */
  private readonly peers = new Map<NodeId, Peer>();
  private readonly byKey = new Map<NodeKey, Peer>();
  /** Dials of all kinds that have not ended, to be cut off by `close`. */
  private readonly sockets = new Set<Socket>();
  /** Nodes that a dropped message was reported for. */
  private readonly unreachable = new Set<NodeId>();
  private closed = false;
  private ownAddress: string | undefined;

  constructor(options: NodeLinksOptions, handlers: NodeLinksHandlers) {
    if (options.token === "") throw new Error("Cannot connect nodes without a token");
    this.options = options;
    this.handlers = handlers;
    this.tls = options.tls ? loadTls(options.tls) : null;
    this.refusals = new RefusalLog((line) => options.log(line));
    this.requests = new NodeRequests();
    this.listener = new NodeListener(
      options,
      this.tls,
      {
        decide: (peer, purpose, last) => this.decide(peer, purpose, last),
        onAccepted: (socket, result) => this.accepted(socket, result),
      },
      this.refusals,
    );
  }

  /** Listens; resolves with the port, which is a free one when `port` is 0. */
  listen(host: string, port: number): Promise<number> {
    // A node that was given one of its machine's addresses is known to the others by that one.
    if (isIP(host) !== 0 && !/^(0\.0\.0\.0|::)$/.test(host)) this.ownAddress = host;
    return this.listener.listen(host, port);
  }

  /** Connects to whoever is there; resolves with its id. Rejects with what was tried and why it failed. */
  async dial(host: string, port: number, timeoutMs: number): Promise<NodeId> {
    const found = { id: null as NodeId | null };
    await this.connect({ host, port }, null, newDial(), timeoutMs, found);
    assert(found.id !== null, "a dial that succeeded knows its peer");
    return found.id;
  }

  /** Where other nodes are dialled. Adds to what is known. */
  learn(nodes: readonly NodeAddress[]): void {
    for (const { nodeId, host, port } of nodes) {
      if (nodeId === this.options.nodeId) continue;
      this.peer(nodeId).address = { host, port };
      this.unreachable.delete(nodeId);
    }
  }

  /** Takes `message`. Sent in order, on a connection that is dialled if there is none; dropped, and `onClosed` called, when that fails. */
  send(to: NodeId, message: NodeMessage): void {
    const peer = this.peers.get(to);
    if (peer?.link) return peer.link.send(message);
    if (peer === undefined || !this.mayDial(peer)) return this.dropped(to);
    if (peer.queue.length >= dialQueueMax) return this.dropped(to);
    peer.queue.push(message);
    this.dialKnown(peer);
  }

  /**
   * Asks a node. Rejects with its refusal, or with a `ClusterConnectionError` when it cannot be asked or does not answer in time. `taken` is called with the
   * answer before anything is heard that the node has sent after it.
   */
  request(to: NodeId, method: string, params: unknown, timeoutMs: number, taken?: (value: any) => void): Promise<any> {
    const peer = this.peers.get(to);
    if (peer === undefined || !(peer.link || this.mayDial(peer)))
      return Promise.reject(new ClusterConnectionError(`Cannot ${method} at node ${to} as its address is not known`, {}));
    return this.requests.call(to, method, timeoutMs, (id) => this.send(to, [NodeKind.Request, id, method, params]), taken);
  }

  isOpen(node: NodeId): boolean {
    return this.peers.get(node)?.link != null;
  }

  /** A stream to `target` on the node whose ids begin with `to`. Its error says when the node is not known or gone. */
  openStream(to: NodeKey, target: string): Duplex {
    const stream = new NodeStream();
    const peer = this.byKey.get(to);
    if (peer?.link) peer.link.openStream(stream, target);
    else if (peer === undefined || !this.mayDial(peer)) stream.destroy(new Error(`Cannot reach node ${to} as it is not known`));
    else {
      peer.streams.push({ stream, target });
      this.dialKnown(peer);
    }
    return stream;
  }

  /** A connection of its own for one transfer. `first` is what `onBulk` gets there. Resolves with a paused socket, owned by the caller. */
  async dialBulk(to: NodeId, first: unknown): Promise<Socket> {
    const address = this.peers.get(to)?.address;
    if (address === undefined || address === null)
      throw new ClusterConnectionError(`Cannot connect to node ${to} as its address is not known`, {});
    const frame = encodeValueFrame(FrameKind.BulkFirst, first);
    assert(frame.length - nodeHeaderBytes <= bulkFirstBytesMax, `what is sent first has ${frame.length} bytes`);
    const { host, port } = address;
    let connecting: Connecting | null = null;
    try {
      connecting = this.connectSocket(address, handshakeMs);
      const { socket } = connecting;
      await connecting.connected;
      await dialHandshake(
        socket,
        this.options,
        {
          purpose: "bulk",
          expected: to,
          onHello: () => noConnection,
          onAccepted: ({ rest }) => {
            if (rest.length > 0) socket.unshift(rest);
          },
        },
        handshakeMs,
      );
      socket.setNoDelay(true);
      socket.setKeepAlive(true, 10_000);
      socket.write(frame);
      return socket;
    } catch (error) {
      connecting?.socket.destroy();
      throw dialError(`${host}:${port}`, error);
    }
  }

  /** Ends the connection to a node and forgets where it is. */
  drop(node: NodeId, reason: string): void {
    const peer = this.peers.get(node);
    if (peer === undefined) return;
    this.forget(peer);
    peer.address = null;
    const { dial, link } = peer;
    peer.dial = null;
    if (dial !== null) {
      this.giveUp(dial, new ClusterConnectionError(`Cannot connect to node ${node}: ${reason}`, {}));
      this.lose(peer, reason);
    }
    link?.end(reason);
  }

  /** Ends all. No handler is called any more. */
  async close(): Promise<void> {
    this.closed = true;
    const listening = this.listener.close();
    const gone = new ClusterConnectionError("Cannot talk to other nodes: this node is shutting down", {});
    for (const peer of this.peers.values()) {
      if (peer.dial !== null) this.giveUp(peer.dial, gone);
      for (const { stream } of peer.streams) stream.destroy(gone);
      peer.link?.end("the node is shutting down");
    }
    for (const socket of this.sockets) socket.destroy();
    this.requests.failAll(gone);
    this.refusals.close();
    await listening;
  }

  // ---------------------------------------------------------------- dialling

  private peer(nodeId: NodeId): Peer {
    let peer = this.peers.get(nodeId);
    if (peer === undefined) {
      peer = { nodeId, address: null, link: null, dial: null, lastConnection: noConnection, queue: [], streams: [] };
      this.peers.set(nodeId, peer);
      this.byKey.set(nodeKeyOf(nodeId), peer);
    }
    return peer;
  }

  /** A message could not even be queued. Said once for each node, until it is learned again. */
  private dropped(to: NodeId): void {
    if (this.closed || this.unreachable.has(to)) return;
    this.unreachable.add(to);
    this.options.log(`dropped a message to node ${to}: its address is not known, or ${dialQueueMax} wait for its connection`);
  }

  private forget(peer: Peer): void {
    if (this.peers.get(peer.nodeId) === peer) this.peers.delete(peer.nodeId);
    const key = nodeKeyOf(peer.nodeId);
    if (this.byKey.get(key) === peer) this.byKey.delete(key);
  }

  private mayDial(peer: Peer): boolean {
    return !this.closed && (peer.address !== null || peer.dial !== null);
  }

  private dialKnown(peer: Peer): void {
    if (peer.dial !== null) return;
    const dial = newDial();
    peer.dial = dial;
    this.connect(peer.address as NonNullable<Peer["address"]>, peer, dial, handshakeMs, { id: peer.nodeId }).catch(() => {});
  }

  private connectSocket(address: { readonly host: string; readonly port: number }, timeoutMs: number): Connecting {
    if (this.closed) throw new Error("this node is shutting down");
    const connecting = connectTo(address.host, address.port, this.tls, timeoutMs, this.ownAddress);
    const { socket } = connecting;
    this.sockets.add(socket);
    socket.once("close", () => this.sockets.delete(socket));
    return connecting;
  }

  /** Makes the connection; resolves when the peer is connected, by this or by its own dial. `known`: whom we dial, if we know. */
  private async connect(
    address: { readonly host: string; readonly port: number },
    known: Peer | null,
    dial: Dial,
    timeoutMs: number,
    found: { id: NodeId | null },
  ): Promise<void> {
    const place = `${address.host}:${address.port}`;
    const deadline = performance.now() + timeoutMs;
    let peer = known;
    /** The peer is being connected already, by an earlier dial. */
    let other: Promise<void> | null = null;
    try {
      dial.connecting = this.connectSocket(address, timeoutMs);
      const { socket } = dial.connecting;
      await dial.connecting.connected;
      await dialHandshake(
        socket,
        this.options,
        {
          purpose: "mux",
          expected: known?.nodeId ?? null,
          onStarted: (refuse) => {
            dial.refuse = refuse;
          },
          onHello: (nodeId) => {
            found.id = nodeId;
            peer = this.peer(nodeId);
            if (peer.link !== null || (peer.dial !== null && peer.dial !== dial)) {
              other = peer.link !== null ? Promise.resolve() : (peer.dial as Dial).done;
              throw alreadyConnected();
            }
            peer.dial = dial;
            return peer.lastConnection;
          },
          onAccepted: (result) => {
            assert(peer !== null && peer.dial === dial, "an accepted dial is its peer's");
            peer.address ??= address;
            this.open(peer, socket, "by us", result);
          },
        },
        Math.max(1, deadline - performance.now()),
      );
    } catch (error) {
      if (!(error instanceof Refusal)) dial.connecting?.socket.destroy();
      if (other !== null) return await other;
      if (dial.state === "under way") this.dialFailed(peer, dial, dialError(place, error), known !== null);
    }
    await dial.done;
  }

  /** The dial is not wanted any more. `error` null: the peer is connected otherwise. */
  private giveUp(dial: Dial, error: Error | null): void {
    dial.state = "given up";
    if (dial.refuse !== null) dial.refuse(alreadyConnected());
    else dial.connecting?.socket.destroy();
    dial.settle(error);
  }

  private dialFailed(peer: Peer | null, dial: Dial, error: Error, wanted: boolean): void {
    if (peer !== null && peer.dial === dial) {
      peer.dial = null;
      if (wanted || peer.queue.length + peer.streams.length > 0) this.lose(peer, error.message);
      else if (peer.address === null && peer.lastConnection === noConnection) this.forget(peer);
    }
    dial.settle(error);
  }

  // ---------------------------------------------------------------- one connection for each pair

  private decide(from: NodeId, purpose: Purpose, lastConnection: Buffer): Decision {
    if (purpose === "bulk") return "accept";
    const peer = this.peers.get(from);
    if (peer === undefined) return "accept";
    if (peer.link !== null) {
      // The peer has lost what we still hold when it dialled that itself, or says that it knew it. Else it dialled before it heard of it.
      const { dialled, connectionId } = peer.link.facts;
      if (dialled === "by us" && !connectionId.equals(lastConnection)) return "duplicate";
      peer.link.close("the node has connected anew");
      return "accept";
    }
    if (peer.dial === null || this.options.nodeId > from) return "accept";
    if (peer.dial.connecting?.socket.connecting !== false) return "accept";
    return peer.dial.done.catch(() => {});
  }

  private accepted(socket: Socket, result: Handshaken): void {
    if (result.purpose === "mux") this.open(this.peer(result.peer), socket, "by them", result);
    else void this.takeBulk(socket, result);
  }

  private open(peer: Peer, socket: Socket, dialled: "by us" | "by them", { connectionId, rest }: Handshaken): void {
    if (this.closed) return void socket.destroy();
    const link = new NodeLink(
      socket,
      { peer: peer.nodeId, dialled, connectionId },
      {
        onMessages: (messages) => this.onMessages(peer.nodeId, messages, link),
        onStream: (target, stream) => this.handlers.onStream(peer.nodeId, target, stream),
        onUnsendable: (message, error) => this.unsendable(peer.nodeId, message, error, link),
        onClose: (_link, reason) => this.linkClosed(peer, link, reason),
      },
    );
    this.sockets.add(socket);
    socket.once("close", () => this.sockets.delete(socket));
    peer.link = link;
    peer.lastConnection = connectionId;
    const { dial, queue, streams } = peer;
    peer.dial = null;
    peer.queue = [];
    peer.streams = [];
    for (const message of queue) link.send(message);
    for (const { stream, target } of streams) if (!stream.destroyed) link.openStream(stream, target);
    if (dial !== null && dialled === "by us") dial.settle(null);
    else if (dial !== null) this.giveUp(dial, null);
    this.handlers.onOpen(peer.nodeId);
    link.start(rest);
  }

  /** Whoever waits for the message is told. */
  private unsendable(to: NodeId, message: NodeMessage, error: Error, link: NodeLink): void {
    const text = `Cannot send it to another node: ${error.message}`;
    if (message[0] === NodeKind.Request) this.requests.settle(to, message[1], false, { message: text });
    else if (message[0] === NodeKind.Response) link.send([NodeKind.Response, message[1], false, { message: text }]);
    else this.options.log(`dropped a message of kind ${message[0]} to node ${to}: ${error.message}`);
  }

  private linkClosed(peer: Peer, link: NodeLink, reason: string): void {
    if (peer.link !== link) return;
    peer.link = null;
    this.lose(peer, reason);
  }

  /** What was said to the peer is lost. */
  private lose(peer: Peer, reason: string): void {
    const { streams } = peer;
    peer.queue = [];
    peer.streams = [];
    for (const { stream } of streams) stream.destroy(new Error(`Cannot reach node ${peer.nodeId}: ${reason}`));
    this.requests.failNode(peer.nodeId, reason);
    if (!this.closed) this.handlers.onClosed(peer.nodeId, reason);
  }

  // ---------------------------------------------------------------- what arrives

  private onMessages(from: NodeId, messages: readonly NodeMessage[], link: NodeLink): void {
    for (const message of messages) {
      if (!link.isOpen || this.closed) return;
      try {
        if (message[0] === NodeKind.Request) this.onRequest(from, message, link);
        else if (message[0] === NodeKind.Response) this.requests.settle(from, message[1], message[2], message[3]);
        else this.handlers.onMessage(from, message);
      } catch (error) {
        // A message of another machine must not end this daemon, unless it showed that something here is broken.
        if (error instanceof AssertionFailed) throw error;
        const text = `Cannot handle its message of kind ${message[0]}: ${(error as Error).message}`;
        this.options.log(`closed the connection of node ${from}: ${text}`);
        throw error instanceof FrameError ? error : new FrameError(text);
      }
    }
  }

  /** What is known at once is answered at once, so that it comes before what happens next. */
  private onRequest(from: NodeId, message: NodeMessage, link: NodeLink): void {
    const [, id, method, params] = message as readonly [number, number, string, unknown];
    if (!Number.isSafeInteger(id) || typeof method !== "string")
      throw new FrameError("Cannot read a request without number or method");
    const answer = (ok: boolean, value: unknown): void => link.send([NodeKind.Response, id, ok, value]);
    try {
      const value = this.handlers.onRequest(from, method, params);
      if (!(value instanceof Promise)) return answer(true, value ?? null);
      value.then(
        (later) => answer(true, later ?? null),
        (error) => answer(false, toWireError(error)),
      );
    } catch (error) {
      answer(false, toWireError(error));
    }
  }

  private async takeBulk(socket: Socket, { peer, rest }: Handshaken): Promise<void> {
    socket.on("error", () => {});
    this.sockets.add(socket);
    socket.once("close", () => this.sockets.delete(socket));
    let first: unknown;
    try {
      const read = await readOne(socket, rest, bulkLimits);
      first = decodeBounded(read.frame.body);
      if (read.rest.length > 0) socket.unshift(read.rest);
    } catch (error) {
      socket.destroy();
      if (!(error instanceof Refusal && error.quiet)) this.refusals.refused(`node ${peer}`, (error as Error).message);
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    if (this.closed) socket.destroy();
    else this.handlers.onBulk(peer, socket, first);
  }
}

const alreadyConnected = (): Refusal =>
  new Refusal(RefusalCode.Duplicate, "these two nodes are connected already", { quiet: true });

function newDial(): Dial {
  let settle: Dial["settle"] = () => {};
  const done = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === null ? resolve() : reject(error));
  });
  // Whoever waits for it learns of the failure; if nobody does it is no unhandled rejection.
  done.catch(() => {});
  return { connecting: null, refuse: null, state: "under way", done, settle };
}
