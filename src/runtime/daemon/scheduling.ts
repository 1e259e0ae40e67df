/**
 * Runs the pure scheduler: feeds it events with the time, hands out its effects in order, and wakes it when it asked to be woken.
 * Events that arise while effects are carried out wait for their turn, so no step ever sees a half-done one.
 */
import type { PlacementGroupId } from "../../base/ids.ts";
import {
  availableResources,
  bundlesHere,
  createScheduler,
  describe,
  groupsKnown,
  nextWakeMs,
  type SchedulerOptions,
  step,
  totalResources,
} from "../../core/scheduler.ts";
import type { SchedulerEffect, SchedulerEvent } from "../../core/scheduler-events.ts";

export class Scheduling {
  private readonly state;
  private readonly carryOut: (effect: SchedulerEffect) => void;
  private readonly queue: SchedulerEvent[] = [];
  private stepping = false;
  private timer: NodeJS.Timeout | null = null;
  private timerAtMs = Number.POSITIVE_INFINITY;
  private closed = false;
  /** Told after every change. */
  onChanged: () => void = () => {};

  constructor(options: SchedulerOptions, carryOut: (effect: SchedulerEffect) => void) {
    this.state = createScheduler(options);
    this.carryOut = carryOut;
  }

  dispatch(event: SchedulerEvent): void {
    if (this.closed) return;
    this.queue.push(event);
    if (this.stepping) return;
    this.stepping = true;
    try {
      for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
        for (const effect of step(this.state, performance.now(), next)) this.carryOut(effect);
      }
    } finally {
      this.stepping = false;
    }
    this.arm();
    this.onChanged();
  }

  describe(): ReturnType<typeof describe> {
    return describe(this.state);
  }

  total(): Record<string, number> {
    return totalResources(this.state);
  }

  available(): Record<string, number> {
    return availableResources(this.state);
  }

  bundles(): ReturnType<typeof bundlesHere> {
    return bundlesHere(this.state);
  }

  groupsKnown(): PlacementGroupId[] {
    return groupsKnown(this.state);
  }

  close(): void {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  /** A timer that fires too early costs an empty tick, so it is only set anew when it must fire earlier. */
  private arm(): void {
    const wake = nextWakeMs(this.state) ?? Number.POSITIVE_INFINITY;
    if (this.timer !== null && wake >= this.timerAtMs) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.timerAtMs = wake;
    if (wake === Number.POSITIVE_INFINITY) return;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.dispatch({ kind: "tick" });
      },
      Math.max(1, Math.ceil(wake - performance.now())),
    );
  }
}
