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
import { statSync } from "node:fs";
import { join } from "node:path";
import { awayTriesMax, warmSegmentsMax, warmSlackFraction } from "./limits.ts";
import { type Mapping, native, roundUp } from "./native.ts";
import { type Freed, removeUnshared, renameIfThere, type StoreFiles } from "./segment-files.ts";
import { deadPrefix, warmPrefix } from "./segment-name.ts";

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
  /** Sealed segments of this process's own objects, oldest first. Added at seal; removed when freed. */
  readonly #live = new Map<string, Written>();
  /** Segments that others free: results of other owners, and freed ones that a reader still maps. Added at seal or when freed; removed when taken or found gone. */
  readonly #away = new Map<string, Written>();
  /** Freed and waiting. Added when freed; removed when taken. The daemon may take their files at any time. */
  readonly #idle = new Map<string, Written>();

  constructor(files: StoreFiles, selfId: string) {
    this.#files = files;
    this.#selfId = selfId;
  }

  /** Takes a sealed segment. */
  add(written: Written): void {
    this.#keep(written.name.startsWith(`${this.#selfId}.`) ? this.#live : this.#away, written);
  }

  /** The segment `name`, written by this process, was freed by it. Takes `mapping` for one that was never added. */
  freed(name: string, freed: Freed, mapping?: Mapping): void {
    const written = this.#live.get(name) ?? this.#away.get(name) ?? { name, bytes: freed.bytes, mapping };
    this.#live.delete(name);
    this.#away.delete(name);
    if (freed.fate === "warm") this.#keep(this.#idle, written);
    else if (freed.fate === "dead") this.#keep(this.#away, written);
    else unmap(written);
  }

  /** Gives a warm segment of at least `bytes`, its file renamed to `temporaryName`; `undefined` when there is none. Returns it owned. */
  take(bytes: number, temporaryName: string): Written | undefined {
    const most = roundUp(bytes * (1 + warmSlackFraction), native().pageBytes);
    const fits = (written: Written): boolean => written.bytes >= bytes && written.bytes <= most;
    const mappedFirst = (a: Written, b: Written): number => Number(b.mapping !== undefined) - Number(a.mapping !== undefined);
    for (const written of [...this.#idle.values()].filter(fits).sort(mappedFirst)) {
      this.#idle.delete(written.name);
      if (this.#claim(written, temporaryName)) return written;
      unmap(written);
    }
    for (const written of [...this.#away.values()].filter(fits).slice(0, awayTriesMax)) {
      if (this.#claim(written, temporaryName)) {
        this.#away.delete(written.name);
        return written;
      }
      if (!this.#exists(written)) this.#forget(this.#away, written);
    }
    return undefined;
  }

  /** Removes idle segments until `bytes` of memory are given back, all by default. Returns how many were. */
  shrink(bytes = Number.POSITIVE_INFINITY): number {
    let given = 0;
    for (const written of [...this.#idle.values()]) {
      if (given >= bytes) break;
      given += this.#drop(this.#idle, written);
    }
    return given;
  }

  /** Removes what waits for reuse and unmaps the rest. */
  close(): void {
    this.shrink();
    for (const written of [...this.#away.values()]) this.#drop(this.#away, written);
    for (const written of [...this.#live.values()]) this.#forget(this.#live, written);
  }

  /** Adds to `map`, whose oldest entry gives way: a live or away one is only forgotten, an idle one removed. */
  #keep(map: Map<string, Written>, written: Written): void {
    map.set(written.name, written);
    if (map.size <= warmSegmentsMax) return;
    const oldest: Written = map.values().next().value!;
    if (map === this.#idle) this.#drop(map, oldest);
    else this.#forget(map, oldest);
  }

  #claim(written: Written, temporaryName: string): boolean {
    const { shmDir, accounting } = this.#files;
    return accounting.change(() => {
      if (!renameIfThere(join(shmDir, warmPrefix(this.#selfId) + written.name), join(shmDir, temporaryName))) return false;
      accounting.addWarm(-written.bytes);
      return true;
    });
  }

  /** Whether a segment that is not warm yet may become so: spilled and removed ones never do. */
  #exists(written: Written): boolean {
    const { shmDir } = this.#files;
    const names = [written.name, deadPrefix + written.name, warmPrefix(this.#selfId) + written.name];
    return names.some((name) => statSync(join(shmDir, name), { throwIfNoEntry: false }) !== undefined);
  }

  #drop(from: Map<string, Written>, written: Written): number {
    this.#forget(from, written);
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
