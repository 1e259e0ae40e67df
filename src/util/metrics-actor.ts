/** The actor that holds the sums of all processes. It is detached, so that counts outlive the jobs that made them. */
import { type MetricPoint, MetricStore } from "./metric-store.ts";

export class MetricsActor {
  private readonly store = new MetricStore();

  add(points: readonly MetricPoint[]): void {
    this.store.merge(points);
  }

  read(): MetricPoint[] {
    return this.store.list();
  }
}
