/** Memory and processor time as the kernel counts them, of processes and of all that descend from this one. Linux only. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";

export const canMeasureMemory = existsSync("/proc/self/smaps_rollup");

/** Of times in /proc: USER_HZ, which is 100 on all that Node.js runs on. */
const clockTicksPerSecond = 100;

export interface MemoryUse {
  /** Proportional shares: a page that n processes map counts 1/n in each. */
  readonly pssBytes: number;
  /** Pages that belong to one process alone and to no file. */
  readonly privateBytes: number;
  readonly processCount: number;
}

/** Of this process and its descendants. */
export function memoryOfTree(): MemoryUse {
  const uses = processTree(process.pid).map(memoryOfProcess);
  const sum = (field: keyof MemoryUse): number => uses.reduce((total, use) => total + use[field], 0);
  return { pssBytes: sum("pssBytes"), privateBytes: sum("privateBytes"), processCount: sum("processCount") };
}

export function memoryOfProcess(pid: number): MemoryUse {
  const rollup = readIfThere(`/proc/${pid}/smaps_rollup`);
  return { pssBytes: kilobytes(rollup, "Pss") * 1024, privateBytes: kilobytes(rollup, "Pss_Anon") * 1024, processCount: 1 };
}

/** Of all its threads, in user and kernel mode. */
export function cpuSecondsOf(pid: number): number {
  const stat = readIfThere(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond;
}

/** Blocks that the objects of a session take in shared memory. */
export function sharedBytesOf(sessionDir: string): number {
  const dir = join("/dev/shm", `shoal-${process.getuid?.()}`, basename(sessionDir));
  if (!existsSync(dir)) return 0;
  let bytes = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  }
  return bytes;
}

/** The title or command line of a process; empty when it has ended. */
export function commandOf(pid: number): string {
  return readIfThere(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
}

/** A process and all that descend from it. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    const stat = /^\d+$/.test(entry) ? readIfThere(`/proc/${entry}/stat`) : "";
    // The name, in parentheses, may itself hold spaces and parentheses.
    if (stat !== "") parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const isOurs = (pid: number): boolean => pid === root || (parents.has(pid) && isOurs(parents.get(pid) as number));
  return [...parents.keys()].filter(isOurs);
}

function kilobytes(rollup: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1] ?? 0);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended
  }
}
