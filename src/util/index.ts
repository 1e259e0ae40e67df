/**
 * `shoal/util`: what is often built on tasks and actors.
 *
 * @example
 * import { map } from "shoal/util";
 * for await (const length of map((text: string) => text.length, ["a", "bb", "ccc"])) console.log(length);
 *
 * @module
 */
import * as metrics from "./metrics.ts";
import { registerUtil } from "./self.ts";

export { ActorPool, type GetNextOptions, type PoolCall } from "./actor-pool.ts";
export { asCompleted } from "./as-completed.ts";
/** @internal */
export {
  Counter,
  Gauge,
  Histogram,
  MetricsActor,
  ProgressHub,
  QueueActor,
  RemoteBar,
  SemaphoreActor,
  TravellingBar,
} from "./by-reference.ts";
export { type MapOptions, map } from "./map.ts";
export { type ProgressBar, type ProgressOptions, progress } from "./progress.ts";
export { Queue, type QueueOptions } from "./queue.ts";
export { QueueEmptyError, QueueFullError } from "./queue-errors.ts";
export { type AcquireOptions, Semaphore } from "./semaphore.ts";
export type { WaitOptions } from "./waiting-call.ts";
export { metrics };

registerUtil();
