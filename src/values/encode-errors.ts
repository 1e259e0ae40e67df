/**
 * Writes errors. `structuredClone` keeps an error's message and stack but neither its own fields nor its class, which is what
 * `catch` clauses look at.
 */
import { types } from "node:util";
import { errorClassByName, SerializationError } from "../base/errors.ts";
import type { Encoder } from "./encoder.ts";
import { ERROR_CLASS, ERROR_SHOAL, errorConstructors, errorHiddenKeys, Tag } from "./format.ts";
import { isNative } from "./untravelable.ts";

const shoalBrands = Symbol.for("shoal.error.brands");

/** Writes `value` if it is an error and says so. */
export function writeErrorIfOne(encoder: Encoder, value: object): boolean {
  if (value instanceof DOMException) {
    encoder.writeByte(Tag.DomException);
    encoder.writeString(value.message);
    encoder.writeString(value.name);
  } else if (types.isNativeError(value)) {
    encoder.writeByte(Tag.Error);
    writeClass(encoder, value);
  } else {
    return false;
  }
  writeFieldsOfError(encoder, value as Error);
  return true;
}

/** Kind, and the name or number of the class. */
function writeClass(encoder: Encoder, error: Error): void {
  for (let prototype = Object.getPrototypeOf(error); prototype !== null; prototype = Object.getPrototypeOf(prototype)) {
    const Class = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
    if (typeof Class !== "function" || Class.prototype !== prototype) continue;
    const kind = kindOfBuiltin(Class);
    if (kind >= 0) {
      encoder.writeByte(kind);
      return;
    }
    if (Object.hasOwn(Class, shoalBrands) && errorClassByName(Class.name)) {
      encoder.writeByte(ERROR_SHOAL);
      encoder.writeString(Class.name);
      return;
    }
    try {
      const number = encoder.classNumber(Class);
      encoder.writeByte(ERROR_CLASS);
      encoder.writeVarint(number);
      return;
    } catch (thrown) {
      const isRefusal = thrown instanceof SerializationError;
      if (!encoder.hooks.lenientErrors && !(isRefusal && isNodeInternal(error))) throw thrown;
    }
  }
  encoder.writeByte(0);
}

/** Also finds the built-in error classes of another realm (`node:vm`), which are ours once they have travelled. */
function kindOfBuiltin(Class: Function): number {
  const kind = errorConstructors.indexOf(Class as ErrorConstructor & AggregateErrorConstructor);
  if (kind >= 0 || !isNative(Class)) return kind;
  return errorConstructors.findIndex((known) => known.name === Class.name);
}

/** Errors that Node throws of classes it does not export, such as its AbortError. */
function isNodeInternal(error: Error): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && (code === "ABORT_ERR" || code.startsWith("ERR_"));
}

/** Mask of the properties that an error owns without listing them, their values, then the listed ones as pairs. */
function writeFieldsOfError(encoder: Encoder, error: Error & { errors?: unknown }): void {
  const maskAt = encoder.pos;
  let mask = 0;
  encoder.writeByte(0);
  for (let i = 0; i < errorHiddenKeys.length; i++) {
    const key = errorHiddenKeys[i];
    const descriptor = Object.getOwnPropertyDescriptor(error, key);
    if (descriptor === undefined || (descriptor.enumerable && key !== "stack")) continue;
    if ((key === "stack" || key === "name") && typeof error[key] !== "string") continue;
    if (writeFieldOfError(encoder, error, key)) mask |= 1 << i;
  }
  encoder.setByteAt(maskAt, mask);
  const keys = Object.keys(error).filter((key) => key !== "stack");
  encoder.writeVarint(keys.length);
  for (const key of keys) {
    encoder.writeString(key);
    if (!writeFieldOfError(encoder, error, key)) encoder.writeByte(Tag.Hole);
  }
}

/** Writes a field, or, where the hooks ask for lenience, leaves out one that cannot be read or cannot travel and returns false. */
function writeFieldOfError(encoder: Encoder, error: Error, key: string): boolean {
  const fields = error as unknown as Record<string, unknown>;
  if (!encoder.hooks.lenientErrors) {
    encoder.writePart(error, key, fields[key]);
    return true;
  }
  const mark = encoder.mark();
  try {
    encoder.writePart(error, key, fields[key]);
    return true;
  } catch {
    encoder.rollback(mark);
    return false;
  }
}
