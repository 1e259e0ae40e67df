/** Where a session keeps its files. */
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { WorkerId } from "../../base/ids.ts";

export interface SessionPaths {
  readonly sessionDir: string;
  readonly shmDir: string;
}

const uid = (): number => process.getuid?.() ?? userInfo().uid;

/** Directory of all sessions of this user. */
export function sessionsRoot(): string {
  return join(process.env.SHOAL_TMPDIR ?? process.env.TMPDIR ?? tmpdir(), `shoal-${uid()}`);
}

/** Directory of all shared-memory directories of this user; on systems without /dev/shm beside the sessions. */
export function shmRoot(): string {
  return process.platform === "linux" ? join("/dev/shm", `shoal-${uid()}`) : join(sessionsRoot(), "shm");
}

export const daemonSocket = (sessionDir: string): string => join(sessionDir, "sockets", "daemon.sock");
export const processSocket = (sessionDir: string, id: WorkerId): string => join(sessionDir, "sockets", `${id}.sock`);
export const spillDir = (sessionDir: string): string => join(sessionDir, "spill");
export const codeDir = (sessionDir: string): string => join(sessionDir, "code");
