/** Writes what has a meaning or a prototype of its own: refs and functions by way of the hooks, class instances, errors, other realms' objects. */
import { types } from "node:util";
import { SerializationError } from "../base/errors.ts";
import { builtinWriterByBrand } from "./encode-builtins.ts";
import { writeErrorIfOne } from "./encode-errors.ts";
import type { Encoder } from "./encoder.ts";
import { Deferred, specialTags, Tag } from "./format.ts";
import type { Special } from "./hooks.ts";
import { fieldStep, nameOfClass, Step } from "./path.ts";
import { describeUntravelable, isNative, kindOfClass } from "./untravelable.ts";

const arrowVector = Symbol.for("apache-arrow/Vector");

export function writeFunction(encoder: Encoder, value: Function): void {
  if (writeSpecial(encoder, value)) return;
  encoder.fail(
    `functions cannot travel inside it, and this is ${value.name ? `the function ${value.name}` : "an unnamed function"}`,
  );
}

/** Writes an object that is neither plain data nor a built-in that nobody extended. */
export function writeOtherObject(encoder: Encoder, value: object): void {
  if (writeSpecial(encoder, value)) return;
  if (types.isProxy(value)) encoder.fail("a Proxy cannot travel; send a copy of what it shows, e.g. { ...proxy }");
  if (value === process.env) {
    // The engine knows its prototype as a class of its own.
    encoder.writeContentsOrDefer(value, Deferred.Object);
    return;
  }
  const prototype: object = Object.getPrototypeOf(value);
  const kind = kindOfClass(prototype);
  if (!kind.isPlain || kind.verdict !== "") {
    const untravelable = describeUntravelable(value);
    if (untravelable !== undefined) encoder.fail(untravelable);
    if (writeErrorIfOne(encoder, value)) return;
  }
  const Class = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  const isClass = typeof Class === "function" && Class.prototype === prototype;
  const builtin = kind.isPlain ? undefined : builtinWriterByBrand(value);
  if (builtin) {
    if (isClass && isForeign(Class, builtin.name)) {
      builtin.write(encoder, value);
      return;
    }
    if (!isClass) encoder.fail(`it is a ${builtin.name} with a changed prototype`);
    encoder.writeTagged(Tag.ExtendedBuiltin, encoder.classNumber(Class));
    builtin.write(encoder, value);
    writeFieldsOfBuiltin(encoder, value);
    return;
  }
  if ((value as Record<symbol, unknown>)[arrowVector] === true) {
    writeArrowVector(encoder, value);
  } else if (isClass && isForeign(Class, "Object") && Object.getPrototypeOf(prototype) === null) {
    encoder.writeContentsOrDefer(value, Deferred.Object);
  } else if (isClass) {
    encoder.writeContentsOrDefer(value, Deferred.Instance, encoder.classNumber(Class));
  } else {
    encoder.writeByte(Tag.WithPrototype);
    encoder.writeBefore(encoder.latestNumber, () => encoder.writePart(value, new Step(" (prototype)"), prototype));
    encoder.writeFields(value, Object.keys(value));
  }
}

/** The class is the built-in one of that name, of whatever realm. */
function isForeign(Class: Function, name: string): boolean {
  return Class.name.toLowerCase() === name.toLowerCase() && isNative(Class);
}

/** Own fields besides what makes the built-in: elements of arrays are not written twice. */
function writeFieldsOfBuiltin(encoder: Encoder, value: object): void {
  const hasElements = Array.isArray(value) || types.isTypedArray(value) || types.isStringObject(value);
  const keys = hasElements ? [] : Object.keys(value);
  if (types.isTypedArray(value)) {
    // Indexes come first, as many as there are elements.
    keys.push(...Object.keys(value).slice(value.length));
  }
  encoder.writeVarint(keys.length);
  for (const key of keys) {
    encoder.writeString(key);
    encoder.writePart(value, fieldStep(key), (value as Record<string, unknown>)[key]);
  }
}

/**
 * An Arrow vector holds closures over its chunks, so its chunks travel and its class makes it anew. Tables, batches, schemas,
 * fields, types and chunks are ordinary instances of classes that the package exports.
 */
function writeArrowVector(encoder: Encoder, value: object): void {
  let prototype: object = value;
  let Class: Function | undefined;
  while (prototype !== null) {
    const own = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
    if (typeof own === "function" && Object.hasOwn(own, "isVector")) Class = own;
    prototype = Object.getPrototypeOf(prototype);
  }
  if (Class === undefined) encoder.fail("it looks like an Apache Arrow vector of an unknown kind");
  encoder.writeTagged(Tag.ArrowVector, encoder.classNumber(Class));
  encoder.writeBefore(encoder.latestNumber, () => encoder.writePart(value, "data", [...(value as { data: unknown[] }).data]));
}

function writeSpecial(encoder: Encoder, value: object): boolean {
  const special = encoder.hooks.encodeSpecial(value, encoder.pathOf);
  if (special === undefined) return false;
  const number = encoder.latestNumber;
  for (const key of special.functions ?? functionsOf(special)) encoder.functionNumber(key);
  encoder.writeByte("payload" in special ? Tag.SpecialWithPayload : Tag.Special);
  encoder.writeByte(specialTags.indexOf(special.tag));
  writePlain(encoder, special.data);
  if ("payload" in special) {
    // The reader's function makes the object from the payload, so the payload cannot contain the object.
    encoder.writeBefore(number, () => encoder.writeValue(special.payload));
  }
  return true;
}

const noFunctions: readonly string[] = [];

function functionsOf({ tag, data }: Special): readonly string[] {
  if (tag === "registered") return typeof data === "string" ? [data] : noFunctions;
  if (tag !== "function" && tag !== "class") return noFunctions;
  const key = Array.isArray(data) ? data[0] : data;
  return typeof key === "string" ? [key] : noFunctions;
}

/** Writes a special's data: no identity, no prototypes, and strings once each, since owners and addresses repeat. */
function writePlain(encoder: Encoder, data: unknown): void {
  if (typeof data === "number") {
    encoder.writeNumber(data);
  } else if (typeof data === "string") {
    const { internedStrings } = encoder;
    const number = internedStrings.get(data);
    if (number !== undefined) {
      encoder.writeTagged(Tag.InternedString, number);
      return;
    }
    internedStrings.set(data, internedStrings.size);
    encoder.writeByte(Tag.InternString);
    encoder.writeString(data);
  } else if (Array.isArray(data)) {
    encoder.writeTagged(Tag.PlainArray, data.length);
    for (let i = 0; i < data.length; i++) writePlain(encoder, data[i]);
  } else if (data instanceof Uint8Array) {
    encoder.writeTagged(Tag.PlainBytes, data.length);
    encoder.writeRawBytes(data);
  } else if (typeof data === "object" && data !== null) {
    const entries = Object.entries(data);
    encoder.writeTagged(Tag.PlainObject, entries.length);
    for (const [key, value] of entries) {
      writePlain(encoder, key);
      writePlain(encoder, value);
    }
  } else if (typeof data === "function" || typeof data === "symbol") {
    throw new SerializationError(
      `Cannot serialize the data of a ${nameOfClass(Object(data))} as plain data: it holds a ${typeof data}`,
    );
  } else {
    encoder.writeValue(data);
  }
}
