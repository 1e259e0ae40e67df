/**
 * A daemon among others: the connections to them, the table of nodes, and what they say to each other. A daemon of a local `init()` has none of this.
 *
 * The head's daemon answers for the head; any other is tied to it (head-watch.ts) and passes on what its processes ask of the head.
 */
import { connect, type Socket } from "node:net";
import { hostname } from "node:os";
import { ClusterConnectionError } from "../../base/errors.ts";
import { type JobId, type NodeId, type NodeKey, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import { HeadNews } from "../../core/head-news.ts";
import type { LogLine, NodeView, Resources } from "../../wire/messages.ts";
import {
  type ClusterNode,
  type Joined,
  type JoinInfo,
  NodeKind,
  type NodeMessage,
  type NotJoined,
} from "../../wire/node-messages.ts";
import { RemoteNode } from "../head/remote-node.ts";
import { NodeLinks } from "../transport/node-links.ts";
import { type ClusterConfig, nodeTimeoutMs } from "./config.ts";
import type { Daemon } from "./daemon.ts";
import { HeadInbox } from "./head-inbox.ts";
import type { HeadCaller } from "./head-methods.ts";
import { ackOfHeartbeat, HeadWatch } from "./head-watch.ts";
import { repeatNews, takeInventory } from "./inventory.ts";
import { NodeInbox } from "./node-inbox.ts";
import { refusalByJob } from "./slurm-job.ts";

/** Milliseconds a request to the head may take: `waitPlacementGroup` and the like end when the head is lost, not before. */
const headRequestMs = 86_400_000;
const probeMs = 1_000;
/** Milliseconds for which changes of what is free are collected. */
const newsMs = 20;

/** `version` grows with every entry that is heard of. */
type KnownNode = ClusterNode & { readonly version: number };

export class ClusterSide {
  readonly links: NodeLinks;
  readonly config: ClusterConfig;
  /** All nodes ever heard of, the dead ones included. */
  readonly nodes = new Map<NodeId, KnownNode>();
  private version = 0;
  private readonly daemon: Daemon;
  private readonly keys = new Map<NodeKey, NodeId>();
  private readonly headInbox: HeadInbox | null;
  private readonly nodeInbox: NodeInbox;
  private watch: HeadWatch | null = null;
  private clusterId: string | null;
  private newsTimer: NodeJS.Timeout | null = null;
  private lastNews = "";
  private closed = false;
  /** It has been accepted by a head. */
  private isMember = false;
  private readonly news = new HeadNews();
  /** At the head: the nodes as it directs them, each since it joined last. */
  private readonly directed = new Map<NodeId, RemoteNode>();
  private confirming: NodeJS.Timeout | null = null;
  port = 0;

  constructor(daemon: Daemon, config: ClusterConfig) {
    this.daemon = daemon;
    this.config = config;
    this.clusterId = config.role === "head" ? daemon.config.clusterId : config.clusterId;
    this.nodeInbox = new NodeInbox(daemon, this);
    this.headInbox = daemon.head === null ? null : new HeadInbox(daemon.head, this);
    this.links = new NodeLinks(
      {
        nodeId: daemon.nodeId,
        token: config.token,
        clusterId: () => this.clusterId,
        tls: config.tls,
        log: (line) => daemon.log.line(line),
      },
      {
        onMessage: (from, message) => this.receive(from, message),
        onRequest: (from, method, params) => this.answer(from, method, params),
        onOpen: () => {},
        onClosed: (nodeId, reason) => this.disconnected(nodeId, reason),
        onStream: (from, target, stream) => this.daemon.relayIn(from, target, stream),
        onBulk: (from, socket, first) => {
          if (this.daemon.transfer === null) socket.destroy();
          else this.daemon.transfer.onBulk(from, socket, first);
        },
      },
    );
  }

  /** Listens, and joins the head unless this is it. Rejects with what is in the way. */
  async start(): Promise<void> {
    const { host, port, role, head, joinTimeoutMs } = this.config;
    this.port = await this.links.listen(host, port);
    this.daemon.listening(this.port);
    if (role === "head") {
      const refused = this.daemon.head?.join(this.joinInfo(), this.daemon.localNode, true) ?? null;
      if (refused !== null) throw new Error(refused);
      return;
    }
    if (head === null) throw new Error("Cannot join a cluster without the address of its head");
    this.watch = new HeadWatch(this.links, head.host, head.port, {
      joinInfo: () => this.joinInfo(),
      heartbeat: (sequence) => this.heartbeat(sequence),
      joined: (answer, earlier) => this.joined(answer, earlier),
      interrupted: (reason) => {
        this.daemon.log.line(`the head is out of reach: ${reason}`);
        this.daemon.warn(null, `The head of the cluster is out of reach (${reason}); trying to reach it again`);
      },
      lost: (reason) => this.daemon.requestEnd(`this node is cut off: ${reason}`),
    });
    await this.watch.join(joinTimeoutMs);
  }

  get headNodeId(): NodeId {
    return this.watch?.headNodeId ?? this.daemon.nodeId;
  }

  get id(): string {
    return this.clusterId ?? this.daemon.config.clusterId;
  }

  /** Where the head is reached. */
  get headAddress(): { readonly host: string; readonly port: number } {
    return this.config.head ?? this.announced;
  }

  /** Where other nodes reach this one. */
  get announced(): { readonly host: string; readonly port: number } {
    return this.config.announce ?? { host: this.config.host, port: this.port };
  }

  isAlive(key: NodeKey): boolean {
    return this.keys.has(key);
  }

  nodeOf(key: NodeKey): NodeId | null {
    return this.keys.get(key) ?? null;
  }

  /** Living nodes but this one. */
  others(): NodeId[] {
    return [...this.keys.values()].filter((nodeId) => nodeId !== this.daemon.nodeId);
  }

  get isJoined(): boolean {
    return this.watch?.isJoined ?? true;
  }

  /** The head's own daemon, when the head has read its store. */
  becomeHeadOf(clusterId: string): void {
    this.clusterId = clusterId;
  }

  sendToHead(message: NodeMessage): void {
    const headId = this.watch?.isTalking === true ? this.watch.headNodeId : null;
    this.news.note(message, headId !== null);
    if (headId !== null) this.links.send(headId, message);
  }

  /**
   * Waits for a head that is away. A request that the head may have answered when it was lost is repeated where that makes no difference, unless who asked has
   * ended: the head would do it after it has cleared up after them.
   */
  async askHead(method: string, params: unknown, caller: HeadCaller | null): Promise<unknown> {
    for (;;) {
      if (!this.isJoined) {
        await this.watch?.joined();
        if (caller !== null && !this.daemon.clients.has(caller.workerId))
          throw new ClusterConnectionError(
            `Cannot ask '${method}' of the head as process ${caller.workerId}, which wanted it, has ended`,
            {},
          );
      }
      try {
        return await this.links.request(this.headNodeId, `head.${method}`, [params, caller], headRequestMs);
      } catch (error) {
        if (this.isJoined || this.closed) throw error;
        if (!mayRepeat(method, params as Record<string, unknown> | null))
          throw new ClusterConnectionError(
            `Cannot tell whether '${method}' was done: the connection to the head of the cluster broke meanwhile (${(error as Error).message})`,
            {},
          );
      }
    }
  }

  /** Something was granted or given back here: the head is told soon, if it changed what is free. */
  resourcesChanged(): void {
    if (this.newsTimer !== null || this.closed) return;
    this.newsTimer = setTimeout(() => {
      this.newsTimer = null;
      const news = JSON.stringify(this.daemon.scheduling.available());
      if (news === this.lastNews) return;
      this.lastNews = news;
      this.tellNews();
    }, newsMs);
    this.newsTimer.unref();
  }

  /** Here is less than the head believes, which is told before it hears so: else what is freed now would be no change to what it was told last. */
  refusing(): void {
    this.lastNews = JSON.stringify(this.daemon.scheduling.available());
    this.tellNews();
  }

  /** The head counts something as used here until there is news: then there is some, be it that nothing changed. */
  awaitNews(): void {
    this.lastNews = "";
  }

  private tellNews(): void {
    if (this.watch !== null) this.watch.sendHeartbeat();
    else this.headInbox?.ownHeartbeat(this.heartbeat(0));
  }

  log(jobId: JobId, driverNode: NodeId, lines: readonly LogLine[]): void {
    this.links.send(driverNode, [NodeKind.Log, jobId, lines]);
  }

  /** Says goodbye and closes all connections. */
  async close(reason: string): Promise<void> {
    this.closed = true;
    if (this.newsTimer !== null) clearTimeout(this.newsTimer);
    if (this.confirming !== null) clearTimeout(this.confirming);
    if (this.watch !== null) this.sendToHead([NodeKind.Leaving, reason]);
    this.watch?.close();
    await this.links.close();
  }

  // -------------------------------------------------------------- the table of nodes

  /** Entries that changed. */
  nodesChanged(entries: readonly ClusterNode[]): void {
    if (entries.length === 0) return;
    const died: NodeView[] = [];
    for (const entry of entries) {
      const before = this.nodes.get(entry.nodeId);
      this.nodes.set(entry.nodeId, { ...entry, version: ++this.version });
      if (entry.alive) this.keys.set(nodeKeyOf(entry.nodeId), entry.nodeId);
      else if (before?.alive !== false) {
        this.keys.delete(nodeKeyOf(entry.nodeId));
        died.push(entry);
      }
    }
    this.links.learn(entries.filter((entry) => entry.alive && entry.nodeId !== this.daemon.nodeId));
    for (const { nodeId, deathReason } of died) {
      if (nodeId === this.daemon.nodeId) {
        this.daemon.requestEnd(`the head has given this node up: ${deathReason}`);
        return;
      }
      // Processes are told first: the end of their connections to the node means less than the head's word.
      const reason = deathReason ?? "it is dead";
      this.daemon.nodeDied(nodeId, reason);
      setImmediate(() => this.links.drop(nodeId, reason));
    }
    // What was said of a node last is what counts, should it be said twice.
    const changed = new Set(entries.map(({ nodeId }) => nodeId));
    this.daemon.nodesChanged([...changed].map((nodeId) => this.nodes.get(nodeId) as KnownNode));
  }

  // -------------------------------------------------------------- messages

  private receive(from: NodeId, message: NodeMessage): void {
    if (from === this.watch?.headNodeId) {
      this.watch.heard();
      if (message[0] === NodeKind.Nodes && message[1].length === 0) this.news.acknowledged();
    }
    if (this.headInbox?.receive(from, message) === true) {
      if (message[0] === NodeKind.Heartbeat) this.links.send(from, ackOfHeartbeat);
      return;
    }
    this.nodeInbox.receive(from, message, from === this.headNodeId);
  }

  private answer(from: NodeId, method: string, params: unknown): unknown {
    if (method === "join") return this.accept(from, params as JoinInfo);
    if (method.startsWith("head.") && this.daemon.head !== null) {
      const [inner, caller] = params as [unknown, HeadCaller | null];
      return this.daemon.answerForHead(method.slice("head.".length), inner, {
        workerId: "" as WorkerId,
        jobId: "" as JobId,
        ...caller,
        nodeId: from,
      });
    }
    return this.daemon.answerNode(from, method, params);
  }

  private accept(from: NodeId, info: JoinInfo): Joined | NotJoined {
    const { head } = this.daemon;
    if (head === null) return { refused: "this is not the head of a cluster, only a node" };
    if (info?.nodeId !== from) return { refused: "its join names another node" };
    const node = new RemoteNode(from, (message) => this.links.send(from, message));
    const refused =
      refusalByJob(this.daemon.config.labels, info.labels) ??
      head.join(info, node, false, (message) => this.headInbox?.receive(from, message));
    if (refused !== null) return { refused };
    this.directed.get(from)?.disconnect();
    this.directed.set(from, node);
    this.daemon.log.line(`node ${from} joined from ${info.host}:${info.port}`);
    return { clusterId: this.id, headNodeId: this.daemon.nodeId, nodes: head.members.views() };
  }

  /** `earlier`: the head before this one. */
  private joined({ clusterId, nodes }: Joined, earlier: NodeId | null): void {
    this.clusterId = clusterId;
    this.news.told();
    const old = earlier === null ? undefined : this.nodes.get(earlier);
    const isSaid = nodes.some(({ nodeId }) => nodeId === earlier);
    const deathReason = "it was the head's, and the head has been started again";
    this.nodesChanged(old?.alive === true && !isSaid ? [...nodes, { ...old, alive: false, deathReason }] : nodes);
    if (this.isMember) {
      repeatNews(this.daemon);
      this.daemon.warn(null, "The head of the cluster is back");
    }
    this.isMember = true;
    if (earlier !== null) this.confirmNodes(new Set(nodes.map(({ nodeId }) => nodeId)));
    this.daemon.log.line(`joined cluster ${clusterId} at ${this.headAddress.host}:${this.headAddress.port}`);
  }

  /** Nodes that a new head does not know, and that do not join it in the time of a silent node, are gone. */
  private confirmNodes(said: ReadonlySet<NodeId>): void {
    const since = this.version;
    const open = [...this.nodes.values()].filter(({ nodeId, alive }) => alive && !said.has(nodeId));
    if (this.confirming !== null) clearTimeout(this.confirming);
    this.confirming = setTimeout(() => {
      const unsaid = open.filter(({ nodeId }) => (this.nodes.get(nodeId)?.version ?? 0) <= since);
      this.nodesChanged(unsaid.map((node) => ({ ...node, alive: false, deathReason: "it has not joined the new head" })));
    }, nodeTimeoutMs);
    this.confirming.unref();
  }

  private disconnected(nodeId: NodeId, reason: string): void {
    this.directed.get(nodeId)?.disconnect();
    this.directed.delete(nodeId);
    this.daemon.head?.members.disconnected(nodeId, reason);
    if (nodeId === this.watch?.headNodeId) this.news.connectionLost();
    this.watch?.disconnected(nodeId, reason);
  }

  private joinInfo(): JoinInfo {
    const { daemon, config } = this;
    return {
      nodeId: daemon.nodeId,
      hostname: hostname(),
      ...this.announced,
      resources: daemon.totalResources(),
      available: daemon.freeResources(),
      labels: daemon.config.labels,
      objectStoreMemory: daemon.config.objectStoreMemory,
      driverOnly: config.driverOnly,
      here: takeInventory(daemon, this.news),
    };
  }

  private heartbeat(sequence: number): NodeMessage & { 0: typeof NodeKind.Heartbeat } {
    const available: Resources = this.daemon.freeResources();
    this.news.beat();
    return [NodeKind.Heartbeat, sequence, available, this.daemon.pendingDemands(), this.daemon.store?.bytesUsed ?? 0];
  }
}

/** Whether the head may do it twice: the second time changes nothing, and is answered like the first. */
function mayRepeat(method: string, params: Record<string, unknown> | null): boolean {
  if (method === "kvPut") return params?.overwrite !== false;
  if (method === "killActor") return params?.noRestart !== false;
  return method !== "kvDel";
}

/** Whether nothing listens there: refused at once. Silence is no answer. */
export function isGone(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect({ host, port, timeout: probeMs });
    const done = (gone: boolean): void => {
      socket.destroy();
      resolve(gone);
    };
    socket.once("connect", () => done(false));
    socket.once("timeout", () => done(false));
    socket.once("error", (error: NodeJS.ErrnoException) => done(error.code === "ECONNREFUSED"));
  });
}
