/** Nodes for tests of the transfer: each with a store of its own, joined by plain loopback connections. Nothing but transport is left out. */
import { connect, createServer, type Server, type Socket } from "node:net";
import {
  type NodeId,
  type NodeKey,
  newNodeId,
  newWorkerId,
  nodeKeyOf,
  type ObjectIndex,
  type WorkerId,
} from "../../../../base/ids.ts";
import { copyLocation, ObjectStore, StoreManager } from "../../../../objects/index.ts";
import { makeStoreDirs, type StoreDirs } from "../../../../objects/testing/store-dirs.ts";
import type { Location } from "../../../../objects/types.ts";
import type { FromDaemon } from "../../../../wire/messages.ts";
import type { NodeMessage } from "../../../../wire/node-messages.ts";
import { ObjectTransfer } from "../index.ts";

export class NodeUnderTest {
  readonly nodeId: NodeId = newNodeId();
  readonly key: NodeKey = nodeKeyOf(this.nodeId);
  /** The process of this node that owns what `put` stores. */
  readonly owner: WorkerId = newWorkerId(this.nodeId);
  readonly dirs: StoreDirs = makeStoreDirs();
  readonly manager: StoreManager;
  /** The owner's store. */
  readonly store: ObjectStore;
  readonly transfer: ObjectTransfer;
  /** What the owner was sent. */
  readonly toOwner: FromDaemon[] = [];
  readonly reports: string[] = [];
  /** Connections others have made for object bytes. */
  readonly accepted = new Set<Socket>();
  /** Sees every accepted connection before it is served; true: takes it away from the node. */
  onAccept: (socket: Socket) => boolean = () => false;
  private readonly network: Network;
  private server: Server | null = null;
  private nextIndex = 1;

  constructor(network: Network, bytesMax: number) {
    this.network = network;
    const { shmDir, spillDir } = this.dirs;
    this.manager = new StoreManager({ shmDir, spillDir, bytesMax });
    this.store = new ObjectStore({ shmDir, spillDir, selfId: this.owner });
    this.transfer = new ObjectTransfer({
      nodeId: this.nodeId,
      shmDir,
      spillDir,
      manager: this.manager,
      links: {
        dialBulk: (to) => network.dial(this, to),
        send: (to, message) => network.send(this, to, message),
        nodeOf: (key) => network.nodeOf(key)?.nodeId,
        connected: () => network.others(this),
      },
      toProcess: (id, message) => {
        if (id !== this.owner) return false;
        this.toOwner.push(message);
        return true;
      },
      report: (text) => this.reports.push(text),
    });
  }

  get port(): number {
    return (this.server!.address() as { port: number }).port;
  }

  listen(): Promise<void> {
    const server = createServer((socket) => {
      this.accepted.add(socket);
      socket.once("close", () => this.accepted.delete(socket));
      socket.once("data", (first: Buffer) => {
        socket.pause();
        if (this.onAccept(socket)) return;
        const from = first.toString("latin1", 0, 16) as NodeId;
        if (first.length > 16) socket.unshift(first.subarray(16));
        this.transfer.onBulk(from, socket, null);
      });
      socket.on("error", () => {});
    });
    this.server = server;
    return new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  }

  /** Stores an object on this node, of its own process or another's. */
  put(bytes: Uint8Array, owner = this.owner): { location: Location; owner: WorkerId; index: ObjectIndex } {
    const index = this.nextIndex++ as ObjectIndex;
    const location = this.store.put(owner, index, 0, { bytes: bytes.length, writeTo: (target) => target.set(bytes) });
    return { location, owner, index };
  }

  copyOf(location: Location): Location {
    return copyLocation(location, this.key);
  }

  /** Cuts every connection and stops answering, as a machine that lost its power. */
  die(): void {
    this.server?.close();
    for (const socket of this.accepted) socket.destroy();
    this.network.forget(this);
  }

  remove(): void {
    this.die();
    this.transfer.close();
    this.store.close();
    this.manager.removeAll();
    this.dirs.remove();
  }
}

/** The nodes that know each other. */
export class Network {
  private readonly nodes = new Map<NodeKey, NodeUnderTest>();
  private readonly all: NodeUnderTest[] = [];

  async add(bytesMax = 256 * 1024 ** 2): Promise<NodeUnderTest> {
    const node = new NodeUnderTest(this, bytesMax);
    this.all.push(node);
    await node.listen();
    this.nodes.set(node.key, node);
    return node;
  }

  nodeOf(key: NodeKey): NodeUnderTest | undefined {
    return this.nodes.get(key);
  }

  others(than: NodeUnderTest): NodeId[] {
    return [...this.nodes.values()].filter((node) => node !== than).map((node) => node.nodeId);
  }

  send(from: NodeUnderTest, to: NodeId, message: NodeMessage): void {
    const target = this.nodeOf(nodeKeyOf(to));
    if (target !== undefined) setImmediate(() => target.transfer.onMessage(from.nodeId, message));
  }

  dial(from: NodeUnderTest, to: NodeId): Promise<Socket> {
    const target = this.nodeOf(nodeKeyOf(to));
    if (target === undefined) return Promise.reject(new Error("no such node"));
    return new Promise((resolve, reject) => {
      const socket = connect(target.port, "127.0.0.1");
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.removeListener("error", reject);
        socket.write(from.nodeId);
        resolve(socket);
      });
    });
  }

  forget(node: NodeUnderTest): void {
    this.nodes.delete(node.key);
  }

  /** The head has declared it dead. */
  declareDead(node: NodeUnderTest): void {
    this.forget(node);
    for (const other of this.nodes.values()) other.transfer.nodeDied(node.nodeId);
  }

  remove(): void {
    for (const node of this.all) node.remove();
  }
}

/** Bytes that are the same nowhere twice, so that a shifted or repeated piece shows. */
export function patternBytes(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer, 0, length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + seed, 0x9e3779b1);
  for (let i = words.length * 4; i < length; i++) bytes[i] = i + seed;
  return bytes;
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
