/** Which network sockets a process listens on, read from /proc. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** State of a listening TCP socket in /proc/net/tcp. */
const listening = "0A";

/** Addresses (as /proc writes them: hex address, colon, hex port) that the process listens on by TCP, v4 and v6, and all its UDP sockets. */
export function openPorts(pid: number): string[] {
  const inodes = new Set(socketInodes(pid));
  const found: string[] = [];
  for (const table of ["tcp", "tcp6", "udp", "udp6"]) {
    for (const line of readFileSync(`/proc/${pid}/net/${table}`, "latin1").split("\n").slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (inode === undefined || !inodes.has(inode)) continue;
      if (table.startsWith("udp") || state === listening) found.push(`${table} ${local}`);
    }
  }
  return found;
}

function socketInodes(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      return inode === undefined ? [] : [inode];
    } catch {
      return []; // closed while we looked
    }
  });
}
