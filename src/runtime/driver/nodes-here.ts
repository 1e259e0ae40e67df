/** The nodes of `shoal start` that this user runs on this machine. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { NodeId } from "../../base/ids.ts";
import { sessionHolder } from "../../objects/index.ts";
import type { NodeFile } from "../daemon/config.ts";
import { type SessionPaths, sessionsRoot, shmRoot } from "../owner/session-paths.ts";

/** A node whose daemon lives: the process that holds the session's mark is the one that wrote its file. */
export interface NodeHere extends NodeFile {
  readonly paths: SessionPaths;
}

export const sessionName = (node: NodeHere): string => basename(node.paths.sessionDir);

/** Those that are found by who names none: a test's are not. */
export const listed = (nodes: readonly NodeHere[]): readonly NodeHere[] => nodes.filter((node) => node.unlisted !== true);

/** Oldest first. */
export function nodesHere(root: string = sessionsRoot()): NodeHere[] {
  let names: string[];
  try {
    names = readdirSync(root);
  } catch {
    return [];
  }
  const nodes: NodeHere[] = [];
  for (const name of names) {
    const node = readNode(join(root, name));
    if (node !== null) nodes.push(node);
  }
  return nodes.sort((a, b) => a.startedMs - b.startedMs);
}

function readNode(sessionDir: string): NodeHere | null {
  let file: NodeFile;
  try {
    file = JSON.parse(readFileSync(join(sessionDir, "node.json"), "utf8")) as NodeFile;
  } catch {
    return null; // no such node, or one that is being removed
  }
  if (!isNodeFile(file) || sessionHolder(sessionDir) !== file.pid) return null;
  return { ...file, paths: { sessionDir, shmDir: join(shmRoot(), basename(sessionDir)) } };
}

function isNodeFile(value: unknown): value is NodeFile {
  if (typeof value !== "object" || value === null) return false;
  const file = value as Record<string, unknown>;
  const numbers = ["pid", "port", "headPort", "startedMs"].every((name) => Number.isSafeInteger(file[name]));
  const texts = ["nodeId", "clusterId", "host", "headHost"].every((name) => typeof file[name] === "string");
  return numbers && texts && /^[0-9a-f]{16}$/.test(file.nodeId as NodeId) && typeof file.isHead === "boolean";
}
