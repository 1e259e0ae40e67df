/** Values as they ride inside MessagePack messages: primitives as themselves, all else as the flat form. */
import { wellFormed } from "./byte-writer.ts";
import { deserialize } from "./deserialize.ts";
import type { DecodeHooks, EncodeHooks, Serialized } from "./hooks.ts";
import { flatten, serialize } from "./serialize.ts";

/** What a message holds for a value. A Uint8Array is always the flat form of a value, never a value itself. */
export type WireValue = undefined | null | boolean | number | string | Uint8Array;

/** Longer strings go to bytes, so that they can leave the message for shared memory. */
const WIRE_STRING_CHARS_MAX = 64 * 1024;

/** The value as it rides in a message, or, if it is more than a primitive that MessagePack keeps exactly, its serialized form. */
export function encodeValue(value: unknown, hooks: EncodeHooks, root: string): WireValue | Serialized {
  switch (typeof value) {
    case "number":
      // MessagePack makes 0 of -0.
      if (value !== 0 || 1 / value > 0) return value;
      break;
    case "string":
      // MessagePack strings are UTF-8, which has no words for half a surrogate pair.
      if (value.length <= WIRE_STRING_CHARS_MAX && wellFormed(value)) return value;
      break;
    case "undefined":
    case "boolean":
      return value;
    case "object":
      if (value === null) return null;
  }
  return serialize(value, hooks, root);
}

/** True for what `encodeValue` returns when the value is not a primitive. */
export function isSerialized(encoded: WireValue | Serialized): encoded is Serialized {
  return typeof encoded === "object" && encoded !== null && !(encoded instanceof Uint8Array);
}

/** `encodeValue` for those who want it in the message in any case. */
export function toWire(value: unknown, hooks: EncodeHooks, root: string): WireValue {
  const encoded = encodeValue(value, hooks, root);
  return isSerialized(encoded) ? flatten(encoded) : encoded;
}

/** The value that `wire` stands for; nothing of it lies in the message's memory. Throws as `deserialize` does. */
export function fromWire(wire: WireValue, hooks: DecodeHooks): unknown {
  return wire instanceof Uint8Array ? deserialize(wire, hooks, "copy") : wire;
}
