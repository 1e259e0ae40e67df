/**
 * The import bindings of a script, read from its text: static imports, `require`, and what esbuild and vite make of them.
 *
 *     import fs, { join as j } from "x"                      fs -> (x, default), j -> (x, join)
 *     const { join } = require("x"), y = require("z")        join -> (x, join), y -> (z, *)
 *     var import_x = __toESM(require("x"))                   import_x -> (x, *)
 *     const __vite_ssr_import_0__ = await __vite_ssr_import__("x", ...)
 */
import type { Script } from "./scripts.ts";

export interface ImportBinding {
  readonly specifier: string;
  /** Name of the export; `*` is the module's namespace; `=` is `module.exports`. */
  readonly name: string;
  /** True for `require`, which resolves by other conditions. */
  readonly required: boolean;
}

const read = new WeakMap<Script, Map<string, ImportBinding>>();

function importsOf(script: Script): ReadonlyMap<string, ImportBinding> {
  let bindings = read.get(script);
  if (bindings === undefined) {
    bindings = new Map();
    if (script.tree !== null) for (const statement of statementsOf(script.tree)) readStatement(statement, bindings);
    read.set(script, bindings);
  }
  return bindings;
}

/** The import binding of that name in a script, if it is one. */
export function importOf(script: Script, name: string): ImportBinding | undefined {
  return read.has(script) || mayBeImport(script.text, name) ? importsOf(script).get(name) : undefined;
}

/** Spares most scripts the parser: true when the name stands near an import. */
function mayBeImport(text: string, name: string): boolean {
  const word = name.replaceAll("$", "\\$");
  return new RegExp(
    `\\bimport\\b[^;'"\`]*?[\\s{,*]${word}[\\s},]|[\\s{,:]${word}[\\s},=][^;]{0,500}?(require|import|__toESM|__import)`,
  ).test(text);
}

/** Statements at the top level of a script, or of the function that a compiler or test runner wrapped around it. */
function* statementsOf(tree: any): Generator<any> {
  for (const statement of tree.body) {
    yield statement;
    let wrapper = statement.type === "ExpressionStatement" ? statement.expression : null;
    if (wrapper?.type === "CallExpression") wrapper = wrapper.callee;
    if (wrapper?.type !== "ArrowFunctionExpression" && wrapper?.type !== "FunctionExpression") continue;
    if (wrapper.body.type !== "BlockStatement") continue;
    for (const inner of wrapper.body.body) {
      if (inner.type === "BlockStatement") yield* inner.body;
      else yield inner;
    }
  }
}

function readStatement(statement: any, bindings: Map<string, ImportBinding>): void {
  if (statement.type === "ImportDeclaration") {
    for (const { type, local, imported } of statement.specifiers) {
      const name =
        type === "ImportNamespaceSpecifier"
          ? "*"
          : type === "ImportDefaultSpecifier"
            ? "default"
            : (imported.name ?? imported.value);
      bindings.set(local.name, { specifier: statement.source.value, name, required: false });
    }
  } else if (statement.type === "VariableDeclaration") {
    for (const { id, init } of statement.declarations) if (init) readDeclarator(id, init, bindings);
  }
}

function readDeclarator(id: any, init: any, bindings: Map<string, ImportBinding>): void {
  let name = "=";
  let call = init;
  if (init.type === "MemberExpression" && !init.computed) {
    name = init.property.name;
    call = init.object;
  }
  const loaded = loadCall(call);
  if (loaded === undefined) return;
  const { specifier, required } = loaded;
  const whole = name === "=" ? (loaded.namespace ? "*" : "=") : name;
  if (id.type === "Identifier") bindings.set(id.name, { specifier, name: whole, required });
  else if (id.type === "ObjectPattern" && name === "=") {
    for (const { key, value, computed } of id.properties) {
      if (computed || value?.type !== "Identifier") continue;
      bindings.set(value.name, { specifier, name: key.name ?? key.value, required });
    }
  }
}

/** `require("x")`, `await import("x")`, and their wrapped forms. */
function loadCall(node: any): { specifier: string; required: boolean; namespace: boolean } | undefined {
  if (node.type === "AwaitExpression") return loadCall(node.argument);
  if (node.type === "ImportExpression") return literal(node.source, false, true);
  if (node.type !== "CallExpression" || node.callee.type !== "Identifier") return undefined;
  const callee: string = node.callee.name;
  if (callee === "require") return literal(node.arguments[0], true, false);
  if (callee === "__vite_ssr_import__" || callee === "__vite_ssr_dynamic_import__")
    return literal(node.arguments[0], false, true);
  if (/^_*(toESM|interopRequire\w*|importStar|importDefault)$/.test(callee) && node.arguments.length > 0) {
    const inner = loadCall(node.arguments[0]);
    return inner && { ...inner, namespace: true };
  }
  return undefined;
}

function literal(
  node: any,
  required: boolean,
  namespace: boolean,
): { specifier: string; required: boolean; namespace: boolean } | undefined {
  return typeof node?.value === "string" ? { specifier: node.value, required, namespace } : undefined;
}
