/** What the daemon does for each request. The types are in methods.ts; most answers are the head's. */
import { hostname } from "node:os";
import { isShoalError } from "../../base/errors.ts";
import { type NodeId, nodeKeyOf } from "../../base/ids.ts";
import type { ActorView } from "../../wire/messages.ts";
import type { Client } from "./client.ts";
import type { ClusterSide } from "./cluster-side.ts";
import type { Daemon } from "./daemon.ts";
import { flushLogs } from "./flush-logs.ts";
import { type HeadCaller, type HeadMethodName, type HeadMethods, headMethodNames } from "./head-methods.ts";
import { MemoryReader, residentBytes } from "./memory-usage.ts";
import type { MethodHandlers, MethodParams, MethodResult, NodeMemoryView, WireError, WorkerView } from "./methods.ts";
import type { PullRequest, PullResult } from "./transfer/index.ts";

/** Milliseconds another node has to answer. */
const nodeRequestMs = 10_000;

export function createMethodHandlers(daemon: Daemon, headMethods: HeadMethods | null): MethodHandlers<Client> {
  const { nodeId } = daemon;
  const byHead = Object.fromEntries(
    headMethodNames.map((name) => [
      name,
      (params: unknown, caller: Client) => {
        const from: HeadCaller = { nodeId, workerId: caller.id, jobId: caller.jobId };
        if (headMethods !== null) return (headMethods[name] as (params: unknown, from: HeadCaller) => unknown)(params, from);
        const answer = (daemon.cluster as ClusterSide).askHead(name, params, from);
        return followsActor.has(name) ? answer.then((view) => following(daemon, caller, view as ActorView | null)) : answer;
      },
    ]),
  ) as unknown as Pick<MethodHandlers<Client>, HeadMethodName>;
  return {
    ...byHead,

    killWorker({ workerId, reason }) {
      const elsewhere = nodeKeyOf(workerId) === nodeKeyOf(nodeId) ? null : daemon.cluster?.nodeOf(nodeKeyOf(workerId));
      if (elsewhere != null && daemon.cluster !== null)
        return daemon.cluster.links.request(elsewhere, "killWorker", { workerId, reason }, nodeRequestMs);
      const worker = daemon.pool.get(workerId);
      worker?.kill(reason);
      return worker !== undefined;
    },

    fetchCode: ({ key }) => daemon.code.fetch(key).then(() => null),
    packDirectory: (wanted) => daemon.workingDirs.pack(wanted),
    readPack: ({ hash, offset, bytes }) => daemon.workingDirs.read(hash, offset, bytes),

    listWorkers: async (_params, caller) =>
      (await Promise.all([workers(daemon), ofOthers(daemon, "listWorkers", caller)])).flat(),
    pull: (request) => transferOf(daemon).pull(request),
    takeOver: (request) => takeOver(daemon, request),
    heldObjects: ({ owners, node, leaving }) => daemon.heldQuery.ask(owners, node, leaving),
    reached: () => null,
    transferStats: () => transferOf(daemon).stats(),
    storeStats: () => storeOf(daemon).stats(),
    memory: async (_params, caller) => (await Promise.all([memoryHere(daemon), ofOthers(daemon, "memory", caller)])).flat(),

    async drainEvents({ jobId }, caller) {
      await Promise.allSettled([daemon.eventDrain.drain(jobId), ofOthers(daemon, "drainEvents", caller, { jobId })]);
      return null;
    },
    listLogs: async ({ nodeId: of }, caller) => {
      if (of !== undefined && of !== nodeId) return askNode(daemon, of, "listLogs", {});
      const here = daemon.cluster?.config.driverOnly === true ? [] : daemon.logFiles.list();
      return (await Promise.all([here, of === undefined ? ofOthers(daemon, "listLogs", caller) : []])).flat();
    },
    readLog: (params) =>
      params.nodeId === nodeId
        ? daemon.logFiles.read(params.file, params.from, params.bytes)
        : askNode(daemon, params.nodeId, "readLog", params),
    flushLogs: () => flushLogs(daemon).then(() => null),
    shutdown({ reason }) {
      setImmediate(() => daemon.requestShutdown(reason ?? "shutdown"));
      return null;
    },
  };
}

/** Requests whose asker is told of the actor from then on. */
const followsActor: ReadonlySet<HeadMethodName> = new Set(["createActor", "getActor", "subscribeActor"]);

function following(daemon: Daemon, { id }: Client, view: ActorView | null): ActorView | null {
  if (view !== null && view.state !== "DEAD" && daemon.clients.has(id))
    daemon.subscriptions.add(view.actorId, { nodeId: daemon.nodeId, workerId: id });
  return view;
}

/** An error as it travels. Only what a receiver can use: no stacks of ours. */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof Error)) return { message: String(error) };
  if (!isShoalError(error)) return { message: error.message };
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(error))
    if (name !== "code" && name !== "retryable" && name !== "name") fields[name] = value;
  return { name: error.name, code: error.code, message: error.message, fields };
}

/** What that node's daemon answers. Rejects when there is no such node, or it does not answer in time. */
function askNode<M extends "listLogs" | "readLog">(
  { cluster }: Daemon,
  nodeId: NodeId,
  method: M,
  params: MethodParams<M>,
): Promise<MethodResult<M>> {
  if (cluster?.nodes.get(nodeId)?.alive !== true)
    throw new Error(`Cannot ask node ${nodeId} for '${method}' as there is none of that id alive`);
  return cluster.links.request(nodeId, method, params, nodeRequestMs);
}

/**
 * Answers of the other nodes that come in time, one after another. A process that asks means all nodes; a daemon that asks (no caller) means
 * this one.
 */
async function ofOthers<M extends "listWorkers" | "memory" | "drainEvents" | "listLogs">(
  { cluster }: Daemon,
  method: M,
  caller: Client | null,
  params: MethodParams<M> | Record<string, never> = {},
): Promise<ElementOf<MethodResult<M>>[]> {
  if (caller === null || cluster === null) return [];
  const asked = cluster.others().map((node) => cluster.links.request(node, method, params, nodeRequestMs));
  const answers = await Promise.allSettled(asked);
  return answers.flatMap((answer) => (answer.status === "fulfilled" ? (answer.value as ElementOf<MethodResult<M>>[]) : []));
}

type ElementOf<T> = T extends readonly (infer E)[] ? E : null;

async function memoryHere(daemon: Daemon): Promise<NodeMemoryView> {
  const { usedBytes, totalBytes } = await new MemoryReader().read();
  const [store, views] = await Promise.all([storeOf(daemon).stats(), workers(daemon)]);
  return { nodeId: daemon.nodeId, hostname: hostname(), usedBytes, totalBytes, store, workers: views };
}

async function workers(daemon: Daemon): Promise<WorkerView[]> {
  const leased = new Set([...daemon.leases.all()].map((entry) => entry.workerId));
  return Promise.all(
    [...daemon.pool.all()].map(async (worker) => {
      const actorId = daemon.clients.get(worker.workerId)?.actorId ?? null;
      const state = worker.isEnding
        ? "ending"
        : !worker.introduced
          ? "starting"
          : actorId !== null
            ? "actor"
            : leased.has(worker.workerId)
              ? "leased"
              : "idle";
      return {
        workerId: worker.workerId,
        nodeId: daemon.nodeId,
        pid: worker.pid,
        jobId: worker.jobId,
        state,
        actorId,
        startedMs: worker.startedMs,
        residentBytes: await residentBytes(worker.pid),
      };
    }),
  );
}

/**
 * A copy of an object whose other bytes are about to go. The owner's node learns of the copy and of that node's end over different connections, so
 * the answer waits until it has heard of the copy.
 */
async function takeOver(daemon: Daemon, request: PullRequest): Promise<PullResult> {
  const result = await transferOf(daemon).pull(request);
  const ownerNode = daemon.cluster?.nodeOf(nodeKeyOf(request.owner)) ?? null;
  if ("copy" in result && ownerNode !== null && ownerNode !== daemon.nodeId)
    await daemon.cluster?.links.request(ownerNode, "reached", {}, nodeRequestMs);
  return result;
}

function transferOf(daemon: Daemon) {
  if (daemon.transfer === null) throw new Error("Cannot pull objects as this node is not connected to others");
  return daemon.transfer;
}

function storeOf(daemon: Daemon) {
  if (daemon.store === null) throw new Error("Cannot read object store as it is not ready yet");
  return daemon.store;
}
