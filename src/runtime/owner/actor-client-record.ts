/** What this process keeps of an actor it calls, and the errors that calls end with when there is no such actor any more. */
import {
  type ActorDeathReason,
  ActorDiedError,
  ActorUnavailableError,
  ActorUnschedulableError,
  RuntimeEnvSetupError,
  TaskError,
} from "../../base/errors.ts";
import type { ActorId, WorkerId } from "../../base/ids.ts";
import { type ActorClientState, createActorClient } from "../../core/actor-client.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import { formatResources } from "../../core/resources.ts";
import type { LocalDefinition, TaskRecord } from "../../core/task-record.ts";
import type { ActorView, SchedulingSpec } from "../../wire/messages.ts";
import type { ObjectRef } from "./object-ref.ts";
import type { ValueCodec } from "./value-codec.ts";

export interface Client {
  readonly state: ActorClientState;
  readonly className: string;
  /** The actor's id at the head: another than the handle's when `getIfExists` found one. */
  remoteId: ActorId;
  /** Why it could never be created, when that is known here. */
  refusal: Error | null;
  /** Words of the head that wait until all has arrived that the actor's process sent. */
  readonly later: ActorView[];
  /** The process calls were last sent to. */
  sentTo: WorkerId | null;
  /** Calls that run again after a restart, collected to keep their order. */
  retrying: TaskRecord[];
  readonly definitions: Map<string, LocalDefinition>;
  /** What its node must have; null when another process made the actor. */
  asks: SchedulingSpec | null;
  /** Null until the head is asked to create the actor, or where it is; settles with the answer. */
  introduced: Promise<void> | null;
  /** What its start needs, and a restart: let go of when there is no more of either. */
  startHolds: readonly ObjectRecord[];
  /** Of an actor that `getIfExists` found: it lives while this process has a handle. */
  found: ObjectRef<unknown> | null;
  /** No handle that was made here is left. */
  abandoned: boolean;
}

export function newClient(actorId: ActorId, className: string): Client {
  return {
    state: createActorClient(actorId),
    className,
    remoteId: actorId,
    refusal: null,
    retrying: [],
    later: [],
    sentTo: null,
    definitions: new Map(),
    asks: null,
    introduced: null,
    startHolds: [],
    found: null,
    abandoned: false,
  };
}

/** What its calls that are not sent wait for. */
export function waitsFor({ state, className, remoteId, asks }: Client): string {
  const actor = `actor ${className} (${remoteId})`;
  const life = state.view?.state ?? "PENDING";
  const labels = Object.keys(asks?.labelSelector ?? {}).length === 0 ? "" : ` and labels ${JSON.stringify(asks?.labelSelector)}`;
  const asked = asks === null ? "" : ` on a node with ${formatResources(asks.resources)}${labels}`;
  if (life === "PENDING") return `waiting for ${actor} to be started${asked}`;
  if (life === "RESTARTING") return `waiting for ${actor} to be restarted${asked}`;
  return `waiting for ${actor} to take it`;
}

/** The actor may be alive, or be again; whether the call ran is not known unless it says so. */
export function unavailableError(client: Client, task: TaskRecord): Error {
  const actor = `actor ${client.className} (${client.remoteId})`;
  const { name } = task.definition.wire;
  return new ActorUnavailableError(
    task.runner === null
      ? `Cannot call ${name}: ${actor} is restarting and the call, whose maxTaskRetries is 0, does not wait for that; it has not run, later calls can succeed`
      : client.state.state === "restarting"
        ? `Cannot tell whether ${name} ran: ${actor} lost its process while the call was under way; it is restarting, later calls can succeed`
        : `Cannot tell whether ${name} ran: the connection to ${actor} broke while the call was under way; later calls can succeed`,
    { actorId: client.remoteId, actorClass: client.className },
  );
}

/** Why every call fails from now on. */
export function deathError(client: Client, values: ValueCodec): Error {
  if (client.refusal !== null) return client.refusal;
  const view = client.state.view as ActorView;
  const fields = { actorId: client.remoteId, actorClass: client.className };
  const message = view.deathMessage ?? "it has ended";
  if (view.deathReason === "unschedulable")
    return new ActorUnschedulableError(`Cannot place actor ${client.className}: ${message}`, fields);
  if (view.deathReason === "runtime env failed")
    return new RuntimeEnvSetupError(`Cannot start actor ${client.className}: ${message}`, {});
  const decoded = view.deathCause == null ? undefined : values.decode(view.deathCause);
  const cause = decoded instanceof TaskError ? decoded.cause : decoded;
  return new ActorDiedError(`Cannot call actor ${client.className} (${client.remoteId}): ${message}`, {
    ...fields,
    reason: (view.deathReason ?? "exited") as ActorDeathReason,
    ...(cause === undefined || cause instanceof Promise ? {} : { cause }),
  });
}

/** Whether it has been started for the last time. */
export const startsNoMore = ({ state, restartsLeft }: ActorView): boolean =>
  state === "DEAD" || (state === "ALIVE" && restartsLeft === 0);

/** What is known of an actor that could not be made. */
export function deadView(client: Client): ActorView {
  return {
    actorId: client.remoteId,
    className: client.className,
    name: null,
    namespace: "",
    state: "DEAD",
    incarnation: client.state.view?.incarnation ?? 0,
    workerId: null,
    address: null,
    pid: null,
    nodeId: null,
    restartsLeft: 0,
    deathReason: "constructor failed",
    deathMessage: null,
    deathCause: null,
    ownerId: "" as WorkerId,
    handleIndex: null,
    detached: false,
    handleSpec: null,
    jobId: "" as ActorView["jobId"],
  };
}
