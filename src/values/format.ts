/**
 * The flat form of a value, shared by encoder and decoder.
 *
 *   prefix   magic, version, flags, 0, u32 end of the body
 *   body     one tagged value, then the contents of the objects that were too deep to be written in place
 *   tables   names of functions and classes (flag 1), backing stores with the byte ranges that follow (flag 2)
 *   ranges   raw bytes, each at an aligned offset
 *
 * Integers are LEB128 varints unless said otherwise, fixed-size numbers are little-endian. Objects are numbered in the order in which
 * they begin; a second appearance is a `Ref` to that number. Objects with the same keys share a shape: its keys are written once.
 */
export const MAGIC = 0x53;
export const VERSION = 1;
export const PREFIX_BYTES = 8;
export const FLAG_FUNCTIONS = 1;
export const FLAG_STORES = 2;

/** Limits of the format. What exceeds them is an error in both directions. */
export const limits = {
  /** Prefix, body and tables: everything that is not a raw range. Keeps offsets in it within 31 bits. */
  headerBytesMax: 0x7fff_ffff,
  /** Objects nested deeper are written after their ancestors instead of inside them, so that no list length exhausts the stack. */
  depthInPlace: 200,
  /** Beyond this even what has to be written in place (error causes, payloads of serializers) is refused. */
  depthMax: 400,
  /** Objects with more keys are taken for dictionaries, whose keys are not worth remembering. */
  shapeKeysMax: 64,
  /** Length of a name in the table of functions. */
  functionKeyBytesMax: 4096,
};

/** Ranges of this size and more begin on a page, so that a reader can map them by themselves, as an ArrayBuffer of exactly that size. */
export const MAPPED_BYTES_MIN = 100 * 1024;
/**
 * log2 of the page size, which the table of stores says, as a reader may live on another machine. Node does not tell it: 16 KiB on
 * Apple's processors, 4 KiB nearly everywhere else. A wrong guess costs a copy, as a reader does not map what begins inside a page.
 */
export const PAGE_SHIFT = process.platform === "darwin" ? 14 : 12;
export const PAGE_SHIFT_MIN = 12;
export const PAGE_SHIFT_MAX = 16;
const SMALL_BYTES_MAX = 1024;

/** Where a range of `bytes` bytes may begin. Small ranges are packed, as a value with many tiny arrays should stay small. */
export function alignmentOf(bytes: number, pageShift: number): number {
  return bytes >= MAPPED_BYTES_MIN ? 2 ** pageShift : bytes >= SMALL_BYTES_MAX ? 64 : 8;
}

/** Low bits of a store's entry in the table, above which comes the count of its ranges. */
export const STORE_WHOLE = 1;
export const STORE_TEXT = 2;

export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** 0x00-0x7f are the integers 0-127, 0xa0-0xbf ASCII strings of up to 31 characters. */
export const SHORT_STRING = 0xa0;
export const SHORT_STRING_MAX = 31;

export const Tag = {
  Undefined: 0x80,
  Null: 0x81,
  False: 0x82,
  True: 0x83,
  /** An array element that is not there. */
  Hole: 0x84,
  /** Zigzag varint of 32 bits. */
  Int: 0x85,
  Double: 0x86,
  BigInt64: 0x87,
  /** Sign byte, then a string of hexadecimal digits. */
  BigIntHex: 0x88,
  /** u32 byte length. */
  StringLatin1: 0x89,
  StringUtf8: 0x8a,
  StringUtf16: 0x8b,
  /** The text is a backing store of its own: 0 for UTF-8, 1 for UTF-16; store. */
  StringStore: 0x8c,
  /** 0 registered, 1 well-known; name. */
  Symbol: 0x8d,
  Ref: 0x8e,
  Object: 0x90,
  NullObject: 0x91,
  Array: 0x92,
  /** Length, count of (index, value), fields. */
  SparseArray: 0x93,
  Int8s: 0x94,
  Int16s: 0x95,
  Int32s: 0x96,
  Doubles: 0x97,
  /** A dense array that has properties besides its elements: length, elements, fields. */
  ArrayWithFields: 0x98,
  Map: 0x99,
  Set: 0x9a,
  Date: 0x9b,
  RegExp: 0x9c,
  Boxed: 0x9d,
  ArrayBuffer: 0x9e,
  /** Kind, store, byte offset in the original store, length in elements. */
  View: 0x9f,
  Error: 0xc0,
  DomException: 0xc1,
  Special: 0xc2,
  SpecialWithPayload: 0xc3,
  /** Class, then fields. */
  Instance: 0xc4,
  /** Class, the built-in object it extends, then fields. */
  ExtendedBuiltin: 0xc5,
  /** The prototype as a value, then fields. */
  WithPrototype: 0xc6,
  /** An object whose contents come later: its kind, and its class if it has one. */
  Deferred: 0xc7,
  /** Class, array of chunks: an Apache Arrow vector. */
  ArrowVector: 0xc8,
  Url: 0xc9,
  UrlSearchParams: 0xca,
  /** Only in the data of specials. */
  PlainArray: 0xcb,
  PlainObject: 0xcc,
  PlainBytes: 0xcd,
  InternedString: 0xce,
  /** A string that gets the next number for `InternedString`. */
  InternString: 0xcf,
} as const;

/** Kinds of `Tag.Deferred`. */
export const Deferred = { Object: 0, NullObject: 1, Array: 2, Map: 3, Set: 4, Instance: 5 } as const;

/** A shape is 0 and its keys (and gets the next number), 1 and its keys (no number), or its number + 2. */
export const NEW_SHAPE = 0;
export const UNNUMBERED_SHAPE = 1;

/** Views by kind. The order is part of the format. */
export const viewConstructors: readonly (Function | undefined)[] = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
  Buffer,
  (globalThis as { Float16Array?: Function }).Float16Array,
];
export const elementBytes: readonly number[] = [1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 1, 1, 2];
export const KIND_UINT8 = 1;
export const KIND_DATA_VIEW = 11;
export const KIND_BUFFER = 12;

/** Errors by kind, after which come 8 for one of Shoal's own (by name) and 9 for a class of the user's. */
export const errorConstructors = [
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
  AggregateError,
] as const;
export const ERROR_SHOAL = 8;
export const ERROR_CLASS = 9;
/** What an error may own without listing it: bit i of a mask says that property i is there. */
export const errorHiddenKeys = ["message", "stack", "cause", "errors", "name"] as const;

/** Tags of specials by number. The order is part of the format. */
export const specialTags = ["ref", "actor", "remote", "generator", "function", "class", "registered", "local", "pg"] as const;

/** Names of the well-known symbols, e.g. `iterator`. */
export const wellKnownSymbols: ReadonlyMap<symbol, string> = new Map(
  Object.getOwnPropertyNames(Symbol)
    .filter((name) => typeof (Symbol as unknown as Record<string, unknown>)[name] === "symbol")
    .map((name) => [(Symbol as unknown as Record<string, symbol>)[name], name]),
);
