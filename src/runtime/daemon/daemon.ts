/**
 * The node daemon: accepts the node's processes, carries out what the scheduler and the head decide, and ends the session.
 *
 * It decides little itself: leases and processes are the scheduler's (core/scheduler.ts), actors and groups the head's (../head). What is left is
 * plumbing, and one promise: however the driver ends, nothing of the session is left two seconds later.
 */
import { createServer, type Server, type Socket } from "node:net";
import { hostname, totalmem } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { type ActorId, type JobId, type LeaseId, type NodeId, newJobId, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import { candidateOf } from "../../core/placement.ts";
import type { SchedulerEffect } from "../../core/scheduler-events.ts";
import { Kind, protocolVersion } from "../../wire/index.ts";
import type { FromDaemon, HelloInfo, ProcessExit, Resources, SchedulingSpec, ToDaemon, WireValue } from "../../wire/messages.ts";
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
import { Link } from "../transport/link.ts";
import { acceptRelayed, RelayServer } from "../transport/relay.ts";
import type { Client } from "./client.ts";
import { ClusterSide, isGone } from "./cluster-side.ts";
import { type DaemonConfig, nodeTimeoutMs } from "./config.ts";
import { DaemonLog } from "./daemon-log.ts";
import { faultOfMessage, faultOfRequest, isHello } from "./decode-message.ts";
import { Drain } from "./drain.ts";
import { EventDrain } from "./event-drain.ts";
import { createHeadMethods, type HeadCaller, type HeadMethodName, type HeadMethods } from "./head-methods.ts";
import { JobEnvs } from "./job-env.ts";
import { LeaseBook } from "./lease-book.ts";
import { LocalNode } from "./local-node.ts";
import { LogHub } from "./log-hub.ts";
import { MemoryWatch } from "./memory-watch.ts";
import { createMethodHandlers, toWireError } from "./method-handlers.ts";
import type { MethodHandlers, MethodName } from "./methods.ts";
import { NodeCode } from "./node-code.ts";
import type { JobHome } from "./runtime-envs.ts";
import { Scheduling } from "./scheduling.ts";
import type { StoreKeeper } from "./store-keeper.ts";
import type { ObjectTransfer } from "./transfer/index.ts";
import { WorkerPool } from "./worker-pool.ts";
import type { WorkerProcess } from "./worker-process.ts";
import { WorkingDirs } from "./working-dirs.ts";

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
  private readonly jobs = new Map<JobId, JobInfo>();
  /** So that the late word of a process of an ended job does not begin it anew. Added when the head says so; the oldest go. */
  private readonly endedJobs = new Set<JobId>();
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
  private readonly draining = new Drain(this);
  /** Told the port on which other nodes reach this one. */
  listening: (port: number) => void = () => {};
  /** Set by `attachStore`: loading it takes longer than starting the first workers, and they do not need it yet. */
  store: StoreKeeper | null = null;
  /** Objects of other nodes: set when the node has connections to others. */
  transfer: ObjectTransfer | null = null;
  private readonly classes = new Map<WorkerId, Map<number, SchedulingSpec>>();
  private readonly memoryWatch: MemoryWatch;
  private readonly methods: MethodHandlers<Client>;
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
    });
    // `memory` is for scheduling only: what is left beside the object store, unless the user said otherwise.
    const memory = Math.max(0, Math.floor(totalmem() - config.objectStoreMemory));
    const headMark: Resources = config.cluster?.role === "node" ? {} : { "node:__internal_head__": 1 };
    const resources = { memory, ...config.resources, [`node:${this.nodeId}`]: 1, ...headMark };
    this.scheduling = new Scheduling({ nodeId: this.nodeId, resources, labels: config.labels }, (effect) =>
      this.carryOut(effect),
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
        nodeDead: (nodeId, reason) => this.log.line(`node ${nodeId} is dead: ${reason}`),
        announced: () => {},
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
    this.eventDrain = new EventDrain(this.clients);
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
    const server = createServer((socket) => this.accept(socket));
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
    await this.pool.close(500);
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

  // -------------------------------------------------------------- connections

  private accept(socket: Socket): void {
    let client: Client | null = null;
    new Link(socket, {
      onMessages: (messages, link) => {
        for (const message of messages as unknown as readonly ToDaemon[]) {
          if (!link.isOpen || this.closing) return;
          if (client !== null) this.receive(client, message);
          else client = this.introduce(message, link);
          if (client === null) return;
        }
      },
      onClose: (_link, reason) => {
        if (client !== null) this.disconnected(client, reason);
      },
    });
  }

  private introduce(message: ToDaemon, link: Link): Client | null {
    const hello = message[0] === Kind.Hello ? message[1] : null;
    const refusal = hello === null ? "Cannot talk to a process that does not say hello first" : this.refusalOf(hello);
    if (hello === null || refusal !== null) {
      this.log.line(`refused a connection: ${refusal}`);
      link.send([Kind.Refused, refusal as string]);
      link.end();
      return null;
    }
    const remote = hello.remote === true;
    const worker = hello.role === "worker" && !remote ? (this.pool.get(hello.id) as WorkerProcess) : null;
    const jobId = worker?.jobId ?? (hello.jobId === "" ? this.jobForDriver(hello) : hello.jobId);
    const namespace = hello.namespace === "" ? this.config.namespace : hello.namespace;
    const client: Client = {
      id: hello.id,
      role: hello.role,
      pid: hello.pid,
      jobId,
      namespace,
      link,
      remote,
      worker,
      actorId: null,
    };
    link.peer = hello.id;
    this.clients.set(client.id, client);
    if (remote) this.remoteConnected(client, hello);
    else if (hello.role === "driver") this.driverConnected(client, hello);
    this.welcome(client);
    if (worker !== null) this.workerConnected(worker, hello, link);
    return client;
  }

  private welcome({ jobId, namespace, link }: Client): void {
    link.send([
      Kind.Welcome,
      {
        nodeId: this.nodeId,
        headNodeId: this.cluster?.headNodeId ?? this.nodeId,
        clusterId: this.cluster?.id ?? this.config.clusterId,
        jobId,
        sessionDir: this.config.sessionDir,
        shmDir: this.config.shmDir,
        address: this.address,
        pid: process.pid,
        namespace,
        dashboardUrl: null,
        cluster: this.cluster !== null,
        job: this.cluster === null ? undefined : this.jobs.get(jobId),
      },
    ]);
  }

  private refusalOf(hello: HelloInfo): string | null {
    if (Number.isSafeInteger(hello?.version) && hello.version !== protocolVersion) return versionsDiffer(hello.version);
    if (!isHello(hello)) return "Cannot read a hello without its fields";
    if (this.clients.has(hello.id)) return `Cannot connect as ${hello.id}: that process is connected already`;
    if (hello.remote === true) return refusalOfRemote(hello, this.nodeId);
    if (hello.role === "worker" && this.pool.get(hello.id)?.introduced !== false)
      return `Cannot connect as worker ${hello.id}: this daemon has not started it`;
    return null;
  }

  /** The driver that started this daemon gets the job its workers were started for; any other one of its own. */
  private jobForDriver(hello: HelloInfo): JobId {
    return hello.role === "tool" || hello.pid === this.config.driverPid ? this.config.jobId : newJobId();
  }

  private driverConnected(client: Client, hello: HelloInfo): void {
    this.log.line(`driver ${client.pid} connected for job ${client.jobId}`);
    const { jobId, namespace, pid } = client;
    if (!this.jobs.has(jobId)) {
      const driverCwd = hello.cwd ?? this.config.driverCwd;
      this.startJob({ jobId, namespace, runtimeEnv: hello.runtimeEnv, driverCwd, driverNode: this.nodeId }, pid, 0);
    }
    if (hello.logToDriver && this.config.logToDriver !== false) this.logs.addDriver(client.jobId, client.link);
    else this.logs.endJob(client.jobId);
  }

  /** An owner of another node; this may be the first that is heard of its job. */
  private remoteConnected({ jobId }: Client, { job }: HelloInfo): void {
    if (job !== undefined) this.learnJob({ jobId, ...job });
  }

  private workerConnected(worker: WorkerProcess, hello: HelloInfo, link: Link): void {
    worker.introduced = true;
    worker.link = link;
    worker.address = hello.address;
    this.pool.connected(worker);
    this.scheduling.dispatch({ kind: "workerReady", token: worker.token, workerId: worker.workerId });
  }

  private startJob(info: JobInfo, driverPid: number, prestart: number): void {
    this.headSide.onJobStarted(info, driverPid);
    this.learnJob(info, prestart);
  }

  /** A job whose tasks or actors come to this node. */
  learnJob(info: JobInfo, prestart = 0): void {
    const { jobId, runtimeEnv, driverNode } = info;
    if (this.jobs.has(jobId) || this.endedJobs.has(jobId)) return;
    this.jobs.set(jobId, info);
    this.jobEnvs.set(jobId, runtimeEnv);
    if (driverNode !== this.nodeId) this.logs.setRemote(jobId, (lines) => this.cluster?.log(jobId, driverNode, lines));
    this.scheduling.dispatch({ kind: "jobStarted", jobId, prestart });
  }

  jobIds(): JobId[] {
    return [...this.jobs.keys()];
  }

  jobInfo(jobId: JobId): JobInfo | null {
    return this.jobs.get(jobId) ?? null;
  }

  /** Its driver is gone, wherever that was. */
  jobEnded(jobId: JobId): void {
    this.endedJobs.add(jobId);
    for (const oldest of this.endedJobs) {
      if (this.endedJobs.size <= endedJobsMax) break;
      this.endedJobs.delete(oldest);
    }
    if (!this.jobs.delete(jobId)) return;
    this.logs.endJob(jobId);
    this.scheduling.dispatch({ kind: "jobEnded", jobId });
  }

  private disconnected(client: Client, reason: string): void {
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

  // -------------------------------------------------------------- messages

  private receive(client: Client, message: ToDaemon): void {
    const fault = faultOfMessage(message);
    if (fault !== null) {
      this.log.line(`closed the connection of ${client.role} ${client.pid}: ${fault}`);
      return client.link.fail(fault);
    }
    switch (message[0]) {
      case Kind.Request:
        return this.answer(client, message[1], message[2], message[3]);
      case Kind.DefineClass:
        return this.defineClass(client, message[1], message[2]);
      case Kind.Demand:
        return this.scheduling.dispatch({
          kind: "demand",
          ownerId: client.id,
          classId: message[1],
          wanted: message[2],
          grantsSeen: message[3],
          hard: message[4] ?? false,
        });
      case Kind.ReturnLease:
        this.leases.remove(message[1]);
        return this.scheduling.dispatch({ kind: "returnLease", ownerId: client.id, leaseId: message[1] });
      case Kind.Blocked:
        return this.setBlocked(client, message[1], true);
      case Kind.Unblocked:
        return this.setBlocked(client, message[1], false);
      case Kind.StorePressure:
        return this.store?.pressure();
      case Kind.Events:
        return this.headSide.onTaskEvents(client.jobId, message[1]);
      case Kind.EventsFlushed:
        return this.eventDrain.flushed(client.id, message[1]);
      case Kind.Retiring:
        client.worker?.expectEnd("it had run as many calls as its function allows", null);
        return this.scheduling.dispatch({ kind: "workerRetiring", workerId: client.id });
      case Kind.ActorReady: {
        const actor = this.actorsHere.get(message[1]);
        if (actor?.incarnation === message[2]) actor.ready = { error: message[3] ?? null, errorText: message[4] };
        return this.headSide.onActorReady(message[1], message[2], message[3] ?? null, message[4]);
      }
      case Kind.ActorExiting: {
        client.worker?.expectEnd("exitActor()", null);
        const actor = this.actorsHere.get(message[1]);
        if (actor?.incarnation === message[2]) actor.exiting = true;
        return this.headSide.onActorExiting(message[1], message[2]);
      }
      case Kind.StayAlive:
        client.worker?.stays();
        return this.scheduling.dispatch({ kind: "workerStays", workerId: client.id });
      case Kind.FreeCopies:
        return this.transfer?.free(message[1]);
      case Kind.Progress:
        return this.progressMade(client.jobId, message[1]);
    }
  }

  /** Lane -1 is an actor's: its constructor waits. */
  private setBlocked(client: Client, leaseId: LeaseId, blocked: boolean): void {
    if (leaseId >= 0) this.scheduling.dispatch({ kind: blocked ? "blocked" : "unblocked", leaseId });
    else if (client.actorId !== null) this.scheduling.dispatch({ kind: "actorBlocked", actorId: client.actorId, blocked });
  }

  private defineClass(client: Client, classId: number, spec: SchedulingSpec): void {
    const known = this.classes.get(client.id);
    if (known === undefined) this.classes.set(client.id, new Map([[classId, spec]]));
    else known.set(classId, spec);
    this.scheduling.dispatch({
      kind: "defineClass",
      ownerId: client.id,
      jobId: client.jobId,
      classId,
      spec: this.jobEnvs.toScheduler(client.jobId, spec),
      remote: client.remote,
    });
  }

  private answer(client: Client, id: number, method: string, params: unknown): void {
    const handler = Object.hasOwn(this.methods, method) ? this.methods[method as MethodName] : undefined;
    const refuse = (error: unknown): void => client.link.send([Kind.Response, id, false, toWireError(error)]);
    if (handler === undefined) return refuse(new Error(`Cannot answer request '${method}' as the daemon knows no such method`));
    const fault = faultOfRequest(method, params);
    if (fault !== null) return refuse(new Error(fault));
    try {
      const result = (handler as (params: unknown, caller: Client) => unknown)(params, client);
      if (result instanceof Promise) result.then((value) => client.link.send([Kind.Response, id, true, value]), refuse);
      else client.link.send([Kind.Response, id, true, result]);
    } catch (error) {
      refuse(error);
    }
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
    // A head that is away has nothing to send here, and need not be waited for.
    const asked =
      this.head !== null || !this.cluster.isJoined
        ? Promise.resolve()
        : this.cluster.askHead("drainNode", { nodeId: this.nodeId, reason }, null);
    asked.catch(() => {}).finally(() => this.drain(reason, all && this.head !== null));
  }

  /** Living nodes but this one and those of drivers. */
  otherMembers(): number {
    const nodes = [...(this.cluster?.nodes.values() ?? [])];
    return nodes.filter(({ alive, driverOnly, nodeId }) => alive && !driverOnly && nodeId !== this.nodeId).length;
  }

  /** All living nodes, this one among them. */
  nodesChanged(nodes: readonly (ClusterNode & { readonly version: number })[]): void {
    const members = nodes.filter((node) => !node.driverOnly || node.nodeId === this.nodeId);
    this.scheduling.dispatch({
      kind: "nodesChanged",
      nodes: members.map((node) => ({ ...candidateOf(node), version: node.version })),
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
    const { driverCwd, driverNode } = this.jobs.get(jobId) ?? { driverCwd: this.config.driverCwd, driverNode: this.nodeId };
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
  private progressMade(jobId: JobId, update: unknown): void {
    this.progress(jobId, update);
    const driverNode = this.jobs.get(jobId)?.driverNode ?? this.nodeId;
    if (driverNode !== this.nodeId) this.cluster?.links.send(driverNode, [NodeKind.Progress, jobId, update]);
  }

  progress(jobId: JobId, update: unknown): void {
    for (const other of this.clients.values())
      if (other.role === "driver" && !other.remote && other.jobId === jobId) other.link.send([Kind.Progress, update]);
  }

  // -------------------------------------------------------------- the scheduler's effects

  private carryOut(effect: SchedulerEffect): void {
    switch (effect.kind) {
      case "startWorker":
        return this.pool.start(effect.token, effect.jobId, this.jobEnvs.toWorker(effect.jobId, effect.runtimeEnv));
      case "stopWorker":
        return this.stopWorker(effect.workerId, effect.reason);
      case "tryExit":
        this.pool.get(effect.workerId)?.expectEnd("it was idle", null);
        return void this.send(effect.workerId, [Kind.TryExit]);
      case "retired":
        return void this.send(effect.workerId, [Kind.TryExit]);
      case "grant":
        return this.grant(effect.ownerId, effect.classId, effect.leaseId, effect.workerId, effect.gpuIds);
      case "recall":
        return void this.send(effect.ownerId, [Kind.Recall, effect.leaseId]);
      case "unschedulable":
        return void this.send(effect.ownerId, [Kind.Unschedulable, effect.classId, effect.reason, effect.text]);
      case "spill":
        return void this.send(effect.ownerId, [Kind.Spill, effect.classId, effect.nodeId, effect.count, effect.hard]);
      case "decline":
        return void this.send(effect.ownerId, [Kind.Decline, effect.classId, effect.count]);
      case "actorPlaced": {
        const worker = this.pool.get(effect.workerId);
        if (worker === undefined)
          return this.log.line(`actor ${effect.actorId} was placed in worker ${effect.workerId}, which is gone`);
        const place: ActorPlace = {
          nodeId: this.nodeId,
          workerId: effect.workerId,
          address: worker.address,
          pid: worker.pid,
          gpuIds: effect.gpuIds,
        };
        return this.headSide.onActorPlaced(effect.actorId, place);
      }
      case "actorUnplaceable":
        return this.headSide.onActorUnplaceable(effect.actorId, effect.reason, effect.text);
      case "groupCreated":
        return this.headSide.onBundlesReserved(this.nodeId, effect.groupId, this.localNode.attemptOf(effect.groupId));
      case "groupRefused":
        return this.headSide.onBundlesRefused(this.nodeId, effect.groupId, this.localNode.attemptOf(effect.groupId));
      case "groupRemoved":
        return this.headSide.onBundlesRemoved(this.nodeId, effect.groupId, effect.actorIds);
      case "warn":
        return this.warn(effect.jobId, effect.text);
    }
  }

  private grant(ownerId: WorkerId, classId: number, leaseId: LeaseId, workerId: WorkerId, gpuIds: readonly number[]): void {
    const worker = this.pool.get(workerId);
    if (worker === undefined) return this.log.line(`lease ${leaseId} was granted on worker ${workerId}, which is gone`);
    const spec = this.classes.get(ownerId)?.get(classId);
    this.leases.add({
      leaseId,
      ownerId,
      workerId,
      grantedAtMs: Date.now(),
      label: spec?.label ?? "task",
      retriable: spec?.retriable ?? true,
    });
    this.send(ownerId, [Kind.Lease, classId, leaseId, workerId, worker.address, gpuIds, this.nodeId]);
  }

  private stopWorker(workerId: WorkerId, reason: string): void {
    this.send(workerId, [Kind.Exit, reason]);
    this.pool.get(workerId)?.expectEnd(reason);
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
  "packDirectory",
  "readPack",
]);

function versionsDiffer(theirs: number): string {
  return `Cannot connect to node daemon as it speaks protocol ${protocolVersion} and this process speaks ${theirs}`;
}

/** A process of another node comes for leases and names its job. */
function refusalOfRemote(hello: HelloInfo, self: NodeId): string | null {
  if (nodeKeyOf(hello.id) === nodeKeyOf(self))
    return `Cannot connect as ${hello.id} of another node: that is a process of this one`;
  if (hello.job == null || hello.jobId === "") return `Cannot connect as ${hello.id} of another node without a job`;
  return null;
}
