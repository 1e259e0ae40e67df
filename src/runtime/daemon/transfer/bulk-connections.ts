/** The puller's bulk connections, kept for a while after use: many objects in a row cost one handshake. */
import type { Socket } from "node:net";
import type { NodeId, NodeKey } from "../../../base/ids.ts";
import type { NodeMessage } from "../../../wire/node-messages.ts";
import { BulkConnection } from "./bulk-connection.ts";
import { idleConnectionsMax } from "./limits.ts";

/** What the transfer needs of the connections between daemons. */
export interface TransferLinks {
  /** An authenticated connection for object bytes; the other side gets it with `first`. Rejects when the node cannot be reached. */
  dialBulk(to: NodeId, first: unknown): Promise<Socket>;
  send(to: NodeId, message: NodeMessage): void;
  /** The living member whose id begins with the key. */
  nodeOf(key: NodeKey): NodeId | undefined;
  /** The nodes this one has a connection to. */
  connected(): Iterable<NodeId>;
}

/** What a puller says when it dials. */
export const bulkPurpose = "pull";

export class BulkConnections {
  private readonly links: TransferLinks;
  private readonly idle = new Map<NodeKey, BulkConnection[]>();
  private readonly all = new Map<BulkConnection, NodeKey>();

  constructor(links: TransferLinks) {
    this.links = links;
  }

  /** A connection to the node, owned until `giveBack`; a text when it cannot be reached; `undefined` when it is not known. */
  async take(node: NodeKey): Promise<BulkConnection | string | undefined> {
    const kept = this.idle.get(node)?.pop();
    if (kept !== undefined) return kept;
    const nodeId = this.links.nodeOf(node);
    if (nodeId === undefined) return undefined;
    try {
      const connection = new BulkConnection(await this.links.dialBulk(nodeId, bulkPurpose));
      this.all.set(connection, node);
      connection.onClose = () => this.forget(connection);
      return connection;
    } catch (error) {
      return (error as Error).message;
    }
  }

  giveBack(node: NodeKey, connection: BulkConnection): void {
    if (!connection.isOpen) return;
    const idle = this.idle.get(node) ?? [];
    if (idle.length >= idleConnectionsMax) return connection.close("there are enough");
    idle.push(connection);
    this.idle.set(node, idle);
  }

  nodeDied(node: NodeKey): void {
    for (const [connection, at] of [...this.all]) if (at === node) connection.close("its node died");
  }

  close(): void {
    for (const connection of [...this.all.keys()]) connection.close("this node is ending");
  }

  private forget(connection: BulkConnection): void {
    const node = this.all.get(connection) as NodeKey;
    this.all.delete(connection);
    const idle = this.idle.get(node)?.filter((other) => other !== connection) ?? [];
    if (idle.length > 0) this.idle.set(node, idle);
    else this.idle.delete(node);
  }
}
