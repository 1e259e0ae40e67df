/** `shoal logs`: the files of the node that answers, from their ends or as they grow. */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { type ClusterFlags, withCluster } from "./cluster-client.ts";
import { Failure, UsageError } from "./failure.ts";
import { bytesText, say, sayJson, table } from "./output.ts";
import { until } from "./wait-until.ts";

export interface LogFlags extends ClusterFlags {
  readonly follow?: boolean;
  readonly tail?: string;
}

const defaultTail = 1000;
const followMs = 200;
const partBytes = 1024 * 1024;

export const logs = (pattern: string | undefined, flags: LogFlags): Promise<number> =>
  withCluster(flags, async (cluster) => {
    const dir = join(cluster.sessionDir, "logs");
    const files = readdirSync(dir).sort();
    if (pattern === undefined) {
      const rows = files.map((file) => ({ file, bytes: statSync(join(dir, file)).size }));
      if (flags.json) sayJson(rows);
      else
        say(
          table(
            ["FILE", "SIZE"],
            rows.map(({ file, bytes }) => [file, bytesText(bytes)]),
          ),
        );
      return 0;
    }
    const found = files.filter((file) => matches(file, pattern));
    if (found.length === 0) throw new Failure(`Cannot find log '${pattern}' in ${dir}; there are ${files.join(", ") || "none"}`);
    const lines = Number(flags.tail ?? defaultTail);
    if (!Number.isInteger(lines) || lines < -1)
      throw new UsageError(`Cannot use '${flags.tail}' as --tail: expected a number of lines, -1 for all`);
    for (const file of found) {
      if (found.length > 1) say(`==> ${file} <==`);
      printTail(join(dir, file), lines);
    }
    if (flags.follow) await followAll(found.map((file) => join(dir, file)));
    return 0;
  });

/** A name, the beginning of one, or a pattern with `*`. */
function matches(file: string, pattern: string): boolean {
  if (!pattern.includes("*")) return file.startsWith(pattern);
  const parts = pattern.split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(file);
}

/** Reads backwards from the end until there are enough lines. */
function printTail(path: string, lines: number): void {
  const fd = openSync(path, "r");
  try {
    const size = statSync(path).size;
    let from = lines === -1 ? 0 : size;
    let seen = 0;
    const part = Buffer.alloc(64 * 1024);
    while (from > 0 && seen <= lines) {
      const bytes = Math.min(part.length, from);
      readSync(fd, part, 0, bytes, from - bytes);
      let index = bytes - 1;
      for (; index >= 0; index--) if (part[index] === 10 && !(from - bytes + index === size - 1) && ++seen === lines) break;
      if (seen === lines && index >= 0) {
        from = from - bytes + index + 1;
        break;
      }
      from -= bytes;
    }
    if (lines === 0) from = size;
    copy(fd, from, size);
  } finally {
    closeSync(fd);
  }
}

function copy(fd: number, from: number, to: number): void {
  const part = Buffer.alloc(Math.min(partBytes, Math.max(0, to - from)));
  for (let at = from; at < to; ) {
    const bytes = readSync(fd, part, 0, Math.min(part.length, to - at), at);
    if (bytes === 0) return;
    process.stdout.write(Buffer.from(part.subarray(0, bytes)));
    at += bytes;
  }
}

/** Until the session's files are gone. */
async function followAll(paths: readonly string[]): Promise<void> {
  const sizes = new Map(paths.map((path) => [path, statSync(path).size]));
  await until(
    () => {
      for (const [path, shown] of sizes) {
        const size = statSync(path, { throwIfNoEntry: false })?.size;
        if (size === undefined) return true;
        if (size === shown) continue;
        const fd = openSync(path, "r");
        copy(fd, size < shown ? 0 : shown, size); // smaller: it was rotated
        closeSync(fd);
        sizes.set(path, size);
      }
      return false;
    },
    Number.POSITIVE_INFINITY,
    followMs,
  );
}
