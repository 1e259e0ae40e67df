/**
 * Says why an object cannot travel, where its fields would travel and mean nothing: a Socket arrives as an object full of settings and
 * without a connection. Node's own classes are told from a user's class of the same name by looking into the modules that are loaded,
 * since an instance of a class can only exist once its module is.
 */

import { builtinModules } from "node:module";
import { types } from "node:util";
import { clearImmediate, clearTimeout, setImmediate, setTimeout } from "../base/clock.ts";
import { nameOfClass } from "./path.ts";

type GetBuiltinModule = (name: string) => Record<string, unknown> | undefined;

/** Public classes of Node whose instances travel by their fields, or by a rule of their own. */
const travelling = new Set(["EventEmitter", "EventEmitterAsyncResource", "AssertionError", "URL", "URLSearchParams", "Buffer"]);

export interface ClassKind {
  /** Nothing in the chain is built in but Object: instances have no slots besides their fields. */
  readonly isPlain: boolean;
  /** What is wrong with instances, "" for nothing. */
  readonly verdict: string;
}

const kinds = new WeakMap<object, ClassKind>();

/** What there is to know about objects with this prototype, looked up once. */
export function kindOfClass(prototype: object): ClassKind {
  let kind = kinds.get(prototype);
  if (kind === undefined) {
    kind = { isPlain: isPlainChain(prototype), verdict: describeClass(prototype) };
    kinds.set(prototype, kind);
  }
  return kind;
}

/** Why `value` cannot travel, e.g. `a Socket holds operating-system state`; `undefined` when nothing speaks against it. */
export function describeUntravelable(value: object): string | undefined {
  if (types.isPromise(value)) return "a Promise settles in this process only; await it first";
  const builtin = describeBuiltin(value);
  if (builtin !== undefined) return builtin;
  const { verdict } = kindOfClass(Object.getPrototypeOf(value));
  return verdict === "" ? undefined : `${article(nameOfClass(value))} ${verdict}`;
}

/** Classes written in JavaScript all the way up to Object. */
function isPlainChain(start: object): boolean {
  for (let prototype = start; prototype !== Object.prototype; prototype = Object.getPrototypeOf(prototype)) {
    const Class: unknown = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
    if (typeof Class !== "function" || isNative(Class) || Object.getPrototypeOf(prototype) === null) return false;
  }
  return true;
}

export function isNative(fn: Function): boolean {
  return Function.prototype.toString.call(fn).endsWith("{ [native code] }");
}

function describeBuiltin(value: object): string | undefined {
  if (types.isWeakMap(value) || types.isWeakSet(value)) return `a ${nameOfClass(value)} cannot be listed`;
  if (value instanceof WeakRef || value instanceof FinalizationRegistry) {
    return `a ${nameOfClass(value)} is about garbage collection in this process`;
  }
  if (types.isGeneratorObject(value)) return "a generator's position cannot travel; send what it yields, e.g. [...generator]";
  if (isNativeIterator(value)) return "an iterator's position cannot travel; send what it yields, e.g. [...iterator]";
  if (types.isExternal(value) || value === process) return "it holds state of this process";
  return undefined;
}

/** Iterators of arrays, maps, sets, strings, and what iterator helpers return. */
function isNativeIterator(value: object): boolean {
  const next: unknown = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(value), "next")?.value;
  return typeof next === "function" && isNative(next);
}

/** What speaks against instances of a class: that it, or a class it extends, is one of Node's or the engine's. */
function describeClass(start: object): string {
  for (let prototype: object | null = start; prototype !== null; prototype = Object.getPrototypeOf(prototype)) {
    const Class: unknown = Object.getOwnPropertyDescriptor(prototype, "constructor")?.value;
    if (typeof Class !== "function") continue;
    const { name } = Class;
    if (isUnexported(name, prototype)) return "holds operating-system state";
    if (travelling.has(name) || isPlainBase(prototype)) continue;
    const module = moduleOf(Class);
    if (module !== undefined) return module;
    if (isNative(Class) && !Class.name.startsWith("bound ")) {
      if (!isStructuredBase(name)) return "holds native state";
    }
  }
  return "";
}

const structuredBases = new Set([
  ...[
    "Object",
    "Array",
    "Map",
    "Set",
    "Date",
    "RegExp",
    "Number",
    "String",
    "Boolean",
    "BigInt",
    "Symbol",
    "ArrayBuffer",
    "SharedArrayBuffer",
  ],
  ...[
    "DataView",
    "TypedArray",
    "Int8Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "Int16Array",
    "Uint16Array",
    "Int32Array",
    "Uint32Array",
  ],
  ...["Float16Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array", "DOMException"],
  ...[
    "Error",
    "EvalError",
    "RangeError",
    "ReferenceError",
    "SyntaxError",
    "TypeError",
    "URIError",
    "AggregateError",
    "SuppressedError",
  ],
]);

function isStructuredBase(name: string): boolean {
  return structuredBases.has(name);
}

/** Skips the look into modules for the roots of nearly every chain. */
function isPlainBase(prototype: object): boolean {
  return prototype === Object.prototype || prototype === Error.prototype || prototype === Array.prototype;
}

const holdsConnections = new Set([
  "net",
  "tls",
  "http",
  "https",
  "http2",
  "dgram",
  "fs",
  "child_process",
  "worker_threads",
  "cluster",
  "tty",
  "dns",
]);
/** Modules whose classes are plain containers, or that hold the globals already known by name. */
const unlooked = new Set([
  "process",
  "module",
  "console",
  "constants",
  "punycode",
  "sys",
  "assert",
  "assert/strict",
  "util/types",
]);

/** What instances of a class hold, if one of Node's public modules or its globals export the class. */
function moduleOf(Class: Function): string | undefined {
  const getBuiltinModule = (process as { getBuiltinModule?: GetBuiltinModule }).getBuiltinModule;
  const loaded = new Set(
    (process as unknown as { moduleLoadList?: string[] }).moduleLoadList?.map((entry) => entry.replace(/^NativeModule /, "")),
  );
  for (const name of builtinModules) {
    if (unlooked.has(name) || name.startsWith("_") || !loaded.has(name)) continue;
    const module = getBuiltinModule?.call(process, name);
    if (module === undefined || !exportsValue(module, Class)) continue;
    if (name === "stream" || name.startsWith("stream/")) return "is a stream, which holds operating-system state";
    return holdsConnections.has(name) ? "holds operating-system state" : "holds state of Node that exists in this process only";
  }
  if (!isStructuredBase(Class.name) && exportsGlobal(Class)) return "holds state of Node that exists in this process only";
  return undefined;
}

/** Looks at plain exports only: reading accessors can load modules and print deprecation warnings. */
function exportsValue(module: object, Class: Function): boolean {
  if ((module as unknown) === Class) return true;
  for (const key of Object.getOwnPropertyNames(module)) {
    if (Object.getOwnPropertyDescriptor(module, key)?.value === Class) return true;
  }
  return false;
}

/** Web classes (Blob, AbortSignal, ReadableStream, ...) are globals. Some are accessors that load their module, which then is loaded already. */
function exportsGlobal(Class: Function): boolean {
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, Class.name);
  if (descriptor === undefined) return false;
  return (descriptor.get !== undefined ? descriptor.get.call(globalThis) : descriptor.value) === Class;
}

/** A class of Node's that holds a handle and that nothing exports. */
function isUnexported(name: string, prototype: object): boolean {
  if (name === "FileHandle") return Object.hasOwn(prototype, "getAsyncId");
  return (name === "Timeout" || name === "Immediate") && timerPrototypes().includes(prototype);
}

let timers: readonly object[] | undefined;

function timerPrototypes(): readonly object[] {
  if (timers === undefined) {
    const timeout = setTimeout(() => {}, 0);
    clearTimeout(timeout);
    const immediate = setImmediate(() => {});
    clearImmediate(immediate);
    timers = [Object.getPrototypeOf(timeout), Object.getPrototypeOf(immediate)];
  }
  return timers;
}

function article(name: string): string {
  return /^[AEIOU]/.test(name) ? `an ${name}` : `a ${name}`;
}
