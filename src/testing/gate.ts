/**
 * The gate of a test node: where other nodes reach it. It passes connections on to the node's daemon and knows from which node each comes, so that a
 * node can be cut off in both directions without a word to anybody.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

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
  /** Nothing passes, in neither direction. */
  cutOff = false;
  /** Whether the node whose connections come from this address is cut off. */
  isCut: (daemonHost: string) => boolean = () => false;
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

  /** Ends all connections, also those of a node that is cut off: nobody will mend its cable. */
  async close(): Promise<void> {
    this.closed = true;
    this.server.ref();
    for (const { outer, inner } of this.passages) {
      outer.destroy();
      inner.destroy();
    }
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private enter(outer: Socket): void {
    outer.unref();
    const inner = connect({ host: this.daemonHost, port: this.daemonPort });
    inner.unref();
    const passage: Passage = { from: outer.remoteAddress ?? "", outer, inner };
    this.passages.add(passage);
    const end = (): void => {
      this.whenOpen(passage, () => {
        this.passages.delete(passage);
        outer.destroy();
        inner.destroy();
      });
    };
    outer.on("error", () => {});
    inner.on("error", () => {});
    outer.on("close", end);
    inner.on("close", end);
    this.pass(passage, outer, inner);
    this.pass(passage, inner, outer);
    inner.once("connect", () => outer.resume());
  }

  private pass(passage: Passage, from: Socket, to: Socket): void {
    from.on("data", (chunk: Buffer) => {
      from.pause();
      this.whenOpen(passage, () => {
        if (to.destroyed || from.destroyed) return;
        if (to.write(chunk)) from.resume();
        else to.once("drain", () => from.resume());
      });
    });
    from.on("end", () => this.whenOpen(passage, () => to.end()));
  }

  private whenOpen(passage: Passage, act: () => void): void {
    if (this.closed) return;
    if (!this.cutOff && !this.isCut(passage.from)) return act();
    setTimeout(() => this.whenOpen(passage, act), lookMs).unref();
  }
}
