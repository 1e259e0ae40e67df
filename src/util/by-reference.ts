/** Classes that are not public but must be exports of the entry, so that a worker finds them there; see self.ts. */
export { Counter, Gauge, Histogram } from "./metrics.ts";
export { MetricsActor } from "./metrics-actor.ts";
export { RemoteBar, TravellingBar } from "./progress.ts";
export { ProgressHub } from "./progress-hub.ts";
export { QueueActor } from "./queue-actor.ts";
export { SemaphoreActor } from "./semaphore-actor.ts";
