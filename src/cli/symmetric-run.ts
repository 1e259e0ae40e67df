/**
 * `shoal symmetric-run`: the same line on every node. The one whose address it names starts the head, waits for the others and runs the command; the others
 * join, whenever they come, and leave with the head.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { formatAddress, parseAddress } from "../runtime/driver/cluster-address.ts";
import { listed, nodesHere, sessionName } from "../runtime/driver/nodes-here.ts";
import { isThisMachine } from "../runtime/driver/own-address.ts";
import type { NodeView } from "../wire/messages.ts";
import { type ClusterClient, connectCluster } from "./cluster-client.ts";
import { Failure, UsageError } from "./failure.ts";
import type { StartFlags } from "./node-options.ts";
import { warn } from "./output.ts";
import { type StartedNode, startNodeByFlags, useTempDir } from "./start.ts";
import { until } from "./wait-until.ts";

export interface SymmetricFlags extends StartFlags {
  readonly minNodes?: string;
  readonly waitTimeout?: string;
}

const defaultWaitSeconds = 60;
const pollMs = 100;
/** Milliseconds between two lines about who is missing. */
const reportMs = 10_000;
/** Milliseconds a node has to end in good order. */
const leaveMs = 30_000;

/** Exit code: the command's where the head is, elsewhere 0 when the head ended the cluster. */
export async function symmetricRun(command: readonly string[], flags: SymmetricFlags): Promise<number> {
  for (const [name, given] of [
    ["--head", flags.head],
    ["--port", flags.port],
    ["--node-ip-address", flags.nodeIpAddress],
    ["--block", flags.block],
  ])
    if (given) throw new UsageError(`Cannot use ${name} with symmetric-run: it follows from --address`);
  if (!flags.address) throw new UsageError("Cannot run without --address HOST:PORT, the address that the head is to have");
  if (command.length === 0) throw new UsageError("Cannot run without a command: put it behind --");
  const minNodes = wholeNumber("--min-nodes", flags.minNodes ?? "1", 1);
  const waitMs = wholeNumber("--wait-timeout", flags.waitTimeout ?? String(defaultWaitSeconds), 0) * 1000;
  useTempDir(flags.tempDir);
  const address = parseAddress(flags.address);
  const others = listed(nodesHere());
  if (others.length > 0)
    throw new Failure(`Cannot run as a node of yours runs here already: ${others.map(sessionName).join(", ")}; end it with stop`);
  if (!isThisMachine(address.host)) return asMember({ ...flags, joinTimeout: flags.joinTimeout ?? String(waitMs / 1000) });
  const { address: _named, ...rest } = flags;
  const node = await startNodeByFlags({
    ...rest,
    head: true,
    nodeIpAddress: address.host,
    port: String(address.port),
    block: true,
  });
  return asHead(node, command, minNodes, waitMs);
}

function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least)
    throw new UsageError(`Cannot use '${text}' as ${option}: expected a whole number of at least ${least}`);
  return value;
}

async function asHead(node: StartedNode, command: readonly string[], minNodes: number, waitMs: number): Promise<number> {
  let lost = false;
  const ended = endOf(node).then((code) => {
    lost = true;
    return code;
  });
  try {
    const cluster = await connectCluster({ address: node.address });
    try {
      await waitForNodes(cluster, minNodes, waitMs, () => lost);
      return await run(command, { ...process.env, SHOAL_ADDRESS: node.address });
    } finally {
      if (!lost) await sendHome(cluster);
      await cluster.close();
    }
  } finally {
    node.child.kill("SIGHUP"); // in good order, without waiting: there is nothing left to wait for
    await ended;
  }
}

/** Asks the other nodes to leave, and waits until they have. */
async function sendHome(cluster: ClusterClient): Promise<void> {
  const others = async (): Promise<NodeView[]> =>
    (await cluster.request("nodes", {})).filter((node) => node.alive && !node.isHead);
  try {
    const asked = (await others()).map(({ nodeId }) => cluster.request("drainNode", { nodeId, reason: "the command has ended" }));
    await Promise.allSettled(asked);
    if (await until(async () => (await others()).length === 0, leaveMs, pollMs)) return;
    warn(
      `Still there after ${leaveMs / 1000} s: ${(await others()).map((node) => `${node.hostname} (${node.address})`).join(", ")}`,
    );
  } catch (error) {
    warn(`Cannot tell the other nodes that the command has ended: ${(error as Error).message}`);
  }
}

async function waitForNodes(cluster: ClusterClient, minNodes: number, waitMs: number, lost: () => boolean): Promise<void> {
  let living: NodeView[] = [];
  let reportAt = Date.now() + reportMs;
  const there = await until(
    async () => {
      if (lost()) throw new Failure("Cannot go on as the head has ended");
      living = (await cluster.request("nodes", {})).filter((node) => node.alive);
      if (Date.now() > reportAt) {
        warn(`${living.length} of ${minNodes} nodes are there: ${living.map((node) => node.hostname).join(", ")}`);
        reportAt += reportMs;
      }
      return living.length >= minNodes;
    },
    waitMs,
    pollMs,
  );
  if (!there)
    throw new Failure(
      `Cannot run as only ${living.length} of ${minNodes} nodes came within ${waitMs / 1000} s: ${living.map((node) => `${node.hostname} (${node.address})`).join(", ")}`,
    );
}

/** The command's exit code; 128 and the signal's number when a signal ended it, as a shell has it. */
function run(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), { stdio: "inherit", env });
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, pass);
    child.once("error", (error) => reject(new Failure(`Cannot run '${command[0]}': ${error.message}`)));
    child.once("exit", (code, signal) => resolve(code ?? 128 + signalNumber(signal)));
  });
}

async function asMember(flags: StartFlags): Promise<number> {
  const node = await startNodeByFlags({ ...flags, block: true });
  warn(`This node is a member of the cluster at ${formatAddress(parseAddress(node.address))} until that ends`);
  return endOf(node);
}

/** 0 when the node left in good order, or with its head. */
function endOf({ child }: StartedNode): Promise<number> {
  return new Promise((resolve) => {
    const end = (code: number | null): void => resolve(code === 0 ? 0 : 1);
    if (child.exitCode !== null || child.signalCode !== null) return end(child.exitCode);
    child.ref();
    child.once("exit", end);
  });
}

const signalNumber = (signal: NodeJS.Signals | null): number => (signal === null ? 0 : constants.signals[signal]);
