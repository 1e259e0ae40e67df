/**
 * The objects of other owners that a process holds refs to. By owner, then index: a key made of both would be built and hashed for each ref of a list that
 * arrives.
 */
import type { ObjectIndex, WorkerId } from "../base/ids.ts";
import type { ObjectRecord } from "./object-record.ts";

export class BorrowTable {
  /** No owner has an empty table. */
  readonly #owners = new Map<WorkerId, Map<ObjectIndex, ObjectRecord>>();

  get(owner: WorkerId, index: ObjectIndex): ObjectRecord | undefined {
    return this.#owners.get(owner)?.get(index);
  }

  set(owner: WorkerId, record: ObjectRecord): void {
    let records = this.#owners.get(owner);
    if (records === undefined) {
      records = new Map();
      this.#owners.set(owner, records);
    }
    records.set(record.index, record);
  }

  delete(owner: WorkerId, index: ObjectIndex): void {
    const records = this.#owners.get(owner);
    if (records?.delete(index) && records.size === 0) this.#owners.delete(owner);
  }

  get isEmpty(): boolean {
    return this.#owners.size === 0;
  }

  /** All of them, owner by owner. Records may be removed meanwhile. */
  *values(): Generator<ObjectRecord> {
    for (const records of this.#owners.values()) yield* records.values();
  }
}
