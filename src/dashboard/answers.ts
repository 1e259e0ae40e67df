/** What each address below /api/ answers. All are bounded: lists come in pages, texts in parts. */
import type { NodeId } from "../base/ids.ts";
import type { JobView, NodeMemoryView, WorkerView } from "../runtime/daemon/methods.ts";
import type { ActorView, TaskEvent } from "../wire/messages.ts";
import { type Ask, Shared } from "./source.ts";

/** Rows of a page when the asker does not say, and at most. */
const pageRows = 100;
const pageRowsMax = 1_000;
/** Task events looked at for the listing and the summary: the newest. The timeline has all that the head keeps. */
const taskEventsRead = 20_000;
/** Rows of a summary, and of what waits for resources. */
const summaryRowsMax = 200;
/** Bytes of a log file in one answer. */
const logBytesMax = 256 * 1024;
/** Characters of an error's text in a list. */
const errorTextMax = 2_000;

export interface Page<Row> {
  readonly rows: readonly Row[];
  /** How many there are in all. */
  readonly total: number;
  readonly offset: number;
}

/** Something is wrong with what was asked for. Answered with 400 and the message. */
export class BadQuestion extends Error {}

export type Query = (name: string) => string | undefined;

export interface Identity {
  readonly clusterId: string;
  readonly address: string;
  readonly startedMs: number;
}

export type Answers = Readonly<Record<string, (query: Query) => Promise<unknown>>>;

export function createAnswers(ask: Ask, identity: () => Identity): Answers {
  const shared = new Shared();
  const tasks = () =>
    // Workers report about once a second by themselves: nobody need be asked, however often pages are drawn.
    shared.get("tasks", async () => lastOfEach(await ask("listTasks", { limit: taskEventsRead })));
  const actors = () => shared.get("actors", async () => (await ask("listActors", { all: true })).map(actorRow).reverse());
  const memory = () => shared.get("memory", () => ask("memory", {}));
  const listed =
    <Row>(rows: () => Promise<readonly Row[]>) =>
    async (query: Query): Promise<Page<Row>> => {
      shared.sweep();
      return pageOf(await rows(), query);
    };
  return {
    status: async () => {
      const { nodes, pending, ...status } = await shared.get("status", () => ask("status", {}));
      const living = nodes.filter(({ alive }) => alive).length;
      const waiting = pending.reduce((sum, { count }) => sum + count, 0);
      return {
        ...identity(),
        ...status,
        nodes: { alive: living, dead: nodes.length - living },
        pending: pending.slice(0, summaryRowsMax),
        waiting,
      };
    },
    nodes: listed(async () => (await shared.get("status", () => ask("status", {}))).nodes),
    jobs: listed(async () => [...(await shared.get("jobs", () => ask("listJobs", {})))].sort(newestJob)),
    tasks: listed(tasks),
    "tasks/summary": async () => summaryOf(await tasks()),
    actors: listed(actors),
    "placement-groups": listed(() => shared.get("groups", () => ask("listPlacementGroups", {}))),
    memory: listed(async () =>
      (await memory()).map(({ workers, ...node }: NodeMemoryView) => ({ ...node, workers: workers.length })),
    ),
    workers: listed(async (): Promise<WorkerView[]> => (await memory()).flatMap(({ workers }) => workers)),
    logs: listed(() => shared.get("logs", () => ask("listLogs", {}))),
    "logs/file": (query) => logPart(ask, query),
  };
}

/** All events the head keeps, for a download. */
export async function timelineOf(ask: Ask): Promise<TaskEvent[]> {
  await ask("drainEvents", {});
  return ask("timeline", {});
}

function pageOf<Row>(all: readonly Row[], query: Query): Page<Row> {
  const limit = whole(query, "limit", pageRows, 1, pageRowsMax);
  const offset = whole(query, "offset", 0, 0, Number.MAX_SAFE_INTEGER);
  return { rows: all.slice(offset, offset + limit), total: all.length, offset };
}

function whole(query: Query, name: string, otherwise: number, min: number, max: number): number {
  const text = query(name);
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new BadQuestion(`Cannot use '${text.slice(0, 40)}' as ${name}: expected a whole number from ${min} to ${max}`);
  return value;
}

const newestJob = (a: JobView, b: JobView): number => b.startMs - a.startMs;

/** A task's last step stands for it; the newest first. */
function lastOfEach(events: readonly TaskEvent[]): TaskEvent[] {
  const last = new Map<string, TaskEvent>();
  for (const event of events) if (event.kind !== "user") last.set(event.taskId, event);
  return [...last.values()].reverse().map((event) => ({ ...event, error: event.error?.slice(0, errorTextMax) }));
}

/** Without what only handles can read. */
function actorRow({ deathCause: _cause, handleSpec: _spec, handleIndex: _index, deathMessage, ...rest }: ActorView) {
  return { ...rest, deathMessage: deathMessage?.slice(0, errorTextMax) ?? null };
}

/** Counts by name and state, the most frequent first. */
function summaryOf(tasks: readonly TaskEvent[]) {
  const counts = new Map<string, { name: string; state: string; count: number; totalMs: number }>();
  for (const { name, state, startMs, endMs } of tasks) {
    const key = `${name}\0${state}`;
    const entry = counts.get(key) ?? { name, state, count: 0, totalMs: 0 };
    entry.count++;
    entry.totalMs += Math.max(0, endMs - startMs);
    counts.set(key, entry);
  }
  const rows = [...counts.values()].sort((a, b) => b.count - a.count);
  return { rows: rows.slice(0, summaryRowsMax), total: rows.length, tasks: tasks.length };
}

/** The end of a log file, or what follows the byte `from`. */
async function logPart(ask: Ask, query: Query) {
  const nodeId = query("node") as NodeId | undefined;
  const file = query("file");
  if (!nodeId || !file) throw new BadQuestion("Cannot read a log without node and file: /api/logs lists both");
  const read = async (from: number, bytes: number) => {
    try {
      return await ask("readLog", { nodeId, file, from, bytes });
    } catch (error) {
      throw new BadQuestion((error as Error).message);
    }
  };
  const wanted = query("from");
  const from =
    wanted === undefined
      ? Math.max(0, (await read(0, 0)).size - logBytesMax)
      : whole(query, "from", 0, 0, Number.MAX_SAFE_INTEGER);
  const { bytes, size } = await read(from, logBytesMax);
  return { text: Buffer.from(bytes).toString("utf8"), from, next: from + bytes.length, size };
}
