/**
 * Whether what the head has ordered is carried out: where head and node have been connected for a while, they agree. A difference may be under way, so
 * only one that lasts is wrong.
 */
import type { Daemon } from "./daemon.ts";
import type { SimHead } from "./head.ts";
import { check, type Shared } from "./simulation.ts";

const lookMs = 1_000;
/** Longer than joining again, starting a process and the longest delay together. */
const lastsMs = 15_000;

export class OrderChecks {
  private readonly shared: Shared;
  /** Differences, and since when. */
  private since = new Map<string, number>();

  constructor(shared: Shared) {
    this.shared = shared;
  }

  start(): void {
    this.shared.world.after(lookMs, () => {
      this.look();
      this.start();
    });
  }

  private look(): void {
    const { world, nodes, headId } = this.shared;
    const head = nodes.get(headId)?.head as SimHead;
    const since = new Map<string, number>();
    for (const daemon of nodes.values()) {
      if (!daemon.alive || (daemon.tie !== null && !daemon.tie.isJoined) || !head.hears(daemon.nodeId)) continue;
      for (const difference of differences(head, daemon)) {
        const sinceMs = this.since.get(difference) ?? world.now;
        since.set(difference, sinceMs);
        check(world.now - sinceMs < lastsMs, () => `for ${lastsMs / 1000} s ${difference}`);
      }
    }
    this.since = since;
  }
}

function* differences(head: SimHead, daemon: Daemon): Generator<string> {
  const { nodeId } = daemon;
  for (const [actorId, { state, place, ending, incarnation }] of head.registry.actors) {
    if (place?.nodeId !== nodeId) continue;
    const here = daemon.actorsHere.get(actorId);
    const what = `actor ${actorId} (${incarnation}) of ${place.workerId}`;
    if (here?.workerId !== place.workerId) yield `node ${nodeId} has not started ${what}`;
    else if (state === "ALIVE" && !here.alive) yield `node ${nodeId} does not know that ${what} is through with its constructor`;
    if (state !== "ALIVE" && here?.ready === true) yield `the head does not know that ${what} is through with its constructor`;
    if (ending !== null) yield `${what} is to end and has not`;
  }
  for (const [actorId, { workerId }] of daemon.actorsHere)
    if (head.registry.actors.get(actorId)?.place?.workerId !== workerId)
      yield `actor ${actorId} of ${workerId} is on node ${nodeId}, and the head does not say so`;
  for (const actorId of daemon.placing)
    if (head.placement.placing.get(actorId)?.nodeId !== nodeId && head.registry.actors.get(actorId)?.place?.nodeId !== nodeId)
      yield `node ${nodeId} looks for a place for actor ${actorId}, and the head does not say so`;
  for (const [actorId, placing] of head.placement.placing)
    if (placing.nodeId === nodeId && !daemon.placing.has(actorId))
      yield `node ${nodeId} does not look for a place for actor ${actorId}`;
  yield* groupDifferences(head, daemon);
  for (const jobId of daemon.livingJobs)
    if (head.hasEnded(jobId)) yield `node ${nodeId} does not know that job ${jobId} has ended`;
}

function* groupDifferences(head: SimHead, { nodeId, scheduler }: Daemon): Generator<string> {
  for (const [groupId, { removing, trying, nodes }] of head.groups.groups) {
    if (removing?.waiting.has(nodeId) === true) yield `node ${nodeId} has not given back group ${groupId}`;
    if (trying !== null && !trying.queued && trying.plan.has(nodeId) && !trying.yes.has(nodeId))
      yield `node ${nodeId} has not answered for group ${groupId}`;
    const places = scheduler.places.get(groupId)?.nodes;
    if (removing === null && nodes.some((where) => where !== null) && JSON.stringify(places) !== JSON.stringify(nodes))
      yield `node ${nodeId} does not know where group ${groupId} is`;
  }
  for (const [groupId, { source, phase }] of scheduler.groups)
    for (const index of source.indexes) {
      const group = head.groups.groups.get(groupId);
      if (phase === "created" && group?.nodes[index] !== nodeId && group?.trying?.plan.has(nodeId) !== true)
        yield `node ${nodeId} keeps bundle ${index} of group ${groupId}, and the head does not say so`;
    }
  for (const groupId of scheduler.places.keys())
    if (!head.groups.groups.has(groupId)) yield `node ${nodeId} does not know that group ${groupId} is gone`;
}
