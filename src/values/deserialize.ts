/** Bytes to values. */
import { ByteReader } from "./byte-reader.ts";
import { DecodeError } from "./decode-error.ts";
import { DecodedStores } from "./decoded-stores.ts";
import { Decoder } from "./decoder.ts";
import { FLAG_FUNCTIONS, FLAG_STORES, limits, MAGIC, PREFIX_BYTES, VERSION } from "./format.ts";
import type { DecodeHooks, MapArrayBuffer } from "./hooks.ts";

const noFunctions: readonly string[] = [];

/**
 * Makes the value that `bytes` hold. In mode "copy" nothing of the value lies in `bytes`. In mode "alias" `bytes` is private to this
 * value and begins at a multiple of 64 in its ArrayBuffer; buffers of 100 KiB and more are built on it without a copy, or on what
 * `mapArrayBuffer` gives for them.
 *
 * Throws DecodeError for bytes that `serialize` did not make, and whatever the hooks throw.
 */
export function deserialize(
  bytes: Uint8Array,
  hooks: DecodeHooks,
  mode: "copy" | "alias",
  mapArrayBuffer?: MapArrayBuffer,
): unknown {
  const tables = tablesOf(bytes);
  const functions = tables.flags & FLAG_FUNCTIONS ? readFunctions(tables.reader) : noFunctions;
  const stores = new DecodedStores(bytes, mode === "alias", mapArrayBuffer);
  if (tables.flags & FLAG_STORES) stores.readTable(tables.reader);
  stores.place(tables.reader.pos);
  return new Decoder(bytes, PREFIX_BYTES, tables.bodyEnd, hooks, functions, stores).readBody();
}

/** Keys of the functions and classes that must be loaded before the bytes can be decoded. Reads nothing else. */
export function peekFunctions(bytes: Uint8Array): string[] {
  if (bytes.length > 2 && (bytes[2] & FLAG_FUNCTIONS) === 0 && bytes[0] === MAGIC) return [];
  const { reader, flags } = tablesOf(bytes);
  return flags & FLAG_FUNCTIONS ? readFunctions(reader) : [];
}

function tablesOf(bytes: Uint8Array): { reader: ByteReader; flags: number; bodyEnd: number } {
  if (bytes.length <= PREFIX_BYTES || bytes[0] !== MAGIC)
    throw new DecodeError(`Cannot decode ${bytes.length} bytes as a value: they are none`);
  if (bytes[1] !== VERSION) throw new DecodeError(`Cannot decode a value of format ${bytes[1]} as one of format ${VERSION}`);
  const flags = bytes[2];
  const bodyEnd = (bytes[4] | (bytes[5] << 8) | (bytes[6] << 16) | (bytes[7] << 24)) >>> 0;
  if (flags > (FLAG_FUNCTIONS | FLAG_STORES) || bytes[3] !== 0 || bodyEnd <= PREFIX_BYTES || bodyEnd > bytes.length) {
    throw new DecodeError(`Cannot decode ${bytes.length} bytes as a value: their prefix is wrong`);
  }
  const end = Math.min(bytes.length, limits.headerBytesMax);
  return { reader: new ByteReader(bytes, bodyEnd, end), flags, bodyEnd };
}

function readFunctions(reader: ByteReader): string[] {
  const count = reader.readCount(1);
  const keys: string[] = [];
  for (let i = 0; i < count; i++) {
    const key = reader.readString();
    if (key.length > limits.functionKeyBytesMax) reader.fail("the name of a function is too long");
    keys.push(key);
  }
  return keys;
}
