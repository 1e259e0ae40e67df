/** The head's memory in a local file. Reads come from memory; every change is written behind, in order. */
import { open, type RootDatabase } from "lmdb";
import { MemoryControlStore } from "./control-store.ts";

type Key = readonly [table: string, key: string];

export class FileControlStore extends MemoryControlStore {
  private readonly database: RootDatabase<unknown, string[]>;

  /** Opens or makes the file; one process at a time has it. */
  static open(file: string): FileControlStore {
    const store = new FileControlStore(open({ path: file, noSubdir: true, encoding: "msgpack" }));
    for (const { key, value } of store.database.getRange()) {
      const [table, name] = key as unknown as Key;
      store.load(table, name, value);
    }
    return store;
  }

  private constructor(database: RootDatabase<unknown, string[]>) {
    super();
    this.database = database;
  }

  override put(table: string, key: string, value: unknown): void {
    super.put(table, key, value);
    void this.database.put([table, key], value);
  }

  override delete(table: string, key: string): boolean {
    void this.database.remove([table, key]);
    return super.delete(table, key);
  }

  override async sync(): Promise<void> {
    await this.database.committed;
  }

  override async close(): Promise<void> {
    await this.database.close();
  }

  private load(table: string, key: string, value: unknown): void {
    super.put(table, key, value);
  }
}
