/** The test cluster: node daemons as processes of their own, each behind a gate through which all its connections go. */
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { newJobId, newNodeId } from "../base/ids.ts";
import { makeSession, removeSession } from "../runtime/driver/local-daemon.ts";
import type { SessionPaths } from "../runtime/owner/session-paths.ts";
import { type Cut, Gate } from "./gate.ts";
import { startNode } from "./start-node.ts";

export interface NodeOptions {
  /** CPUs the node offers. Default 1. */
  readonly numCpus?: number;
  readonly numGpus?: number;
  readonly resources?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Bytes of the node's object store. Default 200 MB. */
  readonly objectStoreMemory?: number;
  /** Further environment variables of the node and its workers. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface ClusterOptions {
  /** Milliseconds of silence after which a node is dead. Default 8,000: a loaded machine may keep a daemon waiting for seconds. */
  readonly nodeTimeoutMs?: number;
  /** Milliseconds that nodes wait for a head whose process is gone. Default 20,000. */
  readonly headRestartMs?: number;
  /** Where the head keeps what survives it. Default: in memory. */
  readonly storeFile?: string;
}

/** A node of a test cluster. */
export interface TestNode {
  readonly nodeId: string;
  readonly pid: number;
  readonly isHead: boolean;
  readonly sessionDir: string;
  readonly shmDir: string;
}

interface Member {
  readonly node: TestNode;
  readonly child: ChildProcess;
  readonly gate: Gate;
  readonly paths: SessionPaths;
  readonly ended: Promise<void>;
}

const storeBytes = 200_000_000;

export class Cluster {
  private readonly options: ClusterOptions;
  private readonly members = new Map<string, Member>();
  /** Gates of nodes that were taken away without a word: they go on swallowing what is sent there, as the place of a machine without power. */
  private readonly dark = new Set<Gate>();
  private readonly token = randomBytes(16).toString("hex");
  private clusterId: string = randomBytes(8).toString("hex");
  private head: { readonly gate: Gate } | null = null;
  private used = 1;

  constructor(options: ClusterOptions = {}) {
    this.options = options;
  }

  /** For `init({ address })` and `SHOAL_ADDRESS`. Throws before the first `addNode`. */
  get address(): string {
    if (this.head === null) throw new Error("Cannot say where the cluster is as it has no node yet: await addNode() first");
    return `${this.head.gate.host}:${this.head.gate.port}`;
  }

  /** For `init({ address })` of a driver that is to be on this node, not on the head's. */
  addressOf(node: TestNode): string {
    const { gate } = this.memberOf(node);
    return `${gate.host}:${gate.port}`;
  }

  /** The cluster's token, for programs of other processes: `SHOAL_AUTH_TOKEN`. */
  get authToken(): string {
    return this.token;
  }

  get nodes(): readonly TestNode[] {
    return [...this.members.values()].map(({ node }) => node);
  }

  /** Starts a node; the first is the head's. Resolves when it is a member. */
  async addNode(options: NodeOptions = {}): Promise<TestNode> {
    const isHead = this.head === null;
    // Each node has a loopback address of its own, which its connections come from: a gate knows by it who knocks.
    const number = this.used++;
    const host = `127.${60 + (process.pid % 150)}.${number >> 8}.${number & 255}`;
    const gate = await Gate.open(host);
    try {
      return await this.start(options, isHead, gate);
    } catch (error) {
      if (isHead) this.head = null;
      await gate.close();
      throw error;
    }
  }

  /**
   * Takes a node away: by default as a machine that loses power: its processes are killed and nobody is told. `graceful`: it is asked to leave and
   * finishes what it runs.
   */
  async removeNode(node: TestNode, options: { graceful?: boolean } = {}): Promise<void> {
    const member = this.memberOf(node);
    if (options.graceful === true) member.child.kill("SIGTERM");
    else {
      member.gate.cut = "both";
      this.dark.add(member.gate);
      killAll(member);
    }
    await this.gone(member);
  }

  /** As a node whose machine crashes: its processes are killed, and their connections break. */
  async killNode(node: TestNode): Promise<void> {
    const member = this.memberOf(node);
    member.gate.shut();
    killAll(member);
    await this.gone(member);
  }

  /** Stops all processes of the node: whoever connects is accepted, and nothing is ever answered. */
  freeze(node: TestNode): void {
    for (const pid of processesOf(this.memberOf(node))) signal(pid, "SIGSTOP");
  }

  /** Lets a frozen node go on where it stopped. */
  thaw(node: TestNode): void {
    for (const pid of processesOf(this.memberOf(node)).reverse()) signal(pid, "SIGCONT");
  }

  /** Resolves when the node's processes have ended, by whatever reason, and takes it out of the cluster. */
  async ended(node: TestNode): Promise<void> {
    await this.gone(this.memberOf(node));
  }

  /** Starts the head again at the same address, on the same store, after `killNode` or `removeNode` of the head. */
  async restartHead(options: NodeOptions = {}): Promise<TestNode> {
    if (this.head === null) throw new Error("Cannot restart the head as there was none");
    if (this.dark.delete(this.head.gate)) await this.head.gate.close();
    const gate = await Gate.open(this.head.gate.host, this.head.gate.port);
    return this.start(options, true, gate);
  }

  /** Cuts the node's cable: no byte goes in or out (or only none in, or none out), and no connection ends. */
  cutOff(node: TestNode, way: "in" | "out" | "both" = "both"): void {
    this.memberOf(node).gate.cut = way;
  }

  /** Mends the cable: what was sent meanwhile arrives, as after a short outage. */
  heal(node: TestNode): void {
    this.memberOf(node).gate.cut = "none";
  }

  /** Breaks all connections of the node: what is under way on them, or waits behind a cut, is lost. They can be made again at once, or when the cable is mended. */
  breakConnections(node: TestNode): void {
    const { gate } = this.memberOf(node);
    gate.breakConnections();
    for (const member of this.members.values()) member.gate.breakConnections(gate.daemonHost);
  }

  /** Ends all nodes and removes what is left of them. */
  async close(): Promise<void> {
    const all = [...this.members.values()];
    for (const member of all) {
      for (const pid of processesOf(member)) signal(pid, "SIGCONT"); // a frozen one could not hear
      member.child.kill("SIGHUP"); // at once
    }
    await Promise.all(all.map((member) => this.gone(member)));
    await Promise.all([...this.dark].map((gate) => gate.close()));
    this.dark.clear();
    this.head = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async start(options: NodeOptions, isHead: boolean, gate: Gate): Promise<TestNode> {
    if (isHead) this.head = { gate };
    const session = makeSession();
    const nodeId = newNodeId();
    const { child, report, ended } = await startNode(
      {
        nodeId,
        ...session.paths,
        resources: {
          CPU: options.numCpus ?? 1,
          ...(options.numGpus === undefined ? {} : { GPU: options.numGpus }),
          ...options.resources,
        },
        labels: options.labels ?? {},
        objectStoreMemory: options.objectStoreMemory ?? storeBytes,
        namespace: "default",
        jobId: newJobId(),
        driverPid: null,
        driverCwd: process.cwd(),
        logToDriver: true,
        clusterId: this.clusterId,
        workerExecArgv: [],
        cluster: {
          role: isHead ? "head" : "node",
          host: gate.daemonHost,
          port: 0,
          announce: { host: gate.host, port: gate.port },
          head: isHead ? null : { host: this.head?.gate.host ?? "", port: this.head?.gate.port ?? 0 },
          token: this.token,
          tls: null,
          clusterId: isHead ? null : this.clusterId,
          joinTimeoutMs: 30_000,
          storeFile: isHead ? (this.options.storeFile ?? null) : null,
          driverOnly: false,
          unlisted: true,
          endsWithInput: true,
        },
      },
      {
        SHOAL_NODE_TIMEOUT_MS: String(this.options.nodeTimeoutMs ?? 8_000),
        SHOAL_HEAD_RESTART_MS: String(this.options.headRestartMs ?? 20_000),
        ...options.env,
      },
      (port) => gate.leadTo(port),
    ).catch((error) => {
      removeSession(session.paths);
      throw error;
    });
    if (isHead) this.clusterId = report.clusterId ?? this.clusterId;
    const node: TestNode = { nodeId, pid: child.pid as number, isHead, ...session.paths };
    const member: Member = {
      node,
      child,
      gate,
      paths: session.paths,
      ended,
    };
    this.members.set(nodeId, member);
    gate.cutOf = (host) => this.cutOf(host);
    return node;
  }

  private cutOf(daemonHost: string): Cut {
    for (const gate of this.dark) if (gate.daemonHost === daemonHost) return gate.cut;
    for (const { gate } of this.members.values()) if (gate.daemonHost === daemonHost) return gate.cut;
    return "none";
  }

  private memberOf(node: TestNode): Member {
    const member = this.members.get(node.nodeId);
    if (member === undefined)
      throw new Error(`Cannot find node ${node.nodeId} in this cluster: it has been removed, or is of another`);
    return member;
  }

  /** Its process has ended and nothing of it is left. */
  private async gone(member: Member): Promise<void> {
    member.child.ref(); // whoever waits for the end stays for it
    await member.ended;
    if (!this.dark.has(member.gate)) await member.gate.close();
    if (existsSync(member.paths.sessionDir) || existsSync(member.paths.shmDir)) removeSession(member.paths);
    this.members.delete(member.node.nodeId);
  }
}

/** The daemon and its workers, which are its children; the daemon first. */
function processesOf(member: Member): number[] {
  const { pid } = member.node;
  const children = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && parentOf(name) === pid);
  return [pid, ...children.map(Number)];
}

function parentOf(pid: string): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0; // ended meanwhile
  }
}

function signal(pid: number, name: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, name);
  } catch {
    // ended meanwhile
  }
}

/** The daemon, and with it, by their death signal, its workers. */
function killAll(member: Member): void {
  member.child.kill("SIGKILL");
}
