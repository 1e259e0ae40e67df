/**
 * What the value codec asks of its surroundings. The codec itself does no I/O and knows no refs, functions or classes: whoever calls
 * it (the runtime, or function capture for a function's captured variables) supplies these hooks.
 */

/** Gives the way to the value at hand, e.g. `args[0].db.socket`. A function, because it is only needed for an error. */
export type PathOf = () => string;

/** How an object with a meaning of its own travels: `tag` picks the decoder, `data` is plain data (msgpack-able arrays, strings, numbers). */
export interface Special {
  readonly tag: "ref" | "actor" | "remote" | "generator" | "function" | "class" | "registered" | "local" | "pg";
  readonly data: unknown;
}

export interface EncodeHooks {
  /**
   * Called for every object or function that is not plain data, before the codec's own rules. Returns how it travels, or `undefined` to let
   * the codec treat it as an ordinary object (or, for a function, to reject it). May throw a SerializationError naming `path()`.
   * For a class registered with `registerSerializer` returns `{ tag: "registered", data: [name], payload }` where `payload` is
   * the user's serialized form, which the codec encodes recursively.
   */
  encodeSpecial(value: object, path: PathOf): (Special & { payload?: unknown }) | undefined;
  /** Names the class of an instance whose prototype is neither `Object.prototype`, `null` nor a built-in's. Throws if it cannot travel. */
  encodeClass(constructor: Function, path: PathOf): string;
}

export interface DecodeHooks {
  decodeSpecial(special: Special, payload: unknown): unknown;
  /** The class of that name. The caller has loaded every name in `peekFunctions(bytes)` before decoding, so this is synchronous. */
  decodeClass(key: string): Function;
}

/** A serialized value: a header, and out-of-band buffers of 1 KiB or more that were not copied yet. */
export interface Serialized {
  /** Length of the flat form: header, then each buffer at a 64-byte aligned offset. */
  readonly bytes: number;
  /** Keys of the functions and classes that must be loaded before this value can be decoded. */
  readonly functions: readonly string[];
  /** Writes the flat form into `target`, which is at least `bytes` long and starts 64-byte aligned. */
  writeTo(target: Uint8Array): void;
}
