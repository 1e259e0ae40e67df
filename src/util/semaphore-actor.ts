/** The actor behind a `Semaphore`: counts permits, and serves those who wait in order of arrival. */
import { getRuntimeContext } from "../index.ts";
import { WaitingLine } from "./waiting-line.ts";

/** What `withPermit` took, until its work is done. */
interface Hold {
  count: number;
  end(): void;
}

export class SemaphoreActor {
  private readonly permits: number;
  private free: number;
  private readonly line = new WaitingLine<number>();
  /** Added and removed by `hold`, by the caller's token. */
  private readonly holds = new Map<string, Hold>();

  constructor(permits: number) {
    this.permits = permits;
    this.free = permits;
  }

  /** Takes permits, for a hold or for nobody in particular. False when `count` were not free in time. */
  async acquire(count: number, timeoutMs: number | null, token: string | null): Promise<boolean> {
    if (!(await this.take(count, timeoutMs))) return false;
    if (token === null) return true;
    const hold = this.holds.get(token);
    if (hold === undefined) this.giveBack(count);
    else hold.count = count;
    return hold !== undefined;
  }

  /**
   * A call that lasts as long as the permits acquired under its token are in use. When the caller's process is lost the call is cancelled, and
   * that brings the permits back.
   */
  async hold(token: string): Promise<void> {
    const { signal } = getRuntimeContext();
    const count = await new Promise<number>((resolve) => {
      const hold: Hold = { count: 0, end: () => resolve(hold.count) };
      this.holds.set(token, hold);
      signal.addEventListener("abort", hold.end);
      if (signal.aborted) hold.end();
    });
    this.holds.delete(token);
    this.giveBack(count);
  }

  endHold(token: string): void {
    this.holds.get(token)?.end();
  }

  /** False when so many are not out. */
  release(count: number): boolean {
    if (this.free + count > this.permits) return false;
    this.giveBack(count);
    return true;
  }

  available(): number {
    return this.free;
  }

  private async take(count: number, timeoutMs: number | null): Promise<boolean> {
    if (this.line.length === 0 && this.free >= count) {
      this.free -= count;
      return true;
    }
    if (timeoutMs === 0) return false;
    const served = await this.line.join(count, timeoutMs, getRuntimeContext().signal);
    // Who left the line may have been the one the others waited behind.
    if (!served) this.serve();
    return served;
  }

  private giveBack(count: number): void {
    this.free += count;
    this.serve();
  }

  private serve(): void {
    for (let asked = this.line.first; asked !== undefined && asked <= this.free; asked = this.line.first) {
      this.free -= asked;
      this.line.serveFirst();
    }
  }
}
