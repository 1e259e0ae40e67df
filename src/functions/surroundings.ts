/** What a script's text says about the place a function stands in. */
import type { Script } from "./scripts.ts";

/** True when `this` at that offset is that of a function, method or class around it, and not of the module. */
export function enclosesThis(script: Script, offset: number): boolean {
  if (offset < 0 || script.tree === null) return true;
  let found = false;
  walkTo(script.tree, offset, (node) => {
    found ||=
      node.type === "FunctionDeclaration" ||
      node.type === "FunctionExpression" ||
      node.type === "PropertyDefinition" ||
      node.type === "StaticBlock";
  });
  return found;
}

/**
 * The statement that initialises the variable `name` as seen from `offset`, and the block it is in; undefined when there is none, as for
 * `var`, parameters and functions.
 */
export function initialisationOf(
  script: Script,
  offset: number,
  name: string,
): { begin: number; end: number; scopeBegin: number; scopeEnd: number } | undefined {
  if (script.tree === null) return undefined;
  let result: { begin: number; end: number; scopeBegin: number; scopeEnd: number } | undefined;
  walkTo({ ...script.tree, parent: null }, offset, (node) => {
    const body: readonly any[] | undefined = node.type === "Program" || node.type === "BlockStatement" ? node.body : undefined;
    for (const outer of body ?? []) {
      const statement = outer.type === "ExportNamedDeclaration" && outer.declaration ? outer.declaration : outer;
      if (!initialises(statement, name)) continue;
      result = { begin: statement.start, end: statement.end, scopeBegin: node.start, scopeEnd: node.end };
    }
  });
  return result;
}

function initialises(statement: any, name: string): boolean {
  if (statement.type === "ClassDeclaration") return statement.id?.name === name;
  if (statement.type !== "VariableDeclaration" || statement.kind === "var") return false;
  return statement.declarations.some(({ id, init }: any) => id.type === "Identifier" && id.name === name && init !== null);
}

/** Calls `visit` for every node around `offset`, the outermost first; not for one that begins there. */
function walkTo(node: any, offset: number, visit: (node: any) => void): void {
  visit(node);
  for (const key in node) {
    const part = node[key];
    if (typeof part !== "object" || part === null) continue;
    for (const child of Array.isArray(part) ? part : [part]) {
      if (typeof child?.type === "string" && child.start < offset && offset < child.end) {
        walkTo(child, offset, visit);
        return;
      }
    }
  }
}
