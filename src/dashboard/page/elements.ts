/** Making elements. What users have named or printed becomes text, never markup: nothing in the page parses HTML. */

export type Content = Node | string | number | null;

export function element(name: string, attributes: Readonly<Record<string, string>> = {}, ...content: Content[]): HTMLElement {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const each of content) if (each !== null) made.append(each instanceof Node ? each : String(each));
  return made;
}

export interface Column<Row> {
  readonly title: string;
  readonly kind?: "number" | "id" | "text" | "state";
  cell(row: Row): Content | undefined;
}

/** A table that scrolls by itself where the window is narrow, by keyboard, too. */
export function table<Row>(caption: string, columns: readonly Column<Row>[], rows: readonly Row[]): HTMLElement {
  const heading = columns.map(({ title, kind }) => element("th", { scope: "col", class: kind ?? "" }, title));
  const body = rows.map((row) => element("tr", {}, ...columns.map((column) => cellOf(column, row))));
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, element("tr", {}, ...heading)),
      element("tbody", {}, ...body),
    ),
  );
}

function cellOf<Row>({ kind, cell }: Column<Row>, row: Row): HTMLElement {
  const content = cell(row) ?? "-";
  if (kind !== "state") return element("td", { class: kind ?? "" }, content);
  return element("td", {}, element("span", { class: toneOf(String(content)) }, content));
}

function toneOf(state: string): string {
  if (/^(ALIVE|FINISHED|CREATED|RUNNING|actor|leased)$/.test(state)) return "good";
  if (/^(DEAD|FAILED)$/.test(state)) return "bad";
  return /^(PENDING|RESTARTING|RESCHEDULING|starting|ending)/.test(state) ? "busy" : "";
}

/** 1536 as "1.5 KiB". */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = bytes;
  for (; amount >= 1024 && unit < units.length - 1; unit++) amount /= 1024;
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

export const isBytes = (resource: string): boolean => resource === "memory" || resource === "object_store_memory";

/** Without the nodes' own names. */
export function resourcesText(resources: Readonly<Record<string, number>>): string {
  return Object.entries(resources)
    .filter(([name]) => !name.startsWith("node:"))
    .map(([name, amount]) => `${name} ${amountText(name, amount)}`)
    .join(", ");
}

export const amountText = (name: string, amount: number): string =>
  isBytes(name) ? bytesText(amount) : String(Math.round(amount * 10_000) / 10_000);

export const timeText = (ms: number | null): string => (ms === null ? "-" : new Date(ms).toLocaleString());
export const durationText = (ms: number): string => (ms < 10_000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`);
