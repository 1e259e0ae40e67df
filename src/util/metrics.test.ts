import { describe, expect, test } from "vitest";
import { exposition } from "./metric-exposition.ts";
import { type MetricMeta, MetricStore } from "./metric-store.ts";

const counter: MetricMeta = { name: "requests", kind: "counter", description: "Requests\nserved", boundaries: [] };
const gauge: MetricMeta = { name: "load", kind: "gauge", description: "", boundaries: [] };
const histogram: MetricMeta = { name: "latency", kind: "histogram", description: "", boundaries: [1, 10] };

describe("MetricStore", () => {
  test("tags in another order name the same point", () => {
    const store = new MetricStore();
    store.add(counter, { a: "1", b: "2" }, 1);
    store.add(counter, { b: "2", a: "1" }, 2);
    expect(store.list().map(({ value }) => value)).toEqual([3]);
  });

  test("of a gauge the latest one set holds, whenever it arrives", () => {
    const point = (value: number, setMs: number) => ({ meta: gauge, tags: {}, value, setMs, count: 0, buckets: [] });
    const store = new MetricStore();
    for (const one of [point(1, 10), point(100, 30), point(3, 20)]) store.merge([one]);
    expect(store.list().map(({ value }) => value)).toEqual([100]);
  });

  test("merging adds counters and histograms, and replaces gauges", () => {
    const [mine, other] = [new MetricStore(), new MetricStore()];
    for (const store of [mine, other]) {
      store.add(counter, {}, 2);
      store.set(gauge, {}, store === mine ? 5 : 3);
      for (const value of [1, 2, 100]) store.observe(histogram, {}, value);
    }
    mine.merge(other.drain());
    expect(other.list()).toEqual([]);
    const [requests, load, latency] = mine.list();
    expect([requests?.value, load?.value]).toEqual([4, 3]);
    expect(latency).toMatchObject({ buckets: [2, 2, 2], count: 6, value: 206 });
  });
});

describe("exposition", () => {
  test("is what Prometheus reads: cumulative buckets, escaped help and tags, metrics by name", () => {
    const store = new MetricStore();
    store.add(counter, { path: 'a"b\\c\n' }, 1.5);
    for (const value of [1, 2, 100]) store.observe(histogram, { zone: "x" }, value);
    expect(exposition(store.list())).toBe(
      [
        "# TYPE latency histogram",
        'latency_bucket{zone="x",le="1"} 1',
        'latency_bucket{zone="x",le="10"} 2',
        'latency_bucket{zone="x",le="+Inf"} 3',
        'latency_sum{zone="x"} 103',
        'latency_count{zone="x"} 3',
        "# HELP requests Requests\\nserved",
        "# TYPE requests counter",
        'requests{path="a\\"b\\\\c\\n"} 1.5',
        "",
      ].join("\n"),
    );
  });
});
