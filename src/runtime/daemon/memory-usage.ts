/** How much memory is in use, of how much: the control group's where it has a limit, else the machine's. */
import { readFile } from "node:fs/promises";
import { freemem, totalmem } from "node:os";

export interface MemoryUsage {
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** What was measured, for messages. */
  readonly of: "machine" | "control group";
}

/**
 * Measures, several times a second for as long as a session lives, so it finds out once where to read. A control group whose limit is set
 * later is found at the next look around.
 */
export class MemoryReader {
  /** Holds "used total" and is read instead of everything else. */
  private readonly testFile: string | undefined;
  private source: () => Promise<MemoryUsage | null> = machineMemory;
  private lookAgainAtMs = 0;

  constructor(testFile?: string) {
    this.testFile = testFile;
  }

  async read(): Promise<MemoryUsage> {
    if (this.testFile !== undefined) {
      const [usedBytes, totalBytes] = ((await read(this.testFile)) ?? "0 1").trim().split(/\s+/).map(Number);
      return { usedBytes, totalBytes, of: "machine" };
    }
    if (performance.now() >= this.lookAgainAtMs) {
      this.source = await findSource();
      this.lookAgainAtMs = performance.now() + lookAroundMs;
    }
    return (await this.source()) ?? machineMemory();
  }
}

/** Milliseconds after which it is found out again where the limit is. */
const lookAroundMs = 30_000;

/** The smallest limit wins: the machine's memory, or that of a control group this process is in. */
async function findSource(): Promise<() => Promise<MemoryUsage | null>> {
  const machine = await machineMemory();
  for (const group of await groupSources()) {
    const usage = await group();
    if (usage !== null && usage.totalBytes < machine.totalBytes) return group;
  }
  return machineMemory;
}

/** Resident bytes of a process; null where the system does not tell or it is gone. */
export async function residentBytes(pid: number): Promise<number | null> {
  const status = await read(`/proc/${pid}/statm`);
  if (status === null) return null;
  return Number(status.split(" ")[1]) * 4096;
}

/** Reclaimable caches count as free; shared memory, which cannot be dropped, does not. */
async function machineMemory(): Promise<MemoryUsage> {
  const text = await read("/proc/meminfo");
  const total = field(text, "MemTotal");
  const available = field(text, "MemAvailable");
  if (total === null || available === null) return { usedBytes: totalmem() - freemem(), totalBytes: totalmem(), of: "machine" };
  return { usedBytes: (total - available) * 1024, totalBytes: total * 1024, of: "machine" };
}

/** Where the limits of this process's control groups may be read, the innermost first; a v1 group may be mounted as the root of a container. */
async function groupSources(): Promise<(() => Promise<MemoryUsage | null>)[]> {
  const sources: (() => Promise<MemoryUsage | null>)[] = [];
  const v2 = await groupDirectory("");
  for (let at = v2; at !== null; at = at === "" ? null : at.slice(0, at.lastIndexOf("/"))) {
    const dir = `/sys/fs/cgroup${at}`;
    sources.push(() => groupMemory(dir, "memory.max", "memory.current", "inactive_file"));
  }
  const v1 = await groupDirectory("memory");
  for (const at of v1 === null ? [] : [v1 === "/" ? "" : v1, ""]) {
    const dir = `/sys/fs/cgroup/memory${at}`;
    sources.push(() => groupMemory(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
  }
  return sources;
}

/** Null where there is no limit. Pages of files that nobody uses can be dropped at once and do not count. */
async function groupMemory(dir: string, limitFile: string, usageFile: string, inactive: string): Promise<MemoryUsage | null> {
  const totalBytes = Number(await read(`${dir}/${limitFile}`));
  const usage = await read(`${dir}/${usageFile}`);
  if (!(totalBytes > 0) || usage === null) return null;
  const droppable = field(await read(`${dir}/memory.stat`), inactive) ?? 0;
  return { usedBytes: Number(usage) - droppable, totalBytes, of: "control group" };
}

/** This process's group under a v1 controller, or under v2 (""). */
async function groupDirectory(controller: string): Promise<string | null> {
  for (const line of ((await read("/proc/self/cgroup")) ?? "").split("\n")) {
    const [, controllers, path] = line.split(":");
    if (path !== undefined && controllers.split(",").includes(controller)) return path === "/" && controller === "" ? "" : path;
  }
  return null;
}

function field(text: string | null, name: string): number | null {
  const match = text?.match(new RegExp(`^${name}:?\\s+(\\d+)`, "m"));
  return match == null ? null : Number(match[1]);
}

async function read(path: string): Promise<string | null> {
  return readFile(path, "utf8").catch(() => null);
}
