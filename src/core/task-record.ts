/** What an owner knows of one task or actor call it submitted. */
import type { ActorId, ObjectIndex } from "../base/ids.ts";
import type { TaskDefinition, WireValue } from "../wire/messages.ts";
import type { ObjectRecord } from "./object-record.ts";
import type { StreamRecord } from "./stream-record.ts";

/**
 * waiting: for arguments · queued: ready, no worker yet · pushed: sent to a worker · delayed: waits before a retry ·
 * finished: settled for good · cancelled: settled by a cancel; a worker may still be busy with it.
 */
export type TaskState = "waiting" | "queued" | "pushed" | "delayed" | "finished" | "cancelled";

/** A definition as this process numbers it, shared by all calls of one remote function under one set of options. */
export interface LocalDefinition {
  readonly id: number;
  readonly wire: TaskDefinition;
  /** Scheduling class for a task; -1 for an actor method. */
  readonly classId: number;
  readonly maxRetries: number;
}

export type TaskArg = WireValue | ObjectRecord;

export interface TaskRecord {
  /** Index of the first return (of the completion object for streams and zero returns): the task's name. */
  readonly index: ObjectIndex;
  readonly definition: LocalDefinition;
  readonly args: readonly TaskArg[];
  /** Refs inside the arguments (and an actor's handle): held until the task is finished. */
  readonly holds: readonly ObjectRecord[] | null;
  readonly returns: readonly ObjectRecord[];
  readonly actorId: ActorId | null;
  /** The scheduling class it goes to: its definition's, or that of those whose arguments are on the same node. Set when it is queued. */
  classId: number;
  /** The task of this process that submitted it ("" at the top), for recursive cancel. */
  readonly parent: string;
  state: TaskState;
  /** Arguments still pending. */
  waitingFor: number;
  attempt: number;
  /** Further runs allowed; -1 infinite. */
  retriesLeft: number;
  oomRetriesLeft: number;
  /** Opaque to ownership: the lease or actor connection that runs it. */
  runner: unknown;
  stream: StreamRecord | null;
  /** The user asked to cancel while it was pushed. */
  cancelRequested: boolean;
}

export function isRecord(arg: TaskArg): arg is ObjectRecord {
  return typeof arg === "object" && arg !== null && !(arg instanceof Uint8Array);
}
