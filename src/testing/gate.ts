/**
 * The gate of a test node: where other nodes reach it. It passes connections on to the node's daemon and knows from which node each comes, so that a
 * node can be cut off in both directions without a word to anybody.
 */

import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout } from "../base/clock.ts";

/** What does not pass a gate: bytes to the node, from it, or both. */
export type Cut = "none" | "in" | "out" | "both";

interface Passage {
  readonly from: string;
  readonly outer: Socket;
  readonly inner: Socket;
}

/** Milliseconds between looks whether a passage that was cut is open again. */
const lookMs = 20;

export class Gate {
  readonly host: string;
  readonly port: number;
  /** Where the daemon itself listens, and its connections come from. */
  readonly daemonHost: string;
  /** A cut cable: what it concerns waits, and no connection ends. */
  cut: Cut = "none";
  /** The cut of the node whose connections come from this address. */
  cutOf: (daemonHost: string) => Cut = () => "none";
  private readonly server: Server;
  private readonly passages = new Set<Passage>();
  private daemonPort = 0;
  private closed = false;

  /** Opens the gate of the node with the loopback address `host`. */
  static async open(host: string, port = 0): Promise<Gate> {
    let gate: Gate | null = null;
    const server = createServer({ pauseOnConnect: true }, (socket) => gate?.enter(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, () => resolve());
    });
    gate = new Gate(server, host, (server.address() as { port: number }).port);
    return gate;
  }

  private constructor(server: Server, host: string, port: number) {
    this.server = server;
    server.unref();
    this.host = host;
    this.port = port;
    this.daemonHost = host.replace(/^127\.(\d+)/, (_all, second) => `127.${Number(second) - 50}`);
  }

  /** The daemon listens there. */
  leadTo(port: number): void {
    this.daemonPort = port;
  }

  /** Ends connections at once, those to this gate's node or only those of the node there; what waits in them is lost. New ones may be made. */
  breakConnections(daemonHost: string | null = null): void {
    for (const { from, outer, inner } of this.passages) {
      if (daemonHost !== null && from !== daemonHost) continue;
      outer.resetAndDestroy();
      inner.resetAndDestroy();
    }
  }

  /** Refuses new connections from now on; those there are go on. */
  shut(): void {
    if (this.server.listening) this.server.close();
  }

  /** Ends all connections, also those of a node that is cut off: nobody will mend its cable. */
  async close(): Promise<void> {
    this.closed = true;
    this.server.ref();
    for (const { outer, inner } of this.passages) {
      outer.destroy();
      inner.destroy();
    }
    if (this.server.listening) await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private enter(outer: Socket): void {
    outer.unref();
    const inner = connect({ host: this.daemonHost, port: this.daemonPort });
    inner.unref();
    const passage: Passage = { from: outer.remoteAddress ?? "", outer, inner };
    this.passages.add(passage);
    let entered = false;
    const over = (): void => {
      if (outer.destroyed && inner.destroyed) this.passages.delete(passage);
    };
    outer.on("error", () => {});
    inner.on("error", () => {});
    outer.on("close", () => {
      over();
      this.whenOpen(passage, "in", () => inner.destroy());
    });
    // A daemon that does not listen refuses, and so does its gate.
    inner.on("close", () => {
      over();
      this.whenOpen(passage, "out", () => (entered ? outer.destroy() : outer.resetAndDestroy()));
    });
    this.pass(passage, "in", outer, inner);
    this.pass(passage, "out", inner, outer);
    inner.once("connect", () => {
      entered = true;
      outer.resume();
    });
  }

  private pass(passage: Passage, way: "in" | "out", from: Socket, to: Socket): void {
    from.on("data", (chunk: Buffer) => {
      from.pause();
      this.whenOpen(passage, way, () => {
        if (to.destroyed || from.destroyed) return;
        if (to.write(chunk)) from.resume();
        else to.once("drain", () => from.resume());
      });
    });
    from.on("end", () => this.whenOpen(passage, way, () => to.end()));
  }

  /** `way`: to this gate's node, or from it. */
  private whenOpen(passage: Passage, way: "in" | "out", act: () => void): void {
    if (this.closed) return;
    if (!blocks(this.cut, way) && !blocks(this.cutOf(passage.from), way === "in" ? "out" : "in")) return act();
    setTimeout(() => this.whenOpen(passage, way, act), lookMs).unref();
  }
}

const blocks = (cut: Cut, way: "in" | "out"): boolean => cut === "both" || cut === way;
