/**
 * The daemon's share in objects that live on several nodes: pulls copies for its processes, serves its own objects to other nodes, carries word
 * of copies to their owners and the owners' orders to free them.
 */
import type { Socket } from "node:net";
import { type NodeId, type NodeKey, nodeKeyOf, type WorkerId } from "../../../base/ids.ts";
import { checkedLocation, holderOf, ObjectStore } from "../../../objects/index.ts";
import type { Location } from "../../../objects/types.ts";
import { Kind } from "../../../wire/index.ts";
import type { FromDaemon } from "../../../wire/messages.ts";
import { NodeKind, type NodeMessage } from "../../../wire/node-messages.ts";
import { BulkConnections, type TransferLinks } from "./bulk-connections.ts";
import { BulkServer, type ServeStats } from "./bulk-server.ts";
import { Puller, PullFailed, type PullRequest, type PullStats } from "./puller.ts";

export interface TransferOptions {
  readonly nodeId: NodeId;
  readonly shmDir: string;
  readonly spillDir: string;
  /** Removes what the dead owned. */
  readonly manager: { onOwnerDied(id: WorkerId): void; onNodeDied(node: NodeKey): void };
  readonly links: TransferLinks;
  /** Sends to a process of this node; false when there is none of that id. */
  toProcess(id: WorkerId, message: FromDaemon): boolean;
  /** A line for the log. */
  report(text: string): void;
  /** The store is nearly full. */
  onPressure?(): void;
}

/** The answer to a pull: where the copy is, or why there can be none. */
export type PullResult = { readonly copy: Location } | { readonly gone: string };

export type TransferStats = PullStats & ServeStats;

export class ObjectTransfer {
  private readonly self: NodeKey;
  private readonly options: TransferOptions;
  private readonly store: ObjectStore;
  private readonly connections: BulkConnections;
  private readonly puller: Puller;
  private readonly server: BulkServer;

  /** Opens the node's store, which `manager` has made. */
  constructor(options: TransferOptions) {
    const { nodeId, shmDir, spillDir, links, onPressure } = options;
    this.options = options;
    this.self = nodeKeyOf(nodeId);
    this.store = new ObjectStore({ shmDir, spillDir, selfId: this.self, onPressure });
    this.connections = new BulkConnections(links);
    this.puller = new Puller(this.self, this.store, this.connections, {
      copied: (request, copy) => this.copied(request, copy),
    });
    this.server = new BulkServer(this.self, this.store, {
      pulling: (copy) => this.puller.pulling(copy),
      report: (text) => options.report(text),
    });
  }

  stats(): TransferStats {
    return { ...this.puller.stats(), ...this.server.stats() };
  }

  /** A process of this node wants to read an object of another. Rejects with OutOfDiskError. */
  async pull(request: PullRequest): Promise<PullResult> {
    const location = checkedLocation(request.location);
    if (location === null) return { gone: `'${request.location.name}' is not a segment's name` };
    try {
      return { copy: await this.puller.pull({ ...request, location }) };
    } catch (error) {
      if (error instanceof PullFailed) return { gone: error.message };
      throw error;
    }
  }

  /** Another node's daemon has dialled for object bytes. Takes the connection. */
  onBulk(from: NodeId, socket: Socket, _first: unknown): void {
    this.server.accept(from, socket);
  }

  /** What other daemons say of objects. False when it is not of objects. */
  onMessage(from: NodeId, message: NodeMessage): boolean {
    switch (message[0]) {
      case NodeKind.CopyMade: {
        const [, owner, index, copy] = message;
        const location = checkedLocation(copy);
        if (location === null || holderOf(location) !== nodeKeyOf(from)) return this.refuse(from, "CopyMade");
        if (!this.options.toProcess(owner, [Kind.CopyMade, index, location]))
          this.options.links.send(from, [NodeKind.FreeCopies, [location]]);
        return true;
      }
      case NodeKind.FreeCopies:
        for (const location of message[1]) this.freeHere(location);
        return true;
      case NodeKind.OwnerGone:
        if (nodeKeyOf(message[1]) !== nodeKeyOf(from)) return this.refuse(from, "OwnerGone");
        this.options.manager.onOwnerDied(message[1]);
        return true;
      default:
        return false;
    }
  }

  /** A process of this node owns these objects and wants their bytes given back, on whatever node they are. */
  free(locations: readonly Location[]): void {
    const byHolder = new Map<NodeKey, Location[]>();
    for (const given of locations) {
      const location = checkedLocation(given);
      const holder = location === null ? undefined : holderOf(location);
      if (location === null || holder === undefined) continue;
      const known = byHolder.get(holder);
      if (known === undefined) byHolder.set(holder, [location]);
      else known.push(location);
    }
    for (const [holder, there] of byHolder) {
      if (holder === this.self) for (const location of there) this.freeHere(location);
      const nodeId = holder === this.self ? undefined : this.options.links.nodeOf(holder);
      if (nodeId !== undefined) this.options.links.send(nodeId, [NodeKind.FreeCopies, there]);
    }
  }

  /** A process of this node has ended: what it owned elsewhere goes. */
  ownerDied(owner: WorkerId): void {
    for (const nodeId of this.options.links.connected()) this.options.links.send(nodeId, [NodeKind.OwnerGone, owner]);
  }

  /** A node is dead: pulls from it go on with others, and what its processes owned is removed here. */
  nodeDied(nodeId: NodeId): void {
    const key = nodeKeyOf(nodeId);
    this.puller.nodeDied(key);
    this.server.nodeDied(key);
    this.options.manager.onNodeDied(key);
  }

  close(): void {
    this.puller.close();
    this.connections.close();
    this.server.close();
    this.store.close();
  }

  private freeHere(given: Location): void {
    const location = checkedLocation(given);
    if (location !== null && holderOf(location) === this.self) this.store.free(location);
  }

  /** Tells the owner; where it is gone with its node, nobody will ever free the copy, so it goes now. */
  private copied({ owner, index }: PullRequest, copy: Location): void {
    const ownerNode = nodeKeyOf(owner);
    if (ownerNode === this.self) {
      if (!this.options.toProcess(owner, [Kind.CopyMade, index, copy])) this.store.free(copy);
      return;
    }
    const nodeId = this.options.links.nodeOf(ownerNode);
    if (nodeId !== undefined) this.options.links.send(nodeId, [NodeKind.CopyMade, owner, index, copy, this.self]);
    else if (this.puller.isDead(ownerNode)) this.store.free(copy);
  }

  private refuse(from: NodeId, what: string): true {
    this.options.report(`Cannot take ${what} of node ${from} as its word: it speaks for another node`);
    return true;
  }
}
