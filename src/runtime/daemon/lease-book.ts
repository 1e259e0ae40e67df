/** Which leases are out, for the memory monitor and the listings. The scheduler has the truth; this is what people and policies ask for. */
import type { LeaseId, WorkerId } from "../../base/ids.ts";

export interface LeaseEntry {
  readonly leaseId: LeaseId;
  readonly ownerId: WorkerId;
  readonly workerId: WorkerId;
  readonly grantedAtMs: number;
  /** Name of a task of the class. */
  readonly label: string;
  /** False when a task of the class may not run twice. */
  readonly retriable: boolean;
}

export class LeaseBook {
  /** Added when granted, removed when returned or when either side is gone. */
  private readonly entries = new Map<LeaseId, LeaseEntry>();

  add(entry: LeaseEntry): void {
    this.entries.set(entry.leaseId, entry);
  }

  remove(leaseId: LeaseId): void {
    this.entries.delete(leaseId);
  }

  workerGone(workerId: WorkerId): void {
    for (const entry of this.entries.values()) if (entry.workerId === workerId) this.entries.delete(entry.leaseId);
  }

  ownerGone(ownerId: WorkerId): void {
    for (const entry of this.entries.values()) if (entry.ownerId === ownerId) this.entries.delete(entry.leaseId);
  }

  all(): IterableIterator<LeaseEntry> {
    return this.entries.values();
  }
}
