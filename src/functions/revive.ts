/**
 * Makes a captured function or class from its module. Modules of classes it needs come first; where classes need each other, only what a
 * class needs while it is being defined (its base) decides the order, and the rest is set when all of them exist.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { DecodeHooks, Special } from "../values/hooks.ts";
import { deserialize } from "../values/index.ts";
import { noteReference, type Reference } from "./by-reference.ts";
import { type Environment, unpackEnvironment } from "./environment.ts";
import { placeBundle } from "./file-bundle.ts";
import { noteKey, originalOf } from "./identity.ts";
import { symbolNamed } from "./literals.ts";
import { locateFile, locateImport, requireIn, resolveHere } from "./places.ts";
import { resolveImport } from "./resolve-specifier.ts";
import { noteScriptFile } from "./scripts.ts";
import type { CaptureContext, CodeStore } from "./types.ts";

/** What a generated module exports. */
interface GeneratedModule {
  readonly dependencies: readonly { readonly key: string; readonly isCyclic: boolean; readonly whileDefined: boolean }[];
  /** What it imports, where that was on the node it comes from. */
  readonly imports?: readonly string[];
  /** The user's own files that it needs: what it calls them by, and the key of the bundle they are in. */
  readonly files?: readonly (readonly [url: string, bundle: string])[];
  default(shoal: Support, imports: readonly unknown[]): Steps;
}

interface Steps {
  bind(values: readonly unknown[], dependencies: readonly unknown[], variables: readonly object[]): void;
  define(values: readonly unknown[], dependencies: readonly unknown[]): Function;
  late(values: readonly unknown[], dependencies: readonly unknown[], variables: readonly object[]): void;
  /** Of a class: its variables, for those who share them. */
  readonly variables?: object;
  table(dependencies: readonly unknown[]): readonly unknown[];
  references(): readonly (readonly [unknown, Reference])[];
}

interface Loaded {
  readonly key: string;
  readonly module: GeneratedModule;
  readonly environment: Environment | null;
  readonly imports: readonly unknown[];
  readonly support: Support;
  steps: Steps | null;
  result: Function | null;
  /** Whether what needs all classes to exist is set. */
  isComplete: boolean;
}

interface Shelf {
  readonly loaded: Map<string, Promise<Loaded>>;
  readonly functions: Map<string, Promise<Function>>;
}

const shelves = new WeakMap<CodeStore, Shelf>();

/** The function or class of that key: the original in the process that captured it, otherwise one and the same for each call. */
export function revive(key: string, context: CaptureContext): Promise<Function> {
  const original = originalOf(key);
  if (original !== undefined) return Promise.resolve(original);
  const shelf = shelfOf(context.code);
  let promise = shelf.functions.get(key);
  if (promise === undefined) {
    promise = reviveNow(key, context, shelf);
    promise.catch(() => shelf.functions.delete(key));
    shelf.functions.set(key, promise);
  }
  return promise;
}

function shelfOf(code: CodeStore): Shelf {
  let shelf = shelves.get(code);
  if (shelf === undefined) {
    shelf = { loaded: new Map(), functions: new Map() };
    shelves.set(code, shelf);
  }
  return shelf;
}

async function reviveNow(key: string, context: CaptureContext, shelf: Shelf): Promise<Function> {
  const group = new Map<string, Loaded>();
  await loadAll(key, context, shelf, group);
  // From here on nothing waits: whoever else revives at the same time finds classes defined and complete, or not begun.
  const order = definitionOrder(group, key);
  for (const loaded of order) if (loaded.result === null) define(loaded, group, context);
  for (const loaded of order) if (!loaded.isComplete) complete(loaded, group, context);
  return group.get(key)!.result!;
}

async function loadAll(key: string, context: CaptureContext, shelf: Shelf, group: Map<string, Loaded>): Promise<void> {
  if (group.has(key)) return;
  let promise = shelf.loaded.get(key);
  if (promise === undefined) {
    promise = load(key, context);
    promise.catch(() => shelf.loaded.delete(key));
    shelf.loaded.set(key, promise);
  }
  const loaded = await promise;
  group.set(key, loaded);
  await Promise.all(loaded.module.dependencies.map((dependency) => loadAll(dependency.key, context, shelf, group)));
}

async function load(key: string, context: CaptureContext): Promise<Loaded> {
  const original = originalOf(key);
  if (original !== undefined)
    return { ...nothingLoaded, key, module: emptyModule, environment: null, result: original, isComplete: true };
  const path = await context.code.fetch(key);
  noteScriptFile(path);
  const [module, environment] = await Promise.all([
    import(pathToFileURL(path).href) as Promise<GeneratedModule>,
    readFile(path.replace(/\.mjs$/, ".env")).then(unpackEnvironment, (error) => {
      if (error.code === "ENOENT") return null;
      throw error;
    }),
  ]);
  const loaded = { ...nothingLoaded, key, module, environment, result: null, isComplete: false };
  if (module.imports === undefined && module.files === undefined) return loaded;
  const places = await placesOf(module.files ?? [], context.code);
  const imports = await Promise.all(
    (module.imports ?? []).map((url) => {
      const own = places.get(url);
      return import(own === undefined ? locateImport(url) : own);
    }),
  );
  return { ...loaded, imports, support: places.size === 0 ? support : new Support(places) };
}

/** Where on this node the user's own files are, by what a module calls them; those that are where they were are left out. */
async function placesOf(files: NonNullable<GeneratedModule["files"]>, code: CodeStore): Promise<Map<string, string>> {
  const places = new Map<string, string>();
  await Promise.all(
    files.map(async ([url, bundle]) => {
      const path = fileURLToPath(url.split("?")[0]);
      const here = (await placeBundle(bundle, url, code)).locate(path);
      if (here !== path) places.set(url, pathToFileURL(here).href);
    }),
  );
  return places;
}

const emptyModule: GeneratedModule = {
  dependencies: [],
  default: () => {
    throw new Error("there is nothing to define");
  },
};

/** Dependencies first. Among classes that need each other, only needs during definition count. */
function definitionOrder(group: ReadonlyMap<string, Loaded>, root: string): Loaded[] {
  const order: Loaded[] = [];
  const visited = new Set<string>();
  const visit = (key: string): void => {
    if (visited.has(key)) return;
    visited.add(key);
    const loaded = group.get(key)!;
    for (const hard of [true, false]) {
      for (const dependency of loaded.module.dependencies) {
        if (dependency.whileDefined === hard && (hard || !reaches(group, dependency.key, key))) visit(dependency.key);
      }
    }
    order.push(loaded);
    for (const dependency of loaded.module.dependencies) visit(dependency.key);
  };
  visit(root);
  return order;
}

function reaches(group: ReadonlyMap<string, Loaded>, from: string, to: string): boolean {
  const seen = new Set<string>([from]);
  for (const key of seen) {
    if (key === to) return true;
    for (const dependency of group.get(key)!.module.dependencies) seen.add(dependency.key);
  }
  return false;
}

const nothing: readonly unknown[] = [];

function define(loaded: Loaded, group: ReadonlyMap<string, Loaded>, context: CaptureContext): void {
  loaded.steps = loaded.module.default(loaded.support, loaded.imports);
  for (const [value, reference] of loaded.steps.references()) noteReference(value, reference);
  const dependencies = dependenciesOf(loaded, group);
  const holds: object[] = [];
  const values = decode(loaded, loaded.environment?.early, dependencies, context, holds);
  loaded.steps.bind(values, dependencies, variablesOf(loaded, group));
  loaded.result = loaded.steps.define(values, dependencies);
  unfinished.set(loaded, { holds, values });
}

/** What a class that is defined, and not complete yet, was defined with. */
const unfinished = new WeakMap<Loaded, { readonly holds: object[]; readonly values: readonly unknown[] }>();

function complete(loaded: Loaded, group: ReadonlyMap<string, Loaded>, context: CaptureContext): void {
  loaded.isComplete = true;
  const dependencies = dependenciesOf(loaded, group);
  const { holds, values: early } = unfinished.get(loaded)!;
  const late = decode(loaded, loaded.environment?.late, dependencies, context, holds);
  const values = late.length === 0 ? early : late.map((value, at) => (value === undefined ? early[at] : value));
  loaded.steps!.late(values, dependencies, variablesOf(loaded, group));
  noteKey(loaded.result!, loaded.key, holds);
}

function dependenciesOf(loaded: Loaded, group: ReadonlyMap<string, Loaded>): readonly unknown[] {
  return loaded.module.dependencies.map(({ key }) => group.get(key)!.result ?? undefined);
}

const noVariables: object = {};

function variablesOf(loaded: Loaded, group: ReadonlyMap<string, Loaded>): readonly object[] {
  return loaded.module.dependencies.map(({ key }) => group.get(key)!.steps?.variables ?? noVariables);
}

function decode(
  loaded: Loaded,
  bytes: Uint8Array | undefined,
  dependencies: readonly unknown[],
  context: CaptureContext,
  holds: object[],
): readonly unknown[] {
  if (bytes === undefined || bytes.length === 0) return nothing;
  const table = loaded.steps!.table(dependencies);
  const hooks: DecodeHooks = {
    decodeSpecial: (special: Special, payload: unknown) => {
      if (special.tag === "local") return table[special.data as number];
      const value = context.decode.decodeSpecial(special, payload);
      if (special.tag !== "registered" && typeof value === "object" && value !== null) holds.push(value);
      return value;
    },
    decodeClass: (key) =>
      key.startsWith("local:") ? (table[Number(key.slice("local:".length))] as Function) : context.decode.decodeClass(key),
  };
  const isAligned = bytes.byteOffset % 64 === 0;
  return deserialize(bytes, hooks, isAligned ? "alias" : "copy") as readonly unknown[];
}

const boundParts = new WeakMap<Function, readonly [Function, unknown, ...unknown[]]>();

/** What generated modules use. `places`: the user's own files that are elsewhere on this node. */
class Support {
  private readonly places: ReadonlyMap<string, string>;

  constructor(places: ReadonlyMap<string, string>) {
    this.places = places;
  }

  symbol(name: string, description: string): symbol {
    return symbolNamed(name, description);
  }

  require(path: string): unknown {
    const own = this.places.get(pathToFileURL(path).href);
    return createRequire(import.meta.url)(own === undefined ? locateFile(path) : fileURLToPath(own));
  }

  requireFunction(base: string): unknown {
    return noted(requireIn(this.places.get(base) ?? base), { kind: "require function", base });
  }

  meta(base: string): unknown {
    const url = this.places.get(base) ?? base;
    const path = url.startsWith("file:") ? fileURLToPath(url) : undefined;
    const meta = {
      __proto__: null,
      ...(path === undefined ? {} : { dirname: dirname(path), filename: path }),
      resolve(specifier: string): string {
        const found = resolveImport(specifier, url);
        if (found === undefined) throw new Error(`Cannot find '${specifier}' imported from ${url}`);
        return found;
      },
      url,
    };
    return noted(meta, { kind: "meta", base });
  }

  importer(base: string): unknown {
    const here = this.places.get(base) ?? base;
    const importer = (specifier: unknown, options?: ImportCallOptions): Promise<unknown> =>
      import(resolveHere(String(specifier), here), { with: options?.with });
    return noted(importer, { kind: "importer", base });
  }

  namespace(members: readonly (readonly [string, unknown])[]): object {
    return Object.defineProperty(Object.assign(Object.create(null), Object.fromEntries(members)), Symbol.toStringTag, {
      value: "Module",
    });
  }

  named<F extends Function>(fn: F, name: string): F {
    if (fn.name !== name) Object.defineProperty(fn, "name", { value: name, configurable: true });
    return fn;
  }

  accessor(holder: object, name: string): PropertyDescriptor {
    return Object.getOwnPropertyDescriptor(holder, name)!;
  }

  /** A bound function exists before its parts do. */
  bound(name: string): Function {
    const bound = function (this: unknown, ...args: unknown[]): unknown {
      const [target, self, ...first] = boundParts.get(bound)!;
      return new.target ? Reflect.construct(target, [...first, ...args]) : Reflect.apply(target, self, [...first, ...args]);
    };
    return this.named(bound, name);
  }

  setBound(bound: Function, parts: readonly [Function, unknown, ...unknown[]]): void {
    boundParts.set(bound, parts);
  }

  property(owner: object, key: string | symbol, value: unknown, enumerable: boolean): void {
    const own = Object.getOwnPropertyDescriptor(owner, key);
    if (own === undefined) Object.defineProperty(owner, key, { value, enumerable, writable: true, configurable: true });
    else if (own.configurable || own.writable)
      Object.defineProperty(owner, key, "value" in own ? { value } : { value, writable: true });
  }
}

/** For modules whose files are where they were, which is nearly all of them. */
const support = new Support(new Map());

const nothingLoaded = { imports: nothing, support, steps: null } as const;

type ImportCallOptions = { with?: Record<string, string> };

function noted<T extends object>(value: T, reference: Reference): T {
  noteReference(value, reference);
  return value;
}
