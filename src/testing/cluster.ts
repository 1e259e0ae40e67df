/** The test cluster: node daemons as processes of their own, each behind a gate through which all its connections go. */
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { newJobId, newNodeId } from "../base/ids.ts";
import { makeSession, removeSession } from "../runtime/driver/local-daemon.ts";
import type { SessionPaths } from "../runtime/owner/session-paths.ts";
import { Gate } from "./gate.ts";
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
      member.gate.cutOff = true;
      killAll(member);
    }
    await this.gone(member);
  }

  /** As a node whose machine crashes: its processes are killed, and their connections break. */
  async killNode(node: TestNode): Promise<void> {
    const member = this.memberOf(node);
    killAll(member);
    await this.gone(member);
  }

  /** Starts the head again at the same address, on the same store, after `killNode` or `removeNode` of the head. */
  async restartHead(options: NodeOptions = {}): Promise<TestNode> {
    if (this.head === null) throw new Error("Cannot restart the head as there was none");
    const gate = await Gate.open(this.head.gate.host, this.head.gate.port);
    return this.start(options, true, gate);
  }

  /** Cuts the node's cable: no byte goes in or out, and no connection ends. */
  cutOff(node: TestNode): void {
    this.memberOf(node).gate.cutOff = true;
  }

  /** Mends the cable: what was sent meanwhile arrives, as after a short outage. */
  heal(node: TestNode): void {
    this.memberOf(node).gate.cutOff = false;
  }

  /** Ends all nodes and removes what is left of them. */
  async close(): Promise<void> {
    const all = [...this.members.values()];
    for (const member of all) member.child.kill("SIGHUP"); // at once
    await Promise.all(all.map((member) => this.gone(member)));
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
    gate.isCut = (host) => [...this.members.values()].some((other) => other.gate.cutOff && other.gate.daemonHost === host);
    return node;
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
    await member.gate.close();
    if (existsSync(member.paths.sessionDir) || existsSync(member.paths.shmDir)) removeSession(member.paths);
    this.members.delete(member.node.nodeId);
  }
}

/** The daemon, and with it, by their death signal, its workers. */
function killAll(member: Member): void {
  member.child.kill("SIGKILL");
}
