/** What the node's processes tell their daemon, and the requests they make of it. */
import type { LeaseId } from "../../base/ids.ts";
import { Kind } from "../../wire/index.ts";
import type { SchedulingSpec, ToDaemon } from "../../wire/messages.ts";
import type { Client } from "./client.ts";
import type { Daemon } from "./daemon.ts";
import { faultOfMessage, faultOfRequest } from "./decode-message.ts";
import { toWireError } from "./method-handlers.ts";
import type { MethodName } from "./methods.ts";

/** Acts on one message of a process that has introduced itself. */
export function receive(daemon: Daemon, client: Client, message: ToDaemon): void {
  const fault = faultOfMessage(message);
  if (fault !== null) {
    daemon.log.line(`closed the connection of ${client.role} ${client.pid}: ${fault}`);
    return client.link.fail(fault);
  }
  switch (message[0]) {
    case Kind.Request:
      return answer(daemon, client, message[1], message[2], message[3]);
    case Kind.DefineClass:
      return defineClass(daemon, client, message[1], message[2]);
    case Kind.Demand:
      return daemon.scheduling.dispatch({
        kind: "demand",
        ownerId: client.id,
        classId: message[1],
        wanted: message[2],
        grantsSeen: message[3],
        hard: message[4] ?? false,
      });
    case Kind.ReturnLease:
      daemon.leases.remove(message[1]);
      return daemon.scheduling.dispatch({ kind: "returnLease", ownerId: client.id, leaseId: message[1] });
    case Kind.Blocked:
      return setBlocked(daemon, client, message[1], true);
    case Kind.Unblocked:
      return setBlocked(daemon, client, message[1], false);
    case Kind.StorePressure:
      return daemon.store?.pressure();
    case Kind.Events:
      return daemon.headSide.onTaskEvents(client.jobId, message[1]);
    case Kind.EventsFlushed:
      return daemon.eventDrain.flushed(client.id, message[1]);
    case Kind.Held:
      return daemon.heldQuery.answered(client.id, message[1], message[2]);
    case Kind.Retiring:
      client.worker?.expectEnd("it had run as many calls as its function allows", null);
      return daemon.scheduling.dispatch({ kind: "workerRetiring", workerId: client.id });
    case Kind.ActorReady: {
      const actor = daemon.actorsHere.get(message[1]);
      if (actor?.incarnation === message[2]) actor.ready = { error: message[3] ?? null, errorText: message[4] };
      return daemon.headSide.onActorReady(message[1], message[2], message[3] ?? null, message[4]);
    }
    case Kind.ActorExiting: {
      client.worker?.expectEnd("exitActor()", null);
      const actor = daemon.actorsHere.get(message[1]);
      if (actor?.incarnation === message[2]) actor.exiting = true;
      return daemon.headSide.onActorExiting(message[1], message[2]);
    }
    case Kind.StayAlive:
      client.worker?.stays();
      return daemon.scheduling.dispatch({ kind: "workerStays", workerId: client.id });
    case Kind.FreeCopies:
      return daemon.transfer?.free(message[1]);
    case Kind.Progress:
      return daemon.progressMade(client.jobId, message[1]);
  }
}

/** Lane -1 is an actor's: its constructor waits. */
function setBlocked(daemon: Daemon, client: Client, leaseId: LeaseId, blocked: boolean): void {
  if (leaseId >= 0) daemon.scheduling.dispatch({ kind: blocked ? "blocked" : "unblocked", leaseId });
  else if (client.actorId !== null) daemon.scheduling.dispatch({ kind: "actorBlocked", actorId: client.actorId, blocked });
}

function defineClass(daemon: Daemon, client: Client, classId: number, spec: SchedulingSpec): void {
  const known = daemon.classes.get(client.id);
  if (known === undefined) daemon.classes.set(client.id, new Map([[classId, spec]]));
  else known.set(classId, spec);
  daemon.scheduling.dispatch({
    kind: "defineClass",
    ownerId: client.id,
    jobId: client.jobId,
    classId,
    spec: daemon.jobEnvs.toScheduler(client.jobId, spec),
    remote: client.remote,
  });
}

function answer(daemon: Daemon, client: Client, id: number, method: string, params: unknown): void {
  const handler = Object.hasOwn(daemon.methods, method) ? daemon.methods[method as MethodName] : undefined;
  const refuse = (error: unknown): void => client.link.send([Kind.Response, id, false, toWireError(error)]);
  if (handler === undefined) return refuse(new Error(`Cannot answer request '${method}' as the daemon knows no such method`));
  const fault = faultOfRequest(method, params);
  if (fault !== null) return refuse(new Error(fault));
  try {
    const result = (handler as (params: unknown, caller: Client) => unknown)(params, client);
    if (result instanceof Promise) result.then((value) => client.link.send([Kind.Response, id, true, value]), refuse);
    else client.link.send([Kind.Response, id, true, result]);
  } catch (error) {
    refuse(error);
  }
}
