/** Where a session keeps its files. */
import { tmpdir, userInfo } from "node:os";
import { basename, join } from "node:path";
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

/** Bytes of a socket's path that every system takes. Longer ones are cut without an error, and then all sockets have one name. */
const socketPathMax = 103;
const longestSocketName = "0123456789abcdef.sock";

export function fitsSocket(dir: string): boolean {
  return Buffer.byteLength(join(dir, longestSocketName)) <= socketPathMax;
}

/** Where the sockets are: in the session's directory, or, where its name is too long for that, in its shared-memory directory. */
export function socketsDir(sessionDir: string): string {
  const dir = join(sessionDir, "sockets");
  return fitsSocket(dir) ? dir : join(shmRoot(), basename(sessionDir), "sockets");
}

export const daemonSocket = (sessionDir: string): string => join(socketsDir(sessionDir), "daemon.sock");
export const processSocket = (sessionDir: string, id: WorkerId): string => join(socketsDir(sessionDir), `${id}.sock`);
/** Where the daemon takes connections of its processes to other nodes. */
export const relaySocket = (sessionDir: string): string => join(socketsDir(sessionDir), "relay.sock");
export const spillDir = (sessionDir: string): string => join(sessionDir, "spill");
export const codeDir = (sessionDir: string): string => join(sessionDir, "code");
