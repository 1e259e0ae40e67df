/** Which cluster a program means: what `init({ address })`, SHOAL_ADDRESS and the machine's own nodes say. Decides; starts nothing. */
import { ClusterConnectionError } from "../../base/errors.ts";
import { type ClusterAddress, formatAddress, parseAddress } from "./cluster-address.ts";
import { listed, type NodeHere } from "./nodes-here.ts";

export type ClusterChoice =
  /** A new local session. */
  | { readonly kind: "new" }
  /** A node that runs on this machine: its daemon serves this program, too. */
  | { readonly kind: "here"; readonly node: NodeHere }
  /** A cluster that has no node on this machine. */
  | { readonly kind: "elsewhere"; readonly address: ClusterAddress };

export interface Surroundings {
  /** SHOAL_ADDRESS. */
  readonly environment: string | undefined;
  nodes(): readonly NodeHere[];
  isThisMachine(host: string): boolean;
}

/**
 * "local": a new session. "host:port": that cluster. Otherwise SHOAL_ADDRESS if it is set, else the cluster this user runs on this machine, else a new session,
 * which "auto" refuses. With several clusters on the machine somebody must say which: the last one started may be another program's.
 */
export function findCluster(asked: string | undefined, around: Surroundings): ClusterChoice {
  const environment = around.environment?.trim() || undefined;
  const address = asked === undefined || asked === "" || asked === "auto" ? (environment ?? asked) : asked;
  if (address === "local") {
    if (asked === "auto") throw noCluster('SHOAL_ADDRESS is "local"');
    return { kind: "new" };
  }
  if (address !== undefined && address !== "" && address !== "auto") return at(parseAddress(address), around);
  const nodes = listed(around.nodes());
  const heads = new Map(nodes.map((node) => [node.clusterId, formatAddress({ host: node.headHost, port: node.headPort })]));
  if (heads.size > 1)
    throw new ClusterConnectionError(
      `Cannot choose among the ${heads.size} clusters on this machine: set SHOAL_ADDRESS or the option address to one of ${[...heads.values()].join(", ")}`,
    );
  if (nodes.length > 0) return { kind: "here", node: preferred(nodes) };
  if (asked === "auto") throw noCluster("none runs on this machine and SHOAL_ADDRESS is not set");
  return { kind: "new" };
}

function at(address: ClusterAddress, around: Surroundings): ClusterChoice {
  const local = around.isThisMachine(address.host);
  const members = around
    .nodes()
    .filter((node) => node.headPort === address.port && (node.headHost === address.host || (local && node.isHead)));
  if (members.length > 0) return { kind: "here", node: preferred(members) };
  // The address of a node of this machine that is not the head's stands for that node.
  const named = around.nodes().find((node) => node.host === address.host && node.port === address.port);
  return named !== undefined ? { kind: "here", node: named } : { kind: "elsewhere", address };
}

/** The head's node, else the first: several nodes of a cluster on one machine are a test's. */
const preferred = (nodes: readonly NodeHere[]): NodeHere => nodes.find((node) => node.isHead) ?? nodes[0];

const noCluster = (why: string): ClusterConnectionError =>
  new ClusterConnectionError(`Cannot join a cluster as ${why}: start one with \`shoal start --head\`, or give its address`);
