/**
 * The import bindings of a script, read from its text: static imports, `require`, and what esbuild and vite make of them.
 *
 *     import fs, { join as j } from "x"                      fs -> (x, default), j -> (x, join)
 *     const { join } = require("x"), y = require("z")        join -> (x, join), y -> (z, *)
 *     var import_x = __toESM(require("x"))                   import_x -> (x, *)
 *     const __vite_ssr_import_0__ = await __vite_ssr_import__("x", ...)
 */
import type { Script } from "./scripts.ts";
import { declaringScope } from "./surroundings.ts";

export interface ImportBinding {
  readonly specifier: string;
  /** Name of the export; `*` is the module's namespace; `=` is `module.exports`. */
  readonly name: string;
  /** True for `require`, which resolves by other conditions. */
  readonly required: boolean;
}

type ScopeBindings = Map<object, Map<string, ImportBinding>>;

/** By script and node of its syntax tree, which is that of the scope the bindings are in. */
const read = new WeakMap<Script, ScopeBindings>();

function importsOf(script: Script): ScopeBindings {
  let scopes = read.get(script);
  if (scopes === undefined) {
    scopes = new Map();
    if (script.tree !== null) {
      for (const { scope, statements } of scopesOf(script.tree)) {
        const bindings = new Map<string, ImportBinding>();
        for (const statement of statements) readStatement(statement, bindings);
        if (bindings.size > 0) scopes.set(scope, bindings);
      }
    }
    read.set(script, scopes);
  }
  return scopes;
}

/** The import binding that `name` is at `offset` of a script (0: at its top level), if it is one and not a variable that hides one. */
export function importOf(script: Script, name: string, offset: number): ImportBinding | undefined {
  if (!read.has(script) && !mayBeImport(script.text, name)) return undefined;
  const scope = declaringScope(script, offset, name);
  return scope && importsOf(script).get(scope)?.get(name);
}

/** Spares most scripts the parser: true when the name stands near an import. */
function mayBeImport(text: string, name: string): boolean {
  const word = name.replaceAll("$", "\\$");
  return new RegExp(
    `\\bimport\\b[^;'"\`]*?[\\s{,*]${word}[\\s},]|[\\s{,:]${word}[\\s},=][^;]{0,500}?(require|import|__toESM|__import)`,
  ).test(text);
}

/** The top level of a script, and of the functions that a compiler, a test runner or the program itself wrapped around statements of it. */
function* scopesOf(tree: any): Generator<{ scope: object; statements: readonly any[] }> {
  yield { scope: tree, statements: tree.body };
  for (const statement of tree.body) {
    let wrapper = statement.type === "ExpressionStatement" ? statement.expression : null;
    if (wrapper?.type === "CallExpression") wrapper = wrapper.callee;
    if (wrapper?.type !== "ArrowFunctionExpression" && wrapper?.type !== "FunctionExpression") continue;
    if (wrapper.body.type !== "BlockStatement") continue;
    yield { scope: wrapper.body, statements: wrapper.body.body };
    for (const inner of wrapper.body.body) if (inner.type === "BlockStatement") yield { scope: inner, statements: inner.body };
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
  } else if (statement.type === "VariableDeclaration" && statement.kind !== "let") {
    // What `let` declares may be something else by now.
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
