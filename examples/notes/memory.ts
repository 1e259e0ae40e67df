/** Memory as the kernel counts it, over all processes of a session. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, join } from "node:path";

export interface MemoryUse {
  readonly when: string;
  /** Shared memory that the session's objects take; null where it cannot be measured. */
  readonly sharedBytes: number | null;
  /** Pages that belong to one process alone, copies it made of shared ones included; summed over driver, daemon and workers. */
  readonly privateBytes: number | null;
  readonly processCount: number;
}

export async function measureMemory(when: string, sessionDir: string): Promise<MemoryUse> {
  if (!existsSync("/proc/self/smaps_rollup")) return { when, sharedBytes: null, privateBytes: null, processCount: 0 };
  const pids = sessionProcesses();
  const privateBytes = pids.reduce((sum, pid) => sum + privateBytesOf(pid), 0);
  const sharedBytes = bytesBelow(join("/dev/shm", `shoal-${process.getuid?.()}`, basename(sessionDir)));
  return { when, sharedBytes, privateBytes, processCount: pids.length };
}

export function memoryTable(uses: readonly MemoryUse[]): string {
  if (uses.some((use) => use.privateBytes === null)) return "   memory is not measured: this system has no /proc/*/smaps_rollup";
  const rows = uses.map((use) => [use.when, megabytes(use.sharedBytes), megabytes(use.privateBytes), String(use.processCount)]);
  const table = [["memory", "shared", "private, summed", "processes"], ...rows];
  return table
    .map(([when, ...cells]) => `   ${(when as string).padEnd(34)}${cells.map((cell) => cell.padStart(17)).join("")}`)
    .join("\n");
}

function megabytes(bytes: number | null): string {
  return `${((bytes ?? 0) / 1e6).toFixed(1)} MB`;
}

/** This process and the Node processes that it, and they, started. */
function sessionProcesses(): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    const stat = Number.isInteger(pid) ? readIfThere(`/proc/${pid}/stat`) : "";
    // The name, in parentheses, may itself hold spaces and parentheses.
    if (stat !== "") parents.set(pid, Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (parents.has(pid) && isOurs(parents.get(pid) as number));
  return [...parents.keys()].filter((pid) => isOurs(pid) && isNode(pid));
}

function isNode(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === readlinkSync("/proc/self/exe");
  } catch {
    return false; // it has ended
  }
}

/** Anonymous pages. What `Private_*` counts would not do: a shared page that only one process has mapped so far is among them. */
function privateBytesOf(pid: number): number {
  const rollup = readIfThere(`/proc/${pid}/smaps_rollup`);
  const kilobytes = /^Pss_Anon:\s+(\d+) kB$/m.exec(rollup) ?? /^Anonymous:\s+(\d+) kB$/m.exec(rollup);
  return Number(kilobytes?.[1] ?? 0) * 1024;
}

function bytesBelow(dir: string): number {
  if (!existsSync(dir)) return 0;
  let bytes = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const blocks = entry.isFile() ? (statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.blocks ?? 0) : 0;
    bytes += blocks * 512;
  }
  return bytes;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended
  }
}
