/**
 * Captures a function or class: finds what travels with it (graph.ts), writes the module (emit.ts) and names it by its content.
 *
 * Captures nest: a class in a variable is captured on its own, and so is, by way of the runtime, the function behind a remote function. Both
 * may lead back to what is being captured (a class whose method makes another that extends it, a remote function that calls itself).
 * Whoever is led back gets the key beforehand, which then is made up instead of computed from the content.
 */
import { createHash, randomUUID } from "node:crypto";
import { isClassLike, kindOfFunction, methodsOf } from "./class-parts.ts";
import { emit } from "./emit.ts";
import { packEnvironment } from "./environment.ts";
import { CaptureFailure } from "./failures.ts";
import { Graph, type Outside } from "./graph.ts";
import { knownFunction, noteKey, noteOriginal, originalOf } from "./identity.ts";
import { releaseInspected } from "./inspect.ts";
import { SharedVariables } from "./shared-variables.ts";
import type { CaptureContext, Captured, CodeStore } from "./types.ts";

/** A capture under way. */
interface Active {
  readonly fn: Function;
  readonly context: CaptureContext;
  readonly holds: object[];
  /** Set when the key was asked for before the end. */
  promisedKey: string | null;
}

const active: Active[] = [];
const done = new WeakMap<CodeStore, WeakMap<Function, Captured>>();
/** Functions in the order in which their captures ended, while any capture is under way. */
const ended: Function[] = [];
/** What the captures under way have in common; null while there are none. */
let shared: SharedVariables | null = null;
/** The function that the runtime is being asked about. */
let probed: Function | null = null;
const notAHandle = new Error("not a handle");

/** Beyond this hashing would take longer than it can save. */
const hashedBytesMax = 1 << 20;
const keyLength = 32;

/**
 * Makes a function or class ready to travel and stores its module. Once per function object and store: what the function closes over
 * is as it was at the first capture. Throws a SerializationError that names the variable that cannot travel.
 */
export function capture(fn: Function, context: CaptureContext): Captured {
  if (probed === fn) throw notAHandle;
  if (typeof fn !== "function") throw new TypeError(`Cannot capture ${String(fn)} as a function: it is a ${typeof fn}`);
  const known = doneFor(context.code).get(fn);
  if (known !== undefined) return known;
  const outer = active.find((item) => item.fn === fn && item.context.code === context.code);
  if (outer !== undefined) {
    outer.promisedKey ??= randomKey();
    return describe(fn, outer.promisedKey, outer.holds);
  }
  const revived = knownFunction(fn);
  if (revived !== undefined && context.code.has(revived.key)) {
    const captured = describe(fn, revived.key, revived.holds);
    doneFor(context.code).set(fn, captured);
    return captured;
  }
  return captureNow(fn, context);
}

function captureNow(fn: Function, context: CaptureContext): Captured {
  const self: Active = { fn, context, holds: [], promisedKey: null };
  const endedBefore = ended.length;
  active.push(self);
  shared ??= new SharedVariables();
  const wasProbed = probed;
  probed = null;
  try {
    const graph = discover(self, shared);
    const key = write(graph, self, shared);
    self.holds.push(...graph.holds);
    const captured = describe(fn, key, self.holds);
    doneFor(context.code).set(fn, captured);
    ended.push(fn);
    noteOriginal(key, fn);
    noteKey(fn, key, self.holds);
    return captured;
  } catch (error) {
    // What ended meanwhile may refer to the key that was promised for this one.
    if (self.promisedKey !== null) for (const other of ended.slice(endedBefore)) doneFor(context.code).delete(other);
    throw error;
  } finally {
    probed = wasProbed;
    active.pop();
    if (active.length === 0) {
      ended.length = 0;
      shared = null;
      releaseInspected();
    }
  }
}

/** Tries by value; where an import of the program's own file cannot, that import travels by reference. */
function discover(self: Active, variables: SharedVariables): Graph {
  const { fn, context } = self;
  const byReference = new Set<string>();
  const outside: Outside = {
    captureOther: (other) => {
      const isCyclic = active.some((item) => item.fn === other);
      const { key, holds } = capture(other, context);
      // Once this key was asked for, what was captured since may lead back here.
      return { key, isCyclic: isCyclic || self.promisedKey !== null, holds };
    },
    isHandle: (other) => isHandle(other, context),
    shared: variables,
  };
  for (;;) {
    const graph = new Graph(fn, context, outside, byReference);
    try {
      graph.discover();
      return graph;
    } catch (error) {
      if (!(error instanceof CaptureFailure)) throw error;
      if (error.retry === null || byReference.has(error.retry.id)) throw error.error;
      byReference.add(error.retry.id);
    }
  }
}

/** Asks the runtime, by its own hook, whether it has its own way to send this function: if not, the hook comes back to capture it. */
function isHandle(fn: Function, context: CaptureContext): boolean {
  const outer = probed;
  probed = fn;
  try {
    const special = context.encode.encodeSpecial(fn, () => fn.name);
    return special !== undefined && special.tag !== "function" && special.tag !== "class";
  } catch (error) {
    if (error === notAHandle) return false;
    throw error;
  } finally {
    probed = outer;
  }
}

function write(graph: Graph, { context, promisedKey }: Active, variables: SharedVariables): string {
  const early = graph.encodeValues(false);
  const late = graph.encodeValues(true);
  const { text, map, cellNames } = emit(graph);
  const environment = early === null && late === null ? null : packEnvironment(early, late);
  let key = promisedKey ?? keyOf(text, environment);
  // Two classes stay two, however alike they are.
  const original = originalOf(key);
  if (graph.rootIsClass && original !== undefined && original !== graph.root) key = randomKey();
  if (graph.rootIsClass) variables.own(graph.root, key, graph.cells, (cell) => cellNames.get(cell)!);
  if (context.code.has(key)) return key;
  const files: Record<string, string | Uint8Array> = {
    ".mjs": `${text}//# sourceMappingURL=${key}.mjs.map\n`,
    ".mjs.map": map.toJson(`${key}.mjs`),
  };
  if (environment !== null) files[".env"] = environment;
  context.code.write(key, files);
  return key;
}

function keyOf(text: string, environment: Uint8Array | null): string {
  if (environment !== null && environment.length > hashedBytesMax) return randomKey();
  const hash = createHash("sha256").update(text);
  if (environment !== null) hash.update(environment);
  return hash.digest("hex").slice(0, keyLength);
}

function randomKey(): string {
  return randomUUID().replaceAll("-", "");
}

function describe(fn: Function, key: string, holds: readonly object[]): Captured {
  const isClass = isClassLike(fn);
  const methods = isClass ? methodsOf(fn) : {};
  return {
    key,
    name: fn.name || "anonymous",
    kind: isClass ? "class" : kindOfFunction(fn),
    hasAsyncMethod: Object.values(methods).some((kind) => kind.startsWith("async")),
    methods,
    holds,
  };
}

function doneFor(code: CodeStore): WeakMap<Function, Captured> {
  let byFunction = done.get(code);
  if (byFunction === undefined) {
    byFunction = new WeakMap();
    done.set(code, byFunction);
  }
  return byFunction;
}
