/** Gets the task events that processes still hold: asks each, and waits for their answers for a bounded time. */
import type { JobId, WorkerId } from "../../base/ids.ts";
import { Kind } from "../../wire/index.ts";
import type { Client } from "./client.ts";

/** A worker whose event loop is blocked does not answer; its events come later. */
const drainMs = 1_000;

interface Round {
  readonly missing: Set<WorkerId>;
  done(): void;
}

export class EventDrain {
  private readonly clients: ReadonlyMap<WorkerId, Client>;
  private readonly rounds = new Map<number, Round>();
  private next = 1;

  constructor(clients: ReadonlyMap<WorkerId, Client>) {
    this.clients = clients;
  }

  drain(jobId: JobId | undefined): Promise<void> {
    const asked = [...this.clients.values()].filter(
      (client) => client.role !== "tool" && !client.remote && (jobId === undefined || client.jobId === jobId),
    );
    if (asked.length === 0) return Promise.resolve();
    const id = this.next++;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.finish(id), drainMs);
      this.rounds.set(id, {
        missing: new Set(asked.map((client) => client.id)),
        done: () => {
          clearTimeout(timer);
          resolve();
        },
      });
      for (const client of asked) client.link.send([Kind.FlushEvents, id]);
    });
  }

  flushed(from: WorkerId, id: number): void {
    const round = this.rounds.get(id);
    if (round === undefined) return;
    round.missing.delete(from);
    if (round.missing.size === 0) this.finish(id);
  }

  private finish(id: number): void {
    const round = this.rounds.get(id);
    this.rounds.delete(id);
    round?.done();
  }
}
