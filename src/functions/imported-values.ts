/**
 * Decides for a variable that is an import of its script: installed packages, built-in modules and this package travel as the import;
 * the program's own files travel by value, each function like any other, and of a module only what is used.
 */

import { types } from "node:util";
import { isInstalled, isSelfUrl, type Reference, referenceTo } from "./by-reference.ts";
import { isClassLike, textOf } from "./class-parts.ts";
import type { ImportOrigin } from "./failures.ts";
import type { FreeVariable } from "./free-variables.ts";
import type { FunctionNode } from "./nodes.ts";
import { resolveImport, resolveRequire } from "./resolve-specifier.ts";
import { type ImportBinding, importOf } from "./script-imports.ts";
import { baseUrlOf, pathOfUrl } from "./scripts.ts";
import type { FoundVariable } from "./variables.ts";

export interface ImportedValue {
  /** How the variable itself travels by reference; undefined when its value has to travel. */
  readonly reference: Reference | undefined;
  /** The variable stands for a module. */
  readonly isModule: boolean;
  /** The reference is good for `member` only: the loader that made the variable changes what a module looks like. */
  readonly membersOnly: boolean;
  readonly origin: ImportOrigin | null;
  /** How one export travels by reference. */
  member(name: string): Reference | undefined;
  originOf(name: string): ImportOrigin | null;
}

/** `byReference` holds the ids of imports of the program's own files that must travel by reference. */
export function importedReference(
  node: FunctionNode,
  variable: FreeVariable,
  found: FoundVariable,
  byReference: ReadonlySet<string>,
): ImportedValue | undefined {
  const { value } = found;
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return undefined;
  const isNamespace = types.isModuleNamespaceObject(value);
  const binding = bindingOf(node, found, variable.name);
  if (binding === undefined) {
    if (!isNamespace || referenceTo(value) !== undefined) return undefined;
    return {
      reference: undefined,
      isModule: true,
      membersOnly: false,
      origin: null,
      member: () => undefined,
      originOf: () => null,
    };
  }
  if (binding.required && !isStillRequired(binding, node, value)) return undefined;
  const isModule =
    isNamespace ||
    (typeof value === "object" && (binding.name === "*" || (binding.name === "=" && isUsedByParts(variable, value))));
  return describe(binding, node, isModule, byReference);
}

/** The import a variable is; undefined when it is one of a block or function that has the name of an import. */
function bindingOf({ script, start }: FunctionNode, { scope }: FoundVariable, name: string): ImportBinding | undefined {
  if (scope === null) return undefined;
  // CommonJS has one function around the file, and compilers may put another into it: only the text tells these from the program's own.
  return importOf(script, name, scope.description === "Module" ? 0 : start);
}

/** Of `module.exports` only properties are used, and no function among them that needs the whole as its `this`. */
function isUsedByParts({ members }: FreeVariable, exports: object): boolean {
  if (members === null) return false;
  return [...members].every((name) => {
    const member: unknown = (exports as Record<string, unknown>)[name];
    return typeof member !== "function" || isClassLike(member) || !/\bthis\b/.test(textOf(member));
  });
}

function isStillRequired(binding: ImportBinding, node: FunctionNode, value: unknown): boolean {
  if (binding.name === "*") return true;
  const url = resolveRequire(binding.specifier, baseUrlOf(node.script));
  return url !== undefined && (url.startsWith("node:") || isInstalled(url) || value !== undefined);
}

function describe(
  binding: ImportBinding,
  node: FunctionNode,
  isModule: boolean,
  byReference: ReadonlySet<string>,
): ImportedValue {
  const { specifier, name, required } = binding;
  const base = baseUrlOf(node.script);
  const url = required ? resolveRequire(specifier, base) : resolveImport(specifier, base);
  const isShared = url !== undefined && travelsByReference(url, specifier, required);
  const refer = (member: string): Reference => referenceOf(url!, member, required);
  const originOf = (member: string): ImportOrigin | null =>
    url !== undefined && isImportable(url, base) ? { id: `${url} ${member}`, url, name: member } : null;
  const isForced = (member: string): boolean => url !== undefined && byReference.has(`${url} ${member}`);
  return {
    reference: isShared || isForced(name) ? refer(name) : undefined,
    isModule,
    membersOnly: name === "*" && !node.inspected.scopes.some(({ description }) => description === "Module"),
    origin: originOf(name),
    member: (member) => (isShared || isForced(member) ? refer(member) : undefined),
    originOf,
  };
}

function travelsByReference(url: string, specifier: string, required: boolean): boolean {
  if (url.startsWith("node:") || isSelfUrl(url)) return true;
  if (!isJavaScript(url) || (/\.json(\?|$)/.test(url) && !required)) return false;
  return isInstalled(url) || !/^[./#]|^file:/.test(specifier);
}

/** A file of the program that a plain worker can import. Not the program itself, which would run again. */
function isImportable(url: string, base: string): boolean {
  if (!url.startsWith("file:") || url === base) return false;
  if (!isJavaScript(url) && !(runsTypeScript && /\.[cm]?ts$/.test(url))) return false;
  const path = pathOfUrl(url);
  return path !== process.argv[1];
}

/** Whether plain node runs TypeScript. */
const runsTypeScript = Boolean((process.features as { typescript?: unknown }).typescript);

function isJavaScript(url: string): boolean {
  return /\.([cm]?js|json|node|wasm)(\?|$)/.test(url) || !/\.\w+(\?|$)/.test(url.slice(url.lastIndexOf("/")));
}

function referenceOf(url: string, name: string, required: boolean): Reference {
  if (!required || url.startsWith("node:")) return { kind: "import", url, name: name === "=" ? "default" : name };
  return { kind: "require", path: pathOfUrl(url)!, name: name === "=" ? "" : name };
}
