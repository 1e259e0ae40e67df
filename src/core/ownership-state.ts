/** What one process knows of the objects it owns, the refs it borrowed, and its unfinished tasks. */
import type { ObjectIndex, WorkerId } from "../base/ids.ts";
import { BorrowTable } from "./borrow-table.ts";
import { newObjectRecord, type ObjectRecord } from "./object-record.ts";
import type { OwnershipEffect } from "./ownership-events.ts";
import type { TaskRecord } from "./task-record.ts";

export interface OwnershipState {
  readonly self: WorkerId;
  nextIndex: number;
  /** Objects this process owns, until their last count is gone. */
  readonly owned: Map<ObjectIndex, ObjectRecord>;
  /** Objects of other owners while this process holds a ref. */
  readonly borrowed: BorrowTable;
  /** Unfinished tasks. */
  readonly tasks: Map<ObjectIndex, TaskRecord>;
  effects: OwnershipEffect[];
}

export function createOwnership(self: WorkerId): OwnershipState {
  return { self, nextIndex: 1, owned: new Map(), borrowed: new BorrowTable(), tasks: new Map(), effects: [] };
}

/** Makes the record of a new object of our own, not yet counted by anybody. */
export function newOwned(state: OwnershipState): ObjectRecord {
  const record = newObjectRecord(state.nextIndex++ as ObjectIndex, null);
  state.owned.set(record.index, record);
  return record;
}

/** The record for a ref that arrived: ours, one we already borrow, or a new borrow (effect `borrow`). */
export function resolveRef(state: OwnershipState, owner: WorkerId, index: ObjectIndex, address: string): ObjectRecord {
  if (owner === state.self) {
    const own = state.owned.get(index);
    if (own !== undefined) return own;
    const lost = newObjectRecord(index, null);
    lost.state = "gone";
    return lost;
  }
  let record = state.borrowed.get(owner, index);
  if (record === undefined) {
    record = newObjectRecord(index, { owner, address });
    state.borrowed.set(owner, record);
    state.effects.push({ kind: "borrow", record });
  }
  return record;
}
