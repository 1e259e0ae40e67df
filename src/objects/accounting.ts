/**
 * How many bytes of shared memory the node's processes have taken, known to all of them without a message: a small file that
 * every process maps, with counters changed by atomic instructions.
 *
 * The complication: a process killed between reserving bytes and making its file (or between removing one and giving its bytes
 * back) leaves the counter wrong for ever. The answer: every such change is fenced by a mark in the process's own slot and a shared
 * sequence number. The daemon clears the marks of the dead, and when no process is inside a change and none happened while it
 * added up the files that exist, the difference is exactly what was lost, and is corrected.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { storeProcessesMax } from "./limits.ts";
import { type Mapping, native, roundUp } from "./native.ts";

export const accountingFileName = ".accounting";
const magic = 0x5348_4f41_4c01n;

/** Words (64 bits) of the header, one cache line apart where they are hot. */
const wordMagic = 0;
const wordLimit = 1;
const wordUsed = 8;
const wordWarm = 16;
const wordSequence = 24;
const headerWords = 32;
/** Words of a process's slot: its id, and how many changes it is inside of. */
const slotWords = 8;
const slotId = 0;
const slotChanging = 1;

/** Rounded to 64 KiB, which is whole pages on every machine. */
const totalBytes = roundUp((headerWords + storeProcessesMax * slotWords) * 8, 65_536);

export class Accounting {
  readonly #mapping: Mapping;
  /** Empty once closed, so that a late use throws instead of touching unmapped memory. */
  #words: BigInt64Array;
  #slot = -1;

  /** Makes the node's accounting file in `shmDir`. The file itself counts as used. */
  static create(shmDir: string, bytesMax: number): Accounting {
    const path = join(shmDir, accountingFileName);
    const fd = openSync(path, "wx+", 0o600);
    try {
      native().reserve(fd, totalBytes);
      const header = new BigInt64Array(headerWords);
      header[wordMagic] = magic;
      header[wordLimit] = BigInt(bytesMax);
      header[wordUsed] = BigInt(totalBytes);
      writeSync(fd, header);
      return new Accounting(native().map(fd, totalBytes, 0, "shared"));
    } finally {
      closeSync(fd);
    }
  }

  /** Opens the node's accounting file for the process `selfId`, which gets a slot. */
  static open(shmDir: string, selfId: string): Accounting {
    const fd = openSync(join(shmDir, accountingFileName), "r+");
    try {
      const accounting = new Accounting(native().map(fd, totalBytes, 0, "shared"));
      accounting.#claimSlot(selfId);
      return accounting;
    } finally {
      closeSync(fd);
    }
  }

  private constructor(mapping: Mapping) {
    this.#mapping = mapping;
    this.#words = new BigInt64Array(mapping.buffer);
    if (this.#words[wordMagic] !== magic)
      throw new Error("Cannot open object store as this version's: its accounting file has another layout");
  }

  get bytesMax(): number {
    return Number(Atomics.load(this.#words, wordLimit));
  }

  /** Bytes of shared memory taken or reserved, warm segments included. */
  get bytesUsed(): number {
    return Number(Atomics.load(this.#words, wordUsed));
  }

  /** Bytes of freed segments that wait for reuse. */
  get bytesWarm(): number {
    return Number(Atomics.load(this.#words, wordWarm));
  }

  /** Takes `bytes` if they fit under the limit. Only inside `change`. */
  reserve(bytes: number): boolean {
    const size = BigInt(bytes);
    const before = Atomics.add(this.#words, wordUsed, size);
    if (before + size <= Atomics.load(this.#words, wordLimit)) return true;
    Atomics.sub(this.#words, wordUsed, size);
    return false;
  }

  /** Gives `bytes` back. Only inside `change`. */
  release(bytes: number): void {
    Atomics.sub(this.#words, wordUsed, BigInt(bytes));
  }

  /** Counts `bytes` (negative: uncounts) as warm. Only inside `change`. */
  addWarm(bytes: number): void {
    Atomics.add(this.#words, wordWarm, BigInt(bytes));
  }

  /** Runs `action`, which changes files and counters together. Synchronous and short: the daemon cannot correct the counters meanwhile. */
  change<T>(action: () => T): T {
    const mark = this.#slot + slotChanging;
    if (this.#slot >= 0) Atomics.add(this.#words, mark, 1n);
    Atomics.add(this.#words, wordSequence, 1n);
    try {
      return action();
    } finally {
      Atomics.add(this.#words, wordSequence, 1n);
      if (this.#slot >= 0) Atomics.sub(this.#words, mark, 1n);
    }
  }

  /**
   * Corrects the counters by what `measure` finds in the file system. Returns false, having changed nothing, when some process was
   * changing them meanwhile; the caller tries again later.
   */
  reconcile(measure: () => { used: number; warm: number }): boolean {
    const words = this.#words;
    const sequence = Atomics.load(words, wordSequence);
    if (this.#anyChanging()) return false;
    const used = Atomics.load(words, wordUsed);
    const warm = Atomics.load(words, wordWarm);
    const real = measure();
    if (this.#anyChanging() || Atomics.load(words, wordSequence) !== sequence) return false;
    Atomics.add(words, wordUsed, BigInt(real.used) - used);
    Atomics.add(words, wordWarm, BigInt(real.warm) - warm);
    return true;
  }

  /** Frees the slot of a process that is gone; its unfinished change no longer holds up `reconcile`. */
  forget(processId: string): void {
    const id = idWord(processId);
    for (let slot = headerWords; slot < this.#words.length; slot += slotWords) {
      if (Atomics.load(this.#words, slot + slotId) !== id) continue;
      Atomics.store(this.#words, slot + slotChanging, 0n);
      Atomics.store(this.#words, slot + slotId, 0n);
    }
  }

  /** Gives up the slot and the mapping. */
  close(): void {
    if (this.#words.length === 0) return;
    if (this.#slot >= 0) Atomics.store(this.#words, this.#slot + slotId, 0n);
    this.#words = new BigInt64Array(0);
    native().unmap(this.#mapping);
  }

  #claimSlot(selfId: string): void {
    const id = idWord(selfId);
    for (let slot = headerWords; slot < this.#words.length; slot += slotWords) {
      if (Atomics.compareExchange(this.#words, slot + slotId, 0n, id) !== 0n) continue;
      Atomics.store(this.#words, slot + slotChanging, 0n);
      this.#slot = slot;
      return;
    }
    throw new Error(`Cannot open object store as process ${selfId}: ${storeProcessesMax} processes have it open`);
  }

  #anyChanging(): boolean {
    for (let slot = headerWords; slot < this.#words.length; slot += slotWords) {
      if (Atomics.load(this.#words, slot + slotId) !== 0n && Atomics.load(this.#words, slot + slotChanging) !== 0n) return true;
    }
    return false;
  }
}

/** A process id as a non-zero word: FNV-1a. Two ids that meet would share a fate only in how soon the counters are corrected. */
function idWord(id: string): bigint {
  let hash = 0xcbf2_9ce4_8422_2325n;
  for (let i = 0; i < id.length; i++) hash = BigInt.asUintN(64, (hash ^ BigInt(id.charCodeAt(i))) * 0x100_0000_01b3n);
  return BigInt.asIntN(64, hash) || 1n;
}
