/** What a node tells a head that it joins: the head may be a new one, or either may have missed what was said on a connection that broke. */
import type { HeadNews } from "../../core/head-news.ts";
import type { NodeInventory } from "../../wire/node-messages.ts";
import type { Daemon } from "./daemon.ts";

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
    groups: daemon.scheduling.groupsKnown(),
    news: news.take(),
  };
}

/** What the head is told again when it has the inventory: it may not have heard it. */
export function repeatNews(daemon: Daemon): void {
  for (const { spec, incarnation, ready, alive, exiting } of daemon.actorsHere.values()) {
    if (ready !== null && !alive) daemon.headSide.onActorReady(spec.actorId, incarnation, ready.error, ready.errorText);
    if (exiting) daemon.headSide.onActorExiting(spec.actorId, incarnation);
  }
}
