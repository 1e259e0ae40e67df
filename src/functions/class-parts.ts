/** What a function or class object consists of beside its text: its kind, its methods, its static state, private members. */
import { SerializationError } from "../base/errors.ts";
import { type FunctionText, readFunction } from "./free-variables.ts";

export type MethodKind = "function" | "async" | "generator" | "async generator";

const sourceOf = Function.prototype.toString;

export function textOf(fn: Function): string {
  return sourceOf.call(fn);
}

export function isNative(fn: Function): boolean {
  return textOf(fn).endsWith("{ [native code] }");
}

export function isClassText(text: string): boolean {
  return text.startsWith("class") && !/^class\s*\(/.test(text);
}

/** A class, or a function used as one: with methods on its prototype, or a prototype that inherits. */
export function isClassLike(fn: Function): boolean {
  if (isClassText(textOf(fn))) return true;
  const own = Object.getOwnPropertyDescriptor(fn, "prototype");
  const prototype: unknown = own?.value;
  if (typeof prototype !== "object" || prototype === null || !Object.hasOwn(prototype, "constructor")) return false;
  return Reflect.ownKeys(prototype).length > 1 || Object.getPrototypeOf(prototype) !== Object.prototype;
}

const kinds: Readonly<Record<string, MethodKind>> = {
  AsyncFunction: "async",
  GeneratorFunction: "generator",
  AsyncGeneratorFunction: "async generator",
};

export function kindOfFunction(fn: Function): MethodKind {
  return kinds[Object.getPrototypeOf(fn)?.constructor?.name ?? ""] ?? "function";
}

/** Methods of instances by name, own and inherited; of the same name the nearest. */
export function methodsOf(Class: Function): Record<string, MethodKind> {
  const methods: Record<string, MethodKind> = {};
  for (
    let prototype = Class.prototype;
    prototype && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    for (const name of Object.getOwnPropertyNames(prototype)) {
      const value: unknown = Object.getOwnPropertyDescriptor(prototype, name)?.value;
      if (name === "constructor" || typeof value !== "function" || Object.hasOwn(methods, name)) continue;
      methods[name] = kindOfFunction(value);
    }
  }
  return methods;
}

export interface OwnProperty {
  readonly key: string | symbol;
  readonly value: unknown;
  readonly enumerable: boolean;
  /** The class's own text gives it a value too, which serves where this one cannot travel. */
  readonly hasInitialiser: boolean;
}

const neverOwn = new Set<string | symbol>(["length", "name", "prototype", "arguments", "caller"]);

/** Properties of a function or class that its text does not make, or makes with a value that has changed since. */
export function staticState(fn: Function, text: string): OwnProperty[] {
  const state: OwnProperty[] = [];
  const declared = isClassText(text) ? declaredStatics(text) : null;
  for (const key of Reflect.ownKeys(fn)) {
    if (neverOwn.has(key) && !(declared?.has(key) && key !== "prototype")) continue;
    const own = Object.getOwnPropertyDescriptor(fn, key);
    if (own === undefined || !("value" in own) || isWritten(own.value, text)) continue;
    state.push({ key, value: own.value, enumerable: own.enumerable === true, hasInitialiser: declared?.has(key) === true });
  }
  return state;
}

/** Methods and values that were put on the prototype after the class was made. */
export function prototypeState(fn: Function, text: string): OwnProperty[] {
  const state: OwnProperty[] = [];
  const { prototype } = fn;
  if (typeof prototype !== "object" || prototype === null || !isClassLike(fn)) return state;
  for (const key of Reflect.ownKeys(prototype)) {
    const own = Object.getOwnPropertyDescriptor(prototype, key);
    if (key === "constructor" || own === undefined || !("value" in own) || isWritten(own.value, text)) continue;
    state.push({ key, value: own.value, enumerable: own.enumerable === true, hasInitialiser: false });
  }
  return state;
}

/** A function whose text is part of `text` is made again by it, with its `this` and `super` right. */
function isWritten(value: unknown, text: string): boolean {
  return typeof value === "function" && text.includes(textOf(value));
}

/** The computed names of a class's methods, as they turned out; null for one that cannot be told. */
export function computedNames(fn: Function, text: FunctionText): { start: number; end: number; key: string | symbol | null }[] {
  const names: { start: number; end: number; key: string | symbol | null }[] = [];
  for (const member of text.node.body?.body ?? []) {
    if (!member.computed || member.type !== "MethodDefinition") continue;
    const at = (offset: number): number => offset - text.offset;
    const method = text.text.slice(at(member.start), at(member.end)).replace(/^static\s+/, "");
    const owner = member.static ? fn : fn.prototype;
    const key = Reflect.ownKeys(owner).find((name) => {
      const { value, get, set } = Object.getOwnPropertyDescriptor(owner, name)!;
      return [value, get, set].some((part) => typeof part === "function" && textOf(part) === method);
    });
    const start = text.text.lastIndexOf("[", at(member.key.start));
    const end = text.text.indexOf("]", at(member.key.end)) + 1;
    names.push({ start, end, key: key ?? null });
  }
  return names;
}

function declaredStatics(text: string): Set<string | symbol> {
  const names = new Set<string | symbol>();
  for (const member of classBody(text)) {
    if (member.static && !member.computed && member.type === "PropertyDefinition")
      names.add(member.key.name ?? String(member.key.value));
  }
  return names;
}

function classBody(text: string): readonly any[] {
  return readFunction(text).node.body?.body ?? [];
}

const privateMembers = new WeakMap<Function, string>();

/**
 * Refuses a class whose instances hold private members, its own or inherited: nothing outside the class can read or set them. `path` is
 * the way to the instance.
 */
export function assertNoPrivateInstanceMembers(Class: Function, path: string): void {
  for (let at: Function | null = Class; typeof at === "function" && at !== Function.prototype; at = Object.getPrototypeOf(at)) {
    const member = privateMemberOf(at);
    if (member === "") continue;
    const owner = at === Class ? `class ${Class.name}` : `class ${Class.name}, by its base ${at.name},`;
    throw new SerializationError(
      `Cannot send ${path} as an instance of ${Class.name}: ${owner} has the private member ${member}`,
      { path },
    );
  }
}

/** The first private field or method that instances of a class hold; "" when there is none. */
function privateMemberOf(Class: Function): string {
  let member = privateMembers.get(Class);
  if (member === undefined) {
    const text = textOf(Class);
    member = text.includes("#") && isClassText(text) ? findPrivateMember(text) : "";
    privateMembers.set(Class, member);
  }
  return member;
}

function findPrivateMember(text: string): string {
  for (const { key, static: isStatic, type, kind } of classBody(text)) {
    if (isStatic || key?.type !== "PrivateIdentifier") continue;
    // Methods and accessors are no state, but an instance made without its constructor does not have them.
    if (type === "PropertyDefinition" || kind !== undefined) return `#${key.name}`;
  }
  return "";
}
