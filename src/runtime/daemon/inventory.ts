/** What a node tells a head that it joins again: the head may be a new one, or may have missed what was said on a connection that broke. */
import { type NodeInventory, NodeKind, type NodeMessage } from "../../wire/node-messages.ts";
import type { Daemon } from "./daemon.ts";

/** News kept for a head that is away. Each is about 200 bytes; what is beyond goes unsaid, and the head finds out by what is not there any more. */
const newsMax = 10_000;

/** What cannot be seen in what is left: why a process ended. */
const isNews = (message: NodeMessage): boolean => message[0] === NodeKind.ProcessEnded || message[0] === NodeKind.Exiting;

export class HeadNews {
  private kept: NodeMessage[] = [];

  /** The head could not be told. */
  missed(message: NodeMessage): void {
    if (isNews(message) && this.kept.length < newsMax) this.kept.push(message);
  }

  all(): readonly NodeMessage[] {
    return this.kept;
  }

  told(): void {
    this.kept = [];
  }
}

/** Also gives up what the earlier head, or connection, had begun and not finished: the head begins anew. */
export function takeInventory(daemon: Daemon, news: HeadNews): NodeInventory {
  daemon.localNode.giveUpPlacing();
  const own = [...daemon.clients.values()].filter((client) => !client.remote && client.role !== "tool");
  return {
    actors: [...daemon.actorsHere.values()].map(({ spec, incarnation, place, alive }) => ({ spec, incarnation, place, alive })),
    processes: own.map(({ id }) => id),
    driven: own.flatMap(({ role, jobId, pid }) => {
      const info = role === "driver" ? daemon.jobInfo(jobId) : null;
      return info === null ? [] : [{ info, driverPid: pid }];
    }),
    jobs: daemon.jobIds(),
    subscriptions: daemon.subscriptions.entries(),
    bundles: daemon.scheduling.bundles(),
    news: news.all(),
  };
}

/** What the head is told again when it has the inventory: it may not have heard it. */
export function repeatNews(daemon: Daemon): void {
  for (const { spec, incarnation, ready, alive, exiting } of daemon.actorsHere.values()) {
    if (ready !== null && !alive) daemon.headSide.onActorReady(spec.actorId, incarnation, ready.error, ready.errorText);
    if (exiting) daemon.headSide.onActorExiting(spec.actorId, incarnation);
  }
}
