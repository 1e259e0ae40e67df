/** `Semaphore`: bounds how much of something runs at once, over all processes of the cluster. */
import { randomUUID } from "node:crypto";
import { type ActorHandle, type ActorOptions, GetTimeoutError, get, kill, remote } from "../index.ts";
import { SemaphoreActor } from "./semaphore-actor.ts";
import { outcomeOfWait, type WaitOptions, waitingCallsMax, within } from "./waiting-call.ts";

export interface AcquireOptions extends WaitOptions {
  /** How many at once. Default 1. */
  permits?: number;
}

/**
 * Permits that any process of the cluster may take and give back; who waits is served in order. Pass it to tasks as an argument or in a
 * closure. The permit of a `withPermit` comes back also when its process is lost; one from `acquire` belongs to nobody, and stays
 * out until somebody releases it.
 *
 * @example
 * const database = new Semaphore(2); // whatever the number of tasks, two at a time
 * const query = shoal.remote((sql: string) => database.withPermit(() => run(sql)));
 */
export class Semaphore {
  readonly permits: number;
  readonly actor: ActorHandle<SemaphoreActor>;

  constructor(permits: number, options: { actorOptions?: ActorOptions } = {}) {
    if (!Number.isSafeInteger(permits) || permits < 1)
      throw new RangeError(`Cannot use ${String(permits)} as permits: expected a whole number from 1`);
    this.permits = permits;
    this.actor = remote(SemaphoreActor, { numCpus: 0, maxConcurrency: waitingCallsMax, ...options.actorOptions }).remote(permits);
  }

  /** Takes permits; waits for them. @throws GetTimeoutError when they were not free in time. */
  async acquire(options: AcquireOptions = {}): Promise<void> {
    if (!(await this.take(options, null))) throw this.notInTime(options);
  }

  /** Takes permits if they are free now; says whether it did. */
  tryAcquire(permits = 1): Promise<boolean> {
    return this.take({ permits, timeoutMs: 0 }, null);
  }

  /** Gives permits back. @throws RangeError when more would be free than there are. */
  async release(permits = 1): Promise<void> {
    this.check(permits);
    if (!(await get(this.actor.release.remote(permits)))) {
      throw new RangeError(`Cannot release ${permits} of the ${this.permits} permits of the semaphore: fewer are taken`);
    }
  }

  /** Runs `work` with a permit, and gives it back whatever happens. */
  async withPermit<R>(work: () => R | Promise<R>, options: AcquireOptions = {}): Promise<R> {
    this.check(options.permits ?? 1);
    const token = randomUUID();
    this.actor.hold.remote(token);
    try {
      if (!(await this.take(options, token))) throw this.notInTime(options);
      return await work();
    } finally {
      await get(this.actor.endHold.remote(token));
    }
  }

  /** Permits that are free now. */
  available(): Promise<number> {
    return get(this.actor.available.remote());
  }

  /** Ends it. Who waits, or uses it later, gets an ActorDiedError. */
  async shutdown(): Promise<void> {
    await kill(this.actor);
  }

  private async take(options: AcquireOptions, token: string | null): Promise<boolean> {
    const permits = this.check(options.permits ?? 1);
    return outcomeOfWait(options, (timeoutMs) => this.actor.acquire.remote(permits, timeoutMs, token));
  }

  private notInTime({ timeoutMs, permits = 1 }: AcquireOptions): GetTimeoutError {
    const message = `Cannot acquire ${permits} of the ${this.permits} permits of the semaphore ${within(timeoutMs)}: they are taken`;
    return new GetTimeoutError(message, { timeoutMs });
  }

  private check(permits: number): number {
    if (Number.isSafeInteger(permits) && permits >= 1 && permits <= this.permits) return permits;
    throw new RangeError(
      `Cannot use ${String(permits)} permits of the semaphore: expected a whole number from 1 to ${this.permits}`,
    );
  }
}
