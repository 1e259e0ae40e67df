/** How many CPUs a node offers when nobody says. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/**
 * The CPUs this process may use: its CPU set, no more than the control group's quota and than what Slurm gave this job on this node. Never the host's number:
 * on a shared node that would be other people's CPUs.
 */
export function usableCpus(env: NodeJS.ProcessEnv = process.env, quota: number | null = cgroupCpus()): number {
  const bounds = [availableParallelism()];
  if (quota !== null) bounds.push(quota);
  const slurm = Number(env.SLURM_CPUS_ON_NODE);
  if (Number.isInteger(slurm) && slurm > 0) bounds.push(slurm);
  return Math.max(1, Math.floor(Math.min(...bounds)));
}

/** The quota of this process's control group and of those above it, in CPUs; null without one. */
function cgroupCpus(): number | null {
  const path = /^0::(\/.*)$/m.exec(read("/proc/self/cgroup") ?? "")?.[1];
  if (path === undefined) return null;
  let least: number | null = null;
  const parts = path.split("/").filter(Boolean);
  for (let depth = parts.length; depth >= 0; depth--) {
    const cpus = quotaOf(read(`/sys/fs/cgroup/${[...parts.slice(0, depth), "cpu.max"].join("/")}`) ?? "");
    if (cpus !== null && (least === null || cpus < least)) least = cpus;
  }
  return least;
}

/** "200000 100000" is two CPUs, "max 100000" as many as there are. */
export function quotaOf(text: string): number | null {
  const [quota, period] = text.trim().split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? quota / period : null;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
