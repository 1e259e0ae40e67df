/** Sums of metrics: what a process has not sent yet, and what the cluster has in all. The same table for both. */

export type Tags = Readonly<Record<string, string>>;
export type MetricKind = "counter" | "gauge" | "histogram";

/** What is known of a metric besides its values. */
export interface MetricMeta {
  readonly name: string;
  readonly kind: MetricKind;
  readonly description: string;
  /** Upper bounds of a histogram's buckets, ascending; the bucket without bound is not among them. */
  readonly boundaries: readonly number[];
}

/** One metric with one set of tags. Of a counter or gauge only `value` counts. */
export interface MetricPoint {
  readonly meta: MetricMeta;
  readonly tags: Tags;
  value: number;
  /** Of a gauge: when it was set, in milliseconds of Unix time. */
  setMs: number;
  count: number;
  /** Observations by bucket, each alone, the one without bound last. */
  readonly buckets: number[];
}

export class MetricStore {
  private points = new Map<string, MetricPoint>();

  add(meta: MetricMeta, tags: Tags, value: number): void {
    this.point(meta, tags).value += value;
  }

  set(meta: MetricMeta, tags: Tags, value: number): void {
    const point = this.point(meta, tags);
    point.value = value;
    point.setMs = Date.now();
  }

  observe(meta: MetricMeta, tags: Tags, value: number): void {
    const point = this.point(meta, tags);
    const bucket = meta.boundaries.findIndex((bound) => value <= bound);
    const index = bucket === -1 ? meta.boundaries.length : bucket;
    point.buckets[index] = (point.buckets[index] as number) + 1;
    point.count++;
    point.value += value;
  }

  /** Adds what another process counted. Of a gauge the latest one set holds. */
  merge(points: readonly MetricPoint[]): void {
    for (const { meta, tags, value, setMs, count, buckets } of points) {
      const mine = this.point(meta, tags);
      if (meta.kind !== "gauge") mine.value += value;
      else if (setMs >= mine.setMs) {
        mine.value = value;
        mine.setMs = setMs;
      }
      mine.count += count;
      for (let i = 0; i < Math.min(buckets.length, mine.buckets.length); i++)
        mine.buckets[i] = (mine.buckets[i] as number) + (buckets[i] as number);
    }
  }

  /** Returns all points and starts again from nothing. */
  drain(): MetricPoint[] {
    const points = this.list();
    this.points = new Map();
    return points;
  }

  list(): MetricPoint[] {
    return [...this.points.values()];
  }

  private point(meta: MetricMeta, tags: Tags): MetricPoint {
    const key = JSON.stringify([meta.name, ...Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))]);
    let point = this.points.get(key);
    if (point === undefined) {
      const buckets = meta.kind === "histogram" ? new Array<number>(meta.boundaries.length + 1).fill(0) : [];
      point = { meta, tags, value: 0, setMs: 0, count: 0, buckets };
      this.points.set(key, point);
    }
    return point;
  }
}
