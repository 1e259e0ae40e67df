/** `shoal stop`: ends nodes of this user on this machine, and only what verifiably is such a node. */
import { existsSync } from "node:fs";
import { sessionHolder } from "../objects/index.ts";
import { formatAddress, parseAddress } from "../runtime/driver/cluster-address.ts";
import { removeSession } from "../runtime/driver/local-daemon.ts";
import { listed, type NodeHere, nodesHere, sessionName } from "../runtime/driver/nodes-here.ts";
import { Failure, UsageError } from "./failure.ts";
import { stopJobsOf } from "./job-files.ts";
import { say } from "./output.ts";
import { useTempDir } from "./start.ts";
import { until } from "./wait-until.ts";

export interface StopFlags {
  readonly session?: string;
  readonly address?: string;
  readonly all?: boolean;
  readonly force?: boolean;
  readonly gracePeriod?: string;
  readonly tempDir?: string;
}

const defaultGraceSeconds = 16;
/** Milliseconds for a process that was sent SIGKILL to be gone. */
const killedMs = 5_000;

export async function stop(flags: StopFlags): Promise<number> {
  useTempDir(flags.tempDir);
  const graceMs = Number(flags.gracePeriod ?? defaultGraceSeconds) * 1000;
  if (!Number.isFinite(graceMs) || graceMs < 0)
    throw new UsageError(`Cannot use '${flags.gracePeriod}' as --grace-period: expected a number of seconds`);
  const nodes = chosen(flags, nodesHere());
  if (nodes.length === 0) {
    say("No node of yours runs on this machine.");
    return 0;
  }
  // The head last: the others say goodbye to it.
  const inOrder = [...nodes].sort((a, b) => Number(a.isHead) - Number(b.isHead));
  let left = 0;
  for (const node of inOrder) {
    const stopped = await stopNode(node, flags.force === true, graceMs);
    if (!stopped) left++;
    say(`${stopped ? "Stopped" : "Cannot stop"} ${describe(node)}`);
  }
  return left === 0 ? 0 : 1;
}

function chosen(flags: StopFlags, all: readonly NodeHere[]): readonly NodeHere[] {
  const nodes = listed(all);
  if (flags.all) return nodes;
  if (flags.session !== undefined) return named(all, (node) => sessionName(node) === flags.session, `session '${flags.session}'`);
  const asked = flags.address || process.env.SHOAL_ADDRESS;
  if (asked !== undefined && asked !== "" && asked !== "auto" && asked !== "local") {
    const { host, port } = parseAddress(asked);
    const member = (node: NodeHere) => node.headPort === port && node.headHost === host;
    return named(all, member, `node of the cluster at ${asked}`);
  }
  if (new Set(nodes.map((node) => node.clusterId)).size > 1)
    throw new Failure(
      `Cannot choose which to stop as nodes of several clusters run here: say --session NAME, --address HOST:PORT or --all\n${list(nodes)}`,
    );
  return nodes;
}

function named(nodes: readonly NodeHere[], matches: (node: NodeHere) => boolean, what: string): readonly NodeHere[] {
  const found = nodes.filter(matches);
  if (found.length > 0) return found;
  throw new Failure(`Cannot stop ${what} as none runs here${nodes.length === 0 ? "" : `; there are\n${list(nodes)}`}`);
}

const list = (nodes: readonly NodeHere[]): string => nodes.map((node) => `  ${describe(node)}`).join("\n");

const describe = (node: NodeHere): string =>
  `${sessionName(node)}: ${node.isHead ? "head of" : "node of"} the cluster at ${formatAddress({ host: node.headHost, port: node.headPort })}, pid ${node.pid}`;

/** True when its processes and files are gone. Its own orderly end first, unless `force`; what takes longer than the grace is ended at once. */
async function stopNode(node: NodeHere, force: boolean, graceMs: number): Promise<boolean> {
  await stopJobsOf(node.paths.sessionDir, force ? 0 : Math.min(graceMs, 3_000));
  if (!force) {
    // The cluster ends with its head, so there is nobody to hand work back to.
    if (!node.isHead) {
      signalNode(node, "SIGTERM");
      if (await gone(node, graceMs)) return true;
    }
    signalNode(node, "SIGHUP"); // in good order, but without waiting for what runs
    if (await gone(node, killedMs)) return true;
  }
  signalNode(node, "SIGKILL");
  const ended = await processEnded(node, killedMs);
  // Nobody is left to remove them; its workers end with it.
  if (ended) removeSession(node.paths);
  return ended;
}

/** Only when the process still is the daemon that holds the session's mark: ids of processes are reused. */
function signalNode(node: NodeHere, signal: NodeJS.Signals): void {
  if (sessionHolder(node.paths.sessionDir) !== node.pid) return;
  try {
    process.kill(node.pid, signal);
  } catch {
    // It has just ended.
  }
}

async function gone(node: NodeHere, withinMs: number): Promise<boolean> {
  return until(
    () => sessionHolder(node.paths.sessionDir) === null && !isAlive(node.pid) && !existsSync(node.paths.sessionDir),
    withinMs,
  );
}

async function processEnded(node: NodeHere, withinMs: number): Promise<boolean> {
  return until(() => sessionHolder(node.paths.sessionDir) !== node.pid, withinMs);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
