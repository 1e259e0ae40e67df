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
   * the user's serialized form, which the codec encodes recursively. `functions` names what must be loaded before `decodeSpecial`
   * sees it; for the tags "function" and "class" it may be left out when `data` is the key, or an array that begins with it, and for
   * "registered" when `data` is the key by which the serializer is loaded.
   */
  encodeSpecial(value: object, path: PathOf): (Special & { payload?: unknown; functions?: readonly string[] }) | undefined;
  /** Names the class of an instance whose prototype is neither `Object.prototype`, `null` nor a built-in's. Throws if it cannot travel. */
  encodeClass(Class: Function, path: PathOf): string;
  /**
   * True when the value reports a failure, which must arrive whatever it holds: fields of errors that cannot travel are left out, and
   * an error whose class cannot travel arrives as the nearest class that can. Otherwise both are errors, as everywhere else.
   */
  readonly lenientErrors?: boolean;
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
  /** The same as pieces in ascending order, for writers that copy without mapping memory first. Gaps between them are less than a page. */
  parts(): Iterable<{ readonly offset: number; readonly bytes: Uint8Array }>;
  /**
   * 64, or more (a multiple of the page size) when buffers are inside that a reader can map by themselves. The flat form must then
   * begin at such an offset of its file.
   */
  readonly align: number;
}

/**
 * Maps bytes `byteOffset` to `byteOffset + byteLength` of the flat form once more, private copy-on-write, as an ArrayBuffer of exactly
 * that length; `undefined` when it cannot. `byteOffset` is a multiple of `Serialized.align`.
 */
export type MapArrayBuffer = (byteOffset: number, byteLength: number) => ArrayBuffer | undefined;
