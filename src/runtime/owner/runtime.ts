/**
 * The runtime of one process, driver or worker alike: what it owns, whom it talks to, and the loop that turns the effects of the pure
 * machines in core/ into messages.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../../base/assert.ts";
import { ClusterConnectionError, NodeDiedError, type ObjectLostError, OwnerDiedError } from "../../base/errors.ts";
import type { ActorId, JobId, NodeId, WorkerId } from "../../base/ids.ts";
import { heldObjects } from "../../core/held-objects.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import { step as stepOwnership } from "../../core/ownership.ts";
import type { OwnershipEffect } from "../../core/ownership-events.ts";
import { createOwnership, type OwnershipState, resolveRef } from "../../core/ownership-state.ts";
import { formatResources } from "../../core/resources.ts";
import type { TaskRecord } from "../../core/task-record.ts";
import { ObjectStore, segmentName } from "../../objects/index.ts";
import type { Location } from "../../objects/types.ts";
import { Kind, protocolVersion } from "../../wire/index.ts";
import { heldObjectsMax } from "../../wire/limits.ts";
import type { FromDaemon, PeerMessage, RuntimeEnvSpec, WelcomeInfo, WireRef } from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import { Actors } from "./actors.ts";
import { Borrows } from "./borrows.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { DaemonLink } from "./daemon-link.ts";
import { Departures } from "./departures.ts";
import { carryOutAll } from "./effects.ts";
import { encodeError } from "./encode-error.ts";
import { FunctionTable } from "./function-table.ts";
import { ObjectRef } from "./object-ref.ts";
import { Objects } from "./objects.ts";
import { Peers } from "./peers.ts";
import { Pulls } from "./pulls.ts";
import { processSocket, type SessionPaths, spillDir } from "./session-paths.ts";
import { Streams } from "./streams.ts";
import { currentTask } from "./task-context.ts";
import { Tasks } from "./tasks.ts";
import { ValueCodec } from "./value-codec.ts";

export interface RuntimeConfig {
  readonly role: "driver" | "worker";
  readonly selfId: WorkerId;
  readonly paths: SessionPaths;
  readonly namespace: string;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly logToDriver: boolean;
  /** The job this process belongs to; known before the daemon answers. */
  readonly jobId: JobId;
  /** What to take for granted until the daemon has answered: whether there may be other nodes. */
  readonly cluster?: boolean;
}

/** What only a worker does with what arrives. */
export interface WorkerSide {
  onPeerMessage(from: WorkerId, message: PeerMessage, link: Link): void;
  onPeerGone(peer: WorkerId): void;
  onDaemonMessage(message: FromDaemon): void;
  /** The actor this worker is; null when it runs tasks. */
  actorInfo(): ActorInfo | null;
}

export interface ActorInfo {
  readonly actorId: ActorId;
  readonly name: string | null;
  readonly namespace: string;
  readonly resources: Readonly<Record<string, number>>;
  readonly gpuIds: readonly number[];
  readonly incarnation: number;
}

export class Runtime {
  readonly selfId: WorkerId;
  readonly role: "driver" | "worker";
  readonly paths: SessionPaths;
  readonly config: RuntimeConfig;
  readonly ownership: OwnershipState;
  readonly peers: Peers;
  readonly daemon: DaemonLink;
  readonly values: ValueCodec;
  readonly functions: FunctionTable;
  readonly objects: Objects;
  readonly tasks: Tasks;
  readonly actors: Actors;
  readonly streams: Streams;
  readonly borrows: Borrows;
  readonly pulls: Pulls;
  private readonly departures = new Departures(this);
  welcome: WelcomeInfo | null = null;
  /** Why the daemon ends, from when it has said so; more than the end of its connection says. */
  private daemonEndsAs: string | null = null;
  workerSide: WorkerSide | null = null;
  /** Called in a driver with what the daemon sends for people: logs, warnings. */
  onNotice: (message: FromDaemon) => void = () => {};
  onDaemonLost: (reason: string) => void = () => {};
  /** Set when the session is over: every further call fails with it. */
  ended: Error | null = null;
  private storeInstance: ObjectStore | null = null;
  private draining = false;
  private waits = 0;

  constructor(config: RuntimeConfig) {
    this.config = config;
    this.role = config.role;
    this.paths = config.paths;
    this.selfId = config.selfId;
    this.ownership = createOwnership(this.selfId);
    this.values = new ValueCodec(this);
    this.functions = new FunctionTable(this);
    this.objects = new Objects(this);
    this.tasks = new Tasks(this);
    this.actors = new Actors(this);
    this.streams = new Streams(this);
    this.borrows = new Borrows(this);
    this.pulls = new Pulls(this);
    this.daemon = new DaemonLink({
      onMessage: (message) => this.onDaemonMessage(message),
      onLost: (reason) => this.daemonLost(reason),
    });
    this.peers = new Peers(this.selfId, this.paths.sessionDir, {
      onMessages: (from, messages, link) => this.onPeerMessages(from, messages, link),
      onGone: (peer) => this.peerGone(peer),
    });
  }

  actorInfo(): ActorInfo | null {
    return this.workerSide?.actorInfo() ?? null;
  }

  get address(): string {
    return processSocket(this.paths.sessionDir, this.selfId);
  }

  get jobId(): JobId {
    return this.welcome?.jobId ?? this.config.jobId;
  }

  /** Whether there may be other nodes: code must reach them. */
  get isCluster(): boolean {
    return this.welcome?.cluster ?? this.config.cluster ?? false;
  }

  get namespace(): string {
    return this.welcome?.namespace ?? this.config.namespace;
  }

  /** Connects to the daemon at `socketPath`; resolves when this process is a member of the session. */
  async connect(socketPath: string, jobId: JobId | ""): Promise<WelcomeInfo> {
    await this.peers.listen(this.address);
    this.welcome = await this.daemon.connect(socketPath, {
      version: protocolVersion,
      role: this.role,
      id: this.selfId,
      pid: process.pid,
      jobId,
      namespace: this.config.namespace,
      address: this.address,
      runtimeEnv: this.config.runtimeEnv,
      logToDriver: this.config.logToDriver,
      cwd: this.role === "driver" ? workingDirectory() : undefined,
    });
    if (this.waits === 0) this.daemon.keepAlive(false);
    return this.welcome;
  }

  /** The object store, opened at first use: programs without large objects never load it. */
  store(): ObjectStore {
    this.storeInstance ??= new ObjectStore({
      shmDir: this.paths.shmDir,
      spillDir: spillDir(this.paths.sessionDir),
      selfId: this.selfId,
      onPressure: () => this.daemon.send([Kind.StorePressure]),
    });
    return this.storeInstance;
  }

  // -------------------------------------------------------------- refs

  objectId(record: ObjectRecord): string {
    return `${record.foreign?.owner ?? this.selfId}${record.index.toString(16).padStart(8, "0")}`;
  }

  /** An ObjectRef for a ref that arrived inside a value. */
  refFromWire([owner, index, address]: WireRef): ObjectRef<any> {
    const record = this.recordFromWire([owner, index, address]);
    record.localRefs++;
    return new ObjectRef(record, this);
  }

  recordFromWire([owner, index, address]: WireRef): ObjectRecord {
    const record = resolveRef(this.ownership, owner, index, address);
    // Our own, and freed: whoever sent it had lost its hold when its connection broke.
    if (record.state === "gone") {
      record.localRefs++; // it is not freed again before its receiver has counted it
      stepOwnership(this.ownership, { kind: "failObject", record, error: this.borrows.freedError(index) });
      record.localRefs--;
    }
    if (this.ownership.effects.length > 0) this.drain();
    return record;
  }

  addressOf(owner: WorkerId, address: string): string {
    return address === "" ? processSocket(this.paths.sessionDir, owner) : address;
  }

  dropRef(record: ObjectRecord): void {
    if (this.ended !== null) return;
    stepOwnership(this.ownership, { kind: "drop", record });
    if (this.ownership.effects.length > 0) this.drain();
  }

  // -------------------------------------------------------------- waiting

  /** Somebody waits for something remote: the process stays alive, and a task of a worker gives its CPU back. Returns what ends it. */
  waitStarted(): () => void {
    if (this.waits++ === 0) this.daemon.keepAlive(true);
    const task = currentTask();
    task?.waitStarted();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      task?.waitEnded();
      this.waitEnded();
    };
  }

  waitEnded(): void {
    assert(this.waits > 0, "a wait ended that had not begun");
    if (--this.waits === 0) this.daemon.keepAlive(false);
  }

  /** What makes the object, and what that waits for. */
  describePending(record: ObjectRecord): string {
    const task = record.maker;
    if (task === null) return `object ${this.objectId(record)}`;
    return `'${task.definition.wire.name}' (${this.describeTask(task)})`;
  }

  private describeTask(task: TaskRecord): string {
    switch (task.state) {
      case "pushed":
        return "running";
      case "waiting":
        return "waiting for its arguments";
      case "queued": {
        if (task.actorId !== null) return this.actors.describeQueue(task.actorId);
        return `waiting for a worker with ${formatResources(task.definition.wire.resources)}`;
      }
      default:
        return task.state;
    }
  }

  // -------------------------------------------------------------- effects

  /** Carries out the effects of the machines until there are none. Handlers may step the machines again. */
  drain(): void {
    if (this.draining) return;
    this.draining = true;
    try {
      for (;;) {
        const effects = this.ownership.effects;
        if (effects.length > 0) carryOutAll(effects, (effect) => this.carryOut(effect));
        this.tasks.drainSubmitter();
        this.actors.drainClients();
        if (this.ownership.effects.length === 0 && this.tasks.quiet && this.actors.quiet) break;
      }
    } finally {
      this.draining = false;
    }
  }

  private carryOut(effect: OwnershipEffect): void {
    switch (effect.kind) {
      case "enqueue":
        if (effect.task.actorId === null) this.tasks.enqueue(effect.task);
        else this.actors.ready(effect.task);
        return;
      case "settled": {
        const waiters = effect.record.waiters as { settled(record: ObjectRecord): void }[] | null;
        effect.record.waiters = null;
        if (waiters !== null) for (const waiter of waiters) waiter.settled(effect.record);
        return;
      }
      case "free":
        return this.free(effect.location);
      case "borrow":
        return this.borrows.add(effect.record);
      case "unborrow":
        return this.borrows.remove(effect.record);
      case "fetch":
        return this.borrows.fetch(effect.record);
      case "reportLost":
        return this.borrows.reportLost(effect.record, effect.name);
      case "actorOutOfScope":
        return this.actors.outOfScope(effect.actorId);
      case "cancelRunning":
        return effect.task.actorId === null
          ? this.tasks.cancelRunning(effect.task, effect.force, effect.recursive)
          : this.actors.cancelRunning(effect.task, effect.recursive);
      case "outOfRetries":
        return effect.task.actorId === null ? this.tasks.outOfRetries(effect.task) : this.actors.outOfRetries(effect.task);
      case "unqueued":
        return this.actors.unqueued(effect.task);
      case "retryLater":
        return this.tasks.retryLater(effect.task, effect.delayMs);
      case "rebuilding":
        return;
      case "streamReady":
        return this.streams.ready(effect.task);
      case "consumed":
        return this.streams.tellProducer(effect.task, effect.items, effect.done);
    }
  }

  private free(location: Location): void {
    if (this.ended !== null) return;
    const writer = location.writer as WorkerId | undefined;
    const link = writer === undefined ? undefined : this.peers.existing(writer);
    if (link !== undefined) link.send([Kind.FreeSegment, location]);
    else if (this.pulls.isElsewhere(location)) this.daemon.send([Kind.FreeCopies, [location]]);
    else this.store().free(location);
  }

  /** Frees what a run that crashed had stored: its reply may be lost, and then nobody else knows of it. */
  freeUnseen(task: TaskRecord, writer: WorkerId): void {
    const dirs = [this.paths.shmDir, spillDir(this.paths.sessionDir)];
    for (const { index } of task.returns) {
      const name = segmentName(this.selfId, index, task.attempt, writer);
      const location = { name, offset: 0, bytes: 0, writer };
      if (this.pulls.isElsewhere(location) || dirs.some((dir) => existsSync(join(dir, name)))) this.free(location);
    }
  }

  /** Reads a stored value. Throws SegmentMissing when its bytes are not on this node. */
  decodeStored(location: Location): unknown | Promise<unknown> {
    const here = this.pulls.here(location);
    return this.values.decodeStored(this.store().read(here), here);
  }

  // -------------------------------------------------------------- errors

  encodeError(error: unknown): Uint8Array {
    return encodeError(this.values, error);
  }

  getRef(ref: ObjectRef<any>): Promise<unknown> {
    return this.objects.getOne(ObjectRef.recordOf(ref, this, "get"), undefined).finally(() => ref.id);
  }

  // -------------------------------------------------------------- messages

  private onPeerMessages(from: WorkerId, messages: readonly PeerMessage[], link: Link): void {
    for (const message of messages) {
      switch (message[0]) {
        case Kind.Reply:
          this.tasks.replied(from, message, link);
          break;
        case Kind.Failed:
          this.tasks.failed(from, message);
          break;
        case Kind.HandBack:
          this.tasks.handedBack(message[1]);
          break;
        case Kind.StreamItem:
          this.streams.itemArrived(from, message, link);
          break;
        case Kind.GetObject:
        case Kind.ObjectReply:
        case Kind.BorrowAdd:
        case Kind.BorrowRemove:
        case Kind.BorrowAck:
        case Kind.ObjectLost:
        case Kind.CancelOwned:
          this.borrows.onMessage(from, message, link);
          break;
        case Kind.FreeSegment:
          this.store().free(message[1]);
          break;
        default:
          this.workerSide?.onPeerMessage(from, message, link);
      }
    }
    this.drain();
  }

  private onDaemonMessage(message: FromDaemon): void {
    switch (message[0]) {
      case Kind.Lease:
        this.tasks.granted(message);
        break;
      case Kind.Spill:
        this.tasks.spilled(message[1], message[2], message[3], message[4]);
        break;
      case Kind.Recall:
        this.tasks.recalled(message[1]);
        break;
      case Kind.WorkerDied:
        this.departures.workerDied(message[1], message[2]);
        break;
      case Kind.ActorState:
        this.actors.viewed(message[1]);
        break;
      case Kind.Unschedulable:
        this.tasks.unschedulable(message[1], message[2], message[3]);
        break;
      case Kind.NodeDied:
        this.departures.nodeDied(message[1], message[2]);
        break;
      case Kind.CopyMade:
        stepOwnership(this.ownership, { kind: "copyMade", index: message[1], copy: message[2] });
        break;
      case Kind.TellHeld: {
        const [, id, node, leaving] = message;
        this.daemon.send([Kind.Held, id, heldObjects(this.ownership, node, new Set(leaving), heldObjectsMax)]);
        break;
      }
      case Kind.Collect:
        collectGarbage();
        break;
      default:
        if (this.workerSide !== null) this.workerSide.onDaemonMessage(message);
        else if (message[0] === Kind.Exit) this.daemonEndsAs = message[1];
        else if (message[0] === Kind.FlushEvents)
          this.daemon.send([Kind.EventsFlushed, message[1]]); // a driver runs no tasks
        else this.onNotice(message);
    }
    this.drain();
  }

  /** What the daemon of another node says of the leases it was asked for. */
  onRemoteDaemonMessage(from: NodeId, message: FromDaemon): void {
    switch (message[0]) {
      case Kind.Lease:
        this.tasks.granted(message, from);
        break;
      case Kind.Recall:
        this.tasks.recalled(message[1], from);
        break;
      case Kind.Decline:
        this.tasks.declined(message[1], from, message[2]);
        break;
      case Kind.Unschedulable:
        this.tasks.unschedulable(message[1], message[2], message[3], from);
        break;
      case Kind.WorkerDied:
        return this.onDaemonMessage(message);
      case Kind.Warning:
        return this.onNotice(message);
    }
    this.drain();
  }

  private peerGone(peer: WorkerId): void {
    if (this.ended !== null) return;
    this.departures.peerGone(peer);
    this.tasks.peerGone(peer);
    this.actors.peerGone(peer);
    this.borrows.peerGone(peer);
    this.workerSide?.onPeerGone(peer);
    this.drain();
  }

  private daemonLost(connectionReason: string): void {
    if (this.ended !== null) return;
    const reason = this.daemonEndsAs ?? connectionReason;
    this.end(
      new NodeDiedError(`Cannot go on: the node daemon of this session is gone (${reason})`, {
        nodeId: this.welcome?.nodeId ?? "",
        reason,
      }),
    );
    this.onDaemonLost(reason);
  }

  /** Ends the session in this process: everything pending fails with `error`. */
  end(error: Error): void {
    if (this.ended !== null) return;
    const bytes = this.encodeError(error);
    this.actors.sessionEnded(error);
    for (const task of [...this.ownership.tasks.values()]) stepOwnership(this.ownership, { kind: "fail", task, error: bytes });
    for (const record of this.ownership.borrowed.values())
      stepOwnership(this.ownership, { kind: "ownerLost", record, error: bytes });
    for (const record of this.ownership.owned.values())
      if (record.state === "pending") stepOwnership(this.ownership, { kind: "failObject", record, error: bytes });
    this.ended = error; // before draining: what is freed now goes with the session's directory
    this.drain();
    this.departures.close();
    this.tasks.close();
    this.peers.close();
    this.daemon.close();
    this.storeInstance?.close();
  }

  ownerDiedError(record: ObjectRecord): ObjectLostError {
    const objectId = this.objectId(record);
    return new OwnerDiedError(`Cannot get object ${objectId}: the process that owned it has ended`, {
      objectId,
      reason: "owner died",
    });
  }

  assertOpen(): void {
    if (this.ended !== null)
      throw this.ended instanceof ClusterConnectionError || this.ended instanceof NodeDiedError
        ? this.ended
        : new ClusterConnectionError(this.ended.message, {});
  }
}

/** Undefined when it was removed under this process. */
function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}
