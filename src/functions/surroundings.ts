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

/**
 * The node whose scope declares what `name` means at `offset`: the `Program`, the block or loop of a declaration, for `var` the body of its function, else
 * the function, class or `catch` that has the name as a parameter or its own. Undefined when the script declares no such name there.
 */
export function declaringScope(script: Script, offset: number, name: string): object | undefined {
  if (script.tree === null || offset < 0) return undefined;
  const around: any[] = [];
  walkTo(script.tree, offset, (node) => around.unshift(node));
  for (const node of around) {
    const scope = isFunction(node) ? functionScopeOf(node, name) : declaresIn(node, name) ? node : undefined;
    if (scope !== undefined) return scope;
  }
  return undefined;
}

function isFunction(node: any): boolean {
  return /^(Function|ArrowFunction)/.test(node.type);
}

/** A function's names: its parameters, its own, and each `var` in its body. What blocks declare is left to them. */
function functionScopeOf(node: any, name: string): object | undefined {
  if (declaresVar(node.body, name)) return node.body;
  return node.params.some((param: any) => binds(param, name)) || isNamed(node, name) ? node : undefined;
}

function isNamed(node: any, name: string): boolean {
  return node.type !== "FunctionDeclaration" && node.id?.name === name;
}

/** True when a node that is no function has a scope and declares the name in it. */
function declaresIn(node: any, name: string): boolean {
  switch (node.type) {
    case "Program":
      return declaresAny(node.body, name) || declaresVar(node, name);
    case "BlockStatement":
      return declaresAny(node.body, name);
    case "StaticBlock":
      return declaresAny(node.body, name) || declaresVar(node, name);
    case "SwitchStatement":
      return node.cases.some(({ consequent }: any) => declaresAny(consequent, name));
    case "ForStatement":
      return declares(node.init, name);
    case "ForInStatement":
    case "ForOfStatement":
      return declares(node.left, name);
    case "CatchClause":
      return binds(node.param, name);
    case "ClassDeclaration":
    case "ClassExpression":
      return node.id?.name === name;
    default:
      return false;
  }
}

function declaresAny(statements: readonly any[], name: string): boolean {
  return statements.some((statement) => declares(statement, name));
}

function declares(statement: any, name: string): boolean {
  switch (statement?.type) {
    case "ImportDeclaration":
      return statement.specifiers.some(({ local }: any) => local.name === name);
    case "ExportNamedDeclaration":
    case "ExportDefaultDeclaration":
      return declares(statement.declaration, name);
    case "FunctionDeclaration":
    case "ClassDeclaration":
      return statement.id?.name === name;
    case "VariableDeclaration":
      return statement.declarations.some(({ id }: any) => binds(id, name));
    default:
      return false;
  }
}

/** True when there is a `var` of that name below the node and outside the functions in it. */
function declaresVar(node: any, name: string): boolean {
  if (node.type === "VariableDeclaration" && node.kind === "var" && declares(node, name)) return true;
  return partsOf(node).some((part) => !isFunction(part) && part.type !== "StaticBlock" && declaresVar(part, name));
}

/** True when a pattern declares the name. */
function binds(pattern: any, name: string): boolean {
  switch (pattern?.type) {
    case "Identifier":
      return pattern.name === name;
    case "ObjectPattern":
      return pattern.properties.some((property: any) => binds(property.value ?? property.argument, name));
    case "ArrayPattern":
      return pattern.elements.some((element: any) => binds(element, name));
    case "AssignmentPattern":
      return binds(pattern.left, name);
    case "RestElement":
      return binds(pattern.argument, name);
    default:
      return false;
  }
}

/** Calls `visit` for every node around `offset`, the outermost first; not for one that begins there. */
function walkTo(node: any, offset: number, visit: (node: any) => void): void {
  visit(node);
  const around = partsOf(node).find((part) => part.start < offset && offset < part.end);
  if (around !== undefined) walkTo(around, offset, visit);
}

/** The nodes right below a node. */
function partsOf(node: any): any[] {
  const parts: any[] = [];
  for (const key in node) {
    const part = node[key];
    if (typeof part !== "object" || part === null) continue;
    for (const child of Array.isArray(part) ? part : [part]) if (typeof child?.type === "string") parts.push(child);
  }
  return parts;
}
