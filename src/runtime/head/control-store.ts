/**
 * What the head must not forget when it restarts: detached actors and their names, placement groups, jobs, keys. All of it goes through this
 * one interface, so that where it is kept is a choice made at the start: in memory for `init()`, whose head never outlives its driver.
 */

export interface ControlStore {
  /** Takes `value`, a structure of plain data. */
  put(table: string, key: string, value: unknown): void;
  get(table: string, key: string): unknown;
  /** False when there was none. */
  delete(table: string, key: string): boolean;
  /** Entries in the order of their keys' first `put`. */
  entries(table: string): Iterable<readonly [key: string, value: unknown]>;
  /** Resolves when everything put so far would survive the end of this process. */
  sync(): Promise<void>;
}

export class MemoryControlStore implements ControlStore {
  private readonly tables = new Map<string, Map<string, unknown>>();

  put(table: string, key: string, value: unknown): void {
    const rows = this.tables.get(table);
    if (rows === undefined) this.tables.set(table, new Map([[key, value]]));
    else rows.set(key, value);
  }

  get(table: string, key: string): unknown {
    return this.tables.get(table)?.get(key);
  }

  delete(table: string, key: string): boolean {
    return this.tables.get(table)?.delete(key) ?? false;
  }

  entries(table: string): Iterable<readonly [string, unknown]> {
    return this.tables.get(table) ?? [];
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }
}
