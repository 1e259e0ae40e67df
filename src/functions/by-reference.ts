/**
 * What a worker has already: the language's and Node's globals, the exports of built-in modules, of this package and of installed packages.
 * A captured variable that holds one of these travels as where to find it.
 */
import { createRequire, isBuiltin } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { types } from "node:util";
import { type GlobalReference, globalReference } from "./global-values.ts";
import type { Inspected } from "./inspect.ts";
import { baseUrlOf, type Script } from "./scripts.ts";

export type Reference =
  | GlobalReference
  /** An export of a module; `*` is the namespace. */
  | { readonly kind: "import"; readonly url: string; readonly name: string }
  /** What `require` of a file gives, or (with a name) one property of it. */
  | { readonly kind: "require"; readonly path: string; readonly name: string }
  /** What stands for `import.meta`, `import()` and `require` of the user's file in a generated module. */
  | { readonly kind: "meta" | "importer" | "require function"; readonly base: string };

/** References that were noted: exports of this package, and what generated modules imported. */
const noted = new WeakMap<object, Reference>();

/** Tells that `value` is to be found at `reference` by every process. */
export function noteReference(value: unknown, reference: Reference): void {
  if (isObject(value) && !noted.has(value)) noted.set(value, reference);
}

const selfUrls = new Set<string>();

/** Tells that `namespace` is what importing `url`, a file of this package, gives. */
export function registerSelfExports(url: string, namespace: object): void {
  selfUrls.add(url);
  noteReference(namespace, { kind: "import", url, name: "*" });
  for (const name of Object.keys(namespace)) {
    const value = (namespace as Record<string, unknown>)[name];
    if (typeof value === "function") noteReference(value, { kind: "import", url, name });
  }
}

export function isSelfUrl(url: string): boolean {
  return selfUrls.has(url);
}

/**
 * Where every process finds `value` itself, told by its identity; undefined for values of the user's program. Of functions, those of Node's
 * modules are left to `referenceToInternal`, as the look into those modules is not cheap the first time.
 */
export function referenceTo(value: object): Reference | undefined {
  const known = noted.get(value) ?? globalReference(value) ?? requiredModules().get(value);
  if (known !== undefined || typeof value === "function") return known;
  if (types.isModuleNamespaceObject(value)) return namespaceOfBuiltin(value);
  return looksLikeModule(value) ? builtins().get(value) : undefined;
}

/** Where every process finds a function that is not written in the user's program. */
export function referenceToInternal(fn: Function): Reference | undefined {
  return builtins().get(fn);
}

/** Modules have functions in them, data has none. */
function looksLikeModule(value: object): boolean {
  if (types.isProxy(value) || ArrayBuffer.isView(value) || Array.isArray(value)) return false;
  let looks = 0;
  for (const key in value) {
    if (typeof Object.getOwnPropertyDescriptor(value, key)?.value === "function") return true;
    if (++looks === 20) return false;
  }
  return false;
}

const builtinTable = new Map<unknown, Reference>();
let builtinsSeen = 0;
const builtinsRead = new Set<string>();

/** Exports of the built-in modules that are loaded: a value can only come out of one that is. */
function builtins(): Map<unknown, Reference> {
  const { moduleLoadList } = process as unknown as { moduleLoadList: string[] };
  if (moduleLoadList.length === builtinsSeen) return builtinTable;
  const fresh = moduleLoadList.slice(builtinsSeen).map((entry) => entry.replace(/^NativeModule /, ""));
  builtinsSeen = moduleLoadList.length;
  for (const name of fresh) {
    if (!isBuiltin(name) || name.startsWith("_") || unlooked.has(name) || builtinsRead.has(name)) continue;
    builtinsRead.add(name);
    const module = builtinModule(name);
    if (isObject(module)) readBuiltin(module, `node:${name.replace(/^node:/, "")}`);
  }
  return builtinTable;
}

function readBuiltin(module: object, url: string): void {
  builtinTable.set(module, { kind: "import", url, name: "default" });
  const { prototype } = module as { prototype?: unknown };
  if (typeof module === "function" && isObject(prototype)) noteMethods(prototype, url, "default.prototype", builtinTable);
  for (const key of Object.keys(module)) {
    const value = Object.getOwnPropertyDescriptor(module, key)?.value;
    if (!isObject(value) || builtinTable.has(value)) continue;
    builtinTable.set(value, { kind: "import", url, name: key });
    if (typeof value === "function" && isObject(value.prototype))
      noteMethods(value.prototype, url, `${key}.prototype`, builtinTable);
  }
}

/** Deprecated, or the globals over again. */
const unlooked = new Set(["punycode", "sys", "constants", "process", "console"]);

function noteMethods(prototype: object, url: string, path: string, table: Map<unknown, Reference>): void {
  for (const key of Object.keys(prototype)) {
    const value = Object.getOwnPropertyDescriptor(prototype, key)?.value;
    if (typeof value === "function" && /^[\w$]+$/.test(key) && !table.has(value))
      table.set(value, { kind: "import", url, name: `${path}.${key}` });
  }
}

function builtinModule(name: string): object | undefined {
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => object | undefined };
  return getBuiltinModule === undefined ? require(`node:${name}`) : getBuiltinModule.call(process, name);
}

function namespaceOfBuiltin(namespace: object): Reference | undefined {
  const own = Object.getOwnPropertyDescriptor(namespace, "default");
  if (own === undefined || own.value === undefined) return undefined;
  const reference = builtins().get(own.value);
  return reference?.kind === "import" && reference.name === "default" ? { ...reference, name: "*" } : undefined;
}

const require = createRequire(import.meta.url);
let requiredTable: Map<unknown, Reference> = new Map();
let requiredSeen = -1;

/** `module.exports` of installed CommonJS packages. */
function requiredModules(): Map<unknown, Reference> {
  const { cache } = require;
  const paths = Object.keys(cache);
  if (paths.length === requiredSeen) return requiredTable;
  requiredSeen = paths.length;
  requiredTable = new Map();
  for (const path of paths) {
    const module = cache[path];
    if (isInstalled(path) && module?.loaded && isObject(module.exports))
      requiredTable.set(module.exports, { kind: "require", path, name: "" });
  }
  return requiredTable;
}

/** True for files of installed packages. */
export function isInstalled(pathOrUrl: string): boolean {
  return /[\\/]node_modules[\\/]/.test(pathOrUrl);
}

/** The export of the script a function is in that gives this function, or undefined. */
export function exportOf(fn: Function, script: Script, { scopes }: Inspected): Reference | undefined {
  const url = baseUrlOf(script);
  if (!url.startsWith("file:")) return undefined;
  const path = fileURLToPath(url);
  const module = require.cache[path];
  if (module !== undefined) return memberOfExports(fn, path, module.exports);
  const variables = scopes.find(({ description }) => description === "Module")?.variables;
  if (variables === undefined || script.tree === null) return undefined;
  for (const [name, local] of exportedNames(script.tree)) {
    if (variables[local] === fn) return { kind: "import", url: pathToFileURL(path).href, name };
  }
  return undefined;
}

function memberOfExports(fn: Function, path: string, exports: unknown): Reference | undefined {
  if (exports === fn) return { kind: "require", path, name: "" };
  if (!isObject(exports)) return undefined;
  for (const name of Object.keys(exports)) {
    const descriptor = Object.getOwnPropertyDescriptor(exports, name);
    if (descriptor?.value === fn || (descriptor?.get !== undefined && (exports as Record<string, unknown>)[name] === fn)) {
      return { kind: "require", path, name };
    }
  }
  return undefined;
}

function* exportedNames(tree: any): Generator<[name: string, local: string]> {
  for (const statement of tree.body) {
    if (statement.type === "ExportDefaultDeclaration") {
      const { declaration } = statement;
      yield ["default", declaration.type === "Identifier" ? declaration.name : (declaration.id?.name ?? "*default*")];
    } else if (statement.type === "ExportNamedDeclaration" && statement.source === null) {
      for (const { exported, local } of statement.specifiers) yield [exported.name ?? exported.value, local.name];
      const { declaration } = statement;
      if (declaration?.id) yield [declaration.id.name, declaration.id.name];
      for (const { id } of declaration?.declarations ?? []) if (id.type === "Identifier") yield [id.name, id.name];
    }
  }
}

function isObject(value: unknown): value is object {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}
