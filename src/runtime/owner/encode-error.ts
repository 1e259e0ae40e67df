/** Errors as bytes: they ride in messages, never in the store. */
import { ShoalError } from "../../base/errors.ts";
import { flatten } from "../../values/index.ts";
import type { ValueCodec } from "./value-codec.ts";

/** Bytes of an error with all it holds; a larger one arrives as its message and stack alone. */
const errorBytesMax = 4 * 1024 * 1024;
/** Characters of the message and of the stack that arrive then. */
const textMax = 10_000;

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
  const source = error as Error;
  const plain =
    error instanceof ShoalError
      ? new ShoalError(source.message.slice(0, textMax))
      : new Error(String(source?.message ?? error).slice(0, textMax));
  if (typeof source?.stack === "string") plain.stack = source.stack.slice(0, textMax);
  return values.encode(plain, "error").value as Uint8Array;
}
