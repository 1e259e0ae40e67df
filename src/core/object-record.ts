/**
 * What a process knows of one object: its own (it is the owner) or one it borrowed. An ObjectRef points straight at its record, so
 * nothing on the path of a task looks an object up by name.
 */
import type { ActorId, ObjectIndex, WorkerId } from "../base/ids.ts";
import type { Location } from "../objects/types.ts";
import type { WireValue } from "../wire/messages.ts";
import type { TaskRecord } from "./task-record.ts";

/**
 * pending: its task has not finished (or, borrowed: not asked for, or not answered yet) · inline: the value is here ·
 * stored: the value is in the object store · failed: getting it throws `error` · released: the data was freed, but lineage keeps
 * the record so that the object can be made again for somebody downstream · gone: removed from the table.
 */
export type ObjectState = "pending" | "inline" | "stored" | "failed" | "released" | "gone";

export interface Foreign {
  readonly owner: WorkerId;
  /** Socket of the owner. */
  readonly address: string;
}

export interface ObjectRecord {
  readonly index: ObjectIndex;
  /** Null when this process owns the object. */
  readonly foreign: Foreign | null;
  state: ObjectState;
  /** The inline value, or the serialized error when failed. */
  value: WireValue;
  location: Location | null;
  /**
   * Owner only: copies that other nodes made of the bytes at `location`. Added by `copyMade`; removed with the data, when a node dies, and when one takes the
   * place of a lost original.
   */
  copies: Location[] | null;
  /** ObjectRefs in this process, plus holds by values that contain the ref. Added by `hold`, removed by `drop`. */
  localRefs: number;
  /** Unfinished tasks of ours that take it as an argument or carry its ref. */
  taskUses: number;
  /** Finished tasks whose outputs may have to be made again from it. */
  lineageUses: number;
  /** Owner only: refs held by other processes. */
  borrowers: Map<WorkerId, number> | null;
  /** Records whose refs the value contains; held while the value lives. */
  contains: readonly ObjectRecord[] | null;
  /** The task that makes it; kept after the end only while the object can be lost. */
  maker: TaskRecord | null;
  /** Tasks that wait for it as an argument. */
  dependents: TaskRecord[] | null;
  /** Opaque to core: what the runtime wakes when the object settles. */
  waiters: unknown[] | null;
  /** Borrowed only: the owner has been asked. */
  requested: boolean;
  /** The object that counts an actor's handles; at zero the actor goes out of scope. */
  actorId: ActorId | null;
  /** Opaque to core: the number of the last `wait` of this process that was given the object, so that it finds one given twice without a table. */
  waitNumber: number;
}

export function newObjectRecord(index: ObjectIndex, foreign: Foreign | null): ObjectRecord {
  return {
    index,
    foreign,
    state: "pending",
    value: undefined,
    location: null,
    copies: null,
    localRefs: 0,
    taskUses: 0,
    lineageUses: 0,
    borrowers: null,
    contains: null,
    maker: null,
    dependents: null,
    waiters: null,
    requested: false,
    actorId: null,
    waitNumber: 0,
  };
}

/** True when a `get` would not have to wait. */
export function isSettled(record: ObjectRecord): boolean {
  return record.state === "inline" || record.state === "stored" || record.state === "failed";
}
