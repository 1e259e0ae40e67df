/**
 * What goes into a node's scheduler and what comes out. The scheduler decides on one node which worker is leased to whom, which processes
 * start and stop, and when a request can never be met; runtime/daemon carries the effects out and reports back by events.
 */
import type { ActorId, JobId, LeaseId, NodeId, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { GroupStrategy, Resources, RuntimeEnvSpec, SchedulingSpec } from "../wire/messages.ts";
import type { NodeCandidate } from "./placement.ts";

/** A node as the head describes it; `candidateOf` makes the maps. */
export interface NodeDescription extends NodeCandidate {
  /** Grows with each new description of the node. */
  readonly version: number;
}

export type SchedulerEvent =
  /** A process start asked for by `startWorker` has connected. `token` is the effect's. */
  | { readonly kind: "workerReady"; readonly token: number; readonly workerId: WorkerId }
  /** A process start failed before it connected. `permanent`: the runtime env cannot be set up, so what asked for it fails. */
  | { readonly kind: "startFailed"; readonly token: number; readonly permanent: boolean; readonly text: string }
  /** A worker process ended, however. */
  | { readonly kind: "workerGone"; readonly workerId: WorkerId }
  /** The worker ends after what it runs now: grant nothing more on it. */
  | { readonly kind: "workerRetiring"; readonly workerId: WorkerId }
  /** Answer to `tryExit`: it must live on. */
  | { readonly kind: "workerStays"; readonly workerId: WorkerId }
  | {
      readonly kind: "defineClass";
      readonly ownerId: WorkerId;
      readonly jobId: JobId;
      readonly classId: number;
      readonly spec: SchedulingSpec;
      /** The owner is on another node. */
      readonly remote?: boolean;
    }
  /** See the Demand message: outstanding = wanted - (granted - grantsSeen). */
  | {
      readonly kind: "demand";
      readonly ownerId: WorkerId;
      readonly classId: number;
      readonly wanted: number;
      readonly grantsSeen: number;
      /** Of a remote owner: what cannot be granted now waits; it is declined otherwise. */
      readonly hard?: boolean;
    }
  | { readonly kind: "returnLease"; readonly ownerId: WorkerId; readonly leaseId: LeaseId }
  /** A task under the lease waits in get/wait; its CPU (not GPU, memory, custom resources) is free meanwhile. */
  | { readonly kind: "blocked"; readonly leaseId: LeaseId }
  | { readonly kind: "unblocked"; readonly leaseId: LeaseId }
  /** An owner's connection ended: its demands and leases end; workers that still run its tasks are stopped. */
  | { readonly kind: "ownerGone"; readonly ownerId: WorkerId }
  | {
      readonly kind: "placeActor";
      readonly actorId: ActorId;
      readonly jobId: JobId;
      readonly placement: SchedulingSpec;
      readonly lifetimeResources: Resources;
    }
  /** The constructor is through: from now on the actor keeps only its lifetime resources. */
  | { readonly kind: "actorReady"; readonly actorId: ActorId }
  /** The actor's constructor waits in get/wait, or goes on: its CPU is free meanwhile, as a task's. */
  | { readonly kind: "actorBlocked"; readonly actorId: ActorId; readonly blocked: boolean }
  /** The actor (or its pending placement) is over; its process, if any, has ended or is reported by workerGone. `stop`: nobody else ends the process. */
  | { readonly kind: "actorGone"; readonly actorId: ActorId; readonly stop?: boolean }
  /** Prestart this many workers for a job. */
  | { readonly kind: "jobStarted"; readonly jobId: JobId; readonly prestart: number }
  | { readonly kind: "jobEnded"; readonly jobId: JobId }
  /** Keep these bundles of a group, all or none; more of one that has some already are added. */
  | {
      readonly kind: "createGroup";
      readonly groupId: PlacementGroupId;
      readonly jobId: JobId;
      readonly bundles: readonly GroupBundle[];
      readonly strategy: GroupStrategy;
      /** Wait until they fit; otherwise they fit now or `groupRefused` follows. */
      readonly queue: boolean;
    }
  /** The group is gone for good. */
  | { readonly kind: "removeGroup"; readonly groupId: PlacementGroupId }
  /** These bundles are not kept here after all; the group lives on. */
  | { readonly kind: "removeBundles"; readonly groupId: PlacementGroupId; readonly indexes: readonly number[] }
  /** Where each of the group's bundles is; null while one is being placed. An empty list: the group is gone for good. */
  | {
      readonly kind: "groupPlaced";
      readonly groupId: PlacementGroupId;
      readonly nodes: readonly (NodeId | null)[];
      readonly bundles?: readonly Resources[];
    }
  /**
   * Nodes of the cluster that are new or of which something has changed, and those that are no more. This one may be among them: of it only
   * `draining` is news.
   */
  | { readonly kind: "nodesChanged"; readonly nodes: readonly NodeDescription[]; readonly gone: readonly NodeId[] }
  /** Time has passed; see `nextWakeMs`. */
  | { readonly kind: "tick" };

export interface GroupBundle {
  /** In the whole group. */
  readonly index: number;
  readonly resources: Resources;
}

export type SchedulerEffect =
  | { readonly kind: "startWorker"; readonly token: number; readonly jobId: JobId; readonly runtimeEnv: RuntimeEnvSpec | null }
  | { readonly kind: "stopWorker"; readonly workerId: WorkerId; readonly reason: string }
  | { readonly kind: "tryExit"; readonly workerId: WorkerId }
  /** A worker that retires has no lease left: nobody pushes to it any more, it may end. */
  | { readonly kind: "retired"; readonly workerId: WorkerId }
  | {
      readonly kind: "grant";
      readonly ownerId: WorkerId;
      readonly classId: number;
      readonly leaseId: LeaseId;
      readonly workerId: WorkerId;
      readonly gpuIds: readonly number[];
    }
  | { readonly kind: "recall"; readonly ownerId: WorkerId; readonly leaseId: LeaseId }
  | {
      readonly kind: "unschedulable";
      readonly ownerId: WorkerId;
      readonly classId: number;
      readonly reason: "unschedulable" | "runtime env";
      readonly text: string;
    }
  /** The owner asks that node for `count` of the leases it wants; they count as granted. `hard`: it waits there. */
  | {
      readonly kind: "spill";
      readonly ownerId: WorkerId;
      readonly classId: number;
      readonly nodeId: NodeId;
      readonly count: number;
      readonly hard: boolean;
    }
  /** To a remote owner: so many of the leases it wants cannot be had now. They count as granted. */
  | { readonly kind: "decline"; readonly ownerId: WorkerId; readonly classId: number; readonly count: number }
  | { readonly kind: "actorPlaced"; readonly actorId: ActorId; readonly workerId: WorkerId; readonly gpuIds: readonly number[] }
  | {
      readonly kind: "actorUnplaceable";
      readonly actorId: ActorId;
      readonly reason: "unschedulable" | "runtime env";
      readonly text: string;
    }
  | { readonly kind: "groupCreated"; readonly groupId: PlacementGroupId }
  /** The bundles do not fit now, and nothing is kept for them. */
  | { readonly kind: "groupRefused"; readonly groupId: PlacementGroupId }
  /** The group is gone; actors in it must be ended with `reason`. */
  | { readonly kind: "groupRemoved"; readonly groupId: PlacementGroupId; readonly actorIds: readonly ActorId[] }
  /** Tell the drivers of the job (all when null). */
  | { readonly kind: "warn"; readonly jobId: JobId | null; readonly text: string };
