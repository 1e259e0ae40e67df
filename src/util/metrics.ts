/**
 * Counters, gauges and histograms of the user's own, summed over the cluster.
 *
 * The idea: each process counts for itself and sends what is new to one actor. The complication: metrics are used in inner loops, and are made in one
 * process and used in another. The answer: a metric object is only a name and a description; counting is a table look-up, and a
 * process sends at most ten times a second.
 */
import { performance, setTimeout } from "../base/clock.ts";
import { type ActorHandle, get, isInitialized, type ObjectRef, remote } from "../index.ts";
import { exposition as expose } from "./metric-exposition.ts";
import { type MetricKind, type MetricMeta, type MetricPoint, MetricStore, type Tags } from "./metric-store.ts";
import { MetricsActor } from "./metrics-actor.ts";

export interface MetricOptions {
  description?: string;
  /** Names of the tags that values may carry. */
  tagKeys?: readonly string[];
  /** Values of tags that a call leaves out. */
  defaultTags?: Tags;
}

export interface HistogramOptions extends MetricOptions {
  /** Upper bounds of the buckets, ascending. */
  boundaries: readonly number[];
}

/** One metric under one set of tags, summed over all processes. */
export type MetricSample =
  | {
      readonly name: string;
      readonly kind: "counter" | "gauge";
      readonly description: string;
      readonly tags: Tags;
      readonly value: number;
    }
  | {
      readonly name: string;
      readonly kind: "histogram";
      readonly description: string;
      readonly tags: Tags;
      readonly count: number;
      readonly sum: number;
      /** Observations up to and including `le`; the last one is Infinity and counts all. */
      readonly buckets: readonly { readonly le: number; readonly count: number }[];
    };

const sendEveryMs = 100;

/** What is common to the kinds. A metric may be used in any process: pass it, capture it, or make it again under the same name. */
abstract class Metric {
  readonly meta: MetricMeta;
  readonly tagKeys: readonly string[];
  readonly defaultTags: Tags;

  constructor(name: string, kind: MetricKind, options: MetricOptions, boundaries: readonly number[] = []) {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name))
      throw new TypeError(
        `Cannot use '${name}' as the name of a metric: expected letters, digits and _, not beginning with a digit`,
      );
    this.meta = { name, kind, description: options.description ?? "", boundaries };
    this.tagKeys = options.tagKeys ?? Object.keys(options.defaultTags ?? {});
    this.defaultTags = options.defaultTags ?? {};
    this.tagsOf(this.defaultTags);
  }

  protected tagsOf(tags: Tags | undefined): Tags {
    if (tags === undefined) return this.defaultTags;
    for (const key of Object.keys(tags)) {
      if (!this.tagKeys.includes(key))
        throw new TypeError(`Cannot tag metric '${this.meta.name}' with '${key}': its tagKeys are [${this.tagKeys.join(", ")}]`);
    }
    return { ...this.defaultTags, ...tags };
  }
}

/** A sum that only grows. */
export class Counter extends Metric {
  constructor(name: string, options: MetricOptions = {}) {
    super(name, "counter", options);
  }

  /** @throws RangeError when `value` is not above 0. */
  inc(value = 1, tags?: Tags): void {
    if (!(value > 0))
      throw new RangeError(`Cannot increase counter '${this.meta.name}' by ${String(value)}: expected a number above 0`);
    sender.store.add(this.meta, this.tagsOf(tags), value);
    sender.sendSoon();
  }
}

/** A value that goes up and down; the latest one set, in whatever process, holds. */
export class Gauge extends Metric {
  constructor(name: string, options: MetricOptions = {}) {
    super(name, "gauge", options);
  }

  set(value: number, tags?: Tags): void {
    sender.store.set(this.meta, this.tagsOf(tags), value);
    sender.sendSoon();
  }
}

/** Counts observations by size. */
export class Histogram extends Metric {
  constructor(name: string, options: HistogramOptions) {
    const { boundaries } = options;
    if (boundaries.length === 0 || boundaries.some((bound, i) => !(bound > (boundaries[i - 1] ?? Number.NEGATIVE_INFINITY)))) {
      throw new RangeError(
        `Cannot use [${boundaries.join(", ")}] as boundaries of histogram '${name}': expected ascending numbers`,
      );
    }
    super(name, "histogram", options, [...boundaries]);
  }

  observe(value: number, tags?: Tags): void {
    sender.store.observe(this.meta, this.tagsOf(tags), value);
    sender.sendSoon();
  }
}

/** All metrics of the cluster now. What other processes counted within the last tenth of a second may be missing. */
export async function snapshot(): Promise<MetricSample[]> {
  return (await sender.readAll()).map(sampleOf);
}

/** The same as text that Prometheus reads, to be served under `/metrics`. */
export async function exposition(): Promise<string> {
  return expose(await sender.readAll());
}

/** What this process counted and did not send yet, and its way to the actor. */
class Sender {
  readonly store = new MetricStore();
  private actor: ActorHandle<MetricsActor> | null = null;
  private sentMs = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | null = null;

  sendSoon(): void {
    if (this.timer !== null) return;
    const waitMs = Math.max(0, this.sentMs + sendEveryMs - performance.now());
    this.timer = setTimeout(() => {
      this.timer = null;
      // Before init() there is nowhere to send to, and counting is no reason to start a cluster.
      if (isInitialized()) void this.send().catch(() => undefined);
    }, waitMs);
    this.timer.unref();
  }

  async readAll(): Promise<MetricPoint[]> {
    await this.send();
    return this.call((actor) => actor.read.remote());
  }

  private async send(): Promise<void> {
    const points = this.store.drain();
    if (points.length === 0) return;
    this.sentMs = performance.now();
    try {
      await this.call((actor) => actor.add.remote(points));
    } catch (error) {
      const newer = this.store.drain();
      this.store.merge(points);
      this.store.merge(newer);
      throw error;
    }
  }

  /** Tries twice: the handle may be of a session that has ended. */
  private async call<R>(start: (actor: ActorHandle<MetricsActor>) => ObjectRef<R>): Promise<R> {
    if (this.actor !== null) {
      try {
        return await get(start(this.actor));
      } catch {
        this.actor = null;
      }
    }
    return get(start(this.theActor()));
  }

  private theActor(): ActorHandle<MetricsActor> {
    this.actor ??= remote(MetricsActor, {
      name: "metrics",
      namespace: "shoal",
      getIfExists: true,
      lifetime: "detached",
      numCpus: 0,
    }).remote();
    return this.actor;
  }
}

const sender = new Sender();

function sampleOf({ meta, tags, value, count, buckets }: MetricPoint): MetricSample {
  const { name, kind, description, boundaries } = meta;
  if (kind !== "histogram") return { name, kind, description, tags, value };
  let below = 0;
  const cumulative = buckets.map((inBucket, i) => {
    below += inBucket;
    return { le: boundaries[i] ?? Number.POSITIVE_INFINITY, count: below };
  });
  return { name, kind, description, tags, count, sum: value, buckets: cumulative };
}
