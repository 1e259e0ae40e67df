/** Generated modules of a session as files in its `code/` directory: written once, read by every process of the node. */
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CodeStore } from "../../functions/types.ts";

export class DirectoryCodeStore implements CodeStore {
  private readonly directory: string;
  private readonly known = new Set<string>();

  constructor(directory: string) {
    this.directory = directory;
  }

  has(key: string): boolean {
    if (this.known.has(key)) return true;
    if (!existsSync(this.path(key))) return false;
    this.known.add(key);
    return true;
  }

  /** Each file appears whole; the module comes last, so that whoever finds it finds all. */
  write(key: string, files: Readonly<Record<string, string | Uint8Array>>): void {
    const suffixes = Object.keys(files).sort((a, b) => Number(a === ".mjs") - Number(b === ".mjs"));
    for (const suffix of suffixes) {
      const path = join(this.directory, key + suffix);
      const unfinished = `${path}.${process.pid}`;
      writeFileSync(unfinished, files[suffix], { mode: 0o600 });
      renameSync(unfinished, path);
    }
    this.known.add(key);
  }

  async fetch(key: string): Promise<string> {
    if (!this.has(key)) throw new Error(`Cannot load function ${key}: its module is not in ${this.directory}`);
    return this.path(key);
  }

  private path(key: string): string {
    return join(this.directory, `${key}.mjs`);
  }
}
