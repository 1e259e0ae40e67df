/**
 * The globals of the language and of Node, told by their identity: `const { max } = Math` travels as `Math.max`.
 *
 * Node makes many of its globals (fetch, WebSocket, ...) on first use, and merely looking at the property is a use that costs 100 ms. So those
 * are looked up only for a value that has their name.
 */
import { types } from "node:util";
import { isNative } from "./class-parts.ts";
import { languageGlobals, nodeGlobals } from "./standard-globals.ts";

/** An expression over globals, e.g. `Object.defineProperty`. */
export interface GlobalReference {
  readonly kind: "global";
  readonly code: string;
}

let table: Map<object, string> | undefined;

export function globalReference(value: object): GlobalReference | undefined {
  table ??= makeTable();
  const code = table.get(value) ?? nodeGlobalOf(value);
  return code === undefined ? undefined : { kind: "global", code };
}

/** The global of Node that a value is, going by the name of the function, or of the object's class: `crypto` is a `Crypto`. */
function nodeGlobalOf(value: object): string | undefined {
  if (types.isProxy(value)) return undefined;
  const owner = typeof value === "function" ? value : (Object.getPrototypeOf(value)?.constructor as unknown);
  const own = typeof owner === "function" ? Object.getOwnPropertyDescriptor(owner, "name")?.value : undefined;
  if (typeof own !== "string") return undefined;
  const name = typeof value === "function" ? own : own.toLowerCase();
  return nodeGlobals.has(name) && (globalThis as Record<string, unknown>)[name] === value ? name : undefined;
}

function makeTable(): Map<object, string> {
  const codes = new Map<object, string>();
  const note = (value: unknown, code: string): void => {
    if (((typeof value === "object" && value !== null) || typeof value === "function") && !codes.has(value))
      codes.set(value, code);
  };
  note(globalThis, "globalThis");
  for (const name of languageGlobals) {
    if (name !== "globalThis") noteClass((globalThis as Record<string, unknown>)[name], name, note);
  }
  for (const name of ["console", "Buffer", "process"]) noteClass((globalThis as Record<string, unknown>)[name], name, note);
  note(process.env, "process.env");
  note(Object.getPrototypeOf(Uint8Array), "Object.getPrototypeOf(Uint8Array)");
  note((async () => {}).constructor, "(async () => {}).constructor");
  note(function* () {}.constructor, "(function* () {}).constructor");
  return codes;
}

type Note = (value: unknown, code: string) => void;

function noteClass(value: unknown, name: string, note: Note): void {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return;
  note(value, name);
  noteMembers(value, name, note);
  if (typeof value !== "function" || typeof value.prototype !== "object") return;
  note(value.prototype, `${name}.prototype`);
  noteMembers(value.prototype, `${name}.prototype`, note);
}

function noteMembers(owner: object, code: string, note: Note): void {
  const isLanguage = languageGlobals.has(code.split(".")[0]);
  for (const key of Reflect.ownKeys(owner)) {
    const value = Object.getOwnPropertyDescriptor(owner, key)?.value;
    if (typeof value !== "function" || key === "constructor") continue;
    // Something that the program added to a class of the language.
    if (isLanguage && !isNative(value)) continue;
    if (typeof key === "string") note(value, /^[\w$]+$/.test(key) ? `${code}.${key}` : `${code}[${JSON.stringify(key)}]`);
    else if (key.description?.startsWith("Symbol.")) note(value, `${code}[${key.description}]`);
  }
}
