/** Writes the way to a value as a user would: `args[0].db.get("k")[3]`. */
import { types } from "node:util";

/** A step that is no element of its owner, written as it is: ` (Map key 2)`, `.field`. */
export class Step {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export function fieldStep(name: string): Step {
  return new Step(identifier.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`);
}

const identifier = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/** One step: from `owner` to its part named `key`. */
export function formatStep(owner: object, key: unknown): string {
  if (key instanceof Step) return key.text;
  if (types.isMap(owner)) return `.get(${formatKey(key)})`;
  if (types.isSet(owner)) return ` (Set item ${String(key)})`;
  if (typeof key === "number") return `[${key}]`;
  const name = String(key);
  return identifier.test(name)
    ? `.${name}`
    : Array.isArray(owner) && /^\d+$/.test(name)
      ? `[${name}]`
      : `[${JSON.stringify(name)}]`;
}

function formatKey(key: unknown): string {
  if (typeof key === "string") return JSON.stringify(key.length > 40 ? `${key.slice(0, 40)}...` : key);
  if (typeof key === "bigint") return `${key}n`;
  if (typeof key === "object" && key !== null) return types.isDate(key) ? "<Date>" : `<${nameOfClass(key)}>`;
  return typeof key === "function" ? `<function ${key.name}>` : String(key);
}

/** The name of an object's class, for messages only; never runs code of the object's own. */
export function nameOfClass(value: object): string {
  if (types.isProxy(value)) return "Proxy";
  for (let proto: object | null = value; proto !== null; proto = Object.getPrototypeOf(proto)) {
    const own = Object.getOwnPropertyDescriptor(proto, "constructor")?.value;
    if (typeof own === "function" && typeof own.name === "string" && own.name !== "" && proto !== value) return own.name;
    if (types.isProxy(proto)) break;
  }
  return "Object";
}
