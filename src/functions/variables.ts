/** Finds the value of a free variable in the scopes of a function. */
import { SerializationError } from "../base/errors.ts";
import { type Reference, referenceTo } from "./by-reference.ts";
import type { FreeVariable } from "./free-variables.ts";
import { type Scope, uninitialised } from "./inspect.ts";
import type { FunctionNode } from "./nodes.ts";
import { baseUrlOf, pathOfUrl } from "./scripts.ts";
import { standardGlobals } from "./standard-globals.ts";
import { initialisationOf } from "./surroundings.ts";

export interface FoundVariable {
  /** Null for a property of the global object that the program made. */
  readonly scope: Scope | null;
  /** Zero for the innermost scope; -1 for the global object. */
  readonly depth: number;
  readonly value: unknown;
  /** Set when the name itself says what it is. */
  readonly reference?: Reference;
}

/** The variable a name means in a function; undefined when it is one of the globals that are everywhere, or nothing. */
export function findVariable(node: FunctionNode, variable: FreeVariable): FoundVariable | undefined {
  const { name } = variable;
  const { scopes } = node.inspected;
  for (let depth = 0; depth < scopes.length; depth++) {
    const { variables } = scopes[depth];
    if (!Object.hasOwn(variables, name)) continue;
    const value = variables[name];
    if (value === uninitialised || (value === undefined && isTooEarly(node, name))) {
      throw new SerializationError(
        `Cannot send function '${node.fn.name || "anonymous"}' as its variable '${name}' has no value yet: it is declared further down than the call that sends it`,
        { path: `${node.path} -> ${name}` },
      );
    }
    return { scope: scopes[depth], depth, value, reference: loaderOf(node, name, value) };
  }
  if (standardGlobals.has(name) || !(name in globalThis)) return undefined;
  const value = (globalThis as Record<string, unknown>)[name];
  return { scope: null, depth: -1, value, reference: loaderOf(node, name, value) };
}

/** `require` and what test runners put in the place of `import()` and `import.meta`: they mean the user's file. */
function loaderOf(node: FunctionNode, name: string, value: unknown): Reference | undefined {
  if (name === "__vite_ssr_dynamic_import__") return { kind: "importer", base: baseUrlOf(node.script) };
  if (name === "__vite_ssr_import_meta__") return { kind: "meta", base: baseUrlOf(node.script) };
  if (typeof value !== "function") return undefined;
  const { resolve, cache, extensions } = value as unknown as Record<string, unknown>;
  const isRequire = typeof resolve === "function" && typeof cache === "object" && typeof extensions === "object";
  if (!isRequire || referenceTo(value) !== undefined) return undefined;
  return { kind: "require function", base: baseUrlOf(node.script) };
}

/**
 * Before Node 22 the inspector shows a variable that is not initialised yet as `undefined`. It is told from one that is by where the program
 * stands: in the same block, before the end of the declaration.
 */
function isTooEarly(node: FunctionNode, name: string): boolean {
  if (showsUninitialised) return false;
  const place = initialisationOf(node.script, node.start, name);
  if (place === undefined) return false;
  const within = positionsOnStack(node).find((at) => at > place.scopeBegin && at < place.scopeEnd);
  return within !== undefined && within < place.end;
}

const showsUninitialised = Number(process.versions.node.split(".")[0]) >= 22;

/** Offsets at which functions of the same script are being executed, the innermost first. */
function positionsOnStack({ script }: FunctionNode): number[] {
  const { prepareStackTrace, stackTraceLimit } = Error;
  Error.stackTraceLimit = 100;
  Error.prepareStackTrace = (_error, sites) => sites;
  try {
    const sites = new Error().stack as unknown as NodeJS.CallSite[];
    const names = new Set([script.url, pathOfUrl(baseUrlOf(script))]);
    return sites
      .filter((site) =>
        names.has((site as { getScriptNameOrSourceURL?: () => string }).getScriptNameOrSourceURL?.() ?? site.getFileName() ?? ""),
      )
      .map((site) => script.offsetOf((site.getLineNumber() ?? 1) - 1, (site.getColumnNumber() ?? 1) - 1));
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
}
