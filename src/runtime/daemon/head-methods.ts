/**
 * Requests that the head answers, whoever asks and from wherever. Every daemon offers them to its processes: the head's daemon calls these, any other
 * passes them on.
 */
import type { JobId, NodeId, WorkerId } from "../../base/ids.ts";
import type { Resources } from "../../wire/messages.ts";
import type { Head } from "../head/head.ts";
import type { Daemon } from "./daemon.ts";
import type { MethodParams, MethodResult, StatusView } from "./methods.ts";

/** Who asks: a process, and the node it is on. */
export interface HeadCaller {
  readonly nodeId: NodeId;
  readonly workerId: WorkerId;
  readonly jobId: JobId;
}

export const headMethodNames = [
  "createActor",
  "getActor",
  "subscribeActor",
  "killActor",
  "actorOutOfScope",
  "listActors",
  "createPlacementGroup",
  "removePlacementGroup",
  "getPlacementGroup",
  "waitPlacementGroup",
  "listPlacementGroups",
  "nodes",
  "clusterResources",
  "availableResources",
  "status",
  "kvPut",
  "kvGet",
  "kvDel",
  "kvKeys",
  "timeline",
  "listTasks",
  "listJobs",
  "drainNode",
  "putCode",
  "getCode",
] as const;

export type HeadMethodName = (typeof headMethodNames)[number];
export type HeadMethods = {
  readonly [M in HeadMethodName]: (params: MethodParams<M>, caller: HeadCaller) => MethodResult<M> | Promise<MethodResult<M>>;
};

export function createHeadMethods(head: Head, daemon: Daemon): HeadMethods {
  /** The answer, when what it says survives the end of this process. */
  const kept = <T>(answer: T): T | Promise<T> => head.memory.store.sync().then(() => answer);
  return {
    createActor(spec, caller) {
      const view = head.createActor(spec, caller);
      return spec.detached ? kept(view) : view;
    },
    getActor: ({ name, namespace }, caller) => head.findActor(namespace, name, caller),
    subscribeActor: ({ actorId, byName }, caller) => head.subscribeActor(actorId, byName ?? null, caller),
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

    createPlacementGroup(spec, { workerId }) {
      const view = head.createGroup(spec, workerId);
      return spec.detached ? kept(view) : view;
    },
    removePlacementGroup({ groupId }) {
      head.removeGroup(groupId);
      return null;
    },
    getPlacementGroup: (params) => ("groupId" in params ? head.groupById(params.groupId) : head.groupByName(params.name)),
    waitPlacementGroup: ({ groupId }) => head.whenGroupSettled(groupId),
    listPlacementGroups: () => head.listGroups(),

    nodes: () => nodeViews(head, daemon),
    clusterResources: () => sum(nodeViews(head, daemon).flatMap((node) => (node.alive ? [node.resources] : []))),
    availableResources: () => sum(nodeViews(head, daemon).flatMap((node) => (node.alive ? [node.available] : []))),
    status: () => status(head, daemon),

    kvPut: ({ namespace, key, value, overwrite }) => kept(head.memory.putKey(namespace, key, value, overwrite ?? true)),
    kvGet: ({ namespace, key }) => head.memory.getKey(namespace, key),
    kvDel: ({ namespace, key }) => kept(head.memory.deleteKey(namespace, key)),
    kvKeys: ({ namespace, prefix }) => head.memory.keys(namespace, prefix ?? ""),

    timeline: ({ jobId }) => head.taskEvents.of(jobId),
    listTasks: ({ jobId, limit }) => head.taskEvents.of(jobId).slice(-(limit ?? 10_000)),
    listJobs: () => head.jobs.list(),
    putCode({ key, files }, caller) {
      head.code.put(key, files, caller.jobId);
      return null;
    },
    getCode: ({ key }) => head.code.get(key),
    drainNode({ nodeId, reason }) {
      head.drainNode(nodeId, reason);
      return null;
    },
  };
}

/** The head's own node as it is now, the others as they last said. Nodes that came with a driver offer nothing and are nobody's business. */
function nodeViews(head: Head, daemon: Daemon) {
  const offering = head.members.views().filter(({ driverOnly }) => !driverOnly);
  return offering.map((view) =>
    view.nodeId === daemon.nodeId
      ? {
          ...view,
          address: daemon.cluster === null ? daemon.socketPath : view.address,
          resources: daemon.totalResources(),
          available: daemon.freeResources(),
        }
      : view,
  );
}

function sum(all: readonly Resources[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const resources of all) for (const [name, amount] of Object.entries(resources)) total[name] = (total[name] ?? 0) + amount;
  return total;
}

function status(head: Head, daemon: Daemon): StatusView {
  const actors: Record<string, number> = {};
  for (const { state } of head.listActors()) actors[state] = (actors[state] ?? 0) + 1;
  const nodes = nodeViews(head, daemon);
  const living = nodes.filter((node) => node.alive);
  const elsewhere = [...head.members.records()].filter((record) => record.info.nodeId !== daemon.nodeId);
  return {
    nodes,
    total: sum(living.map((node) => node.resources)),
    available: sum(living.map((node) => node.available)),
    pending: [...daemon.pendingDemands(), ...elsewhere.flatMap((record) => record.pending)],
    actors,
    workers: daemon.pool.size,
  };
}
