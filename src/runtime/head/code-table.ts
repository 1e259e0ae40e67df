/**
 * The cluster's generated modules and the files that go with them, by key, as any node may need them and a detached actor may after a head restart.
 *
 * A push may be faster than the code it needs: who asks for a key that is unknown waits for it a while.
 */
import type { JobId } from "../../base/ids.ts";
import type { CodeFiles } from "../../functions/index.ts";
import type { ControlStore } from "./control-store.ts";

/** Bytes of all entries. What captured values and files add up to grows without it. At it: what only ended jobs used goes, then a put is refused. */
export const codeBytesMax = 512 * 1024 * 1024;
/** Milliseconds in which code follows the first push that needs it, whatever the load. */
export const codeArrivalMs = 10_000;
/** Refused keys remembered, so that who asks for one learns why at once. At it: the oldest goes, and is waited for like any other. */
const refusedMax = 1_000;

const table = "code";

interface Row {
  readonly files: CodeFiles;
  readonly jobId: JobId;
}

interface Entry {
  readonly bytes: number;
  readonly jobs: Set<JobId>;
}

export class CodeTable {
  private readonly store: () => ControlStore;
  private readonly isNeeded: (jobId: JobId) => boolean;
  private readonly bytesMax: number;
  /** By key, the oldest first; null until it is first used: it is then read from the store. */
  private entries: Map<string, Entry> | null = null;
  private bytes = 0;
  private readonly waiting = new Map<string, Set<() => void>>();
  private readonly refused = new Map<string, string>();

  /** `isNeeded`: the job runs, or an actor that it made lives. */
  constructor(store: () => ControlStore, isNeeded: (jobId: JobId) => boolean, bytesMax = codeBytesMax) {
    this.store = store;
    this.isNeeded = isNeeded;
    this.bytesMax = bytesMax;
  }

  /** Keeps an entry; one that is known is noted to be used by the job too. Throws when there is no room. */
  put(key: string, files: CodeFiles, jobId: JobId): void {
    const entries = this.all();
    const known = entries.get(key);
    if (known !== undefined) {
      known.jobs.add(jobId);
      return;
    }
    const bytes = bytesOf(files);
    if (this.bytes + bytes > this.bytesMax) this.evict(this.bytes + bytes - this.bytesMax);
    if (this.bytes + bytes > this.bytesMax) throw new Error(this.refuse(key, bytes));
    const row: Row = { files: ownCopy(files), jobId };
    this.store().put(table, key, row);
    this.add(key, { bytes, jobs: new Set([jobId]) });
    this.refused.delete(key);
    for (const arrived of this.waiting.get(key) ?? []) arrived();
  }

  /** The files of a key, or null when none come in time. Throws for one that was refused. */
  get(key: string): CodeFiles | Promise<CodeFiles | null> {
    const files = this.look(key);
    if (files !== null) return files;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        const others = this.waiting.get(key);
        others?.delete(settle);
        if (others?.size === 0) this.waiting.delete(key);
        try {
          resolve(this.look(key));
        } catch (error) {
          reject(error);
        }
      };
      const timer = setTimeout(settle, codeArrivalMs);
      timer.unref();
      const others = this.waiting.get(key);
      if (others === undefined) this.waiting.set(key, new Set([settle]));
      else others.add(settle);
    });
  }

  private look(key: string): CodeFiles | null {
    if (this.all().has(key)) return (this.store().get(table, key) as Row).files;
    const refusal = this.refused.get(key);
    if (refusal !== undefined) throw new Error(refusal);
    return null;
  }

  private all(): Map<string, Entry> {
    if (this.entries === null) {
      this.entries = new Map();
      for (const [key, row] of this.store().entries(table)) {
        const { files, jobId } = row as Row;
        this.add(key, { bytes: bytesOf(files), jobs: new Set([jobId]) });
      }
    }
    return this.entries;
  }

  private add(key: string, entry: Entry): void {
    this.entries?.set(key, entry);
    this.bytes += entry.bytes;
  }

  private evict(bytes: number): void {
    let left = bytes;
    for (const [key, entry] of this.all()) {
      if (left <= 0) return;
      if ([...entry.jobs].some((jobId) => this.isNeeded(jobId))) continue;
      this.store().delete(table, key);
      this.entries?.delete(key);
      this.bytes -= entry.bytes;
      left -= entry.bytes;
    }
  }

  private refuse(key: string, bytes: number): string {
    const text =
      `Cannot keep the code of a function, ${bytes} bytes with what it captured, as the cluster holds ${this.bytes} of at most ${this.bytesMax} bytes of code: ` +
      "put large values into the object store and capture their refs";
    this.refused.set(key, text);
    const [oldest] = this.refused.keys();
    if (this.refused.size > refusedMax) this.refused.delete(oldest);
    for (const asked of this.waiting.get(key) ?? []) asked();
    return text;
  }
}

/** Buffers that arrived in a message keep all of it. */
function ownCopy(files: CodeFiles): CodeFiles {
  return Object.fromEntries(
    Object.entries(files).map(([suffix, content]) => [suffix, typeof content === "string" ? content : new Uint8Array(content)]),
  );
}

function bytesOf(files: CodeFiles): number {
  let bytes = 0;
  for (const content of Object.values(files)) bytes += typeof content === "string" ? Buffer.byteLength(content) : content.length;
  return bytes;
}
