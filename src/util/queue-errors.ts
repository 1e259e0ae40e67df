/** What a queue that is empty or full answers. */
import { ShoalError } from "../index.ts";

/** Nothing was there to be taken, at once (`getNowait`) or within `timeoutMs`. Try again later. */
export class QueueEmptyError extends ShoalError {
  override readonly code = "QUEUE_EMPTY";
  override readonly retryable = true;
}

/** There was no room, at once (`putNowait`) or within `timeoutMs`. Try again later. */
export class QueueFullError extends ShoalError {
  override readonly code = "QUEUE_FULL";
  override readonly retryable = true;
}
