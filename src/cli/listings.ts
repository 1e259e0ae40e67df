/** `status`, `list`, `get` and `summary`: what the cluster says of itself, as text or JSON. */
import type { JobView, WorkerView } from "../runtime/daemon/methods.ts";
import type { ActorView, GroupView, NodeView, TaskEvent } from "../wire/messages.ts";
import { type ClusterClient, type ClusterFlags, withCluster } from "./cluster-client.ts";
import { Failure, UsageError } from "./failure.ts";
import { bytesText, type Cell, isBytes, resourcesText, round, say, sayJson, table, timeText } from "./output.ts";

export interface ListFlags extends ClusterFlags {
  /** `key=value` or `key!=value`. */
  readonly filter?: readonly string[];
  readonly limit?: string;
}

type Row = Readonly<Record<string, unknown>>;

interface Kind {
  rows(cluster: ClusterClient): Promise<readonly Row[]>;
  /** Field that `get` looks for. */
  readonly id: string;
  readonly columns: readonly (readonly [title: string, cell: (row: any) => Cell])[];
}

const kinds: Readonly<Record<string, Kind>> = {
  nodes: {
    id: "nodeId",
    rows: async (cluster) => (await cluster.request("nodes", {})).map((node: NodeView) => ({ ...node, state: stateOf(node) })),
    columns: [
      ["NODE", (node: NodeView) => node.nodeId],
      ["STATE", (node: NodeView) => stateOf(node)],
      ["ADDRESS", (node: NodeView) => node.address],
      ["HOST", (node: NodeView) => node.hostname],
      ["HEAD", (node: NodeView) => (node.isHead ? "yes" : "no")],
      ["RESOURCES", (node: NodeView) => resourcesText(node.resources)],
    ],
  },
  actors: {
    id: "actorId",
    rows: async (cluster) => (await cluster.request("listActors", { all: true })).map(actorRow),
    columns: [
      ["ACTOR", (actor: ActorView) => actor.actorId],
      ["CLASS", (actor: ActorView) => actor.className],
      ["STATE", (actor: ActorView) => actor.state],
      ["NAME", (actor: ActorView) => actor.name],
      ["NAMESPACE", (actor: ActorView) => actor.namespace],
      ["NODE", (actor: ActorView) => actor.nodeId],
      ["PID", (actor: ActorView) => actor.pid],
    ],
  },
  tasks: {
    id: "taskId",
    rows: async (cluster) => lastOfEach(await taskEvents(cluster)) as unknown as Row[],
    columns: [
      ["TASK", (task: TaskEvent) => task.taskId],
      ["NAME", (task: TaskEvent) => task.name],
      ["KIND", (task: TaskEvent) => task.kind],
      ["STATE", (task: TaskEvent) => task.state],
      ["ATTEMPT", (task: TaskEvent) => task.attempt],
      ["MS", (task: TaskEvent) => Math.round(task.endMs - task.startMs)],
      ["WORKER", (task: TaskEvent) => task.workerId],
      ["PID", (task: TaskEvent) => task.pid],
      ["ERROR", (task: TaskEvent) => task.error?.split("\n")[0]],
    ],
  },
  workers: {
    id: "workerId",
    rows: async (cluster) => (await cluster.request("listWorkers", {})) as unknown as Row[],
    columns: [
      ["WORKER", (worker: WorkerView) => worker.workerId],
      ["NODE", (worker: WorkerView) => worker.nodeId],
      ["PID", (worker: WorkerView) => worker.pid],
      ["STATE", (worker: WorkerView) => worker.state],
      ["JOB", (worker: WorkerView) => worker.jobId],
      ["ACTOR", (worker: WorkerView) => worker.actorId],
      ["RESIDENT", (worker: WorkerView) => (worker.residentBytes === null ? null : bytesText(worker.residentBytes))],
    ],
  },
  jobs: {
    id: "jobId",
    rows: async (cluster) => (await cluster.request("listJobs", {})) as unknown as Row[],
    columns: [
      ["JOB", (job: JobView) => job.jobId],
      ["STATE", (job: JobView) => job.state],
      ["NAMESPACE", (job: JobView) => job.namespace],
      ["DRIVER", (job: JobView) => job.driverPid],
      ["STARTED", (job: JobView) => timeText(job.startMs)],
      ["ENDED", (job: JobView) => timeText(job.endMs)],
    ],
  },
  "placement-groups": {
    id: "groupId",
    rows: async (cluster) => (await cluster.request("listPlacementGroups", {})) as unknown as Row[],
    columns: [
      ["GROUP", (group: GroupView) => group.groupId],
      ["NAME", (group: GroupView) => group.name],
      ["STATE", (group: GroupView) => group.state],
      ["STRATEGY", (group: GroupView) => group.strategy],
      ["BUNDLES", (group: GroupView) => group.bundles.map((bundle) => `{${resourcesText(bundle)}}`).join(" ")],
    ],
  },
};

const stateOf = (node: NodeView): string => (node.alive ? "ALIVE" : "DEAD");

/** Without what only handles can read. */
function actorRow({ deathCause: _cause, handleInfo: _info, ...rest }: ActorView & { handleInfo?: unknown }): Row {
  return rest;
}

export const kindNames = Object.keys(kinds);

export async function list(kind: string, flags: ListFlags): Promise<number> {
  const { rows, columns } = kindOf(kind);
  return withCluster(flags, async (cluster) => {
    const limit = Number(flags.limit ?? 100);
    if (!Number.isInteger(limit) || limit < 1)
      throw new UsageError(`Cannot use '${flags.limit}' as --limit: expected a whole number of at least 1`);
    const known = await rows(cluster);
    const all = known.filter(filterOf(flags.filter ?? [], fieldsOf(known)));
    const shown = all.slice(-limit);
    if (flags.json) sayJson(shown);
    else {
      say(
        table(
          columns.map(([title]) => title),
          shown.map((row) => columns.map(([, cell]) => cell(row))),
        ),
      );
      if (shown.length < all.length) say(`${all.length - shown.length} more; --limit shows them`);
    }
    return 0;
  });
}

export async function get(kind: string, id: string, flags: ClusterFlags): Promise<number> {
  const { rows, id: field } = kindOf(kind);
  return withCluster(flags, async (cluster) => {
    const found = (await rows(cluster)).filter((row) => String(row[field]).startsWith(id));
    if (found.length === 0) throw new Failure(`Cannot find one with the id ${id}: list ${kind} shows those there are`);
    if (found.length > 1) throw new Failure(`Cannot tell which of ${found.length} ${kind} is meant by '${id}'`);
    if (flags.json) sayJson(found[0]);
    else
      for (const [name, value] of Object.entries(found[0]))
        say(`${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
    return 0;
  });
}

/** Singular and plural, as Ray takes them. */
function kindOf(name: string): Kind {
  const kind = kinds[name] ?? kinds[`${name}s`];
  if (kind !== undefined) return kind;
  if (/^objects?$/.test(name))
    throw new Failure(
      "Cannot list objects one by one: only the processes that own them know them. Use `summary objects` or `memory`",
    );
  throw new UsageError(`Cannot list '${name}': expected ${kindNames.join(", ")}`);
}

/** Fields that some row has; null when there is none that could say. */
function fieldsOf(rows: readonly Row[]): ReadonlySet<string> | null {
  return rows.length === 0 ? null : new Set(rows.flatMap((row) => Object.keys(row)));
}

function filterOf(filters: readonly string[], fields: ReadonlySet<string> | null): (row: Row) => boolean {
  const tests = filters.map((text) => {
    const parts = /^([\w-]+)(!?=)(.*)$/.exec(text);
    if (parts === null) throw new UsageError(`Cannot use '${text}' as --filter: expected key=value or key!=value`);
    const [, key, operator, value] = parts;
    if (fields?.has(key) === false)
      throw new UsageError(`Cannot use '${text}' as --filter as there is no field '${key}': expected ${[...fields].join(", ")}`);
    return (row: Row) => (String(row[key]).toLowerCase() === value.toLowerCase()) === (operator === "=");
  });
  return (row) => tests.every((test) => test(row));
}

export async function taskEvents(cluster: ClusterClient): Promise<TaskEvent[]> {
  await cluster.request("drainEvents", {});
  return cluster.request("listTasks", {});
}

/** A task's last step stands for it. */
function lastOfEach(events: readonly TaskEvent[]): TaskEvent[] {
  return [...new Map(events.filter((event) => event.kind !== "user").map((event) => [event.taskId, event])).values()];
}

// -------------------------------------------------------------- status

export const status = (flags: ClusterFlags): Promise<number> =>
  withCluster(flags, async (cluster) => {
    const view = await cluster.request("status", {});
    if (flags.json) {
      const { address, clusterId, dashboardUrl } = cluster.welcome;
      sayJson({ address, clusterId, dashboardUrl, ...view });
      return 0;
    }
    const living = view.nodes.filter((node: NodeView) => node.alive);
    say(
      `Cluster at ${cluster.welcome.address}: ${living.length} node${living.length === 1 ? "" : "s"}, ${actorsText(view.actors)}`,
    );
    say("");
    say("Nodes");
    for (const node of view.nodes) say(`  ${node.nodeId}  ${nodeText(node)}`);
    say("");
    say("Resources in use / there are");
    for (const [name, total] of Object.entries(view.total).filter(([each]) => !each.startsWith("node:"))) {
      const used = (total as number) - (view.available[name] ?? 0);
      const text = isBytes(name) ? bytesText : (amount: number) => String(round(amount));
      say(`  ${text(used)} / ${text(total as number)} ${name}`);
    }
    say("");
    say("Asked for and not there yet");
    if (view.pending.length === 0) say("  nothing");
    for (const { label, resources, count } of view.pending) say(`  ${count} x {${resourcesText(resources)}} for ${label}`);
    return 0;
  });

const nodeText = (node: NodeView): string =>
  node.alive
    ? `${node.address}  ${node.hostname}${node.isHead ? "  (head)" : ""}`
    : `dead: ${node.deathReason ?? "no reason known"}`;

function actorsText(actors: Readonly<Record<string, number>>): string {
  const counts = Object.entries(actors).filter(([state]) => state !== "DEAD");
  return counts.length === 0 ? "no actors" : `actors: ${counts.map(([state, count]) => `${count} ${state}`).join(", ")}`;
}

// -------------------------------------------------------------- summary

export const summary = (kind: string, flags: ClusterFlags): Promise<number> =>
  withCluster(flags, async (cluster) => {
    if (/^objects?$/.test(kind)) return summaryOfObjects(cluster, flags);
    const isActors = /^actors?$/.test(kind);
    if (!isActors && !/^tasks?$/.test(kind))
      throw new UsageError(`Cannot summarize '${kind}': expected tasks, actors or objects`);
    const rows = await kindOf(kind).rows(cluster);
    const counts = new Map<string, { name: string; state: string; count: number }>();
    for (const row of rows) {
      const name = String(isActors ? row.className : row.name);
      const key = `${name}\0${row.state}`;
      const entry = counts.get(key) ?? { name, state: String(row.state), count: 0 };
      entry.count++;
      counts.set(key, entry);
    }
    const sums = [...counts.values()].sort((a, b) => b.count - a.count);
    if (flags.json) sayJson(sums);
    else
      say(
        table(
          [isActors ? "CLASS" : "NAME", "STATE", "COUNT"],
          sums.map(({ name, state, count }) => [name, state, count]),
        ),
      );
    return 0;
  });

async function summaryOfObjects(cluster: ClusterClient, flags: ClusterFlags): Promise<number> {
  const stores = (await cluster.request("memory", {})).map(({ nodeId, hostname, store }) => ({ nodeId, hostname, ...store }));
  if (flags.json) sayJson(stores);
  else
    for (const store of stores) {
      say(`Node ${store.nodeId} on ${store.hostname}`);
      for (const line of storeLines(store)) say(`  ${line}`);
    }
  return 0;
}

export function storeLines(store: {
  bytesMax: number;
  bytesUsed: number;
  objects: number;
  spilledObjects: number;
  diskBytes: number;
  bytesSpilled: number;
}): string[] {
  return [
    `Shared memory: ${bytesText(store.bytesUsed)} of ${bytesText(store.bytesMax)} in ${store.objects} segments`,
    `Disk: ${bytesText(store.diskBytes)} in ${store.spilledObjects} objects; ${bytesText(store.bytesSpilled)} moved there in all`,
  ];
}
