/**
 * Errors of a capture. They name the function that was to be sent, the variable, and the way to it:
 *
 *     Cannot send function 'load' as its variable 'pool.socket' cannot travel: a Socket holds operating-system state
 */
import { SerializationError } from "../base/errors.ts";

/** What part of a function is at fault, in words, and the beginning of the way into it. */
export interface Part {
  /** `variable`, `property`, `base class`. */
  readonly noun: string;
  readonly name: string;
}

/** The import through which a function or value was reached: it could travel as that import instead. */
export interface ImportOrigin {
  readonly id: string;
  readonly url: string;
  readonly name: string;
}

/** Why a capture failed; `retry` names an import that could travel by reference to its module instead. */
export class CaptureFailure extends Error {
  readonly error: SerializationError;
  readonly retry: ImportOrigin | null;

  constructor(error: SerializationError, retry: ImportOrigin | null) {
    super(error.message);
    this.error = error;
    this.retry = retry;
  }
}

/** The root of a capture, as errors name it: `function 'load'`, `class 'Counter'`. */
export interface Sent {
  readonly noun: "function" | "class";
  readonly name: string;
}

/** A function on the way, e.g. `load -> helper`, cannot stand alone. */
export function refusal(sent: Sent, way: string, reason: string): SerializationError {
  const isRoot = way === sent.name;
  const who = isRoot ? "it" : `'${way.slice(way.lastIndexOf("-> ") + (way.includes("-> ") ? 3 : 1))}'`;
  return new SerializationError(`Cannot send ${sent.noun} '${sent.name}' as ${who} ${reason}${isRoot ? "" : ` (${way})`}`, {
    path: way,
  });
}

/** The codec named the way to what cannot travel; this names the function it belongs to, and the way to that. */
export function explained(error: unknown, sent: Sent, way: string, { noun, name }: Part): unknown {
  if (!(error instanceof SerializationError) || error.message.startsWith("Cannot send ")) return error;
  const place = error.path.startsWith(name) ? error.path : name;
  const reason = /as a value: (.*)$/s.exec(error.message)?.[1] ?? error.message;
  const isRoot = way === sent.name;
  const owner = isRoot ? `its ${noun} '${place}'` : `${noun} '${place}' of '${way.slice(way.lastIndexOf("-> ") + 3)}'`;
  const path = `${way} -> ${place}`;
  return new SerializationError(
    `Cannot send ${sent.noun} '${sent.name}' as ${owner} cannot travel: ${reason}${isRoot ? "" : ` (${path})`}`,
    { path, cause: error },
  );
}

/** A class that a function uses could not be captured. */
export function explainedClass(error: unknown, sent: Sent, way: string, className: string): unknown {
  if (!(error instanceof SerializationError)) return error;
  const inner = /^Cannot send class '.*?' as (.*)$/s.exec(error.message)?.[1] ?? error.message;
  const path = `${way} -> ${error.path}`;
  return new SerializationError(`Cannot send ${sent.noun} '${sent.name}' as class '${className}' cannot travel: ${inner}`, {
    path,
    cause: error,
  });
}
