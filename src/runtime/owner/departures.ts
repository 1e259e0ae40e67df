/**
 * Processes and nodes that have ended, as this process comes to know it.
 *
 * The daemon's report can overtake what a process sent us last, on another connection: until that is closed (it is then read to its end) what the
 * process had under way may still be answered. So whoever is reported first only *leaves*, and is *over* when the connection is closed or time is up.
 */
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { type NodeId, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import type { ProcessExit } from "../../wire/messages.ts";
import type { Runtime } from "./runtime.ts";

/** Milliseconds for which the connection to a process that has ended may stay open: another holder of the socket keeps it so. */
export const lastWordsMs = 1_000;

/** A dead node, and its processes to which connections are open still. */
interface LeavingNode {
  readonly reason: string;
  readonly open: Set<WorkerId>;
  readonly timer: NodeJS.Timeout;
}

export class Departures {
  private readonly runtime: Runtime;
  /** Added when reported, removed when over. */
  private readonly workers = new Map<WorkerId, { readonly exit: ProcessExit; readonly timer: NodeJS.Timeout }>();
  private readonly nodes = new Map<NodeId, LeavingNode>();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  workerDied(workerId: WorkerId, exit: ProcessExit): void {
    const { peers, tasks, actors } = this.runtime;
    if (peers.existing(workerId) === undefined) return this.workerOver(workerId, exit);
    tasks.workerEnding(workerId);
    actors.workerEnding(workerId);
    const timer = setTimeout(() => {
      this.workerOver(workerId, exit);
      this.runtime.drain();
    }, lastWordsMs);
    this.workers.set(workerId, { exit, timer });
  }

  /** As `workerDied`, for all processes of a node. */
  nodeDied(nodeId: NodeId, reason: string): void {
    const { peers, tasks, actors } = this.runtime;
    const open = new Set(peers.of(nodeKeyOf(nodeId)));
    if (open.size === 0) return this.nodeOver(nodeId, reason);
    tasks.nodeEnding(nodeId, reason);
    for (const peer of open) actors.workerEnding(peer);
    const timer = setTimeout(() => {
      this.nodeOver(nodeId, reason);
      this.runtime.drain();
    }, lastWordsMs);
    this.nodes.set(nodeId, { reason, open, timer });
  }

  /** The connection to it is closed and read to its end. */
  peerGone(peer: WorkerId): void {
    const left = this.workers.get(peer);
    if (left !== undefined) this.workerOver(peer, left.exit);
    for (const [nodeId, { open, reason }] of this.nodes) if (open.delete(peer) && open.size === 0) this.nodeOver(nodeId, reason);
  }

  close(): void {
    for (const { timer } of [...this.workers.values(), ...this.nodes.values()]) clearTimeout(timer);
  }

  private workerOver(workerId: WorkerId, exit: ProcessExit): void {
    clearTimeout(this.workers.get(workerId)?.timer);
    this.workers.delete(workerId);
    const { tasks, actors, borrows } = this.runtime;
    tasks.workerDied(workerId, exit);
    actors.workerDied(workerId);
    borrows.ownerDied(workerId);
  }

  private nodeOver(nodeId: NodeId, reason: string): void {
    const left = this.nodes.get(nodeId);
    clearTimeout(left?.timer);
    this.nodes.delete(nodeId);
    const { tasks, actors, borrows, objects } = this.runtime;
    for (const peer of left?.open ?? []) actors.workerDied(peer);
    borrows.nodeDied(nodeId);
    objects.nodeDied(nodeId);
    tasks.nodeDied(nodeId, reason);
  }
}
