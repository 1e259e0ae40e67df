/**
 * Generated modules of a session as files in its `code/` directory: written once, read by every process of the node. In a cluster they go to
 * the head as well, and what is missing comes from there.
 */
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SerializationError } from "../../base/errors.ts";
import type { CodeFiles, CodeStore, CodeSuffix } from "../../functions/index.ts";

/** Bytes of one entry. It travels in one message, so without it a large captured value would close the connection. At it: an error at the call. */
export const codeEntryBytesMax = 128 * 1024 * 1024;

/** The way to the other nodes. */
export interface CodeExchange {
  /** False while the session is one node. */
  isOpen(): boolean;
  /** Sends an entry to the head. */
  put(key: string, files: CodeFiles): void;
  /** Resolves when the entry is in this node's directory; rejects with what is in the way. */
  fetch(key: string): Promise<unknown>;
}

export class DirectoryCodeStore implements CodeStore {
  private readonly directory: string;
  private readonly exchange: CodeExchange;
  /** Written or fetched by this process: what is in the directory, and known to the head. */
  private readonly known = new Set<string>();

  constructor(directory: string, exchange: CodeExchange) {
    this.directory = directory;
    this.exchange = exchange;
  }

  /** In a cluster an entry of another process does not count: the head is told of each by every process that sends it. */
  has(key: string, main: CodeSuffix = ".mjs"): boolean {
    if (this.known.has(key)) return true;
    if (this.exchange.isOpen() || !existsSync(this.path(key, main))) return false;
    this.known.add(key);
    return true;
  }

  write(key: string, files: CodeFiles): void {
    const bytes = Object.values(files).reduce((sum, content) => sum + content.length, 0);
    if (this.exchange.isOpen() && bytes > codeEntryBytesMax)
      throw new SerializationError(
        `Cannot send a function as it captured values of ${bytes} bytes: a cluster takes ${codeEntryBytesMax}; put them into the object store and capture the ref`,
        { path: "" },
      );
    writeCode(this.directory, key, files);
    this.known.add(key);
    if (this.exchange.isOpen()) this.exchange.put(key, files);
  }

  async fetch(key: string, main: CodeSuffix = ".mjs"): Promise<string> {
    const path = this.path(key, main);
    if (!this.known.has(key)) {
      if (!existsSync(path) && this.exchange.isOpen()) await this.exchange.fetch(key);
      if (!existsSync(path)) throw new Error(`Cannot load function ${key}: its module is not in ${this.directory}`);
      this.known.add(key);
    }
    return path;
  }

  private path(key: string, main: CodeSuffix): string {
    return join(this.directory, key + main);
  }
}

/** Each file appears whole; the module comes last, so that whoever finds it finds all. */
export function writeCode(directory: string, key: string, files: CodeFiles): void {
  const suffixes = Object.keys(files).sort((a, b) => Number(a === ".mjs") - Number(b === ".mjs"));
  for (const suffix of suffixes) {
    const path = join(directory, key + suffix);
    const unfinished = `${path}.${process.pid}`;
    writeFileSync(unfinished, files[suffix], { mode: 0o600 });
    renameSync(unfinished, path);
  }
}
