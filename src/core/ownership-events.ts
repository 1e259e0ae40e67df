/** What goes into the ownership machine and what comes out. */
import type { ActorId, ObjectIndex, WorkerId } from "../base/ids.ts";
import type { Location } from "../objects/types.ts";
import type { WireValue } from "../wire/messages.ts";
import type { ObjectRecord } from "./object-record.ts";
import type { TaskRecord } from "./task-record.ts";

/** One return or stream item as it arrived: inline, or stored when `location` is set. `contains` are records of the refs inside. */
export interface ReturnValue {
  readonly value: WireValue;
  readonly location: Location | null;
  readonly contains: readonly ObjectRecord[] | null;
}

export type OwnershipEvent =
  /** An ObjectRef for the record was made in this process. */
  | { readonly kind: "hold"; readonly record: ObjectRecord }
  /** An ObjectRef was disposed or collected. */
  | { readonly kind: "drop"; readonly record: ObjectRecord }
  | {
      readonly kind: "put";
      readonly record: ObjectRecord;
      readonly value: WireValue;
      readonly location: Location | null;
      readonly contains: readonly ObjectRecord[] | null;
    }
  /** An object without a task came out as an error. */
  | { readonly kind: "failObject"; readonly record: ObjectRecord; readonly error: Uint8Array }
  | { readonly kind: "submit"; readonly task: TaskRecord }
  | { readonly kind: "pushed"; readonly task: TaskRecord; readonly runner: unknown }
  /** The worker gave it back unstarted. */
  | { readonly kind: "handedBack"; readonly task: TaskRecord }
  | { readonly kind: "replied"; readonly task: TaskRecord; readonly attempt: number; readonly returns: readonly ReturnValue[] }
  | {
      readonly kind: "threw";
      readonly task: TaskRecord;
      readonly attempt: number;
      readonly error: Uint8Array;
      readonly retry: boolean;
    }
  | { readonly kind: "crashed"; readonly task: TaskRecord; readonly cause: "crash" | "outOfMemory" | "bystander" }
  /** It fails for good with this error. */
  | { readonly kind: "fail"; readonly task: TaskRecord; readonly error: Uint8Array }
  | { readonly kind: "retryNow"; readonly task: TaskRecord }
  | {
      readonly kind: "cancel";
      readonly task: TaskRecord;
      readonly force: boolean;
      readonly recursive: boolean;
      readonly error: Uint8Array;
    }
  | {
      readonly kind: "item";
      readonly task: TaskRecord;
      readonly attempt: number;
      readonly item: number;
      readonly value: ReturnValue;
    }
  | { readonly kind: "takeItem"; readonly task: TaskRecord }
  /** The stream's consumer is gone. */
  | { readonly kind: "abandon"; readonly task: TaskRecord }
  /** Somebody here waits for a borrowed object. */
  | { readonly kind: "want"; readonly record: ObjectRecord }
  /** The owner answered. */
  | {
      readonly kind: "resolved";
      readonly record: ObjectRecord;
      readonly outcome: "value" | "stored" | "error";
      readonly value: WireValue;
      readonly location: Location | null;
    }
  | { readonly kind: "lost"; readonly record: ObjectRecord; readonly name: string; readonly error: (why: string) => Uint8Array }
  /** A node has made a copy of a stored object of ours. */
  | { readonly kind: "copyMade"; readonly index: ObjectIndex; readonly copy: Location }
  /** A node is dead, and with it the bytes on it. `error` is what getting an object throws that cannot be made again. */
  | {
      readonly kind: "nodeLost";
      readonly isThere: (location: Location) => boolean;
      readonly error: (record: ObjectRecord, why: string) => Uint8Array;
    }
  | { readonly kind: "ownerLost"; readonly record: ObjectRecord; readonly error: Uint8Array }
  | { readonly kind: "borrowerAdded"; readonly record: ObjectRecord; readonly borrower: WorkerId }
  | { readonly kind: "borrowerRemoved"; readonly record: ObjectRecord; readonly borrower: WorkerId; readonly all: boolean };

export type OwnershipEffect =
  /** All arguments are there: give it to the submitter or the actor's client. */
  | { readonly kind: "enqueue"; readonly task: TaskRecord }
  /** Wake `record.waiters`. */
  | { readonly kind: "settled"; readonly record: ObjectRecord }
  /** Give back the bytes, wherever they are: the original, or a copy. */
  | { readonly kind: "free"; readonly location: Location }
  /** Register with the owner / end the registration. */
  | { readonly kind: "borrow"; readonly record: ObjectRecord }
  | { readonly kind: "unborrow"; readonly record: ObjectRecord }
  | { readonly kind: "fetch"; readonly record: ObjectRecord }
  | { readonly kind: "reportLost"; readonly record: ObjectRecord; readonly name: string }
  | { readonly kind: "actorOutOfScope"; readonly actorId: ActorId }
  | { readonly kind: "cancelRunning"; readonly task: TaskRecord; readonly force: boolean; readonly recursive: boolean }
  /** An actor call was settled before it was sent: the actor's queue may go on. */
  | { readonly kind: "unqueued"; readonly task: TaskRecord }
  /** Its worker died once too often: answer with `fail`. */
  | { readonly kind: "outOfRetries"; readonly task: TaskRecord }
  | { readonly kind: "retryLater"; readonly task: TaskRecord; readonly delayMs: number }
  /** A finished task runs again because an output was lost. */
  | { readonly kind: "rebuilding"; readonly task: TaskRecord }
  | { readonly kind: "streamReady"; readonly task: TaskRecord }
  /** Tell the producer how far the consumer is, or that it is gone. */
  | { readonly kind: "consumed"; readonly task: TaskRecord; readonly items: number; readonly done: boolean };
