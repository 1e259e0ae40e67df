/**
 * Actors on this node: they take their placement resources while they start and keep only their lifetime resources afterwards, on a
 * process of their own that has run nothing else.
 */
import type { ActorId } from "../base/ids.ts";
import { lend, shrink, takeBackLent, toDemand } from "./resources.ts";
import { resourcesFreed } from "./scheduler-claims.ts";
import type { SchedulerEvent } from "./scheduler-events.ts";
import { forgetActor, route } from "./scheduler-route.ts";
import { type ActorRecord, jobOf, poolKeyOf, type SchedulerState, type Source } from "./scheduler-state.ts";
import { becomeStopping, stopWorker } from "./scheduler-workers.ts";

export function placeActor(state: SchedulerState, now: number, event: SchedulerEvent & { kind: "placeActor" }): void {
  const earlier = state.actors.get(event.actorId);
  if (earlier !== undefined) {
    forgetActor(state, earlier);
    if (earlier.worker !== null) stopWorker(state, earlier.worker, "the actor starts anew");
  }
  const actor: ActorRecord = {
    kind: "actor",
    actorId: event.actorId,
    job: jobOf(state, event.jobId),
    spec: event.placement,
    demand: toDemand(event.placement.resources),
    lifetime: toDemand(event.lifetimeResources),
    poolKey: poolKeyOf(event.jobId, event.placement.runtimeEnv),
    phase: "waiting",
    shape: null,
    source: null,
    booking: null,
    allocation: null,
    worker: null,
    waitingSinceMs: now,
    turn: state.nextTurn++,
    holds: 0,
    passUntilMs: 0,
  };
  actor.job.claims++;
  state.actors.set(event.actorId, actor);
  route(state, actor, now);
}

export function actorReady(state: SchedulerState, actorId: ActorId): void {
  const actor = state.actors.get(actorId);
  if (actor === undefined || actor.phase !== "starting" || actor.allocation === null) return;
  actor.phase = "alive";
  shrink(actor.allocation, actor.lifetime);
  resourcesFreed(state, actor.source as Source, actor.allocation);
}

export function actorGone(state: SchedulerState, actorId: ActorId, stop: boolean): void {
  const actor = state.actors.get(actorId);
  if (actor === undefined) return;
  forgetActor(state, actor);
  if (actor.worker === null) return;
  if (stop) stopWorker(state, actor.worker, "the head does not know that it is there");
  else becomeStopping(state, actor.worker);
}

/** Its constructor waits in get (or goes on). */
export function actorBlocked(state: SchedulerState, actorId: ActorId, blocked: boolean): void {
  const actor = state.actors.get(actorId);
  if (actor === undefined || actor.allocation === null || actor.worker === null) return;
  if (!blocked) return takeBackLent(actor.allocation);
  lend(actor.allocation);
  resourcesFreed(state, actor.source as Source, actor.allocation);
}
