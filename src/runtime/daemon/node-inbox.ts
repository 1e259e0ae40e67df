/** What the head and other nodes tell a node, carried out on its daemon. */
import type { NodeId } from "../../base/ids.ts";
import { NodeKind, type NodeMessage } from "../../wire/node-messages.ts";
import type { ClusterSide } from "./cluster-side.ts";
import type { Daemon } from "./daemon.ts";

export class NodeInbox {
  private readonly daemon: Daemon;
  private readonly side: ClusterSide;

  constructor(daemon: Daemon, side: ClusterSide) {
    this.daemon = daemon;
    this.side = side;
  }

  /** Orders are taken from the head alone. */
  receive(from: NodeId, message: NodeMessage, fromHead: boolean): void {
    if (fromHead && this.obey(message)) return;
    const { daemon } = this;
    switch (message[0]) {
      case NodeKind.Log:
        return daemon.logs.deliver(message[1], message[2]);
      case NodeKind.Progress:
        return daemon.progress(message[1], message[2]);
      default:
        if (daemon.transfer?.onMessage(from, message) === true) return;
        daemon.log.line(`node ${from} sent a message of kind ${message[0]}, which is not its to send`);
    }
  }

  private obey(message: NodeMessage): boolean {
    const { localNode } = this.daemon;
    switch (message[0]) {
      case NodeKind.Nodes:
        this.side.nodesChanged(message[1]);
        return true;
      case NodeKind.PlaceActor:
        localNode.placeActor(message[1], message[2]);
        return true;
      case NodeKind.UnplaceActor:
        localNode.unplaceActor(message[1]);
        return true;
      case NodeKind.StartActor:
        localNode.startActor(message[1], message[2], { nodeId: localNode.nodeId, address: "", pid: 0, ...message[3] });
        return true;
      case NodeKind.SettleActor:
        localNode.settleActor(message[1]);
        return true;
      case NodeKind.EndWorker:
        localNode.endWorker(message[1], message[2], message[3] ?? []);
        return true;
      case NodeKind.ReserveBundles: {
        const [, groupId, attempt, jobId, bundles, strategy] = message;
        localNode.reserveBundles({ groupId, attempt, jobId, bundles, strategy, queue: false });
        return true;
      }
      case NodeKind.RemoveBundles:
        localNode.removeBundles(message[1], message[2] ?? null);
        return true;
      case NodeKind.PublishActor:
        localNode.publishActor(message[1], message[2]);
        return true;
      case NodeKind.GroupPlaced:
        localNode.announceGroup(message[1], message[2], message[3] ?? []);
        return true;
      case NodeKind.JobEnded:
        localNode.jobEnded(message[1]);
        return true;
      case NodeKind.Drain:
        localNode.drain(message[1]);
        return true;
      case NodeKind.ClusterEnds:
        localNode.clusterEnds(message[1]);
        return true;
      case NodeKind.Warn:
        localNode.warn(message[1], message[2]);
        return true;
      default:
        return false;
    }
  }
}
