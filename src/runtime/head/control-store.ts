/**
 * What the head must not forget when it restarts: detached actors and their names, placement groups, jobs, keys. All of it goes through this
 * one interface, so that where it is kept is a choice made at the start: in memory for `init()`, whose head never outlives its driver; in a local file for
 * `shoal start --head`, so that a head started again on the same file knows what its cluster knew.
 */

export interface ControlStore {
  /** Takes `value`, a structure of plain data. */
  put(table: string, key: string, value: unknown): void;
  get(table: string, key: string): unknown;
  /** False when there was none. */
  delete(table: string, key: string): boolean;
  /** Entries in the order of their keys' first `put`. */
  entries(table: string): Iterable<readonly [key: string, value: unknown]>;
  /** Resolves when everything put so far survives the end of this process, however it ends. */
  sync(): Promise<void>;
  /** Writes what is left and lets go of the file. */
  close(): Promise<void>;
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

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Opens the store in `file` (made if it is missing), or one in memory for null. */
export async function openControlStore(file: string | null): Promise<ControlStore> {
  if (file === null) return new MemoryControlStore();
  const { FileControlStore } = await import("./file-store.ts"); // loads a database: a local `init()` has no use for it
  return FileControlStore.open(file);
}
