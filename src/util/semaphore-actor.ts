/** The actor behind a `Semaphore`: counts permits, and serves those who wait in order of arrival. */
import { getRuntimeContext } from "../index.ts";
import { WaitingLine } from "./waiting-line.ts";

export class SemaphoreActor {
  private readonly permits: number;
  private free: number;
  private readonly line = new WaitingLine<number>();

  constructor(permits: number) {
    this.permits = permits;
    this.free = permits;
  }

  /** False when `count` permits were not free in time. */
  async acquire(count: number, timeoutMs: number | null): Promise<boolean> {
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

  /** False when so many are not out. */
  release(count: number): boolean {
    if (this.free + count > this.permits) return false;
    this.free += count;
    this.serve();
    return true;
  }

  available(): number {
    return this.free;
  }

  private serve(): void {
    for (let asked = this.line.first; asked !== undefined && asked <= this.free; asked = this.line.first) {
      this.free -= asked;
      this.line.serveFirst();
    }
  }
}
