/** What runs on this machine, read from /proc: no shell and no `ps`, so that looking starts nothing. */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  /** `Z` for one that has ended and was not reaped yet. */
  readonly state: string;
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // ended while we looked, or another user's
  }
}

/** All processes that we may read, zombies included. */
export function allProcesses(): ProcessInfo[] {
  const found: ProcessInfo[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const stat = read(`/proc/${pid}/stat`);
    if (stat === "") continue;
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    found.push({
      pid,
      parent: Number(parent),
      state: state ?? "?",
      command: read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim(),
    });
  }
  return found;
}

/** True while the process runs; a zombie has ended. */
export function isRunning(pid: number): boolean {
  const stat = read(`/proc/${pid}/stat`);
  return stat !== "" && stat.slice(stat.lastIndexOf(")") + 2)[0] !== "Z";
}

/** Every process below `root`, children of children included. */
export function descendantsOf(root: number): ProcessInfo[] {
  const all = allProcesses();
  const inside = new Set([root]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const { pid, parent } of all) {
      if (!inside.has(pid) && inside.has(parent)) {
        inside.add(pid);
        grew = true;
      }
    }
  }
  return all.filter(({ pid }) => pid !== root && inside.has(pid));
}

/** Processes other than this one that have `text` in their command line or environment. */
export function processesMentioning(text: string): ProcessInfo[] {
  return allProcesses().filter(
    ({ pid, command }) => pid !== process.pid && (command.includes(text) || read(`/proc/${pid}/environ`).includes(text)),
  );
}
