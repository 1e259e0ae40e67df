/**
 * Segments this process has written, kept for writing again.
 *
 * The price of a put is page faults, not copying (docs/decisions/0005): memory touched for the first time through a mapping takes ten
 * to forty times as long as memory already mapped. So a segment that is freed while no reader maps it stays, as a warm file, and its
 * writer keeps its mapping. Whoever frees it leaves it under the writer's name, so results freed by their owner come back
 * to the worker that wrote them without a message: the writer finds out by trying to rename.
 *
 * A fresh segment written by `write(2)` is not mapped; it is mapped when reused the first time, as only reuse pays for a mapping.
 */
import { join } from "node:path";
import { lentTriesMax, warmSegmentsMax, warmSlackFraction } from "./limits.ts";
import { type Mapping, native, roundUp } from "./native.ts";
import { removeUnshared, renameIfThere, type StoreFiles } from "./segment-files.ts";
import { warmPrefix } from "./segment-name.ts";

/** A segment file this process wrote. */
export interface Written {
  /** Its sealed name; the warm file is named after it. */
  readonly name: string;
  /** Size of the file: whole pages. */
  readonly bytes: number;
  /** The shared mapping it was written through, if any. Unmapped only by this pool once it has the entry. */
  readonly mapping: Mapping | undefined;
}

export class WarmPool {
  readonly #files: StoreFiles;
  readonly #selfId: string;
  /** Sealed segments not known to be freed, oldest first. Added at seal; removed when freed, reused, or past `warmSegmentsMax`. */
  readonly #live = new Map<string, Written>();
  /** Freed by this process and waiting, oldest first. The daemon may take their files at any time. */
  readonly #idle = new Map<string, Written>();

  constructor(files: StoreFiles, selfId: string) {
    this.#files = files;
    this.#selfId = selfId;
  }

  /** Takes a sealed segment. */
  add(written: Written): void {
    this.#live.set(written.name, written);
    if (this.#live.size > warmSegmentsMax) this.#forget(this.#live, this.#live.values().next().value!);
  }

  /** The segment was freed by this process, and its file is now warm or (`warm` false) gone. Takes `mapping` for one that was never added. */
  freed(name: string, bytes: number, warm: boolean, mapping?: Mapping): void {
    const written = this.#live.get(name) ?? { name, bytes, mapping };
    this.#live.delete(name);
    if (!warm) {
      unmap(written);
      return;
    }
    this.#idle.set(name, written);
    if (this.#idle.size > warmSegmentsMax) this.#drop(this.#idle.values().next().value!);
  }

  /** Gives a warm segment of at least `bytes`, its file renamed to `temporaryName`; `undefined` when there is none. Returns it owned. */
  take(bytes: number, temporaryName: string): Written | undefined {
    const most = roundUp(bytes * (1 + warmSlackFraction), native().pageBytes);
    const fits = (written: Written): boolean => written.bytes >= bytes && written.bytes <= most;
    const idle = [...this.#idle.values()]
      .filter(fits)
      .sort((a, b) => Number(b.mapping !== undefined) - Number(a.mapping !== undefined));
    for (const written of idle) {
      this.#idle.delete(written.name);
      if (this.#claim(written, temporaryName)) return written;
      unmap(written);
    }
    let tries = 0;
    for (const written of this.#live.values()) {
      if (!fits(written) || written.name.startsWith(`${this.#selfId}.`)) continue;
      if (tries++ === lentTriesMax) break;
      if (!this.#claim(written, temporaryName)) continue;
      this.#live.delete(written.name);
      return written;
    }
    return undefined;
  }

  /** Removes idle segments until `bytes` of memory are given back, all by default. */
  shrink(bytes = Number.POSITIVE_INFINITY): void {
    let given = 0;
    for (const written of [...this.#idle.values()]) {
      if (given >= bytes) return;
      given += this.#drop(written);
    }
  }

  /** Bytes of mapped segments, live and idle. */
  get bytesMapped(): number {
    let bytes = 0;
    for (const written of [...this.#live.values(), ...this.#idle.values()]) bytes += written.mapping?.bytes ?? 0;
    return bytes;
  }

  /** Removes everything idle and unmaps the rest; also what came back warm from other owners. */
  close(): void {
    this.shrink();
    for (const written of [...this.#live.values()]) {
      this.#forget(this.#live, written);
      removeUnshared(this.#files, warmPrefix(this.#selfId) + written.name);
    }
  }

  #claim(written: Written, temporaryName: string): boolean {
    const { shmDir, accounting } = this.#files;
    return accounting.change(() => {
      if (!renameIfThere(join(shmDir, warmPrefix(this.#selfId) + written.name), join(shmDir, temporaryName))) return false;
      accounting.addWarm(-written.bytes);
      return true;
    });
  }

  #drop(written: Written): number {
    this.#forget(this.#idle, written);
    return removeUnshared(this.#files, warmPrefix(this.#selfId) + written.name);
  }

  #forget(from: Map<string, Written>, written: Written): void {
    from.delete(written.name);
    unmap(written);
  }
}

function unmap(written: Written): void {
  if (written.mapping !== undefined) native().unmap(written.mapping);
}
