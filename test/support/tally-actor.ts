/** Counts what happened in other processes, by key, and keeps notes of it in order. */
import { remote } from "shoal";

class Tally {
  counts: Record<string, number> = {};
  noted: unknown[] = [];

  /** Adds one; returns the count with it. */
  add(key: string): number {
    this.counts[key] = (this.counts[key] ?? 0) + 1;
    return this.counts[key];
  }

  count(key: string): number {
    return this.counts[key] ?? 0;
  }

  note(value: unknown): void {
    this.noted.push(value);
  }

  notes(): unknown[] {
    return this.noted;
  }
}

export const TallyActor = remote(Tally, { numCpus: 0 });
