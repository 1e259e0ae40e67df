/** What goes into the actor registry and what comes out. runtime/head carries the effects out and reports back by events. */
import type { ActorDeathReason } from "../base/errors.ts";
import type { ActorId, JobId, NodeId, WorkerId } from "../base/ids.ts";
import type { ActorSpec, ActorView, ProcessExit, WireValue } from "../wire/messages.ts";

/** Reason of an end after which the actor lives on elsewhere: its process finishes the calls it has. */
export const leavesWhenIdle = "its node is draining";

/** Where a placed actor's process is. */
export interface ActorPlace {
  readonly nodeId: NodeId;
  readonly workerId: WorkerId;
  readonly address: string;
  readonly pid: number;
  readonly gpuIds: readonly number[];
}

export type RegistryEvent =
  /** Answered by exactly one `created` effect. */
  | { readonly kind: "create"; readonly spec: ActorSpec }
  | { readonly kind: "placed"; readonly actorId: ActorId; readonly place: ActorPlace }
  | {
      readonly kind: "unplaceable";
      readonly actorId: ActorId;
      readonly reason: "unschedulable" | "runtime env";
      readonly text: string;
    }
  /** The constructor is through; `error` is what it threw, null for none. */
  | {
      readonly kind: "ready";
      readonly actorId: ActorId;
      readonly incarnation: number;
      readonly error: WireValue | null;
      readonly errorText: string;
    }
  /** The actor called exitActor. */
  | { readonly kind: "exiting"; readonly actorId: ActorId; readonly incarnation: number }
  /** A worker process ended: the actor in it, if any, ends or restarts, and the actors it owned end. */
  | { readonly kind: "workerDied"; readonly workerId: WorkerId; readonly exit: ProcessExit }
  /** A process that owned actors without being a worker (a driver) is gone. */
  | { readonly kind: "ownerGone"; readonly ownerId: WorkerId }
  | { readonly kind: "kill"; readonly actorId: ActorId; readonly noRestart: boolean }
  /** The last handle is gone: it ends after the calls it has. */
  | { readonly kind: "outOfScope"; readonly actorId: ActorId }
  | { readonly kind: "jobEnded"; readonly jobId: JobId }
  /** The placement group under these actors was removed. */
  | { readonly kind: "groupRemoved"; readonly actorIds: readonly ActorId[]; readonly groupText: string }
  /** The node is to leave: actors there that may restart finish their calls, and live on elsewhere. */
  | { readonly kind: "nodeDraining"; readonly nodeId: NodeId }
  | { readonly kind: "nodeDied"; readonly nodeId: NodeId; readonly text: string }
  /** A node that joins again has it: what the head knows may be older, or newer. `alive`: its constructor is through. */
  | {
      readonly kind: "recovered";
      readonly spec: ActorSpec;
      readonly incarnation: number;
      readonly place: ActorPlace;
      readonly alive: boolean;
    }
  /** A node that joins again has only these actors. */
  | { readonly kind: "absent"; readonly nodeId: NodeId; readonly present: ReadonlySet<ActorId> }
  /** Known from an earlier head's store. */
  | { readonly kind: "restored"; readonly saved: SavedActor }
  /** The nodes have reported what lives on them: the restored that nobody has are placed anew. */
  | { readonly kind: "placeRestored" }
  /** Time has passed; see `nextWakeMs`. */
  | { readonly kind: "tick" };

export type RegistryEffect =
  /** Answer to `create`. existing: `getIfExists` found it; taken: the name belongs to `view`. */
  | { readonly kind: "created"; readonly outcome: "new" | "existing" | "taken"; readonly view: ActorView }
  /** Find a node and a process for it; answered by `placed` or `unplaceable`. */
  | { readonly kind: "place"; readonly spec: ActorSpec }
  /** The placement under way, or the place it had, is no longer wanted. */
  | { readonly kind: "unplace"; readonly actorId: ActorId; readonly nodeId: NodeId | null }
  | { readonly kind: "start"; readonly spec: ActorSpec; readonly incarnation: number; readonly place: ActorPlace }
  /** From now on it keeps only its lifetime resources. */
  | { readonly kind: "settled"; readonly actorId: ActorId; readonly nodeId: NodeId }
  /** End its process. finish: after the calls it has; now: at once. */
  | {
      readonly kind: "endProcess";
      readonly nodeId: NodeId;
      readonly workerId: WorkerId;
      readonly how: "finish" | "now";
      readonly reason: string;
    }
  /** Its public state changed. */
  | { readonly kind: "publish"; readonly view: ActorView }
  /** The record must survive the head; `forget` ends that. */
  | { readonly kind: "save"; readonly saved: SavedActor }
  | { readonly kind: "forget"; readonly actorId: ActorId };

/** Why and how an actor ended, as callers will read it. */
export interface ActorDeath {
  readonly reason: ActorDeathReason;
  readonly message: string;
  readonly cause: WireValue;
}

/** What survives the head of an actor that is not dead. */
export interface SavedActor {
  readonly spec: ActorSpec;
  readonly state: "PENDING" | "ALIVE" | "RESTARTING";
  readonly incarnation: number;
  readonly restartsLeft: number;
  readonly place: ActorPlace | null;
}
