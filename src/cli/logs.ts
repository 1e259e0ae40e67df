/**
 * `shoal logs`: the log files of all nodes, from their ends or as they grow. The daemons read them, in parts: neither side holds more than one part of
 * a file, and nothing further is asked for while nobody reads what is printed.
 */
import type { NodeId } from "../base/ids.ts";
import type { LogFileView } from "../runtime/daemon/methods.ts";
import type { NodeView } from "../wire/messages.ts";
import { type ClusterClient, type ClusterFlags, withCluster } from "./cluster-client.ts";
import { Failure, UsageError } from "./failure.ts";
import { bytesText, say, sayJson, table } from "./output.ts";

export interface LogFlags extends ClusterFlags {
  readonly node?: string;
  /** As Ray calls it. */
  readonly nodeId?: string;
  readonly follow?: boolean;
  readonly tail?: string;
}

const defaultTail = 1000;
const followMs = 200;
/** Bytes of a file asked for at once: forward, and backward where lines are counted. */
const partBytes = 1024 * 1024;
const tailPartBytes = 64 * 1024;

export const logs = (pattern: string | undefined, flags: LogFlags): Promise<number> =>
  withCluster(flags, async (cluster) => {
    const wanted = flags.node || flags.nodeId;
    const nodeId = wanted ? await nodeOf(cluster, wanted) : undefined;
    const files = await cluster.request("listLogs", nodeId === undefined ? {} : { nodeId });
    if (pattern === undefined) {
      if (flags.json) sayJson(files);
      else
        say(
          table(
            ["NODE", "FILE", "SIZE"],
            files.map((found: LogFileView) => [found.nodeId, found.file, bytesText(found.bytes)]),
          ),
        );
      return 0;
    }
    const found = files.filter(({ file }: LogFileView) => matches(file, pattern));
    if (found.length === 0) throw new Failure(absentText(pattern, wanted, files));
    const lines = Number(flags.tail ?? defaultTail);
    if (!Number.isInteger(lines) || lines < -1)
      throw new UsageError(`Cannot use '${flags.tail}' as --tail: expected a number of lines, -1 for all`);
    const shown = new Shown(cluster, found.length > 1);
    for (const file of found) await shown.tail(file, lines);
    if (flags.follow) await shown.follow(nodeId);
    return 0;
  });

async function nodeOf(cluster: ClusterClient, wanted: string): Promise<NodeId> {
  const found = (await cluster.request("nodes", {})).filter((node: NodeView) => node.alive && node.nodeId.startsWith(wanted));
  if (found.length === 1) return found[0].nodeId;
  const why = found.length === 0 ? "no living node has that id" : "several ids begin so";
  throw new Failure(`Cannot show the logs of node '${wanted}': ${why}`);
}

function absentText(pattern: string, node: string | undefined, files: readonly LogFileView[]): string {
  const names = [...new Set(files.map(({ file }) => file))].sort();
  return `Cannot find log '${pattern}' on ${node ? `node ${node}` : "any node"}; there are ${names.join(", ") || "none"}`;
}

/** A name, the beginning of one, or a pattern with `*`. */
function matches(file: string, pattern: string): boolean {
  if (!pattern.includes("*")) return file.startsWith(pattern);
  const parts = pattern.split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(file);
}

/** Files that are printed, and how far each has been. */
class Shown {
  private readonly cluster: ClusterClient;
  private readonly headings: boolean;
  private readonly files = new Map<string, { readonly file: LogFileView; reached: number }>();
  /** What was printed last: its heading need not be repeated. */
  private last = "";

  /** `headings`: there are several files, so each says which it is. */
  constructor(cluster: ClusterClient, headings: boolean) {
    this.cluster = cluster;
    this.headings = headings;
  }

  /** Prints the last lines of a file; -1: all. */
  async tail(file: LogFileView, lines: number): Promise<void> {
    const size = (await this.read(file, 0, 0)).size;
    const from = lines === -1 ? 0 : await this.startOf(file, size, lines);
    this.head(file);
    await this.print(file, from, size);
    this.files.set(keyOf(file), { file, reached: size });
  }

  /** Prints what is added, until the nodes have ended. */
  async follow(nodeId: NodeId | undefined): Promise<void> {
    let isRead = true;
    process.stdout.once("error", () => {
      isRead = false;
    });
    while (this.files.size > 0 && isRead) {
      await new Promise((resolve) => setTimeout(resolve, followMs));
      // A node that has ended, this one or another, is the end and no failure.
      const now = await this.cluster.request("listLogs", nodeId === undefined ? {} : { nodeId }).catch(() => null);
      if (now === null) return;
      const sizes = new Map(now.map((file: LogFileView) => [keyOf(file), file.bytes]));
      for (const [key, shown] of [...this.files]) {
        const size = sizes.get(key) as number | undefined;
        if (size === undefined) {
          if (!(await this.isAlive(shown.file.nodeId))) this.files.delete(key);
        } else if (size !== shown.reached) await this.printNew(shown, size);
      }
    }
  }

  private async printNew(shown: { readonly file: LogFileView; reached: number }, size: number): Promise<void> {
    const { file, reached } = shown;
    this.head(file);
    if (size < reached) {
      // It was rotated: the rest of what it was is in another file now.
      const before = { ...file, file: `${file.file}.1` };
      await this.print(before, reached, Number.POSITIVE_INFINITY).catch(() => {});
    }
    await this.print(file, size < reached ? 0 : reached, size);
    shown.reached = size;
  }

  /** A node that is merely slow is left out of listings, too. */
  private async isAlive(nodeId: NodeId): Promise<boolean> {
    const nodes = await this.cluster.request("nodes", {}).catch(() => []);
    return nodes.some((node: NodeView) => node.nodeId === nodeId && node.alive);
  }

  /** Where the last lines begin: reads backwards until there are enough. */
  private async startOf(file: LogFileView, size: number, lines: number): Promise<number> {
    if (lines === 0) return size;
    let seen = 0;
    for (let end = size; end > 0; ) {
      const begin = Math.max(0, end - tailPartBytes);
      const { bytes } = await this.read(file, begin, end - begin);
      for (let index = bytes.length - 1; index >= 0; index--)
        if (bytes[index] === 10 && begin + index !== size - 1 && ++seen === lines) return begin + index + 1;
      end = begin;
    }
    return 0;
  }

  private async print(file: LogFileView, from: number, to: number): Promise<void> {
    for (let at = from; at < to; ) {
      const { bytes } = await this.read(file, at, Math.min(partBytes, to - at));
      if (bytes.length === 0) return;
      at += bytes.length;
      if (!process.stdout.write(bytes)) await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
    }
  }

  private read({ nodeId, file }: LogFileView, from: number, bytes: number) {
    return this.cluster.request("readLog", { nodeId, file, from, bytes: Math.min(bytes, partBytes) });
  }

  private head(file: LogFileView): void {
    if (!this.headings || this.last === keyOf(file)) return;
    this.last = keyOf(file);
    say(`==> ${file.nodeId} ${file.file} <==`);
  }
}

const keyOf = ({ nodeId, file }: LogFileView): string => `${nodeId}/${file}`;
