/** One node's connections in a test, with all that its handlers were told, and a way to wait for more. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type NodeId, newNodeId } from "../../../base/ids.ts";
import type { NodeMessage } from "../../../wire/node-messages.ts";
import { NodeLinks, type NodeLinksHandlers, type NodeLinksOptions } from "../node-links.ts";

export class NodeUnderTest {
  readonly nodeId: NodeId;
  readonly links: NodeLinks;
  readonly log: string[] = [];
  readonly messages: { from: NodeId; message: NodeMessage }[] = [];
  readonly opened: NodeId[] = [];
  readonly closed: { node: NodeId; reason: string }[] = [];
  readonly streams: { from: NodeId; target: string; stream: Duplex }[] = [];
  readonly bulks: { from: NodeId; socket: Socket; first: unknown }[] = [];
  port = 0;
  private readonly waiting = new Set<() => void>();

  constructor(options: Partial<NodeLinksOptions> = {}, handlers: Partial<NodeLinksHandlers> = {}) {
    this.nodeId = options.nodeId ?? newNodeId();
    const told =
      <Args extends unknown[]>(note: (...args: Args) => void) =>
      (...args: Args): void => {
        note(...args);
        this.changed();
      };
    this.links = new NodeLinks(
      {
        token: "the token",
        clusterId: () => "cluster-1",
        log: told((line: string) => this.log.push(line)),
        ...options,
        nodeId: this.nodeId,
      },
      {
        onMessage: told((from, message) => this.messages.push({ from, message })),
        onRequest: (_from, method) => {
          throw new Error(`Cannot ${method} here`);
        },
        onOpen: told((node) => this.opened.push(node)),
        onClosed: told((node, reason) => this.closed.push({ node, reason })),
        onStream: told((from, target, stream) => this.streams.push({ from, target, stream })),
        onBulk: told((from, socket, first) => this.bulks.push({ from, socket, first })),
        ...handlers,
      },
    );
  }

  async listen(): Promise<this> {
    this.port = await this.links.listen("127.0.0.1", 0);
    return this;
  }

  /** Where others find it. */
  get place(): { nodeId: NodeId; host: string; port: number } {
    return { nodeId: this.nodeId, host: "127.0.0.1", port: this.port };
  }

  /** Resolves when `condition` holds; looks again whenever a handler was called. */
  until(condition: () => boolean, what = "what the test expects", timeoutMs = 20_000): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Error(`Waited ${timeoutMs} ms for ${what}; log: ${this.log.join(" | ")}`));
      }, timeoutMs);
      const look = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve();
      };
      this.waiting.add(look);
    });
  }

  changed(): void {
    for (const look of [...this.waiting]) look();
  }
}

/** Nodes that all know where the others are. */
export async function connectedNodes(count: number, handlers: Partial<NodeLinksHandlers> = {}): Promise<NodeUnderTest[]> {
  const nodes: NodeUnderTest[] = [];
  for (let i = 0; i < count; i++) nodes.push(await new NodeUnderTest({}, handlers).listen());
  for (const node of nodes) node.links.learn(nodes.map(({ place }) => place));
  return nodes;
}
