/** What a caller gets when the user's code threw. */
import { inspect } from "node:util";
import { TaskCancelledError, TaskError } from "../../base/errors.ts";
import { mapStack } from "../../functions/index.ts";
import type { Runtime } from "../owner/runtime.ts";

/**
 * What was thrown, if it can be looked at; else an error that says so. Anything can be thrown: objects without a text, errors whose getters throw,
 * proxies. Whoever handles it must not be the next to fail.
 */
export function readable(thrown: unknown): unknown {
  if ((typeof thrown !== "object" && typeof thrown !== "function") || thrown === null) return thrown;
  try {
    void (thrown instanceof Error);
    for (let proto = Object.getPrototypeOf(thrown); proto !== null; proto = Object.getPrototypeOf(proto))
      void proto.constructor?.name;
    const { name, message, stack, cause } = thrown as Error;
    void [name, message, stack, cause];
    return thrown;
  } catch (why) {
    return new Error(`what was thrown cannot be read: ${textOf(why)}`);
  }
}

/** As people see it: its stack if it is an error. */
export function textOf(thrown: unknown): string {
  try {
    const stack = (thrown as Error | null | undefined)?.stack;
    if (typeof stack === "string") return stack;
    return typeof thrown === "object" ? inspect(thrown, { depth: 2 }) : String(thrown);
  } catch {
    return "a value that cannot be shown";
  }
}

/** The error as the caller will see it: a TaskError around the user's own, with its stack mapped to the user's files. */
export function toTaskError(error: unknown, functionName: string, runtime: Runtime): TaskError | TaskCancelledError {
  if (error instanceof TaskCancelledError) return error;
  const nodeId = runtime.welcome?.nodeId ?? "";
  const where = `on node ${nodeId.slice(0, 8)}, pid ${process.pid}`;
  if (error instanceof TaskError) {
    // An error that came out of a further task keeps the user's own error as its cause, however many tasks it passed through.
    return new TaskError(`'${functionName}' failed ${where}, in ${error.message}`, {
      functionName,
      nodeId,
      pid: process.pid,
      remoteStack: error.remoteStack,
      cause: error.cause,
    });
  }
  const isError = typeof error === "object" && error !== null && typeof (error as Error).stack === "string";
  if (isError) rewriteStack(error as Error);
  const remoteStack = textOf(error);
  return new TaskError(`'${functionName}' failed ${where}: ${remoteStack}`, {
    functionName,
    nodeId,
    pid: process.pid,
    remoteStack,
    cause: error,
  });
}

/** Maps the stacks of an error and its causes in place. */
function rewriteStack(error: Error): void {
  let at: unknown = error;
  for (let depth = 0; depth < 8 && typeof at === "object" && at !== null; depth++) {
    const one = at as Error;
    try {
      if (typeof one.stack === "string") one.stack = mapStack(one.stack);
    } catch {
      return; // a frozen error keeps its stack as it is
    }
    at = one.cause;
  }
}

/** Does the error match the definition's `retryExceptions`? Classes go by name, over the whole prototype chain. */
export function isRetried(error: unknown, retry: boolean | readonly string[]): boolean {
  if (typeof retry === "boolean") return retry;
  for (let proto = Object.getPrototypeOf(Object(error)); proto !== null; proto = Object.getPrototypeOf(proto)) {
    if (retry.includes(proto.constructor?.name)) return true;
  }
  return false;
}
