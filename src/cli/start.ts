/** `shoal start`: a node of a cluster, in the background or for as long as the command runs. */
import { type ChildProcess, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { defaultStoreBytes, sweepStaleSessions } from "../objects/index.ts";
import type { ClusterConfig } from "../runtime/daemon/config.ts";
import { formatAddress, isLoopback } from "../runtime/driver/cluster-address.ts";
import { usableCpus } from "../runtime/driver/cpus.ts";
import {
  type LaunchedDaemon,
  type LocalSession,
  makeSession,
  removeSession,
  startNode,
  tlsFiles,
} from "../runtime/driver/local-daemon.ts";
import { ownAddress } from "../runtime/driver/own-address.ts";
import { makeToken } from "../runtime/driver/token.ts";
import { sessionsRoot, shmRoot } from "../runtime/owner/session-paths.ts";
import { awaitToken } from "./await-token.ts";
import { commandName } from "./command-name.ts";
import { Failure } from "./failure.ts";
import { type NodeOptions, readNodeOptions, type StartFlags } from "./node-options.ts";
import { say, warn } from "./output.ts";

export interface StartedNode {
  readonly child: ChildProcess;
  readonly session: LocalSession;
  readonly nodeId: string;
  readonly host: string;
  readonly port: number;
  /** The head's address. */
  readonly address: string;
  readonly dashboardUrl: string | null;
}

/** Exit code of the command. */
export async function start(flags: StartFlags): Promise<number> {
  const node = await startNodeByFlags(flags);
  const isHead = flags.head === true;
  if (flags.block) return block(node, isHead);
  describe(node, isHead);
  return 0;
}

/** Starts a node; resolves when it serves. Prints the notes about its options. */
export async function startNodeByFlags(flags: StartFlags): Promise<StartedNode> {
  const options = readNodeOptions(flags);
  useTempDir(flags.tempDir);
  const tls = tlsFiles({ cert: flags.tlsCert, key: flags.tlsKey, ca: flags.tlsCa });
  const host = options.host ?? (await ownAddress(options.head?.host));
  for (const note of options.notes) warn(note);
  if (options.host === null && options.head === null && isLoopback(host))
    warn(
      `This machine has no address that others could reach: the head listens on ${host}; give --node-ip-address if there is one`,
    );
  const joinUntil = Date.now() + options.joinTimeoutMs;
  const token =
    options.head === null ? makeToken(flags.tokenFile) : await awaitToken(options.head, options.joinTimeoutMs, flags.tokenFile);
  const cluster: ClusterConfig = {
    role: options.head === null ? "head" : "node",
    host,
    port: options.port,
    head: options.head,
    token,
    tls,
    clusterId: null,
    joinTimeoutMs: Math.max(0, joinUntil - Date.now()),
    storeFile: flags.store === undefined ? null : resolve(flags.store),
    driverOnly: false,
    endsWithInput: flags.block === true, // however this command ends
  };
  sweepStaleSessions(sessionsRoot(), shmRoot());
  const session = makeSession();
  let launched: LaunchedDaemon;
  let spawned: ChildProcess | null = null;
  // The daemon is in a process group of its own: what a terminal or batch system sends reaches it through here alone.
  const pass = (signal: NodeJS.Signals): void => void spawned?.kill(signal);
  const passed = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const;
  for (const signal of passed) process.on(signal, pass);
  try {
    launched = await startNode(session, {
      resources: resourcesOf(options),
      labels: options.labels,
      objectStoreMemory: options.objectStoreMemory ?? defaultStoreBytes(),
      cluster,
      dashboard: options.dashboard,
      ownErrors: flags.block === true,
      onSpawn: (child) => {
        spawned = child;
      },
    });
  } catch (error) {
    const said = errorsOf(session);
    removeSession(session.paths);
    const hint =
      options.head !== null && isLoopback(options.head.host)
        ? `\n${options.head.host} is this machine itself: a head on another one has another address`
        : "";
    throw new Failure(`${(error as Error).message}${said === "" ? "" : `\n${said}`}${hint}`);
  } finally {
    if (!flags.block) for (const signal of passed) process.off(signal, pass);
  }
  const { report, child } = launched;
  const port = report.port ?? options.port;
  return {
    child,
    session,
    nodeId: report.nodeId ?? session.nodeId,
    host,
    port,
    address: formatAddress(options.head ?? { host, port }),
    dashboardUrl: report.dashboardUrl ?? null,
  };
}

/** Sessions live below it; daemon, workers and jobs inherit the choice. */
export function useTempDir(dir: string | undefined): void {
  if (dir) process.env.SHOAL_TMPDIR = resolve(dir);
}

function resourcesOf(options: NodeOptions): Record<string, number> {
  const resources: Record<string, number> = { ...options.resources, CPU: options.numCpus ?? usableCpus() };
  const gpus = options.numGpus ?? countGpus();
  if (gpus > 0) resources.GPU = gpus;
  if (options.memory !== null) resources.memory = options.memory;
  return resources;
}

/** GPUs this process may use: those it was given, else what the driver lists. */
function countGpus(): number {
  const visible = process.env.CUDA_VISIBLE_DEVICES;
  if (visible !== undefined) return visible.split(",").filter((id) => id.trim() !== "" && id.trim() !== "-1").length;
  if (!existsSync("/proc/driver/nvidia/gpus")) return 0;
  const listed = spawnSync("nvidia-smi", ["--list-gpus"], { encoding: "utf8", timeout: 10_000 });
  return (listed.stdout ?? "").split("\n").filter((line) => line.startsWith("GPU ")).length;
}

function errorsOf(session: LocalSession): string {
  try {
    return readFileSync(join(session.paths.sessionDir, "logs", "daemon.err"), "utf8")
      .trim()
      .slice(-4000);
  } catch {
    return "";
  }
}

function describe(node: StartedNode, isHead: boolean): void {
  const name = commandName();
  say(`Node ${node.nodeId} runs at ${formatAddress({ host: node.host, port: node.port })}.`);
  say("");
  if (isHead) {
    say("To add a node, on another machine:");
    say(`  ${name} start --address=${node.address}`);
    say("with the token of this machine's home, or SHOAL_AUTH_TOKEN, there.");
    say("To use the cluster in a program:");
    say(`  await shoal.init({ address: "${node.address}" })    on this machine without an address`);
  } else say(`It is a member of the cluster at ${node.address}.`);
  if (node.dashboardUrl !== null) say(`Dashboard:         ${node.dashboardUrl}`);
  say(`To see how it is:  ${name} status`);
  say(`To end this node:  ${name} stop`);
  say(`Its logs:          ${join(node.session.paths.sessionDir, "logs")}`);
}

/** Stays until the node ends. A signal to end was passed on and is the node's to obey: it hands back what runs, then leaves. */
async function block(node: StartedNode, isHead: boolean): Promise<number> {
  const ended = new Promise<number>((settle) => {
    const end = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (signal !== null) warn(`The node was ended by ${signal}`);
      else if (code !== 0) warn(`The node ended with code ${code}`);
      settle(code === 0 ? 0 : 1);
    };
    const { exitCode, signalCode } = node.child;
    if (exitCode !== null || signalCode !== null) end(exitCode, signalCode);
    else node.child.once("exit", end);
  });
  node.child.ref();
  describe(node, isHead);
  say("This command stays until the node ends.");
  return ended;
}
