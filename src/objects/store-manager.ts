/**
 * The node daemon's part of the object store: makes its directories and limit, spills under pressure, and cleans up after processes
 * that ended in whatever way.
 *
 * It keeps no table of objects. What exists is read from the directories, what is in use from the kernel's locks, so there is nothing
 * to keep in step with processes that may die at any instruction, and no put, get or free ever waits for the daemon.
 */
import { mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type NodeKey, nodeKeyOf } from "../base/ids.ts";
import { Accounting, accountingFileName } from "./accounting.ts";
import { deadProcessesMax, spillTargetFraction, warmIdleMs } from "./limits.ts";
import {
  endDeadSegment,
  freeSegment,
  reclaimWarm,
  removeUnshared,
  type StoreFiles,
  unlessMissing,
  unlinkIfThere,
} from "./segment-files.ts";
import { anyWarmPrefix, deadPrefix, parseSegmentName, temporaryPrefix, warmPrefix } from "./segment-name.ts";
import { markInUse } from "./session-mark.ts";
import { type Spilled, spillUntil } from "./spiller.ts";
import { storeBytesMax } from "./store-limit.ts";

export interface StoreManagerOptions {
  readonly shmDir: string;
  readonly spillDir: string;
  /** Limit of shared memory; by default 30 % of memory. Cut to what the file system has free. */
  readonly bytesMax?: number;
}

export interface StoreStats {
  readonly bytesMax: number;
  /** Shared memory taken: objects, warm and dead segments, and what is reserved for those being written. */
  readonly bytesUsed: number;
  readonly bytesWarm: number;
  /** Freed but still mapped by a reader. */
  readonly bytesDead: number;
  /** Sealed segments in memory; the objects of a slab count as one. */
  readonly objects: number;
  readonly spilledObjects: number;
  readonly diskBytes: number;
  /** Bytes this daemon has moved to disk since it started. */
  readonly bytesSpilled: number;
}

export class StoreManager {
  readonly bytesMax: number;
  readonly #files: StoreFiles;
  readonly #unmark: () => void;
  /** Processes that ended; what is freed in their name later is not kept warm for them. Oldest first. */
  readonly #dead = new Set<string>();
  #reconcileWanted = false;
  #bytesSpilled = 0;
  #spilling: Promise<Spilled> | undefined;
  #removed = false;

  /** Makes the directories and the accounting file. Throws when another daemon has them. */
  constructor(options: StoreManagerOptions) {
    const { shmDir, spillDir } = options;
    makeDirectory(shmDir);
    mkdirSync(spillDir, { recursive: true, mode: 0o700 });
    this.#unmark = markInUse(shmDir);
    this.bytesMax = storeBytesMax(shmDir, options.bytesMax);
    this.#files = { shmDir, spillDir, accounting: Accounting.create(shmDir, this.bytesMax) };
  }

  /** Shared memory taken now, of `bytesMax`. */
  get bytesUsed(): number {
    return this.#files.accounting.bytesUsed;
  }

  /**
   * Brings shared memory down to `targetFraction` of the limit: first what is warm or dead, then segments nobody maps, least recently
   * read first, to disk. Copies off the event loop. A call during another joins it.
   */
  spillDown(targetFraction: number = spillTargetFraction): Promise<Spilled> {
    this.#spilling ??= this.#spill(this.bytesMax * targetFraction).finally(() => {
      this.#spilling = undefined;
    });
    return this.#spilling;
  }

  async #spill(bytesTarget: number): Promise<Spilled> {
    this.sweep();
    if (this.bytesUsed > bytesTarget) this.reclaimWarm(this.bytesUsed - bytesTarget);
    if (this.bytesUsed <= bytesTarget) return { objects: 0, bytes: 0, diskFull: false };
    const spilled = await spillUntil(this.#files, bytesTarget).catch((error) => {
      if (this.#removed) return { objects: 0, bytes: 0, diskFull: false }; // the directories went from under it
      throw error;
    });
    this.#bytesSpilled += spilled.bytes;
    return spilled;
  }

  /** Takes warm segments back until `bytes` are free. Returns how many were. */
  reclaimWarm(bytes: number): number {
    return reclaimWarm(this.#files, bytes);
  }

  /** Removes every object of an owner that is gone, whoever wrote it, copies included. Views of them stay valid. */
  onOwnerDied(ownerId: string): void {
    this.#removeObjects((owner) => owner === ownerId);
  }

  /** Removes every object whose owner was on a node that is gone. */
  onNodeDied(node: NodeKey): void {
    this.#removeObjects((owner) => nodeKeyOf(owner) === node);
  }

  #removeObjects(isGone: (owner: string) => boolean): void {
    const { shmDir, spillDir } = this.#files;
    const concerned = (name: string): boolean => {
      const owner = parseSegmentName(name)?.owner;
      return owner !== undefined && isGone(owner);
    };
    for (const name of readdirSync(shmDir)) if (concerned(name)) freeSegment(this.#files, name, undefined);
    for (const name of readdirSync(spillDir)) if (concerned(name)) unlinkIfThere(join(spillDir, name));
  }

  /** Removes what a process that is gone was writing or kept warm, and corrects the accounting. Objects it wrote for other owners stay. */
  onProcessDied(processId: string): void {
    const { shmDir, spillDir, accounting } = this.#files;
    const temporary = temporaryPrefix(processId);
    for (const name of readdirSync(shmDir)) {
      if (name.startsWith(temporary) || name.startsWith(warmPrefix(processId))) removeUnshared(this.#files, name);
    }
    for (const name of readdirSync(spillDir)) {
      if (name.startsWith(temporary)) unlinkIfThere(join(spillDir, name));
    }
    accounting.forget(processId);
    this.#dead.add(processId);
    if (this.#dead.size > deadProcessesMax) this.#dead.delete(this.#dead.values().next().value!);
    this.#reconcileWanted = true;
    this.#reconcile();
  }

  /**
   * Takes back what readers and writers left: dead segments no longer mapped, warm ones long unused or of dead writers, and what was
   * stored for an owner after its death. For once a second.
   */
  sweep(): void {
    const { shmDir, spillDir } = this.#files;
    const staleBefore = Date.now() - warmIdleMs;
    for (const name of unlessMissing(() => readdirSync(shmDir)) ?? []) {
      if (this.#isOfDead(name)) freeSegment(this.#files, name, undefined);
      if (name.startsWith(deadPrefix)) this.#endDead(name.slice(deadPrefix.length));
      if (!name.startsWith(anyWarmPrefix)) continue;
      const warmSince = statSync(join(shmDir, name), { throwIfNoEntry: false })?.ctimeMs;
      if (warmSince !== undefined && (warmSince < staleBefore || this.#dead.has(name.split(".")[1])))
        removeUnshared(this.#files, name);
    }
    for (const name of this.#dead.size === 0 ? [] : (unlessMissing(() => readdirSync(spillDir)) ?? []))
      if (this.#isOfDead(name)) unlinkIfThere(join(spillDir, name));
    this.#reconcile();
  }

  #isOfDead(name: string): boolean {
    if (this.#dead.size === 0) return false;
    const owner = parseSegmentName(name)?.owner;
    return owner !== undefined && this.#dead.has(owner);
  }

  #endDead(name: string): void {
    const writer = parseSegmentName(name)?.writer;
    endDeadSegment(this.#files, name, writer !== undefined && this.#dead.has(writer) ? undefined : writer);
  }

  /** Names of all sealed segments, in memory and on disk. */
  async segmentNames(): Promise<Set<string>> {
    const { shmDir, spillDir } = this.#files;
    const names = new Set<string>();
    // Memory first, the only direction in which files move.
    for (const dir of [shmDir, spillDir])
      for (const name of await readdir(dir)) if (parseSegmentName(name) !== undefined) names.add(name);
    return names;
  }

  async stats(): Promise<StoreStats> {
    const { shmDir, spillDir, accounting } = this.#files;
    let [objects, bytesDead, spilledObjects, diskBytes] = [0, 0, 0, 0];
    for (const name of await readdir(shmDir)) {
      if (parseSegmentName(name) !== undefined) objects += 1;
      else if (name.startsWith(deadPrefix)) bytesDead += await sizeOf(join(shmDir, name));
    }
    for (const name of await readdir(spillDir)) {
      diskBytes += await sizeOf(join(spillDir, name));
      if (parseSegmentName(name) !== undefined) spilledObjects += 1;
    }
    const { bytesUsed, bytesWarm } = accounting;
    return {
      bytesMax: this.bytesMax,
      bytesUsed,
      bytesWarm,
      bytesDead,
      objects,
      spilledObjects,
      diskBytes,
      bytesSpilled: this.#bytesSpilled,
    };
  }

  /** Removes the store, synchronously, at shutdown. Memory that processes still map stays theirs. Idempotent. */
  removeAll(): void {
    if (this.#removed) return;
    this.#removed = true;
    const { shmDir, spillDir, accounting } = this.#files;
    accounting.close();
    for (const dir of [shmDir, spillDir]) rmSync(dir, { recursive: true, force: true, maxRetries: 5 }); // a dying writer may add a file meanwhile
    this.#unmark();
    try {
      rmdirSync(dirname(shmDir));
    } catch {
      // Other sessions of this user are there.
    }
  }

  /** Corrects the accounting if a death may have made it wrong and no process is changing it now; else the next sweep tries. */
  #reconcile(): void {
    if (!this.#reconcileWanted) return;
    const { shmDir, accounting } = this.#files;
    const done = accounting.reconcile(() => {
      let [used, warm] = [0, 0];
      for (const name of readdirSync(shmDir)) {
        if (!countsAsUsed(name)) continue;
        const bytes = statSync(join(shmDir, name), { throwIfNoEntry: false })?.size ?? 0;
        used += bytes;
        if (name.startsWith(anyWarmPrefix)) warm += bytes;
      }
      return { used, warm };
    });
    this.#reconcileWanted = !done;
  }
}

/** Makes `dir` and its parent, which another session's `removeAll` may remove in between. */
function makeDirectory(dir: string): void {
  if (unlessMissing(() => mkdirSync(dir, { recursive: true, mode: 0o700 })) === undefined)
    mkdirSync(dir, { recursive: true, mode: 0o700 });
}

/** The files whose sizes add up to `bytesUsed`. */
function countsAsUsed(name: string): boolean {
  return name === accountingFileName || /^(tmp|warm|dead)\./.test(name) || parseSegmentName(name) !== undefined;
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}
