/**
 * A node that is to leave in good order: its leases are called back, what runs may finish, the objects that only it has go to other nodes
 * (hand-over.ts), then it goes; at the latest after `drainMs`. Calling back is repeated for what was granted meanwhile.
 */
import { Kind } from "../../wire/index.ts";
import { drainMs } from "./config.ts";
import type { Daemon } from "./daemon.ts";
import { HandOver } from "./hand-over.ts";

/** Milliseconds between looks: leases end by messages, but what they were may be granted again. */
const lookMs = 100;

export class Drain {
  private readonly daemon: Daemon;
  private readonly recalled = new Set<number>();
  private timer: NodeJS.Timeout | null = null;
  private handOver: HandOver | null = null;
  private handingOver = false;
  /** A round that began when nothing ran any more found nothing left to hand over. */
  private handedOver = false;

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  /** With `last` the head waits for the other nodes, which were told the same. */
  begin(reason: string, last = false): void {
    if (this.timer !== null) return;
    const untilMs = Date.now() + drainMs;
    const { cluster } = this.daemon;
    this.daemon.log.line(`draining: ${reason}`);
    if (cluster !== null && !this.endsCluster(last)) this.handOver = new HandOver(this.daemon, cluster, untilMs);
    this.timer = setInterval(() => {
      const busy = this.recallLeases() + this.daemon.actorsHere.size + (last ? this.daemon.otherMembers() : 0);
      const settled = this.hasHandedOver(busy === 0);
      if ((busy > 0 || !settled) && Date.now() < untilMs) return;
      this.close();
      this.leave(reason, busy);
    }, lookMs);
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  /** No node goes on without this one: there is nobody to hand anything over to. */
  private endsCluster(last: boolean): boolean {
    return this.daemon.head !== null && (last || this.daemon.cluster?.config.storeFile === null);
  }

  /** Begins a round unless one is under way. */
  private hasHandedOver(idle: boolean): boolean {
    if (this.handOver === null) return true;
    if (!idle) this.handedOver = false;
    if (this.handedOver || this.handingOver) return this.handedOver;
    this.handingOver = true;
    this.handOver.round().then((done) => {
      this.handingOver = false;
      this.handedOver = idle && done;
    });
    return false;
  }

  private async leave(reason: string, busy: number): Promise<void> {
    const objects = (await this.handOver?.summary()) ?? "";
    const how = busy === 0 ? "drained" : `drained (${busy} still busy after ${drainMs / 1000} s)`;
    this.daemon.requestShutdown(`${how}: ${reason}${objects === "" ? "" : `; ${objects}`}`);
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
