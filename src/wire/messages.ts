/**
 * Every message between processes. A message is an array: its kind, then its fields in the order given here. docs/protocol.md says
 * for each the race that needs it.
 *
 * Two kinds of connection carry them: a process (driver or worker) to its node daemon, and a process directly to another process.
 */
import type { ActorId, JobId, LeaseId, NodeId, NodeKey, ObjectIndex, PlacementGroupId, WorkerId } from "../base/ids.ts";
import type { Location } from "../objects/types.ts";

// ---------------------------------------------------------------- shared records

/** A value inside a message: a primitive as itself, anything else as the value codec's bytes. */
export type WireValue = undefined | null | boolean | number | string | Uint8Array;

export type Resources = Readonly<Record<string, number>>;

export interface RuntimeEnvSpec {
  readonly workingDir?: string;
  readonly envVars?: Readonly<Record<string, string>>;
  readonly excludes?: readonly string[];
  readonly npm?: readonly string[];
  readonly setupTimeoutMs?: number;
}

export type StrategySpec =
  | { readonly kind: "default" }
  | { readonly kind: "spread" }
  | { readonly kind: "node"; readonly nodeId: string; readonly soft: boolean }
  | {
      readonly kind: "group";
      readonly groupId: PlacementGroupId;
      readonly bundleIndex: number;
      readonly captureChildTasks: boolean;
    };

/** A scheduling class: tasks that any worker leased for the class may run. */
export interface SchedulingSpec {
  readonly resources: Resources;
  readonly strategy: StrategySpec;
  readonly labelSelector: Readonly<Record<string, string>>;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  /** For reports: the name of a task that asked. */
  readonly label: string;
  /** Its tasks may run again after their worker is lost; the memory monitor ends these first. */
  readonly retriable?: boolean;
  /** The node that holds most of what its tasks take as arguments: they go there while it has room. */
  readonly prefer?: NodeKey;
}

/** How a process ended, for error messages. */
export interface ProcessExit {
  readonly pid: number;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Ended by the memory monitor or by its own heap limit. */
  readonly outOfMemory: boolean;
  /** Asked to end by Shoal (shutdown, idle, cancel by force, kill): not a crash. */
  readonly intended: boolean;
  /** One sentence for people: "killed by SIGKILL", "exited with code 3", "ended by the memory monitor at 96 % of 24 GiB". */
  readonly text: string;
}

export type ActorStateName = "PENDING" | "ALIVE" | "RESTARTING" | "DEAD";

/** What everybody may know of an actor; the head keeps the record. */
export interface ActorView {
  readonly actorId: ActorId;
  readonly className: string;
  readonly name: string | null;
  readonly namespace: string;
  readonly state: ActorStateName;
  /** Counts starts, from 0; a restart increments it. */
  readonly incarnation: number;
  readonly workerId: WorkerId | null;
  /** Socket path of the actor's process when ALIVE. */
  readonly address: string | null;
  readonly pid: number | null;
  readonly nodeId: NodeId | null;
  readonly restartsLeft: number;
  readonly deathReason: string | null;
  readonly deathMessage: string | null;
  /** Serialized error of the constructor, when that is what killed it. */
  readonly deathCause: WireValue;
  readonly ownerId: WorkerId;
  /** The owner counts the handles of the actor on this object of its; null for a detached actor. */
  readonly handleIndex: ObjectIndex | null;
  readonly detached: boolean;
  /** Opaque to the daemon: what a handle needs (method kinds, maxTaskRetries, ...). */
  readonly handleSpec: unknown;
  readonly jobId: JobId;
}

/** What a worker needs to become an actor. The head keeps it for restarts. */
export interface ActorSpec {
  readonly actorId: ActorId;
  readonly className: string;
  readonly name: string | null;
  readonly namespace: string;
  readonly getIfExists: boolean;
  readonly detached: boolean;
  readonly maxRestarts: number;
  readonly jobId: JobId;
  readonly ownerId: WorkerId;
  readonly handleIndex: ObjectIndex | null;
  readonly handleSpec: unknown;
  /** To place it: `placement.resources` while starting; `lifetimeResources` are kept while it lives. */
  readonly placement: SchedulingSpec;
  readonly lifetimeResources: Resources;
  /** Opaque to the daemon: class key, arguments, concurrency. */
  readonly start: unknown;
}

export type GroupStrategy = "PACK" | "SPREAD" | "STRICT_PACK" | "STRICT_SPREAD";
export interface GroupView {
  readonly groupId: PlacementGroupId;
  readonly name: string | null;
  readonly state: "PENDING" | "CREATED" | "REMOVED" | "RESCHEDULING";
  readonly bundles: readonly Resources[];
  readonly strategy: GroupStrategy;
  readonly detached: boolean;
}

export interface NodeView {
  readonly nodeId: NodeId;
  readonly alive: boolean;
  readonly address: string;
  readonly hostname: string;
  readonly isHead: boolean;
  readonly resources: Resources;
  readonly available: Resources;
  readonly labels: Readonly<Record<string, string>>;
  readonly deathReason: string | null;
}

/** A step in a task's life, for `timeline` and the state listings. Times are `performance.timeOrigin + performance.now()` in ms. */
export interface TaskEvent {
  readonly taskId: string;
  readonly attempt: number;
  readonly name: string;
  readonly kind: "task" | "actor task" | "actor creation" | "user";
  readonly state: "FINISHED" | "FAILED" | "RUNNING";
  readonly startMs: number;
  readonly endMs: number;
  readonly pid: number;
  readonly workerId: string;
  readonly actorId?: string;
  readonly error?: string;
}

/** An object that its owner has stored on a node that asks. */
export interface HeldObject {
  readonly index: ObjectIndex;
  /** Its bytes on that node. */
  readonly location: Location;
  /** No node that stays has them, too. */
  readonly only: boolean;
  /** A task can make it again. */
  readonly replaceable: boolean;
}

export interface WelcomeInfo {
  readonly nodeId: NodeId;
  readonly headNodeId: NodeId;
  readonly clusterId: string;
  readonly jobId: JobId;
  readonly sessionDir: string;
  readonly shmDir: string;
  readonly address: string;
  readonly pid: number;
  readonly namespace: string;
  readonly dashboardUrl: string | null;
  /** Other nodes may be there or come: what tasks need must not be in this node's files alone. False for a local `init()`. */
  readonly cluster: boolean;
  /** The process's job, for the daemons of other nodes that it asks for leases. With `cluster`. */
  readonly job?: RemoteJob;
}

// ---------------------------------------------------------------- kinds

/** Kinds of message. Numbers are part of the protocol. */
export const Kind = {
  // both connections
  Hello: 1,
  Welcome: 2,
  Refused: 3,
  Request: 4,
  Response: 5,
  // process -> daemon
  DefineClass: 10,
  Demand: 11,
  ReturnLease: 12,
  Blocked: 13,
  Unblocked: 14,
  StorePressure: 15,
  Events: 16,
  Retiring: 17,
  ActorReady: 18,
  ActorExiting: 19,
  StayAlive: 20,
  Progress: 21,
  EventsFlushed: 22,
  FreeCopies: 23,
  Held: 24,
  // daemon -> process
  Lease: 30,
  Recall: 31,
  Warning: 32,
  WorkerDied: 33,
  ActorState: 34,
  Log: 35,
  Collect: 36,
  Exit: 37,
  StartActor: 38,
  TryExit: 39,
  Unschedulable: 40,
  FlushEvents: 41,
  Spill: 42,
  Decline: 43,
  NodeDied: 44,
  CopyMade: 45,
  TellHeld: 46,
  // process -> process
  DefineTask: 50,
  Push: 51,
  Reply: 52,
  Failed: 53,
  HandBack: 54,
  RecallTasks: 55,
  CancelTask: 56,
  StreamItem: 57,
  StreamConsumed: 58,
  ReplyAck: 59,
  GetObject: 70,
  ObjectReply: 71,
  BorrowAdd: 72,
  BorrowRemove: 73,
  BorrowAck: 74,
  ObjectLost: 75,
  FreeSegment: 76,
  CancelOwned: 77,
} as const;

/** Options of a runtime's Hello to a daemon. */
export interface HelloInfo {
  readonly version: number;
  readonly role: "driver" | "worker" | "tool";
  readonly id: WorkerId;
  readonly pid: number;
  /** A driver leaves it empty to be given one. */
  readonly jobId: JobId | "";
  readonly namespace: string;
  /** Socket on which other processes reach this one. */
  readonly address: string;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly logToDriver: boolean;
  /** A driver's working directory. */
  readonly cwd?: string;
  /** It comes from another node, through the relay, for leases of this one's workers. */
  readonly remote?: boolean;
  /** With `remote`: its job, which this node may not know yet. */
  readonly job?: RemoteJob;
}

export interface RemoteJob {
  readonly namespace: string;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly driverCwd: string;
  readonly driverNode: NodeId;
}

// ---------------------------------------------------------------- process -> daemon

export type ToDaemon =
  | readonly [typeof Kind.Hello, HelloInfo]
  /** Names a scheduling class of this owner; sent once before its first Demand. */
  | readonly [typeof Kind.DefineClass, classId: number, SchedulingSpec]
  /**
   * How many further leases of the class the owner wants now. Absolute, not a difference; `grantsSeen` counts the Lease messages of the class
   * that the owner has received, so that the daemon subtracts those still under way: outstanding = wanted - (granted - grantsSeen).
   * What a Spill or Decline names counts as so many grants. `hard`, of another node's daemon: what cannot be granted now waits there.
   */
  | readonly [typeof Kind.Demand, classId: number, wanted: number, grantsSeen: number, hard?: boolean]
  /** The owner no longer uses the lease. */
  | readonly [typeof Kind.ReturnLease, LeaseId]
  /** A worker's task under this lease waits in get/wait: its CPU (only CPU) may be used meanwhile. */
  | readonly [typeof Kind.Blocked, LeaseId]
  | readonly [typeof Kind.Unblocked, LeaseId]
  | readonly [typeof Kind.StorePressure]
  | readonly [typeof Kind.Events, readonly TaskEvent[]]
  /** A worker ends after what it runs now (maxCalls): no further lease on it. It exits by itself. */
  | readonly [typeof Kind.Retiring]
  | readonly [typeof Kind.ActorReady, ActorId, incarnation: number, error: WireValue | null, errorText: string]
  /** The actor ends by its own will (exitActor): not a crash, never restarted. */
  | readonly [typeof Kind.ActorExiting, ActorId, incarnation: number]
  /** Answer to TryExit: the worker still owns objects that others use. */
  | readonly [typeof Kind.StayAlive]
  | readonly [typeof Kind.Progress, unknown]
  /** Answer to FlushEvents, after the Events it asked for. */
  | readonly [typeof Kind.EventsFlushed, id: number]
  /** Bytes on other nodes, of objects this process owned: originals or copies. */
  | readonly [typeof Kind.FreeCopies, readonly Location[]]
  /** Answer to TellHeld: what is only there comes first, and may be all that fits. */
  | readonly [typeof Kind.Held, id: number, objects: readonly HeldObject[]]
  | readonly [typeof Kind.Request, id: number, method: string, params: unknown];

// ---------------------------------------------------------------- daemon -> process

export type FromDaemon =
  | readonly [typeof Kind.Welcome, WelcomeInfo]
  | readonly [typeof Kind.Refused, reason: string]
  | readonly [typeof Kind.Response, id: number, ok: boolean, value: unknown]
  | readonly [typeof Kind.Lease, classId: number, LeaseId, WorkerId, address: string, gpuIds: readonly number[], nodeId: NodeId]
  /** Please return the lease: now if nothing runs under it, else when what runs is done; push nothing new. */
  | readonly [typeof Kind.Recall, LeaseId]
  | readonly [typeof Kind.Warning, text: string]
  /** A worker process of this node ended. Sent to every process of the node. */
  | readonly [typeof Kind.WorkerDied, WorkerId, ProcessExit]
  /** To everybody who asked for this actor with `subscribeActor`, `createActor` or `getActor`. */
  | readonly [typeof Kind.ActorState, ActorView]
  | readonly [typeof Kind.Log, lines: readonly LogLine[]]
  /** Shared memory is short: run the garbage collector so that refs nobody uses are noticed. */
  | readonly [typeof Kind.Collect]
  /** To a worker: end. To a driver: the daemon ends, with the reason. */
  | readonly [typeof Kind.Exit, reason: string]
  | readonly [typeof Kind.StartActor, ActorSpec, incarnation: number, gpuIds: readonly number[]]
  /** To an idle worker beyond the pool's size: exit, or answer StayAlive. To one that retires: all its leases are back, exit when you can. */
  | readonly [typeof Kind.TryExit]
  /** Send the task events you hold (Events), then EventsFlushed with this id. */
  | readonly [typeof Kind.FlushEvents, id: number]
  /** Which objects of this process are on that node, and which only there? `leaving`: nodes that will not stay, either. */
  | readonly [typeof Kind.TellHeld, id: number, node: NodeKey, leaving: readonly NodeKey[]]
  /** A node has a copy of an object of this process, to be freed with it. */
  | readonly [typeof Kind.CopyMade, index: ObjectIndex, copy: Location]
  /** To drivers: what a process of their job sent as Progress. */
  | readonly [typeof Kind.Progress, unknown]
  /** To the owner of a stored object: another node has a copy of its bytes now. */
  | readonly [typeof Kind.CopyMade, ObjectIndex, Location, holder: NodeKey]
  /** Nothing of this class can ever run; its queued tasks fail with this. */
  | readonly [typeof Kind.Unschedulable, classId: number, kind: "unschedulable" | "runtime env", text: string]
  /** Ask that node's daemon for `count` of the wanted leases; `hard`: and wait there. They count as granted here. */
  | readonly [typeof Kind.Spill, classId: number, NodeId, count: number, hard: boolean]
  /** To an owner of another node: so many of the leases it wants cannot be had now. They count as granted here. */
  | readonly [typeof Kind.Decline, classId: number, count: number]
  /** A node of the cluster is gone, with all its processes. */
  | readonly [typeof Kind.NodeDied, NodeId, text: string];

export interface LogLine {
  readonly source: string;
  readonly pid: number;
  readonly stream: "stdout" | "stderr";
  readonly text: string;
}

// ---------------------------------------------------------------- process -> process

/** A reference inside a message: owner, index, owner's address. */
export type WireRef = readonly [owner: WorkerId, index: ObjectIndex, address: string];

/** An argument: a value, or a stored object `[location, ref]` wrapped so that it cannot be mistaken for a value. */
export type WireArg = WireValue | readonly [Location, WireRef];

/** How one return came out: inline value, or where it was stored. */
export type WireReturn = WireValue | readonly [Location];

/** Refs inside several values, by position; null when there are none at all. */
export type WireRefLists = readonly (readonly WireRef[] | null)[] | null;

/** What is the same for all calls of one remote function under one set of options; sent once per connection. */
export interface TaskDefinition {
  readonly functionKey: string;
  readonly name: string;
  /** Number of return objects; -1 = streaming. */
  readonly numReturns: number;
  readonly maxCalls: number;
  /** Max items produced but not consumed; -1 = no bound. */
  readonly generatorBackpressure: number;
  readonly retryExceptions: boolean | readonly string[];
  readonly method: string | null;
  readonly concurrencyGroup: string | null;
  readonly group: { readonly groupId: PlacementGroupId; readonly captureChildTasks: boolean } | null;
  readonly resources: Resources;
}

export type PeerMessage =
  | readonly [typeof Kind.Hello, { version: number; id: WorkerId; address: string }]
  | readonly [typeof Kind.DefineTask, definitionId: number, TaskDefinition]
  /** `lane` is the lease id, or -1 for an actor call (then the order of arrival is the order of start). */
  | readonly [
      typeof Kind.Push,
      lane: number,
      definitionId: number,
      task: ObjectIndex,
      attempt: number,
      args: readonly WireArg[],
      parent: string,
      /** GPUs of the lease; left out when it has none, as is usual. */
      gpuIds?: readonly number[],
    ]
  /** `durationMs` feeds the pipelining; `refs`: the refs inside each returned value (null: none at all); the worker holds them until ReplyAck. */
  | readonly [
      typeof Kind.Reply,
      task: ObjectIndex,
      attempt: number,
      durationMs: number,
      returns: readonly WireReturn[],
      refs: WireRefLists,
    ]
  /** `retry`: the user's error matches retryExceptions. */
  | readonly [
      typeof Kind.Failed,
      task: ObjectIndex,
      attempt: number,
      durationMs: number,
      error: Uint8Array,
      reason: "threw" | "cancelled" | "system",
      retry: boolean,
      items: number,
    ]
  | readonly [typeof Kind.HandBack, tasks: readonly ObjectIndex[]]
  | readonly [typeof Kind.RecallTasks, lane: number]
  | readonly [typeof Kind.CancelTask, task: ObjectIndex, attempt: number, recursive: boolean]
  | readonly [
      typeof Kind.StreamItem,
      task: ObjectIndex,
      attempt: number,
      item: number,
      value: WireReturn,
      refs: readonly WireRef[] | null,
    ]
  | readonly [typeof Kind.StreamConsumed, task: ObjectIndex, attempt: number, items: number, done: boolean]
  /** The caller has registered with the owners of the refs in a reply or item (`item` -1: the reply). */
  | readonly [typeof Kind.ReplyAck, task: ObjectIndex, attempt: number, item: number]
  /** `fetch` false: only say when it is ready. */
  | readonly [typeof Kind.GetObject, request: number, index: ObjectIndex, fetch: boolean]
  | readonly [typeof Kind.ObjectReply, request: number, state: "value" | "stored" | "error" | "ready", payload: WireReturn]
  | readonly [typeof Kind.BorrowAdd, index: ObjectIndex, ack: number]
  | readonly [typeof Kind.BorrowRemove, index: ObjectIndex]
  | readonly [typeof Kind.BorrowAck, ack: number, known: boolean]
  | readonly [typeof Kind.ObjectLost, index: ObjectIndex, name: string]
  | readonly [typeof Kind.FreeSegment, Location]
  | readonly [typeof Kind.CancelOwned, index: ObjectIndex, force: boolean, recursive: boolean]
  | readonly [typeof Kind.Request, id: number, method: string, params: unknown]
  | readonly [typeof Kind.Response, id: number, ok: boolean, value: unknown];

export type AnyMessage = readonly [number, ...unknown[]];
