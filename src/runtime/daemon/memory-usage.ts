/** How much memory is in use, of how much: the control group's where it has a limit, else the machine's. */
import { readFile } from "node:fs/promises";
import { freemem, totalmem } from "node:os";

export interface MemoryUsage {
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** What was measured, for messages. */
  readonly of: "machine" | "control group";
}

/** Reads the usage anew. `testFile`, when given, holds "used total" and is read instead. */
export async function readMemory(testFile?: string): Promise<MemoryUsage> {
  if (testFile !== undefined) {
    const [usedBytes, totalBytes] = ((await read(testFile)) ?? "0 1").trim().split(/\s+/).map(Number);
    return { usedBytes, totalBytes, of: "machine" };
  }
  const machine = await machineMemory();
  const group = (await groupV2()) ?? (await groupV1());
  return group !== null && group.totalBytes < machine.totalBytes ? group : machine;
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

async function groupV2(): Promise<MemoryUsage | null> {
  const dir = await groupDirectory("");
  if (dir === null) return null;
  for (let at = dir; ; at = at.slice(0, at.lastIndexOf("/"))) {
    const totalBytes = Number(await read(`/sys/fs/cgroup${at}/memory.max`));
    const current = Number((await read(`/sys/fs/cgroup${at}/memory.current`)) ?? Number.NaN);
    if (totalBytes > 0 && current >= 0) {
      const inactive = field(await read(`/sys/fs/cgroup${at}/memory.stat`), "inactive_file") ?? 0;
      return { usedBytes: current - inactive, totalBytes, of: "control group" };
    }
    if (at === "") return null;
  }
}

async function groupV1(): Promise<MemoryUsage | null> {
  const dir = await groupDirectory("memory");
  if (dir === null) return null;
  // Inside a container the group's own directory is often mounted as the root.
  for (const at of [dir === "/" ? "" : dir, ""]) {
    const totalBytes = Number(await read(`/sys/fs/cgroup/memory${at}/memory.limit_in_bytes`));
    const current = Number((await read(`/sys/fs/cgroup/memory${at}/memory.usage_in_bytes`)) ?? Number.NaN);
    if (!(totalBytes > 0 && current >= 0)) continue;
    const inactive = field(await read(`/sys/fs/cgroup/memory${at}/memory.stat`), "total_inactive_file") ?? 0;
    return { usedBytes: current - inactive, totalBytes, of: "control group" };
  }
  return null;
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
