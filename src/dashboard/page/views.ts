/** What the page shows under each of its links, made from what /api/ answers. */
import { amountText, bytesText, type Column, durationText, element, resourcesText, table, timeText } from "./elements.ts";

export type Fetch = (path: string) => Promise<any>;

export interface View {
  readonly title: string;
  /** `parameters` are those of the page's address. */
  draw(fetch: Fetch, parameters: URLSearchParams): Promise<Node[]>;
}

const pageRows = 100;

export const views: Readonly<Record<string, View>> = {
  overview: { title: "Overview", draw: overview },
  nodes: list("Nodes", "nodes", [
    { title: "Node", kind: "id", cell: (node) => node.nodeId },
    { title: "State", kind: "state", cell: (node) => (node.alive ? "ALIVE" : "DEAD") },
    { title: "Host", cell: (node) => `${node.hostname}${node.isHead ? " (head)" : ""}` },
    { title: "Address", kind: "id", cell: (node) => node.address },
    { title: "Free", cell: (node) => resourcesText(node.available) },
    { title: "Offers", cell: (node) => resourcesText(node.resources) },
    { title: "Death", kind: "text", cell: (node) => node.deathReason },
  ]),
  jobs: list("Jobs", "jobs", [
    { title: "Job", kind: "id", cell: (job) => job.jobId },
    { title: "State", kind: "state", cell: (job) => job.state },
    { title: "Namespace", cell: (job) => job.namespace },
    { title: "Driver", kind: "number", cell: (job) => job.driverPid },
    { title: "Started", cell: (job) => timeText(job.startMs) },
    { title: "Ended", cell: (job) => timeText(job.endMs) },
  ]),
  tasks: { title: "Tasks", draw: tasks },
  actors: list("Actors", "actors", [
    { title: "Actor", kind: "id", cell: (actor) => actor.actorId },
    { title: "Class", cell: (actor) => actor.className },
    { title: "State", kind: "state", cell: (actor) => actor.state },
    { title: "Name", cell: (actor) => actor.name },
    { title: "Namespace", cell: (actor) => actor.namespace },
    { title: "PID", kind: "number", cell: (actor) => actor.pid },
    { title: "Restarts", kind: "number", cell: (actor) => actor.incarnation },
    { title: "Node", kind: "id", cell: (actor) => actor.nodeId },
    { title: "Death", kind: "text", cell: (actor) => actor.deathMessage ?? actor.deathReason },
  ]),
  groups: list("Placement groups", "placement-groups", [
    { title: "Group", kind: "id", cell: (group) => group.groupId },
    { title: "Name", cell: (group) => group.name },
    { title: "State", kind: "state", cell: (group) => group.state },
    { title: "Strategy", cell: (group) => group.strategy },
    {
      title: "Bundles",
      kind: "text",
      cell: (group) => group.bundles.map((bundle: Record<string, number>) => `{${resourcesText(bundle)}}`).join(" "),
    },
  ]),
  memory: { title: "Memory", draw: memory },
  logs: { title: "Logs", draw: logs },
};

async function overview(fetch: Fetch): Promise<Node[]> {
  const [status, { rows: summary, tasks }] = await Promise.all([fetch("status"), fetch("tasks/summary")]);
  const living = Object.entries(status.actors as Record<string, number>).filter(([state]) => state !== "DEAD");
  const dead = status.nodes.dead === 0 ? "" : `, ${status.nodes.dead} dead`;
  const resources = Object.entries(status.total as Record<string, number>).filter(([name]) => !name.startsWith("node:"));
  return [
    element(
      "dl",
      { class: "figures" },
      figure("Nodes", `${status.nodes.alive}${dead}`),
      figure("Living actors", String(living.reduce((sum, [, count]) => sum + count, 0))),
      figure("Workers on the head's node", String(status.workers)),
      figure("Recent tasks", String(tasks)),
      figure("Waiting for resources", String(status.waiting)),
    ),
    element("p", { class: "aside" }, `Cluster ${status.address}, since ${timeText(status.startedMs)}`),
    element("h2", {}, "Resources"),
    table(
      "In use and there in all",
      [
        { title: "Resource", cell: ([name]) => name },
        { title: "In use", kind: "number", cell: ([name, total]) => amountText(name, used(status, name, total)) },
        { title: "In all", kind: "number", cell: ([name, total]) => amountText(name, total) },
        { title: "", cell: ([name, total]) => meter(used(status, name, total), total, `${name} in use`) },
      ],
      resources,
    ),
    element("h2", {}, "Asked for and not there yet"),
    status.pending.length === 0
      ? element("p", {}, "Nothing")
      : table<any>(
          "What waits",
          [
            { title: "For", kind: "text", cell: ({ label }) => label },
            { title: "Resources", cell: ({ resources: each }) => resourcesText(each) },
            { title: "Count", kind: "number", cell: ({ count }) => count },
          ],
          status.pending,
        ),
    element("h2", {}, "Tasks by name"),
    summaryTable(summary),
  ];
}

const used = (status: any, name: string, total: number): number => Math.max(0, total - (status.available[name] ?? 0));

function figure(title: string, value: string): HTMLElement {
  return element("div", {}, element("dt", {}, title), element("dd", {}, value));
}

function meter(value: number, max: number, label: string): HTMLElement {
  return element("meter", { min: "0", max: String(max || 1), value: String(value), "aria-label": label });
}

function summaryTable(rows: readonly any[]): HTMLElement {
  return table(
    "Counts of the newest tasks",
    [
      { title: "Name", cell: ({ name }) => name },
      { title: "State", kind: "state", cell: ({ state }) => state },
      { title: "Count", kind: "number", cell: ({ count }) => count },
      { title: "Mean time", kind: "number", cell: ({ totalMs, count }) => durationText(totalMs / count) },
    ],
    rows,
  );
}

const taskColumns: readonly Column<any>[] = [
  { title: "Task", kind: "id", cell: (task) => task.taskId },
  { title: "Name", cell: (task) => task.name },
  { title: "Kind", cell: (task) => task.kind },
  { title: "State", kind: "state", cell: (task) => task.state },
  { title: "Attempt", kind: "number", cell: (task) => task.attempt },
  { title: "Time", kind: "number", cell: (task) => durationText(Math.max(0, task.endMs - task.startMs)) },
  { title: "PID", kind: "number", cell: (task) => task.pid },
  { title: "Error", kind: "text", cell: (task) => task.error },
];

async function tasks(fetch: Fetch, parameters: URLSearchParams): Promise<Node[]> {
  const [{ rows }, newest] = await Promise.all([fetch("tasks/summary"), page("Tasks", "tasks", taskColumns, fetch, parameters)]);
  return [
    element("h2", {}, "By name"),
    summaryTable(rows),
    element("h2", {}, "Newest"),
    element(
      "p",
      {},
      element("a", { href: "/api/timeline", download: "shoal-timeline.json" }, "Download the timeline"),
      " for ui.perfetto.dev",
    ),
    ...newest,
  ];
}

async function memory(fetch: Fetch, parameters: URLSearchParams): Promise<Node[]> {
  const { rows } = await fetch("memory");
  return [
    element("h2", {}, "Nodes"),
    table<any>(
      "Memory and object stores",
      [
        { title: "Node", kind: "id", cell: (node) => node.nodeId },
        { title: "Host", cell: (node) => node.hostname },
        {
          title: "Memory in use",
          kind: "number",
          cell: (node) => `${bytesText(node.usedBytes)} of ${bytesText(node.totalBytes)}`,
        },
        { title: "Objects in memory", kind: "number", cell: (node) => node.store.objects },
        {
          title: "Store",
          kind: "number",
          cell: (node) => `${bytesText(node.store.bytesUsed)} of ${bytesText(node.store.bytesMax)}`,
        },
        { title: "", cell: (node) => meter(node.store.bytesUsed, node.store.bytesMax, "Store in use") },
        { title: "On disk", kind: "number", cell: (node) => `${node.store.spilledObjects}, ${bytesText(node.store.diskBytes)}` },
      ],
      rows,
    ),
    element("h2", {}, "Workers"),
    ...(await page("Workers", "workers", workerColumns, fetch, parameters)),
  ];
}

const workerColumns: readonly Column<any>[] = [
  { title: "Worker", kind: "id", cell: (worker) => worker.workerId },
  { title: "PID", kind: "number", cell: (worker) => worker.pid },
  { title: "State", kind: "state", cell: (worker) => worker.state },
  {
    title: "Resident",
    kind: "number",
    cell: (worker) => (worker.residentBytes === null ? null : bytesText(worker.residentBytes)),
  },
  { title: "Job", kind: "id", cell: (worker) => worker.jobId },
];

async function logs(fetch: Fetch, parameters: URLSearchParams): Promise<Node[]> {
  const [node, file] = [parameters.get("node"), parameters.get("file")];
  if (node !== null && file !== null) {
    const part = await fetch(`logs/file?${new URLSearchParams({ node, file })}`);
    const cut = part.from === 0 ? "" : `, its last ${bytesText(part.next - part.from)}`;
    return [
      element("h2", {}, `${file}${cut}`),
      element("p", {}, element("a", { href: "#logs" }, "All files")),
      element("pre", { tabindex: "0" }, part.text),
    ];
  }
  const columns: readonly Column<any>[] = [
    {
      title: "File",
      cell: (log) => element("a", { href: `#logs?${new URLSearchParams({ node: log.nodeId, file: log.file })}` }, log.file),
    },
    { title: "Size", kind: "number", cell: (log) => bytesText(log.bytes) },
    { title: "Node", kind: "id", cell: (log) => log.nodeId },
  ];
  return page("Log files", "logs", columns, fetch, parameters);
}

function list(title: string, path: string, columns: readonly Column<any>[]): View {
  return { title, draw: (fetch, parameters) => page(title, path, columns, fetch, parameters) };
}

/** One page of a list, and the way to the others. */
async function page(
  title: string,
  path: string,
  columns: readonly Column<any>[],
  fetch: Fetch,
  parameters: URLSearchParams,
): Promise<Node[]> {
  const asked = Number(parameters.get("offset") ?? 0);
  const from = Number.isSafeInteger(asked) && asked > 0 ? asked : 0;
  const { rows, total, offset } = await fetch(`${path}?limit=${pageRows}&offset=${from}`);
  const turn = (text: string, to: number, possible: boolean): HTMLElement => {
    const button = element("button", { type: "button", id: `turn-${text}`, ...(possible ? {} : { disabled: "" }) }, text);
    button.addEventListener("click", () => {
      const next = new URLSearchParams(parameters);
      next.set("offset", String(to));
      location.hash = `${location.hash.split("?")[0] || "#overview"}?${next}`;
    });
    return button;
  };
  const shown = rows.length === 0 ? "none" : `${offset + 1} to ${offset + rows.length} of ${total}`;
  const nodes: Node[] = [table(`${title}: ${shown}`, columns, rows)];
  if (total > pageRows)
    nodes.push(
      element(
        "div",
        { class: "pager" },
        turn("Earlier", Math.max(0, offset - pageRows), offset > 0),
        turn("Further", offset + pageRows, offset + rows.length < total),
      ),
    );
  return nodes;
}
