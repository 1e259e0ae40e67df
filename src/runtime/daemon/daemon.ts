/**
 * The node daemon: accepts the node's processes, carries out what the scheduler and the head decide, and ends the session.
 *
 * It decides little itself: leases and processes are the scheduler's (core/scheduler.ts), actors and groups the head's (../head). What is left is
 * plumbing, and one promise: however the driver ends, nothing of the session is left two seconds later.
 */
import { createServer, type Server, type Socket } from "node:net";
import { totalmem } from "node:os";
import { join } from "node:path";
import { type JobId, type LeaseId, type NodeId, newJobId, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import type { ActorPlace } from "../../core/actor-registry-events.ts";
import type { SchedulerEffect } from "../../core/scheduler-events.ts";
import { Kind, protocolVersion } from "../../wire/index.ts";
import type { FromDaemon, HelloInfo, ProcessExit, SchedulingSpec, ToDaemon } from "../../wire/messages.ts";
import { MemoryControlStore } from "../head/control-store.ts";
import { Head } from "../head/head.ts";
import { codeDir, daemonSocket } from "../owner/session-paths.ts";
import { Link } from "../transport/link.ts";
import type { Client } from "./client.ts";
import type { DaemonConfig } from "./config.ts";
import { DaemonLog } from "./daemon-log.ts";
import { faultOfMessage, faultOfRequest, isHello } from "./decode-message.ts";
import { EventDrain } from "./event-drain.ts";
import { JobEnvs } from "./job-env.ts";
import { LeaseBook } from "./lease-book.ts";
import { LocalNode } from "./local-node.ts";
import { LogHub } from "./log-hub.ts";
import { MemoryWatch } from "./memory-watch.ts";
import { createMethodHandlers, toWireError } from "./method-handlers.ts";
import type { JobView, MethodHandlers, MethodName } from "./methods.ts";
import { NodeCode } from "./node-code.ts";
import { Scheduling } from "./scheduling.ts";
import type { StoreKeeper } from "./store-keeper.ts";
import { TaskEvents } from "./task-events.ts";
import type { ObjectTransfer } from "./transfer/index.ts";
import { WorkerPool } from "./worker-pool.ts";
import type { WorkerProcess } from "./worker-process.ts";
import { WorkingDirs } from "./working-dirs.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class Daemon {
  readonly nodeId: NodeId;
  readonly config: DaemonConfig;
  readonly socketPath: string;
  readonly clients = new Map<WorkerId, Client>();
  readonly jobs = new Map<JobId, Mutable<JobView>>();
  readonly jobEnvs = new JobEnvs();
  readonly leases = new LeaseBook();
  readonly logs = new LogHub();
  readonly taskEvents = new TaskEvents();
  readonly log: DaemonLog;
  readonly pool: WorkerPool;
  readonly scheduling: Scheduling;
  readonly head: Head;
  readonly code: NodeCode;
  readonly workingDirs: WorkingDirs;
  readonly eventDrain: EventDrain;
  /** Set by `attachStore`: loading it takes longer than starting the first workers, and they do not need it yet. */
  store: StoreKeeper | null = null;
  /** Objects of other nodes: set when the node has connections to others. */
  transfer: ObjectTransfer | null = null;
  private readonly classes = new Map<WorkerId, Map<number, SchedulingSpec>>();
  private readonly memoryWatch: MemoryWatch;
  private readonly methods: MethodHandlers<Client>;
  private readonly onEnd: (reason: string, orderly: boolean) => void;
  private server: Server | null = null;
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
      homeOf: () => ({ cwd: config.driverCwd, fetch: null }),
    });
    // `memory` is for scheduling only: what is left beside the object store, unless the user said otherwise.
    const memory = Math.max(0, Math.floor(totalmem() - config.objectStoreMemory));
    const resources = { memory, ...config.resources, [`node:${this.nodeId}`]: 1, "node:__internal_head__": 1 };
    this.scheduling = new Scheduling({ nodeId: this.nodeId, resources, labels: config.labels }, (effect) =>
      this.carryOut(effect),
    );
    this.head = new Head(new MemoryControlStore());
    this.head.addNode(new LocalNode(this));
    this.code = new NodeCode(codeDir(config.sessionDir), (key) => this.head.code.get(key));
    this.workingDirs = new WorkingDirs(join(codeDir(config.sessionDir), "dirs"), (node) =>
      Promise.reject(new Error(`Cannot ask node ${node} as this session is one node`)),
    );
    this.eventDrain = new EventDrain(this.clients);
    this.memoryWatch = new MemoryWatch(this);
    this.methods = createMethodHandlers(this);
  }

  /** Starts the first workers and listens; resolves when processes can connect. */
  start(): Promise<void> {
    const { jobId, namespace, driverPid } = this.config;
    this.jobEnvs.set(jobId, this.config.runtimeEnv ?? null);
    this.startJob(jobId, namespace, driverPid, this.config.prestart ?? Math.max(1, Math.floor(this.config.resources.CPU ?? 1)));
    const server = createServer((socket) => this.accept(socket));
    this.server = server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.socketPath, () => resolve());
    });
  }

  attachStore(store: StoreKeeper): void {
    this.store = store;
  }

  /** Tells every process of the node. */
  broadcast(message: FromDaemon, except?: WorkerId): void {
    for (const client of this.clients.values()) if (client.id !== except && client.role !== "tool") client.link.send(message);
  }

  send(to: WorkerId, message: FromDaemon): void {
    this.clients.get(to)?.link.send(message);
  }

  requestShutdown(reason: string): void {
    this.onEnd(reason, true);
  }

  /** Ends all workers and connections. Tells drivers why unless they asked for it. */
  async close(reason: string, tellDrivers: boolean): Promise<void> {
    this.closing = true;
    this.log.line(`ending: ${reason}`);
    this.scheduling.close();
    this.head.close();
    this.memoryWatch.close();
    if (tellDrivers)
      for (const client of this.clients.values()) if (client.role === "driver") client.link.send([Kind.Exit, reason]);
    for (const client of this.clients.values()) client.link.flush();
    await this.pool.close(500);
    this.logs.flush();
    for (const client of this.clients.values()) client.link.flush();
  }

  /** Closes the connections that are left: the sign for a driver that all is cleaned up. */
  disconnect(): void {
    for (const client of this.clients.values()) client.link.end();
    this.server?.close();
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
    link.send([
      Kind.Welcome,
      {
        nodeId: this.nodeId,
        headNodeId: this.nodeId,
        clusterId: this.config.clusterId,
        jobId,
        sessionDir: this.config.sessionDir,
        shmDir: this.config.shmDir,
        address: this.socketPath,
        pid: process.pid,
        namespace,
        dashboardUrl: null,
        cluster: false,
      },
    ]);
    if (remote) this.remoteConnected(client, hello);
    else if (worker !== null) this.workerConnected(worker, hello, link);
    else if (hello.role === "driver") this.driverConnected(client, hello);
    return client;
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
    this.jobEnvs.set(client.jobId, hello.runtimeEnv);
    if (!this.jobs.has(client.jobId)) this.startJob(client.jobId, client.namespace, client.pid, 0);
    if (hello.logToDriver && this.config.logToDriver !== false) this.logs.addDriver(client.jobId, client.link);
    else this.logs.endJob(client.jobId);
  }

  /** An owner of another node; this may be the first that is heard of its job. */
  private remoteConnected({ jobId }: Client, { job }: HelloInfo): void {
    if (job === undefined || this.jobs.has(jobId)) return;
    this.jobEnvs.set(jobId, job.runtimeEnv);
    this.startJob(jobId, job.namespace, 0, 0);
  }

  private workerConnected(worker: WorkerProcess, hello: HelloInfo, link: Link): void {
    worker.introduced = true;
    worker.link = link;
    worker.address = hello.address;
    this.pool.connected(worker);
    this.scheduling.dispatch({ kind: "workerReady", token: worker.token, workerId: worker.workerId });
  }

  private startJob(jobId: JobId, namespace: string, driverPid: number, prestart: number): void {
    this.jobs.set(jobId, { jobId, namespace, driverPid, state: "RUNNING", startMs: Date.now(), endMs: null });
    this.scheduling.dispatch({ kind: "jobStarted", jobId, prestart });
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
    this.logs.endJob(client.jobId);
    this.forgetOwner(client.id);
    this.head.onDriverGone(client.id);
    this.head.onJobEnded(client.jobId);
    this.scheduling.dispatch({ kind: "jobEnded", jobId: client.jobId });
    this.store?.processDied(client.id);
    const job = this.jobs.get(client.jobId);
    if (job !== undefined) Object.assign(job, { state: "ENDED", endMs: Date.now() });
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
        return this.taskEvents.add(client.jobId, message[1]);
      case Kind.EventsFlushed:
        return this.eventDrain.flushed(client.id, message[1]);
      case Kind.Retiring:
        client.worker?.expectEnd("it had run as many calls as its function allows", null);
        return this.scheduling.dispatch({ kind: "workerRetiring", workerId: client.id });
      case Kind.ActorReady:
        return this.head.onActorReady(message[1], message[2], message[3] ?? null, message[4]);
      case Kind.ActorExiting:
        client.worker?.expectEnd("exitActor()", null);
        return this.head.onActorExiting(message[1], message[2]);
      case Kind.StayAlive:
        client.worker?.stays();
        return this.scheduling.dispatch({ kind: "workerStays", workerId: client.id });
      case Kind.FreeCopies:
        return this.transfer?.free(message[1]);
      case Kind.Progress:
        for (const other of this.clients.values())
          if (other.role === "driver" && other.jobId === client.jobId) other.link.send(message);
        return;
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
    this.broadcast([Kind.WorkerDied, workerId, exit]);
    this.scheduling.dispatch({ kind: "workerGone", workerId });
    this.forgetOwner(workerId);
    this.head.onWorkerDied(workerId, exit);
    this.store?.processDied(workerId);
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
        return this.send(effect.workerId, [Kind.TryExit]);
      case "grant":
        return this.grant(effect.ownerId, effect.classId, effect.leaseId, effect.workerId, effect.gpuIds);
      case "recall":
        return this.send(effect.ownerId, [Kind.Recall, effect.leaseId]);
      case "unschedulable":
        return this.send(effect.ownerId, [Kind.Unschedulable, effect.classId, effect.reason, effect.text]);
      case "spill":
        return this.send(effect.ownerId, [Kind.Spill, effect.classId, effect.nodeId, effect.count, effect.hard]);
      case "decline":
        return this.send(effect.ownerId, [Kind.Decline, effect.classId, effect.count]);
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
        return this.head.onActorPlaced(effect.actorId, place);
      }
      case "actorUnplaceable":
        return this.head.onActorUnplaceable(effect.actorId, effect.reason, effect.text);
      case "groupCreated":
        return this.head.onGroupCreated(effect.groupId);
      case "groupRemoved":
        return this.head.onGroupRemoved(effect.groupId, effect.actorIds);
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

  private warn(jobId: JobId | null, text: string): void {
    this.log.line(`warning: ${text}`);
    for (const client of this.clients.values())
      if (client.role === "driver" && (jobId === null || client.jobId === jobId)) client.link.send([Kind.Warning, text]);
  }
}

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
