/**
 * What node daemons say to each other. One connection joins each pair of daemons that have something to say; these messages travel on it
 * beside the streams of their processes (docs/protocol-nodes.md). Each is an array: its kind, then its fields.
 */
import type { ActorId, JobId, NodeId, NodeKey, ObjectIndex, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { Location } from "../objects/types.ts";
import type {
  ActorSpec,
  ActorView,
  GroupStrategy,
  LogLine,
  NodeView,
  ProcessExit,
  Resources,
  RuntimeEnvSpec,
  TaskEvent,
  WireValue,
} from "./messages.ts";

/** Kinds of message between daemons. Numbers are part of the protocol. */
export const NodeKind = {
  Request: 100,
  Response: 101,
  // node -> head
  Heartbeat: 110,
  Placed: 111,
  Unplaceable: 112,
  Ready: 113,
  Exiting: 114,
  ProcessEnded: 115,
  DriverGone: 116,
  BundlesReserved: 117,
  BundlesRefused: 118,
  BundlesRemoved: 119,
  JobStarted: 120,
  Events: 121,
  Leaving: 122,
  // head -> node
  Nodes: 130,
  PlaceActor: 131,
  UnplaceActor: 132,
  StartActor: 133,
  SettleActor: 134,
  EndWorker: 135,
  ReserveBundles: 136,
  RemoveBundles: 137,
  PublishActor: 138,
  GroupPlaced: 139,
  JobEnded: 140,
  Drain: 141,
  Warn: 142,
  ClusterEnds: 143,
  // node -> node
  Log: 150,
  CopyMade: 151,
  FreeCopies: 152,
  Progress: 153,
  OwnerGone: 154,
} as const;

/** What a joining daemon tells the head. Answered by `Joined`, or refused with a reason. */
export interface JoinInfo {
  readonly nodeId: NodeId;
  readonly hostname: string;
  /** Where other daemons reach this one. */
  readonly host: string;
  readonly port: number;
  readonly resources: Resources;
  readonly available: Resources;
  readonly labels: Readonly<Record<string, string>>;
  readonly objectStoreMemory: number;
  /** A node that came with a driver and offers nothing. */
  readonly driverOnly: boolean;
  /** A head that is new, or has missed something, goes by it. The answer to the first join may be lost too, so it is always there. Null: where it is of no use any more. */
  readonly here: NodeInventory | null;
}

/** What a node that joins again has of what the head keeps account of. What is not in it has ended. */
export interface NodeInventory {
  readonly actors: readonly ActorHere[];
  /** Its own processes. */
  readonly processes: readonly WorkerId[];
  /** Jobs of its drivers. */
  readonly driven: readonly { readonly info: JobInfo; readonly driverPid: number }[];
  /** Jobs it has something of. */
  readonly jobs: readonly JobId[];
  /** Actors that its processes want to hear of. */
  readonly subscriptions: readonly (readonly [WorkerId, readonly ActorId[]])[];
  /** Bundles reserved here, by their numbers in the group. */
  readonly bundles: readonly (readonly [PlacementGroupId, readonly number[]])[];
  /** Placement groups that the head has told of. */
  readonly groups: readonly PlacementGroupId[];
  /** What the head has not confirmed to have heard, in order: it may hear some of it twice. */
  readonly news: readonly NodeMessage[];
}

/** An actor that has a process on a node. */
export interface ActorHere {
  readonly spec: ActorSpec;
  readonly incarnation: number;
  readonly place: {
    readonly workerId: WorkerId;
    readonly address: string;
    readonly pid: number;
    readonly gpuIds: readonly number[];
  };
  /** Its constructor is through, as far as the head has said so. */
  readonly alive: boolean;
}

/** The answer to a node that cannot be a member; trying again would not help. */
export interface NotJoined {
  readonly refused: string;
}

export interface Joined {
  readonly clusterId: string;
  readonly headNodeId: NodeId;
  readonly nodes: readonly ClusterNode[];
}

/** A member as every daemon knows it. */
export interface ClusterNode extends NodeView {
  readonly host: string;
  readonly port: number;
  readonly driverOnly: boolean;
  readonly draining: boolean;
}

/** A job as the head tells nodes of it, with the first thing they do for it. */
export interface JobInfo {
  readonly jobId: JobId;
  readonly namespace: string;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly driverCwd: string;
  /** Node of its driver. */
  readonly driverNode: NodeId;
}

export type NodeMessage =
  | readonly [typeof NodeKind.Request, id: number, method: string, params: unknown]
  | readonly [typeof NodeKind.Response, id: number, ok: boolean, value: unknown]
  | readonly [
      typeof NodeKind.Heartbeat,
      sequence: number,
      available: Resources,
      pending: readonly PendingDemand[],
      storeUsed: number,
    ]
  | readonly [
      typeof NodeKind.Placed,
      ActorId,
      place: { readonly workerId: WorkerId; readonly address: string; readonly pid: number; readonly gpuIds: readonly number[] },
    ]
  | readonly [typeof NodeKind.Unplaceable, ActorId, reason: "unschedulable" | "runtime env", text: string]
  | readonly [typeof NodeKind.Ready, ActorId, incarnation: number, error: WireValue | null, errorText: string]
  | readonly [typeof NodeKind.Exiting, ActorId, incarnation: number]
  | readonly [typeof NodeKind.ProcessEnded, WorkerId, ProcessExit]
  | readonly [typeof NodeKind.DriverGone, WorkerId, JobId]
  | readonly [typeof NodeKind.BundlesReserved, PlacementGroupId, attempt: number]
  /** Some bundle does not fit now. Nothing is kept. */
  | readonly [typeof NodeKind.BundlesRefused, PlacementGroupId, attempt: number]
  | readonly [typeof NodeKind.BundlesRemoved, PlacementGroupId, actorIds: readonly ActorId[]]
  | readonly [typeof NodeKind.JobStarted, JobInfo, driverPid: number]
  | readonly [typeof NodeKind.Events, JobId, readonly TaskEvent[]]
  /** The node ends in an orderly way: nothing new goes to it. */
  | readonly [typeof NodeKind.Leaving, reason: string]
  | readonly [typeof NodeKind.Nodes, readonly ClusterNode[]]
  | readonly [typeof NodeKind.PlaceActor, ActorSpec, JobInfo | null]
  | readonly [typeof NodeKind.UnplaceActor, ActorId]
  | readonly [
      typeof NodeKind.StartActor,
      ActorSpec,
      incarnation: number,
      place: { readonly workerId: WorkerId; readonly gpuIds: readonly number[] },
    ]
  | readonly [typeof NodeKind.SettleActor, ActorId]
  | readonly [typeof NodeKind.EndWorker, WorkerId, how: "finish" | "now", reason: string]
  /** Phase one: keep these bundles of the group, numbered as in the group. */
  | readonly [
      typeof NodeKind.ReserveBundles,
      PlacementGroupId,
      attempt: number,
      JobId,
      bundles: readonly { readonly index: number; readonly resources: Resources }[],
      GroupStrategy,
    ]
  /** `indexes`: only these, as a reservation is undone; left out: the group is gone for good. */
  | readonly [typeof NodeKind.RemoveBundles, PlacementGroupId, indexes?: readonly number[]]
  | readonly [typeof NodeKind.PublishActor, to: WorkerId, ActorView]
  /** Phase two, to every node: where each bundle is; null where it is being placed anew. An empty list: the group is gone. */
  | readonly [typeof NodeKind.GroupPlaced, PlacementGroupId, nodes: readonly (NodeId | null)[], bundles?: readonly Resources[]]
  | readonly [typeof NodeKind.JobEnded, JobId]
  | readonly [typeof NodeKind.Drain, reason: string]
  | readonly [typeof NodeKind.Warn, JobId | null, text: string]
  /** The head ends in good order and for good: there is nothing to wait for. */
  | readonly [typeof NodeKind.ClusterEnds, reason: string]
  | readonly [typeof NodeKind.Log, JobId, readonly LogLine[]]
  /** To the node of an object's owner: a node has a copy of its bytes. */
  | readonly [typeof NodeKind.CopyMade, owner: WorkerId, ObjectIndex, Location, holder: NodeKey]
  /** To a node that has bytes of the sender's processes, originals or copies: give them back. */
  | readonly [typeof NodeKind.FreeCopies, readonly Location[]]
  /** A process of the sender has ended: nobody will free what it owned on other nodes. */
  | readonly [typeof NodeKind.OwnerGone, WorkerId]
  | readonly [typeof NodeKind.Progress, JobId, unknown];

export interface PendingDemand {
  readonly label: string;
  readonly resources: Resources;
  readonly count: number;
}
