/** What the daemon does for each request. The types are in methods.ts; most answers are the head's. */
import { isShoalError } from "../../base/errors.ts";
import { nodeKeyOf } from "../../base/ids.ts";
import type { Client } from "./client.ts";
import type { ClusterSide } from "./cluster-side.ts";
import type { Daemon } from "./daemon.ts";
import { flushLogs } from "./flush-logs.ts";
import { type HeadCaller, type HeadMethodName, type HeadMethods, headMethodNames } from "./head-methods.ts";
import { MemoryReader, residentBytes } from "./memory-usage.ts";
import type { MethodHandlers, WireError, WorkerView } from "./methods.ts";

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
        return (daemon.cluster as ClusterSide).askHead(name, params, from);
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

    listWorkers: () => workers(daemon),
    pull: (request) => transferOf(daemon).pull(request),
    transferStats: () => transferOf(daemon).stats(),
    storeStats: () => storeOf(daemon).stats(),
    async memory() {
      const { usedBytes, totalBytes } = await new MemoryReader().read();
      return { usedBytes, totalBytes, store: await storeOf(daemon).stats(), workers: await workers(daemon) };
    },

    async drainEvents({ jobId }, caller) {
      const here = daemon.eventDrain.drain(jobId);
      // Asked by a process: everybody's; by another daemon: this node's.
      const others = caller === null || daemon.cluster === null ? [] : daemon.cluster.others();
      await Promise.allSettled([
        here,
        ...others.map((node) => daemon.cluster?.links.request(node, "drainEvents", { jobId }, nodeRequestMs)),
      ]);
      return null;
    },
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
