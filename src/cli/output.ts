/** What commands print: lines, tables, JSON. */

export const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

export const warn = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

export const sayJson = (value: unknown): void => say(JSON.stringify(value, null, 2));

export type Cell = string | number | boolean | null | undefined;

/** Rows under their column names, padded; numbers to the right. Nothing is cut: whoever wants less asks for fewer columns. */
export function table(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => row.map((cell) => (cell === null || cell === undefined ? "-" : String(cell))));
  const widths = columns.map((column, index) => Math.max(column.length, ...texts.map((row) => row[index].length)));
  const rightward = columns.map((_, index) => rows.length > 0 && rows.every((row) => typeof row[index] === "number"));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => (rightward[index] ? cell.padStart(widths[index]) : cell.padEnd(widths[index])))
      .join("  ")
      .trimEnd();
  return [line(columns), ...texts.map(line)].join("\n");
}

/** 1536 as "1.5 KiB". */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = bytes;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit++;
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

/** Resources as people read them: `{CPU: 2, memory: 1 GiB}`, without the nodes' own names. */
export function resourcesText(resources: Readonly<Record<string, number>>): string {
  return Object.entries(resources)
    .filter(([name]) => !name.startsWith("node:"))
    .map(([name, amount]) => `${name} ${isBytes(name) ? bytesText(amount) : round(amount)}`)
    .join(", ");
}

export const isBytes = (resource: string): boolean => resource === "memory" || resource === "object_store_memory";
export const round = (amount: number): number => Math.round(amount * 10_000) / 10_000;
export const timeText = (ms: number | null): string =>
  ms === null ? "-" : new Date(ms).toISOString().replace("T", " ").slice(0, 19);
