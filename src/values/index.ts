/** Values as bytes: see docs/decisions/0003-value-codec.md. Does no I/O; what refs, functions and classes are is up to the hooks. */
export { DecodeError } from "./decode-error.ts";
export { deserialize, peekFunctions } from "./deserialize.ts";
export type { DecodeHooks, EncodeHooks, MapArrayBuffer, PathOf, Serialized, Special } from "./hooks.ts";
export {
  type RegisteredSerializer,
  registeredFor,
  registeredNamed,
  registerLoaded,
  registerSerializer,
  type Serializer,
  unregisterSerializer,
} from "./registry.ts";
export { flatten, serialize } from "./serialize.ts";
export { encodeValue, fromWire, isSerialized, toWire, type WireValue } from "./wire-value.ts";
