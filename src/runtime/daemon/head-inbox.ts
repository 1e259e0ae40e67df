/** What nodes tell the head, handed to it. */
import type { NodeId } from "../../base/ids.ts";
import { NodeKind, type NodeMessage } from "../../wire/node-messages.ts";
import type { Head } from "../head/head.ts";
import type { ClusterSide } from "./cluster-side.ts";

export class HeadInbox {
  private readonly head: Head;
  private readonly side: ClusterSide;

  constructor(head: Head, side: ClusterSide) {
    this.head = head;
    this.side = side;
  }

  ownHeartbeat(message: NodeMessage & { 0: typeof NodeKind.Heartbeat }): void {
    this.head.onHeartbeat(this.side.headNodeId, message[2], message[3], message[4]);
  }

  /** False when the message is not for the head. A node that is no member is not listened to: it has been given up, and will hear so. */
  receive(from: NodeId, message: NodeMessage): boolean {
    const { head } = this;
    if (!isForHead(message[0])) return false;
    if (!head.members.isAlive(from)) {
      this.side.links.drop(from, "it is no member of the cluster any more");
      return true;
    }
    switch (message[0]) {
      case NodeKind.Heartbeat:
        head.onHeartbeat(from, message[2], message[3], message[4]);
        break;
      case NodeKind.Placed:
        head.onActorPlaced(message[1], { nodeId: from, ...message[2] });
        break;
      case NodeKind.Unplaceable:
        head.onActorUnplaceable(from, message[1], message[2], message[3]);
        break;
      case NodeKind.Ready:
        head.onActorReady(message[1], message[2], message[3] ?? null, message[4]);
        break;
      case NodeKind.Exiting:
        head.onActorExiting(message[1], message[2]);
        break;
      case NodeKind.ProcessEnded:
        head.onWorkerDied(message[1], message[2]);
        break;
      case NodeKind.DriverGone:
        head.onDriverGone(message[1], message[2]);
        break;
      case NodeKind.BundlesReserved:
        head.onBundlesReserved(from, message[1], message[2]);
        break;
      case NodeKind.BundlesRefused:
        head.onBundlesRefused(from, message[1], message[2]);
        break;
      case NodeKind.BundlesRemoved:
        head.onBundlesRemoved(from, message[1], message[2]);
        break;
      case NodeKind.JobStarted:
        head.onJobStarted(message[1], message[2] === 0 ? null : message[2]);
        break;
      case NodeKind.Events:
        head.onTaskEvents(message[1], message[2]);
        break;
      case NodeKind.Leaving:
        head.members.left(from, message[1]);
        break;
    }
    return true;
  }
}

const isForHead = (kind: number): boolean => kind >= NodeKind.Heartbeat && kind <= NodeKind.Leaving;
