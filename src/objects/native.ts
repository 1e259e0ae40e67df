/**
 * The few system calls that Node does not have: of the store memory mapping, file locks, reserving space; of the transfer between nodes one socket option.
 * One interface, so that another binding can serve it; today `koffi`, loaded at first use because loading it costs about 15 ms.
 *
 * Addresses are bigints and stay inside this folder. Nothing here checks that an address is still mapped: that is the callers' duty.
 */

import { ftruncateSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { objectBytesMax } from "./limits.ts";

/** Memory mapped from a file. `buffer` reads and writes it; after `unmap(address, bytes)` touching `buffer` ends the process. */
export interface Mapping {
  readonly address: bigint;
  /** What was mapped: whole pages. */
  readonly bytes: number;
  readonly buffer: ArrayBuffer;
}

export interface Native {
  readonly pageBytes: number;
  /**
   * Maps `bytes` of `fd` from `offset` (both made whole pages) and shows `visible` of them as an ArrayBuffer. "shared" writes
   * reach the file; "private" writes reach only this mapping. The mapping keeps the file, and the lock taken through `fd`, alive
   * after `fd` is closed.
   */
  map(fd: number, bytes: number, offset: number, mode: "shared" | "private", visible?: number): Mapping;
  unmap(mapping: { address: bigint; bytes: number }): void;
  /** Makes the pages of a shared mapping present at once: a tenth of the cost of faulting them one by one. Does nothing where unsupported. */
  populate(mapping: Mapping): void;
  /** Reserves the file's space, so that writing through a mapping cannot fail later. Throws an ErrnoException, ENOSPC when there is no room. */
  reserve(fd: number, bytes: number): void;
  /** Gives the file's pages back even where a process still maps it. Does nothing where unsupported. */
  punch(fd: number, bytes: number): void;
  /** A reader of the socket `fd` is woken when this many bytes have come, or the other side has ended, and not for less. Does nothing where unsupported. */
  receiveAtLeast(fd: number, bytes: number): void;
  /** Waits for a shared lock on the open file. It is released when `fd` and every mapping made through it are gone, also by a crash. */
  lockShared(fd: number): void;
  /** Takes the exclusive lock if nobody has any lock: true when the file is mapped by no reader. */
  tryLockExclusive(fd: number): boolean;
}

let loaded: Native | undefined;

/** The system's binding, loaded at first use. Throws when this platform has none. */
export function native(): Native {
  loaded ??= loadKoffi();
  return loaded;
}

const protReadWrite = 3;
const mapShared = 1;
const mapPrivate = 2;
const lockShared = 1;
const lockExclusive = 2;
const lockNonBlocking = 4;
const madvisePopulateWrite = 23;
const socketLevel = 1;
const receiveLowWater = 18;
const fallocateKeepSize = 1;
const fallocatePunchHole = 2;

function loadKoffi(): Native {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  const linux = process.platform === "linux";
  const library = koffi.load(null);
  const mmap = library.func("void *mmap(void *address, size_t bytes, int protection, int flags, int fd, int64_t offset)");
  const munmap = library.func("int munmap(uintptr_t address, size_t bytes)");
  const madvise = library.func("int madvise(uintptr_t address, size_t bytes, int advice)");
  const flock = library.func("int flock(int fd, int operation)");
  const pageBytes: number = library.func("int getpagesize()")();
  const fallocate = linux ? library.func("int fallocate(int fd, int mode, int64_t offset, int64_t bytes)") : undefined;
  const setsockopt = linux
    ? library.func("int setsockopt(int fd, int level, int option, const int *value, uint32_t bytes)")
    : undefined;
  const codes = new Map(Object.entries(koffi.os.errno).map(([code, value]) => [value, code]));
  const fail = (call: string): never => {
    const errno = koffi.errno();
    const code = codes.get(errno) ?? `E${errno}`;
    throw Object.assign(new Error(`${code}: ${call}`), { code, errno, syscall: call });
  };
  const interrupted = (): boolean => koffi.errno() === koffi.os.errno.EINTR;
  const failedAddress = 2n ** 64n - 1n;

  return {
    pageBytes,
    map(fd, bytes, offset, mode, visible = bytes) {
      if (bytes > objectBytesMax + pageBytes) {
        throw new RangeError(`Cannot map segment as one array: ${bytes} bytes is above the limit of ${objectBytesMax}`);
      }
      const whole = roundUp(Math.max(bytes, 1), pageBytes);
      const pointer = mmap(null, whole, protReadWrite, mode === "shared" ? mapShared : mapPrivate, fd, offset);
      const address = koffi.address(pointer);
      if (address === failedAddress) fail("mmap");
      return { address, bytes: whole, buffer: koffi.view(pointer, visible) };
    },
    unmap(mapping) {
      if (munmap(mapping.address, mapping.bytes) !== 0) fail("munmap");
    },
    populate(mapping) {
      if (linux) madvise(mapping.address, mapping.bytes, madvisePopulateWrite);
    },
    reserve(fd, bytes) {
      if (fallocate === undefined) return writeZeros(fd, bytes);
      while (fallocate(fd, 0, 0, bytes) !== 0) {
        if (interrupted()) continue;
        if (koffi.errno() === koffi.os.errno.EOPNOTSUPP) return writeZeros(fd, bytes);
        fail("fallocate");
      }
    },
    punch(fd, bytes) {
      fallocate?.(fd, fallocateKeepSize | fallocatePunchHole, 0, bytes);
    },
    receiveAtLeast(fd, bytes) {
      setsockopt?.(fd, socketLevel, receiveLowWater, [bytes], 4);
    },
    lockShared(fd) {
      while (flock(fd, lockShared) !== 0) if (!interrupted()) fail("flock");
    },
    tryLockExclusive(fd) {
      while (flock(fd, lockExclusive | lockNonBlocking) !== 0) {
        if (interrupted()) continue;
        if (koffi.errno() === koffi.os.errno.EAGAIN) return false;
        fail("flock");
      }
      return true;
    },
  };
}

/** `value` up to the next multiple of `unit`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** Where space cannot be reserved it is taken by writing, which reports a full disk as an error just as well. */
function writeZeros(fd: number, bytes: number): void {
  const zeros = new Uint8Array(Math.min(bytes, 1024 * 1024));
  for (let at = 0; at < bytes; ) at += writeSync(fd, zeros, 0, Math.min(zeros.length, bytes - at), at);
  ftruncateSync(fd, bytes);
}
