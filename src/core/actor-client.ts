/**
 * The actor client: one caller's view of one actor, and the order of its calls.
 *
 * Calls start at the actor in the order the caller made them. So the client keeps one queue: a call whose arguments are still pending holds
 * back those after it. The complication is a connection that breaks: whether the actor restarts or is dead is the head's word, so calls that
 * were in flight are parked until that word comes; then they are sent again if they may run twice, else they fail as "may or may not have run".
 */
import { assert } from "../base/assert.ts";
import type { ActorId, WorkerId } from "../base/ids.ts";
import type { ActorStateName, ActorView } from "../wire/messages.ts";
import { Fifo } from "./fifo.ts";
import type { TaskRecord } from "./task-record.ts";

/**
 * resolving: the head has not answered yet, or a connection is to be made again · connecting: alive, connection being made · connected: calls flow ·
 * ending: the actor's process is said to end, what it has sent may still arrive · broken: the connection ended and the head has not said
 * more · restarting · dead.
 */
export type ClientState = "resolving" | "connecting" | "connected" | "ending" | "broken" | "restarting" | "dead";

export interface ActorClientState {
  readonly actorId: ActorId;
  state: ClientState;
  view: ActorView | null;
  /** All calls in order that are not sent, ready or not. */
  readonly queue: Fifo<TaskRecord>;
  /** Sent, not answered, in order. */
  readonly inFlight: Set<TaskRecord>;
  /** In flight when the connection broke. */
  parked: TaskRecord[];
  /** The incarnation calls were last sent to. */
  incarnation: number;
  effects: ActorClientEffect[];
}

export type ActorClientEvent =
  /** The user made a call; it may still wait for arguments. */
  | { readonly kind: "called"; readonly task: TaskRecord }
  /** A call's arguments are there (also: it is to run again). */
  | { readonly kind: "ready"; readonly task: TaskRecord }
  /** A call was settled otherwise (argument failed, cancelled): look at the queue again. */
  | { readonly kind: "settled" }
  | { readonly kind: "view"; readonly view: ActorView }
  | { readonly kind: "connected"; readonly workerId: WorkerId }
  /** The process ends or has ended: nothing more is sent to it. `disconnected` follows when all it has sent has arrived. */
  | { readonly kind: "ending"; readonly workerId: WorkerId }
  | { readonly kind: "disconnected"; readonly workerId: WorkerId }
  /** The connection broke a while ago and nobody reports an end of the actor's process: it lives. A view is to follow, to connect again. */
  | { readonly kind: "outlived"; readonly workerId: WorkerId }
  | { readonly kind: "done"; readonly task: TaskRecord };

export type ActorClientEffect =
  | { readonly kind: "connect"; readonly view: ActorView }
  | { readonly kind: "send"; readonly task: TaskRecord }
  /** It was in flight when the actor's process ended. */
  | { readonly kind: "interrupted"; readonly task: TaskRecord }
  /** It cannot run: the actor is dead, or restarting and the call may not wait. */
  | { readonly kind: "refuse"; readonly task: TaskRecord; readonly why: "dead" | "unavailable" };

export function createActorClient(actorId: ActorId): ActorClientState {
  return {
    actorId,
    state: "resolving",
    view: null,
    queue: new Fifo(),
    inFlight: new Set(),
    parked: [],
    incarnation: -1,
    effects: [],
  };
}

export function step(client: ActorClientState, event: ActorClientEvent): void {
  switch (event.kind) {
    case "called":
      return called(client, event.task);
    case "ready":
      return ready(client, event.task);
    case "settled":
      return pump(client);
    case "view":
      return viewed(client, event.view);
    case "connected":
      return connected(client, event.workerId);
    case "ending":
      if (client.state === "connected" && client.view?.workerId === event.workerId) client.state = "ending";
      return;
    case "disconnected":
      return disconnected(client, event.workerId);
    case "outlived":
      return outlived(client, event.workerId);
    case "done":
      client.inFlight.delete(event.task);
      return;
  }
}

/** Calls under way or waiting: what `maxPendingCalls` bounds. */
export function pendingCalls(client: ActorClientState): number {
  return client.queue.length + client.inFlight.size + client.parked.length;
}

function called(client: ActorClientState, task: TaskRecord): void {
  client.queue.push(task);
}

function ready(client: ActorClientState, _task: TaskRecord): void {
  pump(client);
}

/** Sends from the front of the queue what can be sent now. */
function pump(client: ActorClientState): void {
  while (client.queue.length > 0) {
    const task = client.queue.peek() as TaskRecord;
    if (task.state === "finished" || task.state === "cancelled") {
      client.queue.shift();
      continue;
    }
    if (client.state === "dead") {
      client.queue.shift();
      client.effects.push({ kind: "refuse", task, why: "dead" });
      continue;
    }
    if (task.state !== "queued") return;
    // One that has used up its retries is a retry itself, and was promised another run.
    if (client.state === "restarting" && task.retriesLeft === 0 && task.attempt === 0) {
      client.queue.shift();
      client.effects.push({ kind: "refuse", task, why: "unavailable" });
      continue;
    }
    if (client.state !== "connected") return;
    client.queue.shift();
    client.inFlight.add(task);
    client.effects.push({ kind: "send", task });
  }
}

/** The order of an actor's states within one of its lives. */
const stateOrder: Readonly<Record<ActorStateName, number>> = { PENDING: 0, RESTARTING: 0, ALIVE: 1, DEAD: 2 };

/** A word of the head that was overtaken: what it says when asked and what it tells by itself come different ways. */
const isOlder = (view: ActorView, known: ActorView): boolean =>
  view.incarnation === known.incarnation
    ? stateOrder[view.state] < stateOrder[known.state]
    : view.incarnation < known.incarnation;

function viewed(client: ActorClientState, view: ActorView): void {
  const known = client.view;
  if (known !== null && isOlder(view, known)) return;
  client.view = view;
  if (client.state === "dead") return;
  if (view.state === "DEAD") return becomeDead(client);
  if (view.state === "RESTARTING") return becomeRestarting(client);
  if (view.state !== "ALIVE") return;
  const newLife = view.incarnation > client.incarnation;
  if ((client.state === "connected" || client.state === "ending") && newLife)
    disconnected(client, (known as ActorView).workerId as WorkerId);
  if ((client.state === "broken" || client.state === "ending") && !newLife) return; // still the word from before the break
  if (client.state === "broken") becomeRestarting(client);
  if (client.state === "connected") return;
  if (client.state === "connecting" && known?.workerId === view.workerId) return;
  client.state = "connecting";
  client.effects.push({ kind: "connect", view });
}

function connected(client: ActorClientState, workerId: WorkerId): void {
  if (client.view?.workerId !== workerId || client.state !== "connecting") return;
  client.state = "connected";
  client.incarnation = client.view.incarnation;
  pump(client);
}

function disconnected(client: ActorClientState, workerId: WorkerId): void {
  if (client.state !== "connected" && client.state !== "connecting" && client.state !== "ending") return;
  if (client.view?.workerId !== workerId) return;
  client.incarnation = client.view.incarnation;
  client.state = "broken";
  client.parked = [...client.inFlight];
  client.inFlight.clear();
}

/** What was in flight may have run, as after a crash; what was not waits for the new connection. */
function outlived(client: ActorClientState, workerId: WorkerId): void {
  if (client.state !== "broken" || client.view?.workerId !== workerId || client.view.state !== "ALIVE") return;
  client.state = "resolving";
  releaseParked(client);
}

function becomeRestarting(client: ActorClientState): void {
  if (client.state === "connected" || client.state === "connecting" || client.state === "ending")
    disconnected(client, (client.view as ActorView).workerId as WorkerId);
  if (client.inFlight.size > 0) client.parked.push(...client.inFlight);
  client.inFlight.clear();
  client.state = "restarting";
  releaseParked(client);
  pump(client);
}

function becomeDead(client: ActorClientState): void {
  client.parked.push(...client.inFlight);
  client.inFlight.clear();
  client.state = "dead";
  releaseParked(client);
  pump(client);
  for (const task of client.queue.drain()) client.effects.push({ kind: "refuse", task, why: "dead" });
}

function releaseParked(client: ActorClientState): void {
  const parked = client.parked;
  client.parked = [];
  for (const task of parked) client.effects.push({ kind: "interrupted", task });
}

/** Puts calls that run again in front of the queue, in their order. One that never left it, as an argument was lost while it waited, keeps its place. */
export function requeueFront(client: ActorClientState, tasks: readonly TaskRecord[]): void {
  const waiting = new Set(client.queue);
  for (let i = tasks.length - 1; i >= 0; i--) {
    assert(tasks[i].actorId === client.actorId, "a call belongs to one actor");
    if (!waiting.has(tasks[i])) client.queue.unshift(tasks[i]);
  }
}
