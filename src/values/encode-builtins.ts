/** Writers for the built-in objects besides plain objects and arrays, found by prototype when nobody extended the class. */
import { types } from "node:util";
import type { Encoder } from "./encoder.ts";
import { Deferred, elementBytes, KIND_BUFFER, KIND_DATA_VIEW, Tag, viewConstructors } from "./format.ts";

/** Writes `value` if it really is the built-in (its internal slots are there) and says so. */
export type BuiltinWriter = (encoder: Encoder, value: any) => boolean;

const writeMap: BuiltinWriter = (encoder, value) => {
  if (!types.isMap(value)) return false;
  encoder.writeContentsOrDefer(value, Deferred.Map);
  return true;
};

const writeSet: BuiltinWriter = (encoder, value) => {
  if (!types.isSet(value)) return false;
  encoder.writeContentsOrDefer(value, Deferred.Set);
  return true;
};

const writeDate: BuiltinWriter = (encoder, value) => {
  if (!types.isDate(value)) return false;
  encoder.writeByte(Tag.Date);
  encoder.writeRawDouble(Date.prototype.getTime.call(value));
  return true;
};

const writeRegExp: BuiltinWriter = (encoder, value) => {
  if (!types.isRegExp(value)) return false;
  encoder.writeByte(Tag.RegExp);
  encoder.writeString(value.source);
  encoder.writeString(value.flags);
  return true;
};

const writeBoxed: BuiltinWriter = (encoder, value) => {
  if (!types.isBoxedPrimitive(value)) return false;
  encoder.writeByte(Tag.Boxed);
  encoder.writeValue(unbox(value));
  return true;
};

function unbox(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value);
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value);
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value);
  if (types.isBigIntObject(value)) return BigInt.prototype.valueOf.call(value);
  return Symbol.prototype.valueOf.call(value as unknown as symbol);
}

const writeArrayBuffer: BuiltinWriter = (encoder, value) => {
  if (types.isSharedArrayBuffer(value)) return failShared(encoder);
  if (!types.isArrayBuffer(value)) return false;
  encoder.writeTagged(Tag.ArrayBuffer, encoder.stores.addWhole(value));
  return true;
};

function failShared(encoder: Encoder): never {
  encoder.fail(
    "the memory of a SharedArrayBuffer cannot be shared with another process; slice() of a view makes a copy that can travel",
  );
}

function viewWriter(kind: number): BuiltinWriter {
  const size = elementBytes[kind];
  return (encoder, value: NodeJS.ArrayBufferView) => {
    if (!ArrayBuffer.isView(value)) return false;
    const { buffer, byteOffset, byteLength } = value;
    if (types.isSharedArrayBuffer(buffer)) return failShared(encoder);
    const isPooled =
      kind === KIND_BUFFER && buffer.byteLength > byteLength && buffer.byteLength <= Math.max(Buffer.poolSize, 8192);
    encoder.writeByte(Tag.View);
    encoder.writeByte(kind);
    encoder.writeVarint(encoder.stores.addRange(buffer as ArrayBuffer, byteOffset, byteLength, size, isPooled));
    encoder.writeVarint(byteOffset);
    encoder.writeVarint(byteLength / size);
    return true;
  };
}

const writeUrl: BuiltinWriter = (encoder, value) => {
  const { href } = value as URL;
  encoder.writeByte(Tag.Url);
  encoder.writeString(href);
  return true;
};

const writeUrlSearchParams: BuiltinWriter = (encoder, value) => {
  encoder.writeByte(Tag.UrlSearchParams);
  encoder.writeString(URLSearchParams.prototype.toString.call(value));
  return true;
};

export const builtinWriters: ReadonlyMap<unknown, BuiltinWriter> = new Map<unknown, BuiltinWriter>([
  [Map.prototype, writeMap],
  [Set.prototype, writeSet],
  [Date.prototype, writeDate],
  [RegExp.prototype, writeRegExp],
  [Number.prototype, writeBoxed],
  [String.prototype, writeBoxed],
  [Boolean.prototype, writeBoxed],
  [BigInt.prototype, writeBoxed],
  [Symbol.prototype, writeBoxed],
  [ArrayBuffer.prototype, writeArrayBuffer],
  [SharedArrayBuffer.prototype, writeArrayBuffer],
  [URL.prototype, writeUrl],
  [URLSearchParams.prototype, writeUrlSearchParams],
  ...viewConstructors.flatMap((Class, kind) =>
    Class === undefined ? [] : [[Class.prototype, viewWriter(kind)] as [unknown, BuiltinWriter]],
  ),
]);

const writeArray: BuiltinWriter = (encoder, value) => {
  encoder.writeContentsOrDefer(value, Deferred.Array);
  return true;
};

/**
 * The writer for a built-in object whatever its prototype says: an instance of a subclass, or an object of another realm (`node:vm`).
 * `name` is that of the built-in class.
 */
export function builtinWriterByBrand(value: object): { name: string; write: BuiltinWriter } | undefined {
  if (Array.isArray(value)) return { name: "Array", write: writeArray };
  if (types.isMap(value)) return { name: "Map", write: writeMap };
  if (types.isSet(value)) return { name: "Set", write: writeSet };
  if (types.isDate(value)) return { name: "Date", write: writeDate };
  if (types.isRegExp(value)) return { name: "RegExp", write: writeRegExp };
  if (types.isAnyArrayBuffer(value))
    return { name: types.isSharedArrayBuffer(value) ? "SharedArrayBuffer" : "ArrayBuffer", write: writeArrayBuffer };
  if (types.isBoxedPrimitive(value)) return { name: typeof unbox(value), write: writeBoxed };
  if (types.isDataView(value)) return { name: "DataView", write: builtinWriters.get(DataView.prototype)! };
  if (types.isTypedArray(value)) {
    const name = value[Symbol.toStringTag];
    const kind = viewConstructors.findIndex((Class) => Class?.name === name);
    const isBuffer = Buffer.isBuffer(value);
    if (kind >= 0 && kind !== KIND_DATA_VIEW)
      return { name, write: isBuffer ? builtinWriters.get(Buffer.prototype)! : viewWriter(kind) };
  }
  return undefined;
}
