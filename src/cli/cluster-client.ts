/** A command's connection to the cluster it is about. */
import { newWorkerId } from "../base/ids.ts";
import type { DaemonMethods, MethodName, MethodParams, MethodResult } from "../runtime/daemon/methods.ts";
import { findCluster } from "../runtime/driver/find-cluster.ts";
import { nodesHere, sessionName } from "../runtime/driver/nodes-here.ts";
import { isThisMachine } from "../runtime/driver/own-address.ts";
import { DaemonLink } from "../runtime/owner/daemon-link.ts";
import { daemonSocket } from "../runtime/owner/session-paths.ts";
import { protocolVersion } from "../wire/index.ts";
import type { WelcomeInfo } from "../wire/messages.ts";
import { Failure } from "./failure.ts";
import { useTempDir } from "./start.ts";

export interface ClusterFlags {
  readonly address?: string;
  readonly session?: string;
  readonly tempDir?: string;
  readonly json?: boolean;
}

export interface ClusterClient {
  readonly welcome: WelcomeInfo;
  /** Of the node that answers: this machine's when it has one. */
  readonly sessionDir: string;
  request<M extends MethodName>(method: M, params: MethodParams<M>): Promise<Awaited<ReturnType<DaemonMethods[M]>>>;
  close(): Promise<void>;
}

/** Runs `use` with a connection to the cluster that the flags, SHOAL_ADDRESS or this machine's nodes name. */
export async function withCluster<T>(flags: ClusterFlags, use: (cluster: ClusterClient) => Promise<T>): Promise<T> {
  const cluster = await connectCluster(flags);
  try {
    return await use(cluster);
  } finally {
    await cluster.close();
  }
}

export async function connectCluster(flags: ClusterFlags): Promise<ClusterClient> {
  useTempDir(flags.tempDir);
  const choice = choose(flags);
  return choice === null ? asDriver(flags.address) : asTool(choice.nodeId, choice.paths.sessionDir);
}

/** The node on this machine to ask; null when the cluster has none here. */
function choose(flags: ClusterFlags) {
  if (flags.session !== undefined) {
    const nodes = nodesHere();
    const found = nodes.find((node) => sessionName(node) === flags.session);
    if (found !== undefined) return found;
    throw new Failure(`Cannot find session '${flags.session}'; there are ${nodes.map(sessionName).join(", ") || "none"}`);
  }
  const choice = findCluster(flags.address || "auto", {
    environment: process.env.SHOAL_ADDRESS,
    nodes: nodesHere,
    isThisMachine,
  });
  return choice.kind === "here" ? choice.node : null;
}

/** Part of no job: it asks and looks, and owns nothing. */
async function asTool(nodeId: string, sessionDir: string): Promise<ClusterClient> {
  const link = new DaemonLink({ onMessage: () => {}, onLost: () => {} });
  const welcome = await link.connect(daemonSocket(sessionDir), {
    version: protocolVersion,
    role: "tool",
    id: newWorkerId(nodeId as WelcomeInfo["nodeId"]),
    pid: process.pid,
    jobId: "",
    namespace: "default",
    address: "",
    runtimeEnv: null,
    logToDriver: false,
  });
  return {
    welcome,
    sessionDir,
    request: (method, params) => link.request(method, params),
    close: async () => link.close(),
  };
}

/** Joins as a driver does, with a node of its own that offers nothing. */
async function asDriver(address: string | undefined): Promise<ClusterClient> {
  const { init, runtimeNow, shutdown } = await import("../api/init.ts");
  await init({ ...(address ? { address } : { address: "auto" }), logToDriver: false });
  const runtime = runtimeNow();
  return {
    welcome: runtime.welcome as WelcomeInfo,
    sessionDir: runtime.paths.sessionDir,
    request: (method, params) => runtime.daemon.request(method, params) as Promise<Awaited<MethodResult<typeof method>>>,
    close: shutdown,
  };
}
