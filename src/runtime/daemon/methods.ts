/**
 * The requests a node daemon answers, by name, with the types of their parameters and results. Both sides use this one interface, so
 * that a call and its handler cannot drift apart. A refusal travels as `WireError`.
 */
import type { ActorId, JobId, NodeId, NodeKey, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { CodeFiles } from "../../functions/index.ts";
import type { StoreStats } from "../../objects/index.ts";
import type { ActorSpec, ActorView, GroupStrategy, GroupView, NodeView, Resources, TaskEvent } from "../../wire/messages.ts";
import type { HeldOf } from "./held-query.ts";
import type { PullRequest, PullResult, TransferStats } from "./transfer/index.ts";
import type { PackedDirectory, WantedDirectory } from "./working-dirs.ts";

/** How an error travels in a Response: the class's name (when it is a public one), its code, message and fields. */
export interface WireError {
  readonly name?: string;
  readonly code?: string;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface WorkerView {
  readonly workerId: WorkerId;
  readonly nodeId: NodeId;
  readonly pid: number;
  readonly jobId: JobId;
  /** starting: not connected yet · idle · leased · actor · ending. */
  readonly state: "starting" | "idle" | "leased" | "actor" | "ending";
  readonly actorId: ActorId | null;
  readonly startedMs: number;
  /** Resident bytes; null where the system does not tell. */
  readonly residentBytes: number | null;
}

export interface JobView {
  readonly jobId: JobId;
  readonly namespace: string;
  readonly driverPid: number | null;
  readonly state: "RUNNING" | "ENDED";
  readonly startMs: number;
  readonly endMs: number | null;
}

export interface NodeMemoryView {
  readonly nodeId: NodeId;
  readonly hostname: string;
  /** Memory of the machine or of the control group, whichever is smaller. */
  readonly usedBytes: number;
  readonly totalBytes: number;
  readonly store: StoreStats;
  readonly workers: readonly WorkerView[];
}

/** A log file of a node. */
export interface LogFileView {
  readonly nodeId: NodeId;
  /** Its name in the node's `logs` directory. */
  readonly file: string;
  readonly bytes: number;
}

export interface LogPart {
  readonly bytes: Uint8Array;
  /** Of the whole file, now. */
  readonly size: number;
}

export interface StatusView {
  readonly nodes: readonly NodeView[];
  readonly total: Resources;
  readonly available: Resources;
  /** What is asked for and not granted: resources and how many times. */
  readonly pending: readonly { readonly label: string; readonly resources: Resources; readonly count: number }[];
  readonly actors: Readonly<Record<string, number>>;
  readonly workers: number;
}

export interface DaemonMethods {
  /** Registers and places an actor. With `getIfExists` the view may be of another actor. Refused: ACTOR_ALREADY_EXISTS. Subscribes the caller. */
  createActor(params: ActorSpec): ActorView;
  /** The living actor of that name, or null. Subscribes the caller. */
  getActor(params: { name: string; namespace: string }): ActorView | null;
  /**
   * The actor's view now, and ActorState messages from now on. One that is unknown may be about to be created and is waited for; null when nothing comes.
   * `byName`: the handle stands for whoever has the name.
   */
  subscribeActor(params: { actorId: ActorId; byName?: { name: string; namespace: string } }): ActorView | null;
  killActor(params: { actorId: ActorId; noRestart: boolean }): null;
  /** Sent by the owner when no handle is left and no call of its own waits in a queue. */
  actorOutOfScope(params: { actorId: ActorId }): null;
  listActors(params: { namespace?: string; all?: boolean }): ActorView[];

  createPlacementGroup(params: {
    groupId: PlacementGroupId;
    bundles: readonly Resources[];
    strategy: GroupStrategy;
    name: string | null;
    detached: boolean;
    jobId: JobId;
  }): GroupView;
  removePlacementGroup(params: { groupId: PlacementGroupId }): null;
  getPlacementGroup(params: { name: string } | { groupId: PlacementGroupId }): GroupView | null;
  /** Answers when the group is CREATED or REMOVED. */
  waitPlacementGroup(params: { groupId: PlacementGroupId }): GroupView;
  listPlacementGroups(params: Record<string, never>): GroupView[];

  nodes(params: Record<string, never>): NodeView[];
  clusterResources(params: Record<string, never>): Resources;
  availableResources(params: Record<string, never>): Resources;
  status(params: Record<string, never>): StatusView;

  /** Gives the node nothing new and asks it to leave when it is through with what it has. Refused when there is no such node. */
  drainNode(params: { nodeId: NodeId; reason: string }): null;

  /** Ends a worker at once (cancel by force). False when it is not there any more. */
  killWorker(params: { workerId: WorkerId; reason: string }): boolean;

  kvPut(params: { namespace: string; key: string; value: unknown; overwrite?: boolean }): boolean;
  kvGet(params: { namespace: string; key: string }): unknown;
  kvDel(params: { namespace: string; key: string }): boolean;
  kvKeys(params: { namespace: string; prefix?: string }): string[];

  /** Code for the other nodes: kept by the head. Refused when there is no room. */
  putCode(params: { key: string; files: CodeFiles }): null;
  /** From the head; null when it is unknown, and was not put within some seconds. */
  getCode(params: { key: string }): CodeFiles | null;
  /** Answers when the code is in this node's `code/` directory. */
  fetchCode(params: { key: string }): null;

  /** Packs a directory of this node for others; asked by their daemons. Refused with a message for the user. */
  packDirectory(params: WantedDirectory): PackedDirectory;
  readPack(params: { hash: string; offset: number; bytes: number }): Uint8Array;

  /** Task events of the job (all jobs without), oldest first. */
  timeline(params: { jobId?: JobId }): TaskEvent[];
  listTasks(params: { jobId?: JobId; limit?: number }): TaskEvent[];
  /** Of all nodes, for a process that asks; those that do not answer in time are left out. */
  listWorkers(params: Record<string, never>): WorkerView[];
  listJobs(params: Record<string, never>): JobView[];
  /** Brings an object of another node here; answers when its bytes are readable at `copy`, or say that nobody has them. */
  pull(params: PullRequest): PullResult;
  /** As `pull`, for a node that leaves: answers when the owner's node knows of the copy, too. */
  takeOver(params: PullRequest): PullResult;
  /** What processes of this node have stored on `node`, which leaves, as `leaving` do. */
  heldObjects(params: { owners: readonly WorkerId[]; node: NodeKey; leaving: readonly NodeKey[] }): HeldOf[];
  /** Answers at once: what the asker said before has arrived. */
  reached(params: Record<string, never>): null;
  /** Counters of the objects this node has brought here and sent to others since it started. */
  transferStats(params: Record<string, never>): TransferStats;
  storeStats(params: Record<string, never>): StoreStats;
  /** Of all nodes, for a process that asks, the one asked first; those that do not answer in time are left out. */
  memory(params: Record<string, never>): NodeMemoryView[];

  /** Asks every process of the job to send its task events, and answers when they are here (or after a second). */
  drainEvents(params: { jobId?: JobId }): null;
  /** Answers when everything workers had printed before the call has been sent to the drivers and written to the files. */
  flushLogs(params: Record<string, never>): null;
  /** Log files of a node, or of all for a process that asks; those that do not answer in time are left out, and so are nodes that came with a driver. */
  listLogs(params: { nodeId?: NodeId }): LogFileView[];
  /** At most `bytes` of a node's log file from the byte `from` on, never more than 1 MiB. Refused when there is no such node or file. */
  readLog(params: { nodeId: NodeId; file: string; from: number; bytes: number }): LogPart;
  /** Ends the session: answered at once, then everything is cleaned up, then the connection closes. */
  shutdown(params: { reason?: string }): null;
}

export type MethodName = keyof DaemonMethods;
export type MethodParams<M extends MethodName> = Parameters<DaemonMethods[M]>[0];
export type MethodResult<M extends MethodName> = ReturnType<DaemonMethods[M]>;

/** The daemon's side: a result now or later. `caller` is the process that asks. */
export type MethodHandlers<Caller> = {
  readonly [M in MethodName]: (params: MethodParams<M>, caller: Caller) => MethodResult<M> | Promise<MethodResult<M>>;
};
