/** Metrics as text for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4). */
import type { MetricPoint, Tags } from "./metric-store.ts";

/** The points of each metric together, as the format wants it, metrics by name. */
export function exposition(points: readonly MetricPoint[]): string {
  const byName = new Map<string, MetricPoint[]>();
  for (const point of points) {
    const group = byName.get(point.meta.name);
    if (group === undefined) byName.set(point.meta.name, [point]);
    else group.push(point);
  }
  return [...byName.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, group]) => expose(name, group))
    .join("");
}

function expose(name: string, group: readonly MetricPoint[]): string {
  const { kind, description } = (group[0] as MetricPoint).meta;
  const lines = description === "" ? [] : [`# HELP ${name} ${description.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")}`];
  lines.push(`# TYPE ${name} ${kind}`);
  for (const point of group)
    lines.push(...(kind === "histogram" ? histogramLines(name, point) : [`${name}${labels(point.tags)} ${number(point.value)}`]));
  return `${lines.join("\n")}\n`;
}

function histogramLines(name: string, { meta, tags, value, count, buckets }: MetricPoint): string[] {
  let below = 0;
  const lines = meta.boundaries.map((bound, i) => {
    below += buckets[i] as number;
    return `${name}_bucket${labels(tags, number(bound))} ${below}`;
  });
  return [
    ...lines,
    `${name}_bucket${labels(tags, "+Inf")} ${count}`,
    `${name}_sum${labels(tags)} ${number(value)}`,
    `${name}_count${labels(tags)} ${count}`,
  ];
}

function labels(tags: Tags, le?: string): string {
  const pairs = Object.entries(tags).map(([key, value]) => `${key}="${escaped(value)}"`);
  if (le !== undefined) pairs.push(`le="${le}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
