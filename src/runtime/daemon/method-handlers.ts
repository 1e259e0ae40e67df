/** What the daemon does for each request. The types are in methods.ts; most answers are the head's. */
import { hostname } from "node:os";
import { isShoalError } from "../../base/errors.ts";
import type { NodeView, Resources } from "../../wire/messages.ts";
import type { Client } from "./client.ts";
import type { Daemon } from "./daemon.ts";
import { flushLogs } from "./flush-logs.ts";
import { MemoryReader, residentBytes } from "./memory-usage.ts";
import type { MethodHandlers, StatusView, WireError, WorkerView } from "./methods.ts";

export function createMethodHandlers(daemon: Daemon): MethodHandlers<Client> {
  const { head, nodeId } = daemon;
  const from = (caller: Client) => ({ nodeId, workerId: caller.id });
  return {
    createActor: (spec, caller) => head.createActor(spec, from(caller)),
    getActor: ({ name, namespace }, caller) => head.findActor(namespace, name, from(caller)),
    subscribeActor: ({ actorId, byName }, caller) => head.subscribeActor(actorId, byName ?? null, from(caller)),
    killActor({ actorId, noRestart }) {
      head.killActor(actorId, noRestart);
      return null;
    },
    actorOutOfScope({ actorId }) {
      head.actorOutOfScope(actorId);
      return null;
    },
    listActors: ({ namespace, all }) =>
      head
        .listActors()
        .filter((view) => (all === true || view.state !== "DEAD") && (namespace === undefined || view.namespace === namespace)),

    createPlacementGroup: (spec) => head.createGroup(spec),
    removePlacementGroup({ groupId }) {
      head.removeGroup(groupId);
      return null;
    },
    getPlacementGroup: (params) => ("groupId" in params ? head.groupById(params.groupId) : head.groupByName(params.name)),
    waitPlacementGroup: ({ groupId }) => head.whenGroupSettled(groupId),
    listPlacementGroups: () => head.listGroups(),

    nodes: () => [nodeView(daemon)],
    clusterResources: () => totalResources(daemon),
    availableResources: () => freeResources(daemon),
    status: () => status(daemon),

    killWorker({ workerId, reason }) {
      const worker = daemon.pool.get(workerId);
      worker?.kill(reason);
      return worker !== undefined;
    },

    kvPut: ({ namespace, key, value, overwrite }) => head.kvPut(namespace, key, value, overwrite ?? true),
    kvGet: ({ namespace, key }) => head.kvGet(namespace, key),
    kvDel: ({ namespace, key }) => head.kvDelete(namespace, key),
    kvKeys: ({ namespace, prefix }) => head.kvKeys(namespace, prefix ?? ""),

    putCode({ key, files }, caller) {
      head.code.put(key, files, caller.jobId);
      return null;
    },
    getCode: ({ key }) => head.code.get(key),
    fetchCode: ({ key }) => daemon.code.fetch(key).then(() => null),
    packDirectory: (wanted) => daemon.workingDirs.pack(wanted),
    readPack: ({ hash, offset, bytes }) => daemon.workingDirs.read(hash, offset, bytes),

    timeline: ({ jobId }) => daemon.taskEvents.of(jobId),
    listTasks: ({ jobId, limit }) => daemon.taskEvents.of(jobId).slice(-(limit ?? 10_000)),
    listWorkers: () => workers(daemon),
    listJobs: () => [...daemon.jobs.values()],
    pull: (request) => transferOf(daemon).pull(request),
    transferStats: () => transferOf(daemon).stats(),
    storeStats: () => storeOf(daemon).stats(),
    async memory() {
      const { usedBytes, totalBytes } = await new MemoryReader().read();
      return { usedBytes, totalBytes, store: await storeOf(daemon).stats(), workers: await workers(daemon) };
    },

    drainEvents: ({ jobId }) => daemon.eventDrain.drain(jobId).then(() => null),
    flushLogs: () => flushLogs(daemon).then(() => null),
    shutdown({ reason }) {
      setImmediate(() => daemon.requestShutdown(reason ?? "shutdown"));
      return null;
    },
  };
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

function totalResources(daemon: Daemon): Resources {
  const { store, scheduling } = daemon;
  return { ...scheduling.describe().total, object_store_memory: store?.bytesMax ?? daemon.config.objectStoreMemory };
}

function freeResources(daemon: Daemon): Resources {
  const bytesMax = daemon.store?.bytesMax ?? daemon.config.objectStoreMemory;
  const free: Record<string, number> = {};
  // A CPU lent by a task that waits can be owed for a moment; to the outside it is simply not there.
  for (const [name, amount] of Object.entries(daemon.scheduling.describe().available)) free[name] = Math.max(0, amount);
  return { ...free, object_store_memory: Math.max(0, bytesMax - (daemon.store?.bytesUsed ?? 0)) };
}

function nodeView(daemon: Daemon): NodeView {
  return {
    nodeId: daemon.nodeId,
    alive: true,
    address: daemon.socketPath,
    hostname: hostname(),
    isHead: true,
    resources: totalResources(daemon),
    available: freeResources(daemon),
    labels: daemon.config.labels,
    deathReason: null,
  };
}

function status(daemon: Daemon): StatusView {
  const actors: Record<string, number> = {};
  for (const { state } of daemon.head.listActors()) actors[state] = (actors[state] ?? 0) + 1;
  return {
    nodes: [nodeView(daemon)],
    total: totalResources(daemon),
    available: freeResources(daemon),
    pending: pendingOf(daemon),
    actors,
    workers: daemon.pool.size,
  };
}

function pendingOf(daemon: Daemon): StatusView["pending"] {
  return daemon.scheduling.describe().demands.map(({ label, resources, count }) => ({ label, resources, count }));
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

function transferOf(daemon: Daemon) {
  if (daemon.transfer === null) throw new Error("Cannot pull objects as this node is not connected to others");
  return daemon.transfer;
}

function storeOf(daemon: Daemon) {
  if (daemon.store === null) throw new Error("Cannot read object store as it is not ready yet");
  return daemon.store;
}
