import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { newWorkerId, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import { Kind, protocolVersion } from "../../wire/index.ts";
import type { PeerMessage } from "../../wire/messages.ts";
import { DaemonLink } from "../owner/daemon-link.ts";
import { Peers } from "../owner/peers.ts";
import { daemonSocket, processSocket, socketsDir } from "../owner/session-paths.ts";
import { Link } from "./link.ts";
import { acceptRelayed, connectThroughRelay, daemonTarget, RelayServer } from "./relay.ts";
import { NodeUnderTest } from "./testing/node-under-test.ts";

/** A node with a session's directory and a relay. */
class RelayingNode extends NodeUnderTest {
  readonly sessionDir: string;
  readonly relay: RelayServer;
  constructor() {
    const sessionDir = mkdtempSync(join(tmpdir(), "relay-test-"));
    super({}, { onStream: (_from, target, stream) => acceptRelayed(sessionDir, target, stream) });
    this.sessionDir = sessionDir;
    mkdirSync(socketsDir(this.sessionDir), { recursive: true });
    this.relay = new RelayServer(this.links);
  }

  override async listen(): Promise<this> {
    await this.relay.listen(this.sessionDir);
    return super.listen();
  }
}

let nodes: RelayingNode[] = [];
let servers: Server[] = [];
let peers: Peers[] = [];

afterEach(async () => {
  for (const one of peers) one.close();
  for (const one of servers) one.close();
  for (const { relay } of nodes) relay.close();
  await Promise.all(nodes.map(({ links }) => links.close()));
  for (const { sessionDir } of nodes) rmSync(sessionDir, { recursive: true });
  nodes = [];
  servers = [];
  peers = [];
});

async function twoNodes(): Promise<RelayingNode[]> {
  nodes = [await new RelayingNode().listen(), await new RelayingNode().listen()];
  for (const node of nodes) node.links.learn(nodes.map(({ place }) => place));
  return nodes;
}

/** A process of `node` that listens on its socket and hands connections to `serve`. */
async function processOf(node: RelayingNode, serve: (socket: Socket) => void): Promise<WorkerId> {
  const id = newWorkerId(node.nodeId);
  const server = createServer({ allowHalfOpen: true }, serve);
  servers.push(server);
  server.listen(processSocket(node.sessionDir, id));
  await once(server, "listening");
  return id;
}

interface PeerUnderTest {
  readonly id: WorkerId;
  readonly peers: Peers;
  readonly received: { readonly from: WorkerId; readonly message: PeerMessage }[];
  readonly gone: WorkerId[];
  readonly address: string;
}

async function peerOf(node: RelayingNode): Promise<PeerUnderTest> {
  const id = newWorkerId(node.nodeId);
  const received: PeerUnderTest["received"] = [];
  const gone: WorkerId[] = [];
  const made = new Peers(id, node.sessionDir, {
    onMessages: (from, messages) => received.push(...messages.map((message) => ({ from, message }))),
    onGone: (peer) => gone.push(peer),
  });
  peers.push(made);
  const address = processSocket(node.sessionDir, id);
  await made.listen(address);
  return { id, peers: made, received, gone, address };
}

test("processes of two nodes talk as those of one do, and learn when the other is gone", async () => {
  const [a, b] = await twoNodes();
  const one = await peerOf(a);
  const other = await peerOf(b);
  for (let i = 0; i < 5000; i++) one.peers.to(other.id, "").send([Kind.BorrowAdd, i, 0] as any);
  await vi.waitFor(() => expect(other.received).toHaveLength(5000), 10_000);
  expect(other.received.map(({ message }) => message[1])).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  // Answers take the connection that is there.
  other.peers.to(one.id, "").send([Kind.BorrowAck, 0, true] as any);
  await vi.waitFor(() => expect(one.received).toEqual([{ from: other.id, message: [Kind.BorrowAck, 0, true] }]), 10_000);
  expect([a.relay.connectionCount, b.relay.connectionCount]).toEqual([1, 0]);
  other.peers.close();
  await vi.waitFor(() => expect(one.gone).toEqual([other.id]), 10_000);
});

test("processes of one node do not use the relay", async () => {
  const [a] = await twoNodes();
  const one = await peerOf(a);
  const other = await peerOf(a);
  one.peers.to(other.id, other.address).send([Kind.BorrowAdd, 1, 0] as any);
  await vi.waitFor(() => expect(other.received).toHaveLength(1), 10_000);
  expect(a.relay.connectionCount).toBe(0);
});

test("a process talks to another node's daemon", async () => {
  const [a, b] = await twoNodes();
  const hellos: unknown[] = [];
  const server = createServer((socket) => {
    const link = new Link(socket, {
      onMessages: ([[, hello]]: any) => {
        hellos.push(hello);
        link.send([Kind.Welcome, { nodeId: b.nodeId }] as any);
      },
      onClose: () => {},
    });
  });
  servers.push(server);
  server.listen(daemonSocket(b.sessionDir));
  await once(server, "listening");
  const lost = new Promise((resolve) => {
    const link = new DaemonLink({ onMessage: () => {}, onLost: resolve });
    const hello = { version: protocolVersion, id: "me" } as any;
    void link.connect(connectThroughRelay(a.sessionDir, daemonTarget(nodeKeyOf(b.nodeId))), hello).then((welcome) => {
      expect(welcome).toEqual({ nodeId: b.nodeId });
      expect(hellos).toEqual([hello]);
      b.links.drop(a.nodeId, "tested");
    });
  });
  expect(await lost).toMatch(/closed/);
});

test("an end in one direction leaves the other open", async () => {
  const [a, b] = await twoNodes();
  const target = await processOf(b, async (socket) => {
    const chunks: Buffer[] = [];
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk);
    socket.end(Buffer.concat([Buffer.from("got "), ...chunks]));
  });
  const socket = connectThroughRelay(a.sessionDir, target);
  socket.end("all of it");
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  expect(Buffer.concat(chunks).toString()).toBe("got all of it");
  await vi.waitFor(() => expect(a.relay.connectionCount).toBe(0));
});

test("what a process sent before it went is delivered, also to a slow reader", async () => {
  const [a, b] = await twoNodes();
  const total = 3 * 1024 * 1024;
  let connected: (socket: Socket) => void = () => {};
  const connection = new Promise<Socket>((resolve) => {
    connected = resolve;
  });
  const target = await processOf(b, (socket) => {
    socket.pause();
    connected(socket);
  });
  const socket = connectThroughRelay(a.sessionDir, target);
  const written = new Promise<void>((resolve) => socket.write(Buffer.alloc(total, 3), () => resolve()));
  const reader = await connection;
  reader.on("error", () => {});
  let bytes = 0;
  reader.once("data", () => {
    // The writer goes as soon as the kernel has taken its bytes; the reader has seen few of them by then.
    void written.then(() => socket.destroy());
  });
  reader.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    reader.pause();
    setImmediate(() => reader.resume());
  });
  reader.resume();
  await once(reader, "end");
  expect(bytes).toBe(total);
});

test("a process that dies, is not there, or is on an unknown node closes the connection", async () => {
  const [a, b] = await twoNodes();
  const target = await processOf(b, (socket) => {
    socket.once("data", () => socket.destroy());
  });
  for (const to of [target, newWorkerId(b.nodeId), "ffffff0000000000", "ffffff.daemon", "../../../etc/passwd", ""]) {
    const socket = connectThroughRelay(a.sessionDir, to);
    socket.on("error", () => {});
    socket.write("hello");
    socket.resume();
    await once(socket, "close");
  }
  await vi.waitFor(() => expect(a.relay.connectionCount).toBe(0));
});

test("a target that names a path is not connected to, whoever asks", async () => {
  const [a, b] = await twoNodes();
  for (const target of ["../daemon", "daemon.sock", "0123456789abcdeg", `${newWorkerId(b.nodeId)}/x`]) {
    const stream = a.links.openStream(nodeKeyOf(b.nodeId), target);
    await expect(once(stream, "close")).rejects.toThrow(/as it is no process's id$/);
  }
});
