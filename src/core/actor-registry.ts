/**
 * The actor registry: the head's word on every actor of the cluster: where it lives, whether it restarts, who has its name.
 *
 * PENDING -> ALIVE -> RESTARTING -> ALIVE ... -> DEAD. Within PENDING and RESTARTING an actor is first being placed (no process yet), then
 * starting (its constructor runs). The complication is that orders cross with news: a kill is on its way to a process that just died, a
 * process becomes ready that is no longer wanted. So every start has an incarnation, news of older ones is ignored, and the intent to end
 * is noted in the record (`ending`) before the process ends, so that its death is read in that light. docs/states/actors.md.
 */
import { assert } from "../base/assert.ts";
import type { ActorDeathReason } from "../base/errors.ts";
import type { ActorId, JobId, NodeId, WorkerId } from "../base/ids.ts";
import type { ActorSpec, ActorStateName, ActorView, ProcessExit } from "../wire/messages.ts";
import {
  type ActorDeath,
  type ActorPlace,
  leavesWhenIdle,
  type RegistryEffect,
  type RegistryEvent,
  type SavedActor,
} from "./actor-registry-events.ts";

/** An actor asked to end after its calls is ended by force after this long, as in Ray. */
export const gracefulEndMs = 30_000;
/** Dead actors remembered for listings and late questions; beyond it the oldest are forgotten. About 1 KiB each. */
export const deadActorsMax = 10_000;
/** Lines of an actor's story kept. An actor that restarts for ever would grow it; the oldest lines go. */
const storyLinesMax = 40;

export interface ActorRecord {
  /** Without what it is started with when it is dead: that may be large. */
  spec: ActorSpec;
  state: ActorStateName;
  incarnation: number;
  /** Starts still allowed after a crash; -1 without end. */
  restartsLeft: number;
  /** Null while being placed and when dead. */
  place: ActorPlace | null;
  /** Set when its end was ordered or announced and its process still lives; then the process's death is this death, not a crash. */
  ending: ActorDeath | null;
  /** Its process ends as its node leaves: the next life costs no restart. Until it has left its place. */
  moving: boolean;
  /** When the process is ended by force; null: not asked to end. */
  forceAtMs: number | null;
  death: ActorDeath | null;
  /** What happened to it, oldest first, for failed assertions and for people. */
  readonly story: string[];
}

export interface RegistryState {
  readonly actors: Map<ActorId, ActorRecord>;
  /** namespace + NUL + name -> the actor that has it: PENDING, ALIVE or RESTARTING. */
  readonly names: Map<string, ActorRecord>;
  /** Actors with a process: added when placed, removed when that process ended or the actor is dead. */
  readonly byWorker: Map<WorkerId, ActorRecord>;
  /** Living non-detached actors by owner: added at creation, removed at death. */
  readonly byOwner: Map<WorkerId, Set<ActorRecord>>;
  /** Records with `forceAtMs`. */
  readonly ending: Set<ActorRecord>;
  /** From an earlier head's store, to be placed anew unless a node has them. Emptied by `placeRestored`. */
  readonly restored: Set<ActorRecord>;
  readonly dead: ActorId[];
  effects: RegistryEffect[];
}

const transitions: Readonly<Record<ActorStateName, readonly ActorStateName[]>> = {
  PENDING: ["ALIVE", "RESTARTING", "DEAD"],
  ALIVE: ["RESTARTING", "DEAD"],
  RESTARTING: ["RESTARTING", "ALIVE", "DEAD"],
  DEAD: [],
};

export function createActorRegistry(): RegistryState {
  return {
    actors: new Map(),
    names: new Map(),
    byWorker: new Map(),
    byOwner: new Map(),
    ending: new Set(),
    restored: new Set(),
    dead: [],
    effects: [],
  };
}

/** Takes in one event; returns the effects in order. */
export function step(state: RegistryState, now: number, event: RegistryEvent): RegistryEffect[] {
  apply(state, now, event);
  const effects = state.effects;
  state.effects = [];
  return effects;
}

/** When `tick` is due; null: never. */
export function nextWakeMs(state: RegistryState): number | null {
  let next: number | null = null;
  for (const record of state.ending)
    if (record.forceAtMs !== null && (next === null || record.forceAtMs < next)) next = record.forceAtMs;
  return next;
}

export function findByName(state: RegistryState, namespace: string, name: string): ActorRecord | null {
  return state.names.get(nameKey(namespace, name)) ?? null;
}

export function viewOf(record: ActorRecord): ActorView {
  const { spec, place, death } = record;
  return {
    actorId: spec.actorId,
    className: spec.className,
    name: spec.name,
    namespace: spec.namespace,
    state: record.state,
    incarnation: record.incarnation,
    workerId: place?.workerId ?? null,
    address: record.state === "ALIVE" ? (place?.address ?? null) : null,
    pid: place?.pid ?? null,
    nodeId: place?.nodeId ?? null,
    restartsLeft: record.restartsLeft,
    deathReason: death?.reason ?? null,
    deathMessage: death?.message ?? null,
    deathCause: death?.cause ?? null,
    ownerId: spec.ownerId,
    handleIndex: spec.handleIndex,
    detached: spec.detached,
    handleSpec: spec.handleSpec,
    jobId: spec.jobId,
  };
}

/** Checks the whole structure; for tests and simulation. */
export function validate(state: RegistryState): void {
  for (const record of state.actors.values()) {
    const story = () => record.story.join("; ");
    assert((record.state === "DEAD") === (record.death !== null), story);
    assert(record.state !== "ALIVE" || record.place !== null, story);
    assert(record.state !== "DEAD" || record.place === null, story);
    if (record.place !== null) assert(state.byWorker.get(record.place.workerId) === record, story);
    const named = record.spec.name === null ? undefined : state.names.get(nameKey(record.spec.namespace, record.spec.name));
    if (record.spec.name !== null) assert((named === record) === (record.state !== "DEAD"), story);
    const owned = state.byOwner.get(record.spec.ownerId)?.has(record) ?? false;
    assert(owned === (record.state !== "DEAD" && !record.spec.detached), story);
    assert((record.forceAtMs !== null) === state.ending.has(record), story);
  }
  for (const [workerId, record] of state.byWorker)
    assert(record.place?.workerId === workerId, () => `worker ${workerId}: ${record.story.join("; ")}`);
}

function apply(state: RegistryState, now: number, event: RegistryEvent): void {
  switch (event.kind) {
    case "create":
      return create(state, event.spec);
    case "placed":
      return placed(state, event.actorId, event.place);
    case "unplaceable":
      return unplaceable(state, event.actorId, event.reason, event.text);
    case "ready":
      return ready(state, event);
    case "exiting":
      return exiting(state, now, event.actorId, event.incarnation);
    case "workerDied":
      return workerDied(state, event.workerId, event.exit);
    case "ownerGone":
      return ownerGone(state, event.ownerId, "its owner is gone");
    case "kill":
      return kill(state, event.actorId, event.noRestart);
    case "outOfScope":
      return outOfScope(state, now, event.actorId);
    case "jobEnded":
      return jobEnded(state, event.jobId);
    case "groupRemoved":
      for (const actorId of event.actorIds)
        end(state, actorId, { reason: "killed", message: `its ${event.groupText} was removed`, cause: null });
      return;
    case "nodeDraining":
      return nodeDraining(state, event.nodeId);
    case "nodeDied":
      return nodeDied(state, event.nodeId, event.text);
    case "recovered":
      return recovered(state, event);
    case "absent":
      return absent(state, event.nodeId, event.present);
    case "restored":
      return restored(state, event.saved);
    case "placeRestored":
      return placeRestored(state);
    case "tick":
      return tick(state, now);
  }
}

// ---------------------------------------------------------------- events

function create(state: RegistryState, spec: ActorSpec): void {
  const same = state.actors.get(spec.actorId);
  if (same !== undefined) {
    // Asked twice: the answer was lost with the connection to the head.
    state.effects.push({ kind: "created", outcome: "new", view: viewOf(same) });
    return;
  }
  const holder = spec.name === null ? undefined : state.names.get(nameKey(spec.namespace, spec.name));
  if (holder !== undefined) {
    state.effects.push({ kind: "created", outcome: spec.getIfExists ? "existing" : "taken", view: viewOf(holder) });
    return;
  }
  const record: ActorRecord = {
    spec,
    state: "PENDING",
    incarnation: 0,
    restartsLeft: spec.maxRestarts,
    place: null,
    ending: null,
    moving: false,
    forceAtMs: null,
    death: null,
    story: ["created"],
  };
  state.actors.set(spec.actorId, record);
  if (spec.name !== null) state.names.set(nameKey(spec.namespace, spec.name), record);
  if (!spec.detached) ownedBy(state, record);
  save(state, record);
  state.effects.push({ kind: "created", outcome: "new", view: viewOf(record) }, { kind: "place", spec });
}

function ownedBy(state: RegistryState, record: ActorRecord): void {
  const owned = state.byOwner.get(record.spec.ownerId);
  if (owned === undefined) state.byOwner.set(record.spec.ownerId, new Set([record]));
  else owned.add(record);
}

function placed(state: RegistryState, actorId: ActorId, place: ActorPlace): void {
  const record = state.actors.get(actorId);
  if (record === undefined || record.state === "DEAD" || record.place !== null) {
    // It ended while its place was on the way.
    state.effects.push({
      kind: "endProcess",
      nodeId: place.nodeId,
      workerId: place.workerId,
      how: "now",
      reason: "the actor it was meant for has ended",
    });
    return;
  }
  assert(record.state === "PENDING" || record.state === "RESTARTING", () => record.story.join("; "));
  record.place = place;
  state.byWorker.set(place.workerId, record);
  note(record, `placed in ${place.workerId}`);
  save(state, record);
  state.effects.push({ kind: "start", spec: record.spec, incarnation: record.incarnation, place });
}

function unplaceable(state: RegistryState, actorId: ActorId, reason: "unschedulable" | "runtime env", text: string): void {
  const record = state.actors.get(actorId);
  if (record === undefined || record.state === "DEAD") return;
  becomeDead(state, record, {
    reason: reason === "runtime env" ? "runtime env failed" : "unschedulable",
    message: text,
    cause: null,
  });
}

function ready(state: RegistryState, event: RegistryEvent & { kind: "ready" }): void {
  const record = state.actors.get(event.actorId);
  if (record === undefined || record.incarnation !== event.incarnation || record.place === null) return; // news of an older start
  if (record.state !== "PENDING" && record.state !== "RESTARTING") return;
  if (event.error !== null) {
    endProcess(state, record, "now", "its constructor failed");
    becomeDead(state, record, {
      reason: "constructor failed",
      message: `its constructor failed: ${event.errorText}`,
      cause: event.error,
    });
    return;
  }
  becomeAlive(state, record);
}

function exiting(state: RegistryState, now: number, actorId: ActorId, incarnation: number): void {
  const record = state.actors.get(actorId);
  if (record === undefined || record.place === null || record.incarnation !== incarnation) return;
  expectEnd(state, now, record, { reason: "exited", message: "it ended itself by exitActor()", cause: null });
}

function workerDied(state: RegistryState, workerId: WorkerId, exit: ProcessExit): void {
  const record = state.byWorker.get(workerId);
  if (record !== undefined) processEnded(state, record, exit);
  ownerGone(state, workerId, `its owner, process ${exit.pid}, ${exit.text}`);
}

function ownerGone(state: RegistryState, ownerId: WorkerId, message: string): void {
  for (const record of [...(state.byOwner.get(ownerId) ?? [])])
    end(state, record.spec.actorId, { reason: "owner died", message, cause: null });
}

function kill(state: RegistryState, actorId: ActorId, noRestart: boolean): void {
  const record = state.actors.get(actorId);
  if (record === undefined || record.state === "DEAD") return;
  if (noRestart) return end(state, actorId, { reason: "killed", message: "it was ended by kill()", cause: null });
  if (record.place === null) return; // nothing runs: the start under way is the restart
  note(record, "process killed for a restart");
  endProcess(state, record, "now", "kill(noRestart: false)");
  crashed(state, record, { reason: "killed", message: "it was ended by kill() and had no restarts left", cause: null });
}

/** Its calls complete first, so a process that has calls is asked to finish; one that was never placed has none. */
function outOfScope(state: RegistryState, now: number, actorId: ActorId): void {
  const record = state.actors.get(actorId);
  if (record === undefined || record.state === "DEAD" || record.spec.detached) return;
  const death: ActorDeath = { reason: "out of scope", message: "its last handle is gone", cause: null };
  if (record.place === null) return becomeDead(state, record, death);
  if (record.ending !== null) return;
  expectEnd(state, now, record, death);
  endProcess(state, record, "finish", "out of scope");
}

/** Detached actors stay, and with each what it owns: that ends with its owner. */
function jobEnded(state: RegistryState, jobId: JobId): void {
  const ending = [...state.actors.values()].filter(
    (record) => record.spec.jobId === jobId && record.state !== "DEAD" && !staysAfterJob(state, record),
  );
  for (const { spec } of ending) end(state, spec.actorId, { reason: "owner died", message: "its job has ended", cause: null });
}

/** It is detached, or owned by one that stays. */
function staysAfterJob(state: RegistryState, record: ActorRecord): boolean {
  for (let at: ActorRecord | undefined = record; at !== undefined; at = state.byWorker.get(at.spec.ownerId))
    if (at.spec.detached) return true;
  return false;
}

function nodeDraining(state: RegistryState, nodeId: NodeId): void {
  for (const record of state.actors.values()) {
    if (record.state !== "ALIVE" || record.place?.nodeId !== nodeId) continue;
    if (record.restartsLeft === 0 || record.ending !== null || record.moving) continue;
    record.moving = true;
    note(record, "moves, as its node leaves");
    endProcess(state, record, "finish", leavesWhenIdle);
  }
}

function nodeDied(state: RegistryState, nodeId: NodeId, text: string): void {
  const hit = [...state.actors.values()].filter((record) => record.place?.nodeId === nodeId);
  for (const record of hit) {
    if (record.ending !== null) becomeDead(state, record, record.ending);
    else crashed(state, record, { reason: "node died", message: `its node ${nodeId} is gone: ${text}`, cause: null });
  }
}

function tick(state: RegistryState, now: number): void {
  for (const record of [...state.ending]) {
    if (record.forceAtMs === null || record.forceAtMs > now) continue;
    note(record, "did not end in time");
    const death = record.ending as ActorDeath;
    endProcess(state, record, "now", death.message);
    becomeDead(state, record, death);
  }
}

// ---------------------------------------------------------------- a head that is back

function restored(state: RegistryState, saved: SavedActor): void {
  const { spec, incarnation, restartsLeft, place } = saved;
  if (state.actors.has(spec.actorId)) return;
  const record: ActorRecord = {
    spec,
    // One that lived where nothing lives any more.
    state: saved.state === "ALIVE" && place === null ? "RESTARTING" : saved.state,
    incarnation: saved.state === "ALIVE" && place === null ? incarnation + 1 : incarnation,
    restartsLeft,
    place,
    ending: null,
    moving: false,
    forceAtMs: null,
    death: null,
    story: ["restored from the store of an earlier head"],
  };
  state.actors.set(spec.actorId, record);
  if (spec.name !== null) state.names.set(nameKey(spec.namespace, spec.name), record);
  if (place !== null) state.byWorker.set(place.workerId, record);
  if (!spec.detached) ownedBy(state, record);
  state.restored.add(record);
}

function placeRestored(state: RegistryState): void {
  for (const record of state.restored)
    if ((record.state === "PENDING" || record.state === "RESTARTING") && record.place === null)
      state.effects.push({ kind: "place", spec: record.spec });
  state.restored.clear();
}

function recovered(state: RegistryState, event: RegistryEvent & { kind: "recovered" }): void {
  const { spec, incarnation, place, alive } = event;
  if (!state.actors.has(spec.actorId)) create(state, { ...spec, getIfExists: false });
  const record = state.actors.get(spec.actorId);
  if (record !== undefined && record.place?.workerId === place.workerId) return stillThere(state, record, alive);
  // It has ended, its name has another holder, or it was started anew after this process was ordered to end.
  if (record === undefined || record.state === "DEAD" || isOlder(record, incarnation)) {
    const reason = "its actor has ended or been restarted elsewhere";
    state.effects.push({ kind: "endProcess", nodeId: place.nodeId, workerId: place.workerId, how: "now", reason });
    return;
  }
  leavePlace(state, record);
  state.restored.delete(record);
  record.incarnation = incarnation;
  record.place = place;
  state.byWorker.set(place.workerId, record);
  note(record, `found in ${place.workerId}`);
  if (record.state === "ALIVE") move(record, "RESTARTING");
  if (alive) becomeAlive(state, record);
  else save(state, record);
}

const isOlder = (record: ActorRecord, incarnation: number): boolean =>
  record.place === null ? record.incarnation > incarnation : record.incarnation >= incarnation;

/** Where the head thought it was: orders that may have been lost on the way are repeated. */
function stillThere(state: RegistryState, record: ActorRecord, alive: boolean): void {
  if (alive && record.state !== "ALIVE") becomeAlive(state, record);
  else if (record.state === "ALIVE" && !alive && record.place !== null)
    state.effects.push({ kind: "settled", actorId: record.spec.actorId, nodeId: record.place.nodeId });
  if (record.ending?.reason === "out of scope") endProcess(state, record, "finish", "out of scope");
  else if (record.moving) endProcess(state, record, "finish", leavesWhenIdle);
}

/** Those that were there and are not any more have ended in the meantime; those that had not begun to start are placed anew. */
function absent(state: RegistryState, nodeId: NodeId, present: ReadonlySet<ActorId>): void {
  const missing = [...state.actors.values()].filter(({ spec, place }) => place?.nodeId === nodeId && !present.has(spec.actorId));
  for (const record of missing) {
    const message = "its process has ended while its node was out of reach of the head";
    if (record.ending !== null) becomeDead(state, record, record.ending);
    else if (record.state === "ALIVE") crashed(state, record, { reason: "out of restarts", message, cause: null });
    else {
      leavePlace(state, record);
      if (state.restored.has(record)) save(state, record);
      else state.effects.push({ kind: "place", spec: record.spec });
    }
  }
}

// ---------------------------------------------------------------- ends

/** Ends the actor for good and at once, whatever it does. */
function end(state: RegistryState, actorId: ActorId, death: ActorDeath): void {
  const record = state.actors.get(actorId);
  if (record === undefined || record.state === "DEAD") return;
  endProcess(state, record, "now", death.message);
  becomeDead(state, record, death);
}

/** Its process is going to end by itself; then it is dead by `death`. */
function expectEnd(state: RegistryState, now: number, record: ActorRecord, death: ActorDeath): void {
  if (record.ending !== null) return;
  record.ending = death;
  record.forceAtMs = now + gracefulEndMs;
  state.ending.add(record);
  note(record, `ending: ${death.reason}`);
}

/** The process under a living actor ended. */
function processEnded(state: RegistryState, record: ActorRecord, exit: ProcessExit): void {
  if (record.ending !== null) return becomeDead(state, record, record.ending);
  const process = `its process ${exit.pid} ${exit.text}`;
  if (exit.intended && !record.moving) return becomeDead(state, record, { reason: "killed", message: process, cause: null });
  const reason: ActorDeathReason = exit.outOfMemory ? "out of memory" : "out of restarts";
  crashed(state, record, {
    reason,
    message: `${process} and it had no restarts left (maxRestarts: ${record.spec.maxRestarts})`,
    cause: null,
  });
}

/** Restarts it if it may, else it is dead by `death`. */
function crashed(state: RegistryState, record: ActorRecord, death: ActorDeath): void {
  if (record.moving) return becomeRestarting(state, record, "moved");
  if (record.restartsLeft === 0) return becomeDead(state, record, death);
  becomeRestarting(state, record, death.message);
}

function endProcess(state: RegistryState, record: ActorRecord, how: "finish" | "now", reason: string): void {
  if (record.place === null) return;
  state.effects.push({ kind: "endProcess", nodeId: record.place.nodeId, workerId: record.place.workerId, how, reason });
}

// ---------------------------------------------------------------- arrows

function becomeAlive(state: RegistryState, record: ActorRecord): void {
  move(record, "ALIVE");
  save(state, record);
  const place = record.place as ActorPlace;
  state.effects.push(
    { kind: "settled", actorId: record.spec.actorId, nodeId: place.nodeId },
    { kind: "publish", view: viewOf(record) },
  );
}

function becomeRestarting(state: RegistryState, record: ActorRecord, why: string): void {
  move(record, "RESTARTING");
  note(record, why);
  if (record.restartsLeft > 0 && !record.moving) record.restartsLeft--;
  leavePlace(state, record);
  state.restored.delete(record);
  record.incarnation++;
  save(state, record);
  state.effects.push({ kind: "publish", view: viewOf(record) }, { kind: "place", spec: record.spec });
}

function becomeDead(state: RegistryState, record: ActorRecord, death: ActorDeath): void {
  const { spec } = record;
  move(record, "DEAD");
  note(record, death.reason);
  leavePlace(state, record);
  record.death = death;
  record.ending = null;
  record.forceAtMs = null;
  state.ending.delete(record);
  if (spec.name !== null) state.names.delete(nameKey(spec.namespace, spec.name));
  const owned = state.byOwner.get(spec.ownerId);
  if (owned?.delete(record) === true && owned.size === 0) state.byOwner.delete(spec.ownerId);
  state.restored.delete(record);
  state.effects.push({ kind: "forget", actorId: spec.actorId });
  state.effects.push({ kind: "publish", view: viewOf(record) });
  record.spec = { ...spec, start: null };
  state.dead.push(spec.actorId);
  while (state.dead.length > deadActorsMax) state.actors.delete(state.dead.shift() as ActorId);
}

function save(state: RegistryState, { spec, state: name, incarnation, restartsLeft, place }: ActorRecord): void {
  assert(name !== "DEAD", "a dead actor is forgotten, not saved");
  state.effects.push({ kind: "save", saved: { spec, state: name, incarnation, restartsLeft, place } });
}

/** The place, or the placement under way, is given up; a restart is placed anew. */
function leavePlace(state: RegistryState, record: ActorRecord): void {
  record.moving = false;
  state.effects.push({ kind: "unplace", actorId: record.spec.actorId, nodeId: record.place?.nodeId ?? null });
  if (record.place === null) return;
  state.byWorker.delete(record.place.workerId);
  record.place = null;
}

function move(record: ActorRecord, to: ActorStateName): void {
  assert(
    transitions[record.state].includes(to),
    () => `actor ${record.spec.actorId} cannot go from ${record.state} to ${to}: ${record.story.join("; ")}`,
  );
  record.state = to;
  note(record, to);
}

function note(record: ActorRecord, line: string): void {
  record.story.push(line);
  if (record.story.length > storyLinesMax) record.story.shift();
}

const nameKey = (namespace: string, name: string): string => `${namespace}\0${name}`;
