/** A command's connection to the cluster it is about. */
import { connect } from "node:net";
import { newWorkerId } from "../base/ids.ts";
import type { DaemonMethods, MethodName, MethodParams, MethodResult } from "../runtime/daemon/methods.ts";
import { type ClusterAddress, formatAddress } from "../runtime/driver/cluster-address.ts";
import { type ClusterChoice, findCluster } from "../runtime/driver/find-cluster.ts";
import { nodesHere, sessionName } from "../runtime/driver/nodes-here.ts";
import { isThisMachine } from "../runtime/driver/own-address.ts";
import { DaemonLink } from "../runtime/owner/daemon-link.ts";
import { daemonSocket } from "../runtime/owner/session-paths.ts";
import { protocolVersion } from "../wire/index.ts";
import type { WelcomeInfo } from "../wire/messages.ts";
import { commandName } from "./command-name.ts";
import { Failure } from "./failure.ts";
import { useTempDir } from "./start.ts";

/** Milliseconds for which a cluster that is asked about may be on its way, and between two tries to reach it. */
const reachMs = 3_000;
const reachAgainMs = 250;

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
  if (choice.kind === "here") return asTool(choice.node.nodeId, choice.node.paths.sessionDir);
  if (choice.kind === "elsewhere") await reach(choice.address);
  return asDriver(flags.address);
}

/** The node on this machine to ask, or where the cluster's head is when it has none here. */
function choose(flags: ClusterFlags): ClusterChoice {
  if (flags.session !== undefined) {
    const nodes = nodesHere();
    const found = nodes.find((node) => sessionName(node) === flags.session);
    if (found !== undefined) return { kind: "here", node: found };
    throw new Failure(`Cannot find session '${flags.session}'; there are ${nodes.map(sessionName).join(", ") || "none"}`);
  }
  return findCluster(flags.address || "auto", {
    environment: process.env.SHOAL_ADDRESS,
    nodes: nodesHere,
    isThisMachine,
  });
}

/** A program may be started before its cluster; who asks about one wants to hear that it is not there. */
async function reach(address: ClusterAddress): Promise<void> {
  const { host, port } = address;
  const until = Date.now() + reachMs;
  for (;;) {
    const fault = await faultOfConnecting(host, port, Math.max(1, until - Date.now()));
    if (fault === null) return;
    if (Date.now() + reachAgainMs > until)
      throw new Failure(
        `Cannot reach a cluster at ${formatAddress(address)}: ${fault}. Check the address (--address, else SHOAL_ADDRESS), and that a head runs there (\`${commandName()} start --head\`)`,
      );
    await new Promise((resolve) => setTimeout(resolve, reachAgainMs));
  }
}

/** Null when something listens there. */
function faultOfConnecting(host: string, port: number, withinMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: withinMs });
    const done = (fault: string | null): void => {
      socket.destroy();
      resolve(fault);
    };
    socket.once("connect", () => done(null));
    socket.once("timeout", () => done(`it did not answer within ${Math.ceil(withinMs / 1000)} s`));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      done(error.code === "ECONNREFUSED" ? "nothing listens there" : error.message || String(error.code)),
    );
  });
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
