/**
 * Which session directories belong to a running daemon. Each holds a file that its daemon keeps locked; the kernel drops the lock
 * however the daemon ends. So a directory whose mark can be locked is left over, and whoever locks it may remove it. Unlike a
 * process id the lock cannot be mistaken: ids are reused, and mean something else in another container that shares the directory.
 *
 * The mark is locked before it gets its name, so it is never seen unlocked while its daemon lives.
 */

import { closeSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { dateNow } from "../base/clock.ts";
import { unmarkedSessionMs } from "./limits.ts";
import { native } from "./native.ts";
import { unlessMissing } from "./segment-files.ts";

export const markFileName = "daemon.pid";

/** Marks `dir` as in use by this process until the returned function is called or the process ends. The file tells humans the process id. */
export function markInUse(dir: string): () => void {
  const temporary = join(dir, `.${markFileName}.${process.pid}`);
  const fd = openSync(temporary, "w", 0o600);
  native().lockShared(fd);
  writeSync(fd, `${process.pid} ${startTime(process.pid)}\n`);
  renameSync(temporary, join(dir, markFileName));
  let held = true;
  return () => {
    if (held) closeSync(fd);
    held = false;
  };
}

/**
 * Removes the session directories under each of `roots` whose daemon is gone. Returns their paths. Safe beside daemons that start, end
 * or sweep at the same time; a directory that cannot be judged or removed is left.
 */
export function sweepStaleSessions(...roots: readonly string[]): string[] {
  const removed: string[] = [];
  for (const root of roots) {
    for (const name of unlessMissing(() => readdirSync(root)) ?? []) {
      const dir = join(root, name);
      try {
        if (removeIfStale(dir)) removed.push(dir);
      } catch {
        // Another user's, or being removed by another sweep: not ours to judge.
      }
    }
  }
  return removed;
}

/** The process that has `dir` in use, by its mark; null when there is none or it is gone. Only a guess where /proc is missing. */
export function sessionHolder(dir: string): number | null {
  const text = unlessMissing(() => readFileSync(join(dir, markFileName), "utf8"));
  if (text === undefined) return null;
  const [pid, started] = text.trim().split(" ");
  if (started !== "0") return startTime(pid) === started ? Number(pid) : null;
  try {
    process.kill(Number(pid), 0);
    return Number(pid);
  } catch {
    return null;
  }
}

function removeIfStale(dir: string): boolean {
  const found = statSync(dir, { throwIfNoEntry: false });
  if (found === undefined || !found.isDirectory()) return false;
  const fd = unlessMissing(() => openSync(join(dir, markFileName), "r"));
  if (fd === undefined) {
    if (dateNow() - found.mtimeMs < unmarkedSessionMs) return false; // about to be marked
    rmSync(dir, { recursive: true, force: true });
    return true;
  }
  try {
    // Asked first because it spares loading the native part where, as usual, everybody lives.
    const [pid, started] = readFileSync(fd, "utf8").trim().split(" ");
    if (started !== "0" && startTime(pid) === started) return false;
    if (!native().tryLockExclusive(fd)) return false;
    rmSync(dir, { recursive: true, force: true });
    return true;
  } finally {
    closeSync(fd);
  }
}

/** When the process started, in the kernel's clock ticks; "0" where it or /proc is missing. */
function startTime(pid: number | string): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return "0";
  }
}
