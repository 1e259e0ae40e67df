/** The options of `start`, as Ray spells them, made into what a node is told. Reads no files and asks nobody. */
import type { DashboardWish } from "../runtime/daemon/config.ts";
import {
  type ClusterAddress,
  defaultHeadPort,
  firstAddress,
  isLoopback,
  parseAddress,
} from "../runtime/driver/cluster-address.ts";
import { dashboardHost as defaultDashboardHost } from "../runtime/driver/local-daemon.ts";
import { amountsEnd, processorsMax } from "../wire/limits.ts";
import { UsageError } from "./failure.ts";

/** As the parser of the command line hands them over: texts, and flags that were given. */
export interface StartFlags {
  readonly head?: boolean;
  readonly address?: string;
  readonly port?: string;
  readonly nodeIpAddress?: string;
  readonly numCpus?: string;
  readonly numGpus?: string;
  readonly memory?: string;
  readonly resources?: string;
  readonly labels?: string;
  readonly objectStoreMemory?: string;
  readonly tempDir?: string;
  readonly dashboardHost?: string;
  readonly dashboardPort?: string;
  /** False by --no-dashboard. */
  readonly dashboard?: boolean;
  /** Ray's way to say it. */
  readonly includeDashboard?: string;
  readonly block?: boolean;
  readonly tokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly joinTimeout?: string;
  readonly store?: string;
}

export interface NodeOptions {
  /** Null: this node is the head. */
  readonly head: ClusterAddress | null;
  readonly port: number;
  /** Null: find out. */
  readonly host: string | null;
  readonly numCpus: number | null;
  readonly numGpus: number | null;
  readonly memory: number | null;
  readonly objectStoreMemory: number | null;
  readonly resources: Readonly<Record<string, number>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly joinTimeoutMs: number;
  /** Null: none. */
  readonly dashboard: DashboardWish | null;
  /** Sentences for the user about what was made of the options. */
  readonly notes: readonly string[];
}

const defaultJoinSeconds = 60;

/** Throws a UsageError that names the option. An empty value counts as absent: batch scripts pass variables that are not set. */
export function readNodeOptions(flags: StartFlags): NodeOptions {
  const given = present(flags);
  const notes: string[] = [];
  if (given.head && given.address !== undefined)
    throw new UsageError("Cannot use --head with --address: a node starts a cluster or joins one");
  if (!given.head && given.address === undefined)
    throw new UsageError("Cannot start a node without --head or --address HOST:PORT");
  const head = given.address === undefined ? null : usage(() => parseAddress(given.address as string));
  const host = given.nodeIpAddress === undefined ? null : firstAddress(given.nodeIpAddress);
  if (host !== null && host !== given.nodeIpAddress?.trim())
    notes.push(`--node-ip-address names several addresses (${given.nodeIpAddress}); this node uses ${host}`);
  if (host !== null && isLoopback(host))
    notes.push(
      `Nodes on other machines cannot reach this one at ${host}, a loopback address. If others are to join, give --node-ip-address; some systems' \`hostname --ip-address\` says 127.0.1.1`,
    );
  return {
    head,
    host,
    port: portOf("--port", given.port, head === null ? defaultHeadPort : 0),
    numCpus: amount("--num-cpus", given.numCpus, processorsMax),
    numGpus: amount("--num-gpus", given.numGpus, processorsMax),
    memory: amount("--memory", given.memory),
    objectStoreMemory: amount("--object-store-memory", given.objectStoreMemory),
    resources: readResources(given.resources),
    labels: readLabels(given.labels),
    joinTimeoutMs: (amount("--join-timeout", given.joinTimeout) ?? defaultJoinSeconds) * 1000,
    dashboard: head === null ? readDashboard(given) : null,
    notes,
  };
}

function present(flags: StartFlags): StartFlags {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => typeof value !== "string" || value.trim() !== ""));
}

function usage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function amount(option: string, text: string | undefined, max = amountsEnd - 1): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0)
    throw new UsageError(`Cannot use '${text}' as ${option}: expected a number of at least 0`);
  if (value > max) throw new UsageError(`Cannot use '${text}' as ${option}: expected a number of at most ${max}`);
  return value;
}

function portOf(option: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new UsageError(`Cannot use '${text}' as ${option}: expected a number from 0 (any free one) to 65535`);
  return port;
}

/** On unless it is said otherwise. Whoever names a port or asks for it wants to know when it cannot be. */
function readDashboard(given: StartFlags): DashboardWish | null {
  const asked = given.includeDashboard?.trim().toLowerCase();
  if (asked !== undefined && !["true", "false", "1", "0"].includes(asked))
    throw new UsageError(`Cannot use '${given.includeDashboard}' as --include-dashboard: expected true or false`);
  if (given.dashboard === false || asked === "false" || asked === "0") return null;
  const { dashboardHost: host = defaultDashboardHost, dashboardPort } = given;
  const port = dashboardPort === undefined ? null : portOf("--dashboard-port", dashboardPort, 0);
  return { host, port, required: port !== null || given.dashboardHost !== undefined || asked !== undefined };
}

/** `{"accelerator": 2}`. */
export function readResources(text: string | undefined): Record<string, number> {
  if (text === undefined) return {};
  const wrong = (why: string): UsageError => new UsageError(`Cannot use '${text}' as --resources: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong(`expected JSON such as '{"name": 1}'`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(`expected JSON such as '{"name": 1}'`);
  for (const [name, each] of Object.entries(value)) {
    if (name === "CPU" || name === "GPU") throw wrong(`use ${name === "CPU" ? "--num-cpus" : "--num-gpus"} for ${name}`);
    if (typeof each !== "number" || !(each >= 0 && each < amountsEnd))
      throw wrong(`the amount of '${name}' is not a number from 0 to ${amountsEnd - 1}`);
  }
  return value as Record<string, number>;
}

/** `zone=a,disk=ssd` or `{"zone": "a"}`. */
export function readLabels(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  const wrong = (): UsageError => new UsageError(`Cannot use '${text}' as --labels: expected key=value,key=value`);
  if (text.trim().startsWith("{")) {
    const value = usage(() => JSON.parse(text) as unknown);
    if (!Object.values(value as object).every((each) => typeof each === "string")) throw wrong();
    return value as Record<string, string>;
  }
  const labels: Record<string, string> = {};
  for (const pair of text.split(",")) {
    const at = pair.indexOf("=");
    if (at <= 0) throw wrong();
    labels[pair.slice(0, at).trim()] = pair.slice(at + 1).trim();
  }
  return labels;
}
