/** Errors as bytes: they ride in messages, never in the store. */
import { inspect, types } from "node:util";
import { ShoalError } from "../../base/errors.ts";
import { flatten } from "../../values/index.ts";
import type { ValueCodec } from "./value-codec.ts";

/** Bytes of an error with all it holds; of a larger one less arrives. */
const errorBytesMax = 4 * 1024 * 1024;
/** Characters of the message, of the stack and of each field that arrive then, and how many causes. */
const textMax = 10_000;
const causesMax = 8;

/** Any error (or thrown value) as bytes; what cannot travel inside it is left out, so that its class, message and stack always arrive. */
export function encodeError(values: ValueCodec, error: unknown): Uint8Array {
  values.lenientErrors = true;
  try {
    const encoded = values.encode(error, "error");
    if (encoded.value instanceof Uint8Array) return encoded.value;
    const large = encoded.large;
    if (large !== null && large.bytes <= errorBytesMax) return flatten(large);
  } catch {
    // falls through to the plain description
  } finally {
    values.lenientErrors = false;
  }
  for (const shortened of [
    () => shortenedError(error, true),
    () => shortenedError(error, false),
    () => new Error("an error that cannot be sent"),
  ])
    try {
      return values.encode(shortened(), "error").value as Uint8Array;
    } catch {
      // the next says less
    }
  throw new Error("Cannot encode an error as not even its text can be");
}

/** Its class, message and stack, its causes likewise, and of its own fields the short ones; without its class when that cannot travel. */
function shortenedError(error: unknown, withClass: boolean, depth = 0): unknown {
  if (!types.isNativeError(error))
    return typeof error === "object" ? inspect(error, { depth: 1 }).slice(0, textMax) : String(error).slice(0, textMax);
  const plain = new Error(String(error.message).slice(0, textMax));
  if (withClass || error instanceof ShoalError) Object.setPrototypeOf(plain, Object.getPrototypeOf(error));
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(error)) {
    if (typeof value === "string") fields[name] = value.slice(0, textMax);
    else if (typeof value === "number" || typeof value === "boolean" || value === null) fields[name] = value;
  }
  Object.assign(plain, fields);
  if (typeof error.stack === "string") plain.stack = error.stack.slice(0, textMax);
  if (error.cause !== undefined && depth < causesMax) plain.cause = shortenedError(error.cause, withClass, depth + 1);
  return plain;
}
