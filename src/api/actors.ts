/** Verbs on actors. */
import { actorInternalsOf } from "../runtime/owner/actor-handle.ts";
import { checkFlag, checkName, checkNames, shown } from "../runtime/owner/checks.ts";
import { ExitActor } from "../runtime/owner/exit-actor.ts";
import { currentTask } from "../runtime/owner/task-context.ts";
import { runtimeNow } from "./init.ts";
import type { ActorHandle } from "./types.ts";

const lookUpNames = new Set(["namespace"]);
const killNames = new Set(["noRestart"]);

/**
 * The handle of the actor registered under a name. Rejects with ActorNotFoundError when there is none.
 *
 * @example
 * const counter = await shoal.getActor<Counter>("counter");
 */
export async function getActor<C>(name: string, options: { namespace?: string } = {}): Promise<ActorHandle<C>> {
  if (typeof name !== "string" || name === "")
    throw new TypeError(`Cannot look up an actor named ${shown(name)}: expected a non-empty string`);
  checkName("name", name);
  checkNames("getActor", options, lookUpNames);
  checkName("namespace", options.namespace);
  return runtimeNow().actors.getByName(name, options.namespace);
}

/**
 * Ends an actor at once: what it runs fails with ActorDiedError. With `noRestart: false` that counts as a crash, and the actor restarts if it may.
 */
export async function kill<C>(actor: ActorHandle<C>, options: { noRestart?: boolean } = {}): Promise<void> {
  const internals = actorInternalsOf(actor);
  if (internals === undefined) throw new TypeError("Cannot kill what is not an actor handle");
  checkNames("kill", options, killNames);
  checkFlag("noRestart", options.noRestart);
  const runtime = runtimeNow();
  internals.assertOf(runtime, "kill");
  await runtime.actors.kill(internals, options.noRestart ?? true);
}

/** Ends the actor whose method calls it, by its own will: it is not restarted, and what was called and not answered fails with ActorDiedError. */
export function exitActor(): never {
  const task = currentTask();
  if (task === null || task.actorId === null)
    throw new TypeError("Cannot exit the actor: exitActor() was not called inside an actor's method");
  throw new ExitActor("the actor exits");
}
