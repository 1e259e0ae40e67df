/** What all simulated processes share. */
import type { NodeId } from "../src/base/ids.ts";
import type { Daemon } from "./daemon.ts";
import type { Network } from "./network.ts";
import type { World } from "./world.ts";

/** Bugs put in on purpose, to see that they are noticed. */
export type Bug =
  | "none"
  | "free twice"
  | "lose recalls"
  | "lend nothing"
  | "forget borrowers"
  | "share busy workers"
  | "start calls out of order"
  | "forget what was spilled"
  | "keep half a group"
  | "forget owners of dead nodes"
  | "repeat no orders";

export interface Counts {
  /** Leases that a scheduler sent its own node's owners to another node for. */
  spilled: number;
  /** Placement groups that were created, whole. */
  groups: number;
  /** Refs that a process of another node than their owner's borrowed. */
  borrowedOverNodes: number;
}

export interface Shared {
  readonly world: World;
  readonly network: Network;
  /** All that were ever started, by id. */
  readonly nodes: Map<NodeId, Daemon>;
  readonly headId: NodeId;
  readonly bug: Bug;
  /** Faults happen in this run: then a result may be an error that a fault explains. */
  readonly faulty: boolean;
  /** CPUs that some node has whatever happens. */
  readonly cpus: number;
  /** Thousands of nodes: whole structures are checked now and then, not after every step. */
  readonly large: boolean;
  /** What has happened so far, on all nodes. */
  readonly counts: Counts;
  newId(prefix: string): string;
  /** Nodes whose connection to the head's node has broken. */
  readonly broken: Set<NodeId>;
  /** The head orders the node something, or the node tells the head something, on the connection between them: a good moment for it to break. */
  onOrder(nodeId: NodeId, kind: number): void;
  /** The head asks the node to reserve bundles: a good moment for it to die. */
  onReserve(nodeId: NodeId): void;
}

export const noCounts = (): Counts => ({ spilled: 0, groups: 0, borrowedOverNodes: 0 });

/** A property does not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export function check(condition: boolean, detail: () => string): void {
  if (!condition) throw new Violation(detail());
}

/** Digits of a node's id, which all ids of its processes begin with. */
const nodeIdDigits = 6;

/** Whether the process is a node's daemon. */
export const isDaemon = (id: string): boolean => id.length === nodeIdDigits;

/** Milliseconds of silence after which head and node give each other up, as in the runtime. */
export const nodeTimeoutMs = 10_000;
export const heartbeatMs = 1_000;
