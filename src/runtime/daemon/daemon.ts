/**
 * The node daemon: accepts the node's processes, carries out what the scheduler and the head decide, and ends the session.
 *
 * It decides little itself: leases and processes are the scheduler's (core/scheduler.ts), actors and groups the head's (../head). What is left is
 * plumbing, and one promise: however the driver ends, nothing of the session is left two seconds later.
 */
import { createServer, type Server } from "node:net";
import { hostname, totalmem } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { type ActorId, type JobId, type NodeId, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import { candidateOf } from "../../core/placement.ts";
import { Kind } from "../../wire/index.ts";
import type { FromDaemon, ProcessExit, Resources, SchedulingSpec, WireValue } from "../../wire/messages.ts";
import {
  type ActorHere,
  type ClusterNode,
  type JobInfo,
  type JoinInfo,
  NodeKind,
  type PendingDemand,
} from "../../wire/node-messages.ts";
import { type ControlStore, openControlStore } from "../head/control-store.ts";
import { Head } from "../head/head.ts";
import { type HeadSide, RemoteHead } from "../head/head-side.ts";
import { Subscriptions } from "../head/subscriptions.ts";
import { codeDir, daemonSocket } from "../owner/session-paths.ts";
import { acceptRelayed, RelayServer } from "../transport/relay.ts";
import type { Client } from "./client.ts";
import { ClusterSide, isGone } from "./cluster-side.ts";
import { type DaemonConfig, nodeTimeoutMs } from "./config.ts";
import { DaemonLog } from "./daemon-log.ts";
import { faultOfRequest } from "./decode-message.ts";
import { accept } from "./door.ts";
import { Drain } from "./drain.ts";
import { EventDrain } from "./event-drain.ts";
import { createHeadMethods, type HeadCaller, type HeadMethodName, type HeadMethods } from "./head-methods.ts";
import { HeldQuery } from "./held-query.ts";
import { JobEnvs } from "./job-env.ts";
import { LeaseBook } from "./lease-book.ts";
import { LocalNode } from "./local-node.ts";
import { LogFiles } from "./log-files.ts";
import { LogHub } from "./log-hub.ts";
import { MemoryWatch } from "./memory-watch.ts";
import { createMethodHandlers } from "./method-handlers.ts";
import type { MethodHandlers, MethodName } from "./methods.ts";
import { NodeCode } from "./node-code.ts";
import type { JobHome } from "./runtime-envs.ts";
import { carryOut } from "./scheduler-effects.ts";
import { Scheduling } from "./scheduling.ts";
import type { StoreKeeper } from "./store-keeper.ts";
import type { ObjectTransfer } from "./transfer/index.ts";
import { WorkerPool } from "./worker-pool.ts";
import type { WorkerProcess } from "./worker-process.ts";
import { WorkingDirs } from "./working-dirs.ts";

/** What the daemon knows of its dashboard. */
export interface RunningDashboard {
  /** With the key. */
  readonly url: string;
  close(): Promise<void>;
}

/** An actor that has a process on this node, and what it has said. */
export interface LocalActor extends ActorHere {
  alive: boolean;
  ready: { readonly error: WireValue | null; readonly errorText: string } | null;
  exiting: boolean;
}

export class Daemon {
  readonly nodeId: NodeId;
  readonly config: DaemonConfig;
  readonly socketPath: string;
  readonly clients = new Map<WorkerId, Client>();
  /** Jobs that have, or may have, something on this node. */
  readonly jobs = new Map<JobId, JobInfo>();
  /**
   * So that the late word of a process of an ended job does not begin it anew; and what is known of it, as detached actors live in it on. Added when the head
   * says so; the oldest go.
   */
  private readonly endedJobs = new Map<JobId, JobInfo | null>();
  readonly jobEnvs = new JobEnvs();
  readonly leases = new LeaseBook();
  readonly logs = new LogHub();
  readonly log: DaemonLog;
  readonly pool: WorkerPool;
  readonly scheduling: Scheduling;
  /** The cluster's head, when this is its node. */
  readonly head: Head | null;
  /** The head, wherever it is. */
  readonly headSide: HeadSide;
  readonly localNode: LocalNode;
  /** The other nodes; null for a local `init()`. */
  readonly cluster: ClusterSide | null;
  /** Actors that live or start here: what a head that has restarted must be told. */
  readonly actorsHere = new Map<ActorId, LocalActor>();
  /** Actors that processes of this node want to hear of: a head that has restarted must be told. */
  readonly subscriptions = new Subscriptions();
  readonly code: NodeCode;
  readonly workingDirs: WorkingDirs;
  readonly eventDrain: EventDrain;
  readonly heldQuery: HeldQuery;
  readonly logFiles: LogFiles;
  private readonly draining = new Drain(this);
  /** Set by `openDashboard`: the head's, when one is wanted. */
  dashboard: RunningDashboard | null = null;
  /** Told the port on which other nodes reach this one. */
  listening: (port: number) => void = () => {};
  /** Set by `attachStore`: loading it takes longer than starting the first workers, and they do not need it yet. */
  store: StoreKeeper | null = null;
  /** Objects of other nodes: set when the node has connections to others. */
  transfer: ObjectTransfer | null = null;
  readonly classes = new Map<WorkerId, Map<number, SchedulingSpec>>();
  private readonly memoryWatch: MemoryWatch;
  readonly methods: MethodHandlers<Client>;
  private readonly headMethods: HeadMethods | null;
  private readonly onEnd: (reason: string, orderly: boolean) => void;
  private server: Server | null = null;
  private controlStore: ControlStore | null = null;
  private relay: RelayServer | null = null;
  private closing = false;

  /** `onEnd` is called when the session should end; the caller then calls `close`. */
  constructor(config: DaemonConfig, workerEntry: string, onEnd: (reason: string, orderly: boolean) => void) {
    this.config = config;
    this.nodeId = config.nodeId;
    this.onEnd = onEnd;
    this.socketPath = daemonSocket(config.sessionDir);
    this.log = new DaemonLog(config.sessionDir);
    this.pool = new WorkerPool(config, this.nodeId, workerEntry, this.socketPath, {
      startFailed: (token, permanent, text) => this.startFailed(token, permanent, text),
      ended: (worker, exit) => this.workerEnded(worker, exit),
      sinkFor: (jobId) => this.logs.sinkFor(jobId),
      homeOf: (jobId) => this.homeOf(jobId),
      namespaceOf: (jobId) => this.jobInfo(jobId)?.namespace ?? config.namespace,
    });
    // `memory` is for scheduling only: what is left beside the object store, unless the user said otherwise.
    const memory = Math.max(0, Math.floor(totalmem() - config.objectStoreMemory));
    const headMark: Resources = config.cluster?.role === "node" ? {} : { "node:__internal_head__": 1 };
    const resources = { memory, ...config.resources, [`node:${this.nodeId}`]: 1, ...headMark };
    this.scheduling = new Scheduling({ nodeId: this.nodeId, resources, labels: config.labels }, (effect) =>
      carryOut(this, effect),
    );
    this.localNode = new LocalNode(this);
    const cluster = config.cluster ?? null;
    if (cluster?.role === "node") {
      this.head = null;
      this.headSide = new RemoteHead((message) => this.cluster?.sendToHead(message));
    } else {
      this.head = new Head({
        nodeTimeoutMs,
        probe: isGone,
      });
      this.headSide = this.head;
    }
    this.cluster = cluster === null ? null : new ClusterSide(this, cluster);
    if (this.cluster !== null) this.scheduling.onChanged = () => this.cluster?.resourcesChanged();
    this.code = new NodeCode(
      codeDir(config.sessionDir),
      (key) => this.askHead("getCode", { key }) as ReturnType<HeadMethods["getCode"]>,
    );
    this.workingDirs = new WorkingDirs(join(codeDir(config.sessionDir), "dirs"), (node, method, params, timeoutMs) =>
      this.cluster === null
        ? Promise.reject(new Error(`Cannot ask node ${node} as this session is one node`))
        : this.cluster.links.request(node, method, params, timeoutMs),
    );
    this.logFiles = new LogFiles(config.sessionDir, this.nodeId);
    this.eventDrain = new EventDrain(this.clients);
    this.heldQuery = new HeldQuery((to, message) => this.send(to, message));
    this.memoryWatch = new MemoryWatch(this);
    this.headMethods = this.head === null ? null : createHeadMethods(this.head, this);
    this.methods = createMethodHandlers(this, this.headMethods);
  }

  /** Starts the first workers and listens; resolves when processes can connect. */
  async start(): Promise<void> {
    const { jobId, namespace, driverPid, driverCwd, runtimeEnv, prestart, resources } = this.config;
    if (this.cluster === null) this.head?.join(this.loneNode(), this.localNode, true);
    if (driverPid !== null && this.cluster === null) {
      const info = { jobId, namespace, runtimeEnv: runtimeEnv ?? null, driverCwd, driverNode: this.nodeId };
      this.startJob(info, driverPid, prestart ?? Math.max(1, Math.floor(resources.CPU ?? 1)));
    }
    const server = createServer((socket) => accept(this, socket));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.socketPath, () => resolve());
    });
    if (this.cluster === null) return;
    this.relay = new RelayServer(this.cluster.links);
    await this.relay.listen(this.config.sessionDir);
    if (this.head !== null) {
      this.controlStore = await openControlStore(this.cluster.config.storeFile);
      this.head.recover(this.controlStore);
      this.cluster.becomeHeadOf(this.head.memory.clusterId(this.config.clusterId));
    }
    await this.cluster.start();
  }

  /** A local `init()`: the only member there ever is. */
  private loneNode(): JoinInfo {
    const { resources, labels, objectStoreMemory } = this.config;
    return {
      nodeId: this.nodeId,
      hostname: hostname(),
      host: "",
      port: 0,
      resources,
      available: resources,
      labels,
      objectStoreMemory,
      driverOnly: false,
      here: null,
    };
  }

  attachStore(store: StoreKeeper): void {
    this.store = store;
  }

  /** Tells every process of the node. */
  broadcast(message: FromDaemon, except?: WorkerId): void {
    for (const client of this.clients.values()) if (client.id !== except && client.role !== "tool") client.link.send(message);
  }

  /** False when no process of that id is connected. */
  send(to: WorkerId, message: FromDaemon): boolean {
    const client = this.clients.get(to);
    client?.link.send(message);
    return client !== undefined;
  }

  /** It ends: nothing new is taken in. */
  get isClosing(): boolean {
    return this.closing;
  }

  requestShutdown(reason: string): void {
    this.onEnd(reason, true);
  }

  /** Something went wrong that this node cannot go on with; its drivers are told. */
  requestEnd(reason: string): void {
    if (!this.closing) this.onEnd(reason, false);
  }

  /** Ends all workers and connections. Tells drivers why unless they asked for it. */
  async close(reason: string, tellDrivers: boolean): Promise<void> {
    this.closing = true;
    this.log.line(`ending: ${reason}`);
    this.scheduling.close();
    this.draining.close();
    if (this.cluster?.config.storeFile === null) this.head?.end(reason); // with a store it may come back
    this.head?.close();
    this.memoryWatch.close();
    if (tellDrivers)
      for (const client of this.clients.values())
        if (client.role === "driver" && !client.remote) client.link.send([Kind.Exit, reason]);
    for (const client of this.clients.values()) client.link.flush();
    await Promise.all([this.pool.close(500), this.dashboard?.close()]);
    this.transfer?.close();
    await this.cluster?.close(reason);
    await this.controlStore?.close();
    this.logs.flush();
    for (const client of this.clients.values()) client.link.flush();
  }

  /** Closes the connections that are left: the sign for a driver that all is cleaned up. */
  disconnect(): void {
    for (const client of this.clients.values()) client.link.end();
    this.server?.close();
    this.relay?.close();
    this.log.close();
  }

  // -------------------------------------------------------------- jobs and their processes

  startJob(info: JobInfo, driverPid: number, prestart: number): void {
    this.headSide.onJobStarted(info, driverPid);
    this.learnJob(info, prestart);
  }

  /** A job whose tasks or actors come to this node. */
  learnJob(info: JobInfo, prestart = 0): void {
    const { jobId, runtimeEnv, driverNode } = info;
    if (this.jobs.has(jobId)) return;
    if (this.endedJobs.has(jobId)) {
      this.endedJobs.set(jobId, info);
      return this.jobEnvs.set(jobId, runtimeEnv);
    }
    this.jobs.set(jobId, info);
    this.jobEnvs.set(jobId, runtimeEnv);
    if (driverNode !== this.nodeId) this.logs.setRemote(jobId, (lines) => this.cluster?.log(jobId, driverNode, lines));
    this.scheduling.dispatch({ kind: "jobStarted", jobId, prestart });
  }

  jobIds(): JobId[] {
    return [...this.jobs.keys()];
  }

  /** Also of one that has ended. */
  jobInfo(jobId: JobId): JobInfo | null {
    return this.jobs.get(jobId) ?? this.endedJobs.get(jobId) ?? null;
  }

  /** Its driver is gone, wherever that was. */
  jobEnded(jobId: JobId): void {
    this.endedJobs.set(jobId, this.jobInfo(jobId));
    for (const oldest of this.endedJobs.keys()) {
      if (this.endedJobs.size <= endedJobsMax) break;
      this.endedJobs.delete(oldest);
    }
    if (!this.jobs.delete(jobId)) return;
    this.logs.endJob(jobId);
    this.scheduling.dispatch({ kind: "jobEnded", jobId });
  }

  disconnected(client: Client, reason: string): void {
    if (this.clients.get(client.id) === client) this.clients.delete(client.id);
    if (this.closing) return;
    if (client.remote) return this.forgetOwner(client.id);
    if (client.worker !== null) {
      this.scheduling.dispatch({ kind: "workerRetiring", workerId: client.id });
      client.worker.disconnected();
      return;
    }
    if (client.role === "driver") this.driverGone(client, reason);
  }

  private driverGone(client: Client, reason: string): void {
    this.log.line(`driver ${client.pid} is gone: ${reason}`);
    if (client.pid === this.config.driverPid) return this.onEnd("its driver is gone", false);
    this.logs.removeDriver(client.jobId, client.link);
    this.forgetOwner(client.id);
    this.subscriptions.processGone(client.id);
    this.transfer?.ownerDied(client.id);
    this.headSide.onDriverGone(client.id, client.jobId);
    this.jobEnded(client.jobId);
    this.store?.processDied(client.id);
  }

  private forgetOwner(id: WorkerId): void {
    this.classes.delete(id);
    this.leases.ownerGone(id);
    this.scheduling.dispatch({ kind: "ownerGone", ownerId: id });
  }

  // -------------------------------------------------------------- processes

  private startFailed(token: number, permanent: boolean, text: string): void {
    this.log.line(`a worker start failed: ${text}`);
    this.scheduling.dispatch({ kind: "startFailed", token, permanent, text });
  }

  private workerEnded(worker: WorkerProcess, exit: ProcessExit): void {
    const { workerId } = worker;
    this.log.line(`worker ${workerId} (pid ${exit.pid}) ${exit.text}`);
    const client = this.clients.get(workerId);
    this.clients.delete(workerId);
    client?.link.fail("its process has ended");
    this.leases.workerGone(workerId);
    this.memoryWatch.workerGone(workerId);
    this.subscriptions.processGone(workerId);
    for (const [actorId, actor] of this.actorsHere) if (actor.place.workerId === workerId) this.actorsHere.delete(actorId);
    this.broadcast([Kind.WorkerDied, workerId, exit]);
    this.scheduling.dispatch({ kind: "workerGone", workerId });
    this.forgetOwner(workerId);
    this.transfer?.ownerDied(workerId);
    this.headSide.onWorkerDied(workerId, exit);
    this.store?.processDied(workerId);
  }

  // -------------------------------------------------------------- the cluster

  /** Where the session is reached: the head's address in a cluster, else this daemon's socket. */
  get address(): string {
    if (this.cluster === null) return this.socketPath;
    const { host, port } = this.cluster.headAddress;
    return `${host}:${port}`;
  }

  totalResources(): Resources {
    return { ...this.scheduling.total(), object_store_memory: this.store?.bytesMax ?? this.config.objectStoreMemory };
  }

  freeResources(): Resources {
    const bytesMax = this.store?.bytesMax ?? this.config.objectStoreMemory;
    const free: Record<string, number> = {};
    // A CPU lent by a task that waits can be owed for a moment; to the outside it is simply not there.
    for (const [name, amount] of Object.entries(this.scheduling.available())) free[name] = Math.max(0, amount);
    return { ...free, object_store_memory: Math.max(0, bytesMax - (this.store?.bytesUsed ?? 0)) };
  }

  pendingDemands(): PendingDemand[] {
    return this.scheduling.describe().demands.map(({ label, resources, count }) => ({ label, resources, count }));
  }

  /** Another node is dead: processes learn it, and what was here for owners there ends. */
  nodeDied(nodeId: NodeId, reason: string): void {
    this.log.line(`node ${nodeId} is dead: ${reason}`);
    this.broadcast([Kind.NodeDied, nodeId, reason]);
    for (const client of this.clients.values()) client.link.flush();
    for (const client of [...this.clients.values()])
      if (nodeKeyOf(client.id) === nodeKeyOf(nodeId)) client.link.fail(`its node ${nodeId} is dead`);
    this.transfer?.nodeDied(nodeId);
  }

  /** Leaves when what runs here is through: asked by the head, or by a signal. */
  drain(reason: string, last = false): void {
    this.draining.begin(reason, last);
  }

  /** As `drain`, after telling the head, so that nothing new comes meanwhile. With `all` every node was asked: the head is the last to go. */
  leave(reason: string, all = false): void {
    if (this.cluster === null || this.cluster.config.driverOnly) return this.requestShutdown(reason);
    if (this.head !== null) {
      this.head.giveNothingNew(this.nodeId);
      return this.drain(reason, all);
    }
    // A head that is away has nothing to send here, and need not be waited for.
    const asked = this.cluster.isJoined
      ? this.cluster.askHead("drainNode", { nodeId: this.nodeId, reason }, null)
      : Promise.resolve();
    asked.catch(() => {}).finally(() => this.drain(reason));
  }

  /** Living nodes but this one and those of drivers. */
  otherMembers(): number {
    const nodes = [...(this.cluster?.nodes.values() ?? [])];
    return nodes.filter(({ alive, driverOnly, nodeId }) => alive && !driverOnly && nodeId !== this.nodeId).length;
  }

  /** Of these nodes there is news; this one may be among them. */
  nodesChanged(nodes: readonly (ClusterNode & { readonly version: number })[]): void {
    const members = nodes.filter((node) => node.alive && (!node.driverOnly || node.nodeId === this.nodeId));
    this.scheduling.dispatch({
      kind: "nodesChanged",
      nodes: members.map((node) => ({ ...candidateOf(node), version: node.version })),
      gone: nodes.filter((node) => !node.alive).map((node) => node.nodeId),
    });
  }

  /** A process of another node talks to one here, or to this daemon. */
  relayIn(_from: NodeId, target: string, stream: Duplex): void {
    acceptRelayed(this.config.sessionDir, target, stream);
  }

  /** A request of this daemon itself to the head, wherever that is. */
  askHead(method: HeadMethodName, params: unknown): unknown {
    const caller = { nodeId: this.nodeId, workerId: "" as WorkerId, jobId: this.config.jobId };
    return this.head === null ? this.cluster?.askHead(method, params, caller) : this.answerForHead(method, params, caller);
  }

  /** A request that the head answers, from a process anywhere. */
  answerForHead(method: string, params: unknown, caller: HeadCaller): unknown {
    const handler =
      this.headMethods !== null && Object.hasOwn(this.headMethods, method)
        ? this.headMethods[method as keyof HeadMethods]
        : undefined;
    if (handler === undefined) throw new Error(`Cannot answer request '${method}' as the head knows no such method`);
    const fault = faultOfRequest(method, params);
    if (fault !== null) throw new Error(fault);
    return (handler as (params: unknown, caller: HeadCaller) => unknown)(params, caller);
  }

  /** Where the workers of a job belong. */
  private homeOf(jobId: JobId): JobHome {
    const { driverCwd, driverNode } = this.jobInfo(jobId) ?? { driverCwd: this.config.driverCwd, driverNode: this.nodeId };
    if (driverNode === this.nodeId) return { cwd: driverCwd, fetch: null };
    return {
      cwd: driverCwd,
      fetch: (path, excludes, timeoutMs) => this.workingDirs.fetch(driverNode, { jobId, path, excludes }, timeoutMs),
    };
  }

  /** A request of another daemon. */
  answerNode(_from: NodeId, method: string, params: unknown): unknown {
    if (!nodeMethods.has(method)) throw new Error(`Cannot answer request '${method}' of another node as there is no such method`);
    const fault = faultOfRequest(method, params);
    if (fault !== null) throw new Error(fault);
    return (this.methods[method as MethodName] as (params: unknown, caller: Client | null) => unknown)(params, null);
  }

  /** To the drivers of the job, wherever they are. */
  progressMade(jobId: JobId, update: unknown): void {
    this.progress(jobId, update);
    const driverNode = this.jobs.get(jobId)?.driverNode ?? this.nodeId;
    if (driverNode !== this.nodeId) this.cluster?.links.send(driverNode, [NodeKind.Progress, jobId, update]);
  }

  progress(jobId: JobId, update: unknown): void {
    for (const other of this.clients.values())
      if (other.role === "driver" && !other.remote && other.jobId === jobId) other.link.send([Kind.Progress, update]);
  }

  /** To the drivers of the job on this node (all when null). */
  warn(jobId: JobId | null, text: string): void {
    this.log.line(`warning: ${text}`);
    for (const client of this.clients.values())
      if (client.role === "driver" && (jobId === null || client.jobId === jobId)) client.link.send([Kind.Warning, text]);
  }
}

/** A late word comes within seconds of the end of its job. */
const endedJobsMax = 1_000;

/** Requests that daemons answer each other. */
const nodeMethods: ReadonlySet<string> = new Set([
  "killWorker",
  "listWorkers",
  "memory",
  "drainEvents",
  "flushLogs",
  "storeStats",
  "heldObjects",
  "takeOver",
  "reached",
  "listLogs",
  "readLog",
  "packDirectory",
  "readPack",
]);
