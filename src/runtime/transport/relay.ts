/**
 * How a process reaches processes of other nodes: it connects to its daemon's relay socket and names the target in one frame. From then on
 * the connection is as good as one to the target's own socket. The daemon carries the bytes as a stream to the other daemon, which
 * connects to the target's socket and copies. Nothing is decoded on the way.
 */
import { rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type NodeKey, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import { destinationBytesMax } from "../../wire/limits.ts";
import { daemonSocket, processSocket, relaySocket } from "../owner/session-paths.ts";

/** Ends the target of a relayed connection that is for the node's daemon. */
const daemonSuffix = ".daemon";

/** The target that is the daemon of a node. */
export const daemonTarget = (node: NodeKey): string => `${node}${daemonSuffix}`;

/**
 * A connection to `target` on another node: a process's id, or `daemonTarget(node)`. Bytes may be written at once; it closes when the
 * target cannot be reached.
 */
export function connectThroughRelay(sessionDir: string, target: string): Socket {
  const socket = connect(relaySocket(sessionDir));
  socket.write(Buffer.from([target.length, ...Buffer.from(target, "latin1")]));
  return socket;
}

/** What the relay needs of `NodeLinks`. */
export interface RelayCarrier {
  openStream(to: NodeKey, target: string): Duplex;
}

export class RelayServer {
  private readonly carrier: RelayCarrier;
  private readonly sockets = new Set<Socket>();
  private server: Server | null = null;
  private path = "";

  constructor(carrier: RelayCarrier) {
    this.carrier = carrier;
  }

  /** Resolves when processes of the session can connect. */
  listen(sessionDir: string): Promise<void> {
    this.path = relaySocket(sessionDir);
    const server = createServer({ allowHalfOpen: true }, (socket) => this.accept(socket));
    this.server = server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.path, () => {
        server.off("error", reject);
        resolve();
      });
    });
  }

  close(): void {
    this.server?.close();
    this.server = null;
    for (const socket of this.sockets) socket.destroy();
    if (this.path !== "") rmSync(this.path, { force: true });
  }

  get connectionCount(): number {
    return this.sockets.size;
  }

  private accept(socket: Socket): void {
    socket.on("error", () => {});
    this.sockets.add(socket);
    socket.once("close", () => this.sockets.delete(socket));
    let start = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      start = start.length === 0 ? Buffer.from(chunk) : Buffer.concat([start, chunk]);
      const targetBytes = start[0];
      if (targetBytes > destinationBytesMax) return void socket.destroy();
      if (start.length < 1 + targetBytes) return;
      socket.off("data", onData);
      socket.pause();
      const rest = start.subarray(1 + targetBytes);
      if (rest.length > 0) socket.unshift(rest);
      this.carry(socket, start.toString("latin1", 1, 1 + targetBytes));
    };
    socket.on("data", onData);
  }

  private carry(socket: Socket, target: string): void {
    const toDaemon = target.endsWith(daemonSuffix);
    const wanted = toDaemon ? "daemon" : target;
    if (!isTarget(wanted)) return void socket.destroy();
    join(socket, this.carrier.openStream(nodeKeyOf(target), wanted));
  }
}

/** Takes a stream that another node opened: connects it to the process of this node that `target` names, or to this node's daemon. */
export function acceptRelayed(sessionDir: string, target: string, stream: Duplex): void {
  if (!isTarget(target))
    return void stream.destroy(new Error(`Cannot relay to ${JSON.stringify(target)} as it is no process's id`));
  const path = target === "daemon" ? daemonSocket(sessionDir) : processSocket(sessionDir, target as WorkerId);
  join(connect({ path, allowHalfOpen: true }), stream);
}

/** A target becomes part of a path, so it is an id and nothing else. */
const isTarget = (target: string): boolean => target === "daemon" || /^[0-9a-f]{16}$/.test(target);

/** Copies both ways. An end on one side becomes an end on the other; when one side is gone the other gets what it had sent, then goes too. */
function join(one: Duplex, other: Duplex): void {
  joinHalf(one, other);
  joinHalf(other, one);
}

function joinHalf(from: Duplex, to: Duplex): void {
  from.on("error", () => {});
  from.pipe(to);
  from.once("close", () => {
    if (!from.readableEnded || to.writableFinished) return void to.destroy();
    // All of it was handed on, and its end: the other side is read no further once it has that.
    to.once("finish", () => to.destroy());
    to.resume();
  });
}
