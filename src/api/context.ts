/** What the cluster is, and where the code at hand runs in it. */
import { writeFile } from "node:fs/promises";
import { currentTask } from "../runtime/owner/task-context.ts";
import type { NodeView, TaskEvent } from "../wire/messages.ts";
import { runtimeNow } from "./init.ts";
import { traceEvent } from "./trace-event.ts";

/** A node of the cluster. */
export type NodeInfo = NodeView;

/** All nodes that offer something, dead ones included. A machine from which only a program takes part is none. */
export function nodes(): Promise<NodeInfo[]> {
  return runtimeNow().daemon.request("nodes", {});
}

/** Resources of all living nodes, by name: CPU, GPU, memory and object_store_memory in bytes, custom ones. */
export function clusterResources(): Promise<Record<string, number>> {
  return runtimeNow().daemon.request("clusterResources", {});
}

/** As `clusterResources`, without what is in use. A resource that is used up is missing. */
export function availableResources(): Promise<Record<string, number>> {
  return runtimeNow().daemon.request("availableResources", {});
}

/** Where the code at hand runs. */
export interface RuntimeContext {
  readonly jobId: string;
  readonly nodeId: string;
  readonly workerId: string;
  readonly taskId?: string;
  readonly taskName?: string;
  readonly actorId?: string;
  readonly actorName?: string;
  readonly namespace: string;
  /** What the task or actor was given, by resource. Empty in a driver. */
  readonly assignedResources: Readonly<Record<string, number>>;
  /** GPUs this task or actor may use. */
  readonly gpuIds: readonly number[];
  /** This actor has been started before. */
  readonly wasRestarted: boolean;
  /** How often this task, or this actor's start, was tried before. */
  readonly attempt: number;
  /** Fires when the task is cancelled. */
  readonly signal: AbortSignal;
}

const neverAborted = new AbortController().signal;

/**
 * Ids, resources and the cancel signal of the driver, task or actor this is called in.
 *
 * @example
 * const { signal } = shoal.getRuntimeContext();
 * await fetch(url, { signal });
 */
export function getRuntimeContext(): RuntimeContext {
  const runtime = runtimeNow();
  const task = currentTask();
  const actor = runtime.actorInfo();
  return {
    jobId: runtime.jobId,
    nodeId: runtime.welcome?.nodeId ?? "",
    workerId: runtime.selfId,
    ...(task === null ? {} : { taskId: task.taskId, taskName: task.definition.name }),
    ...(actor === null ? {} : { actorId: actor.actorId, ...(actor.name === null ? {} : { actorName: actor.name }) }),
    namespace: actor?.namespace ?? runtime.namespace,
    assignedResources: actor?.resources ?? task?.definition.resources ?? {},
    gpuIds: actor?.gpuIds ?? task?.gpuIds ?? [],
    wasRestarted: (actor?.incarnation ?? 0) > 0,
    attempt: task?.attempt ?? 0,
    signal: task?.signal ?? neverAborted,
  };
}

/** An event of a Chrome trace: `ts` and `dur` in microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  readonly ph: "X";
  readonly ts: number;
  readonly dur: number;
  readonly pid: string;
  readonly tid: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/**
 * What ran where and when, as a Chrome trace that opens in Perfetto; written to `file` as JSON if one is given. Workers that run more than a thousand
 * tasks a second report a thousand of them.
 */
export async function timeline(file?: string): Promise<TraceEvent[]> {
  const runtime = runtimeNow();
  await runtime.daemon.request("drainEvents", { jobId: runtime.jobId });
  const events = (await runtime.daemon.request("timeline", { jobId: runtime.jobId })) as TaskEvent[];
  const trace = events.map(traceEvent);
  if (file !== undefined) await writeFile(file, JSON.stringify(trace));
  return trace;
}
