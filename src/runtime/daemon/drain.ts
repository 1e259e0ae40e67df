/**
 * A node that is to leave in good order: its leases are called back, what runs may finish, then it goes; at the latest after `drainMs`. Calling back
 * is repeated for what was granted meanwhile.
 */
import { Kind } from "../../wire/index.ts";
import { drainMs } from "./config.ts";
import type { Daemon } from "./daemon.ts";

/** Milliseconds between looks: leases end by messages, but what they were may be granted again. */
const lookMs = 100;

export class Drain {
  private readonly daemon: Daemon;
  private readonly recalled = new Set<number>();
  private timer: NodeJS.Timeout | null = null;

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  /** With `last` the head waits for the other nodes, which were told the same. */
  begin(reason: string, last = false): void {
    if (this.timer !== null) return;
    const until = Date.now() + drainMs;
    this.daemon.log.line(`draining: ${reason}`);
    this.timer = setInterval(() => {
      const busy = this.recallLeases() + this.daemon.actorsHere.size + (last ? this.daemon.otherMembers() : 0);
      if (busy > 0 && Date.now() < until) return;
      this.close();
      this.daemon.requestShutdown(
        busy === 0 ? `drained: ${reason}` : `drained (${busy} still busy after ${drainMs / 1000} s): ${reason}`,
      );
    }, lookMs);
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  /** How many leases are out. */
  private recallLeases(): number {
    let out = 0;
    for (const { leaseId, ownerId } of this.daemon.leases.all()) {
      out++;
      if (this.recalled.has(leaseId)) continue;
      this.recalled.add(leaseId);
      this.daemon.send(ownerId, [Kind.Recall, leaseId]);
    }
    return out;
  }
}
