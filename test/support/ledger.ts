/**
 * What every scenario ends in: after `shutdown()` nothing of its session is left. A session that leaks shows here, in the test that
 * leaked, and not as a full /dev/shm a week later.
 */
import { existsSync, readdirSync } from "node:fs";
import { userInfo } from "node:os";
import { basename, join } from "node:path";
import { expect } from "vitest";
import { descendantsOf, processesMentioning } from "./processes.ts";
import { waitFor } from "./wait-for.ts";

/** Where sessions keep shared memory on this machine. */
export const shmRoot = join("/dev/shm", `shoal-${process.getuid?.() ?? userInfo().uid}`);

/** The shared-memory directory of the session that has `sessionDir`. */
export function shmDirOf(sessionDir: string): string {
  return join(shmRoot, basename(sessionDir));
}

export interface Ledger {
  /** Adds a session to be checked: any object with the `sessionDir` that `init()` gave. */
  enter(context: { readonly sessionDir: string }): void;
  /** Fails unless every process, directory, socket and timer of the sessions entered is gone; to be called after `shutdown()`. */
  expectBalanced(): Promise<void>;
}

/** Opens the books; call it before `init()`. */
export function openLedger(): Ledger {
  const childrenBefore = new Set(descendantsOf(process.pid).map(({ pid }) => pid));
  const resourcesBefore = countResources();
  const sessionDirs: string[] = [];
  return {
    enter(context) {
      expect(existsSync(context.sessionDir), `${context.sessionDir} exists while the session runs`).toBe(true);
      sessionDirs.push(context.sessionDir);
    },
    async expectBalanced() {
      // shutdown() promises that all is gone when it resolves; the kernel may take a moment to let go of a process that was killed.
      const left = () => leftovers(sessionDirs, childrenBefore, resourcesBefore);
      await waitFor("nothing to be left", () => left().length === 0, 3_000).catch(() => undefined);
      expect(left()).toEqual([]);
    },
  };
}

function leftovers(sessionDirs: string[], childrenBefore: Set<number>, resourcesBefore: Map<string, number>): string[] {
  const left: string[] = [];
  for (const { pid, command, state } of descendantsOf(process.pid)) {
    if (!childrenBefore.has(pid)) left.push(`child process ${pid} (${state}): ${command}`);
  }
  for (const dir of sessionDirs) {
    for (const { pid, command } of processesMentioning(basename(dir))) left.push(`process ${pid} of the session: ${command}`);
    for (const path of [dir, shmDirOf(dir)]) if (existsSync(path)) left.push(`${path}: ${readdirSync(path).join(" ")}`);
  }
  for (const [kind, count] of countResources()) {
    const before = resourcesBefore.get(kind) ?? 0;
    if (count > before) left.push(`${count - before} more ${kind} that keep the process alive`);
  }
  return left;
}

/** Handles that keep this process alive, by kind. Requests of the file system come and go with whatever else runs, so they do not count. */
function countResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind.startsWith("FSReq") || kind === "CloseReq" || kind === "Immediate") continue;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}
