/**
 * A cluster as `shoal start` makes it, all of whose nodes are on this machine: each has a directory for sessions of its own, so that nodes share nothing
 * but the processors. Nothing stands between them, unlike in the test cluster of `shoal/testing`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import * as shoal from "shoal";
import type { Case } from "./session.ts";

export interface BenchNode {
  readonly nodeId: string;
  /** The daemon's. */
  readonly pid: number;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Started extends BenchNode, Address {
  readonly command: ChildProcess;
  /** Its directory for sessions. */
  readonly place: string;
  readonly shmDir: string;
}

const cli = fileURLToPath(new URL("./cli.js", import.meta.resolve("shoal")));
const token = randomBytes(16).toString("hex");
let dir: string | null = null;
let nodes: Started[] = [];
let nodesSoFar = 0;

/** A case on a cluster of `nodeCount` nodes. The small ones share one, which grows. */
export function inCluster(nodeCount: number, measure: (...args: Parameters<Case>) => ReturnType<Case>): Case {
  return async (scale) => {
    await shoal.shutdown();
    while (nodes.length < nodeCount) await addNode();
    await shoal.init({ address: addressOf(nodes[0]) });
    try {
      return await measure(scale);
    } finally {
      await shoal.shutdown();
    }
  };
}

/** Starts one more node; the first is the head's, which the driver is on. */
export async function addNode(resources: Readonly<Record<string, number>> = {}): Promise<BenchNode> {
  const node = await launch(nodes.length === 0 ? asHead : ["--address", addressOf(nodes[0])], resources);
  nodes.push(node);
  if (nodes.length === 1) {
    // This process is on that node, as a program beside `shoal start --head` is.
    process.env.SHOAL_TMPDIR = node.place;
    process.env.SHOAL_AUTH_TOKEN = token;
  }
  return node;
}

/** A head by itself, which no driver joins; it ends with `use`. */
export async function withHead<T>(use: (head: Address & BenchNode & { readonly token: string }) => Promise<T>): Promise<T> {
  const head = await launch(asHead, {});
  try {
    return await use({ ...head, token });
  } finally {
    await endAll([head]);
  }
}

const asHead: readonly string[] = ["--head", "--port", "0", "--node-ip-address", "127.0.0.1"];

async function launch(joining: readonly string[], resources: Readonly<Record<string, number>>): Promise<Started> {
  dir ??= mkdtempSync(join(tmpdir(), "sh-bench-"));
  const place = join(dir, `node${nodesSoFar++}`);
  mkdirSync(place);
  const args = ["start", ...joining, "--block", "--num-cpus", "1", "--resources", JSON.stringify(resources)];
  const env = { ...process.env, HOME: dir, SHOAL_TMPDIR: place, SHOAL_AUTH_TOKEN: token };
  // It ends with the command, and the command with this process's group.
  const command = spawn(process.execPath, [cli, ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    createInterface(command.stdout).on("line", (line) => line.includes("stays until") && resolve());
    command.once("exit", (code) => reject(new Error(`Cannot start a node: the command ended with code ${code}`)));
  });
  const sessions = join(place, readdirSync(place)[0]);
  const session = readdirSync(sessions)[0];
  const { nodeId, pid, host, port } = JSON.parse(readFileSync(join(sessions, session, "node.json"), "utf8"));
  const shmDir = join("/dev/shm", `shoal-${process.getuid?.()}`, session);
  return { nodeId, pid, command, host, port, place, shmDir };
}

function addressOf({ host, port }: Address): string {
  return `${host}:${port}`;
}

/** The living nodes; the head's is the first. */
export function benchNodes(): readonly BenchNode[] {
  return nodes;
}

/** As a machine whose daemon crashes: its processes are gone and its connections break. */
export function crash(node: BenchNode): void {
  const started = nodes.find(({ nodeId }) => nodeId === node.nodeId) as Started;
  nodes = nodes.filter((other) => other !== started);
  process.kill(started.pid, "SIGKILL");
  started.command.once("exit", () => rmSync(started.shmDir, { recursive: true, force: true }));
}

/** Ends all nodes, and removes what is left of those that crashed. */
export async function closeCluster(): Promise<void> {
  if (dir === null) return;
  await endAll(nodes);
  rmSync(dir, { recursive: true, force: true });
  nodes = [];
  dir = null;
}

async function endAll(ending: readonly Started[]): Promise<void> {
  const ends = ending.map(({ command }) => new Promise((resolve) => command.once("exit", resolve)));
  for (const { pid } of ending) process.kill(pid, "SIGHUP"); // at once
  await Promise.all(ends);
  for (const { shmDir } of ending) rmSync(shmDir, { recursive: true, force: true });
}
