/**
 * Reads the source text of one function or class: which variables it uses from outside, where, and how.
 *
 * `Function.prototype.toString` gives text of three shapes: something that is an expression in parentheses (arrows, functions,
 * classes), or a method that is only legal inside an object literal. Both are parsed as strict code, since that is what they become.
 */
import { parse } from "acorn";

/** One use of a free variable; offsets count from the beginning of the function's text. */
export interface Use {
  readonly start: number;
  readonly end: number;
  /** `{ name }` in a literal or pattern: renaming must write `name: renamed`. */
  readonly shorthand: boolean;
}

export interface FreeVariable {
  readonly name: string;
  readonly uses: Use[];
  /** Properties read as `name.property`, or null when the variable is also used as a whole. */
  members: Set<string> | null;
  /** A class needs it while it is being defined (heritage, computed key, static initialiser). */
  whileDefined: boolean;
  /** Every use is `typeof name`, which is legal for names that do not exist. */
  onlyTypeof: boolean;
}

export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface FunctionText {
  readonly text: string;
  readonly shape: "expression" | "method" | "getter" | "setter";
  /** The node of the function or class; offsets are `offset` higher than in `text`. */
  readonly node: any;
  readonly offset: number;
  readonly free: ReadonlyMap<string, FreeVariable>;
  /** Every identifier in the text, so that new names can avoid them. */
  readonly identifiers: ReadonlySet<string>;
  /** Uses of the surrounding function's `this`, `super` and `new.target`. */
  readonly outerThis: readonly Span[];
  readonly outerSuper: readonly Span[];
  readonly outerNewTarget: readonly Span[];
  /** A private name that no class in the text declares. */
  readonly outerPrivate: string | null;
  /** `import.meta`, and the keyword of each `import(...)`. */
  readonly importMeta: readonly Span[];
  readonly importCalls: readonly Span[];
  /** The key of a method, to be replaced when it is computed or private. */
  readonly methodKey: (Span & { readonly replace: boolean }) | null;
}

const cacheEntriesMax = 1000;
const cache = new Map<string, FunctionText>();

/** Analyses the text of a function; throws a SyntaxError for text that is not legal in a module. */
export function readFunction(text: string): FunctionText {
  let read = cache.get(text);
  if (read === undefined) {
    if (cache.size >= cacheEntriesMax) cache.clear();
    read = analyse(text);
    cache.set(text, read);
  }
  return read;
}

const parserOptions = {
  ecmaVersion: "latest",
  sourceType: "module",
  allowSuperOutsideMethod: true,
  checkPrivateFields: false,
} as const;

function analyse(text: string): FunctionText {
  let program: any;
  let shape: FunctionText["shape"] = "expression";
  let failure: unknown;
  try {
    program = parse(`(${text}\n)`, parserOptions);
  } catch (error) {
    failure = error;
    try {
      program = parse(`({${text}\n})`, parserOptions);
      shape = "method";
    } catch {
      throw failure;
    }
  }
  const expression = program.body[0].expression;
  const property = shape === "method" ? expression.properties[0] : null;
  const walker = new Walker(shape === "method" ? 2 : 1);
  const node = property === null ? expression : property.value;
  walker.walkRoot(node);
  return {
    text,
    shape: property?.kind === "get" ? "getter" : property?.kind === "set" ? "setter" : shape,
    node,
    offset: walker.offset,
    free: walker.resolve(),
    identifiers: walker.identifiers,
    outerThis: walker.outerThis,
    outerSuper: walker.outerSuper,
    outerNewTarget: walker.outerNewTarget,
    outerPrivate: text.includes("#") ? undeclaredPrivate(shape === "expression" ? `(${text}\n)` : `({${text}\n})`) : null,
    importMeta: walker.importMeta,
    importCalls: walker.importCalls,
    methodKey: property === null ? null : methodKey(property, text, walker.offset),
  };
}

function undeclaredPrivate(source: string): string | null {
  try {
    parse(source, { ...parserOptions, checkPrivateFields: true });
    return null;
  } catch (error) {
    return /'#([^']+)' must be declared/.exec((error as Error).message)?.[1] ?? null;
  }
}

function methodKey(property: any, text: string, offset: number): Span & { replace: boolean } {
  let start = property.key.start - offset;
  let end = property.key.end - offset;
  if (property.computed) {
    start = text.lastIndexOf("[", start);
    end = text.indexOf("]", end) + 1;
  }
  return { start, end, replace: property.computed || property.key.type === "PrivateIdentifier" };
}

class Names {
  readonly names = new Set<string>();
  readonly parent: Names | null;
  /** Receives `var` declarations. */
  readonly isFunction: boolean;
  constructor(parent: Names | null, isFunction: boolean) {
    this.parent = parent;
    this.isFunction = isFunction;
  }
  forVar(): Names {
    let scope: Names = this;
    while (!scope.isFunction && scope.parent !== null) scope = scope.parent;
    return scope;
  }
}

interface Reference extends Use {
  readonly name: string;
  readonly scope: Names;
  readonly member: string | null;
  readonly whileDefined: boolean;
  readonly typeOf: boolean;
}

/** Walks the tree once, noting declarations by scope and references; `resolve` then tells which references leave the function. */
class Walker {
  readonly offset: number;
  readonly identifiers = new Set<string>();
  readonly outerThis: Span[] = [];
  readonly outerSuper: Span[] = [];
  readonly outerNewTarget: Span[] = [];
  readonly importMeta: Span[] = [];
  readonly importCalls: Span[] = [];
  private readonly references: Reference[] = [];
  /** How many functions with a `this` of their own are around the node at hand. */
  private ownThis = 0;
  /** How many methods, which are what `super` belongs to, are around the node at hand. */
  private ownSuper = 0;
  /** How many function bodies are around the node at hand: zero means that it runs while the root is being defined. */
  private deferred = 0;

  /** How many functions and classes are around the node at hand. */
  private depth = 0;

  constructor(offset: number) {
    this.offset = offset;
  }

  walkRoot(node: any): void {
    this.visit(node, new Names(null, true));
  }

  resolve(): Map<string, FreeVariable> {
    const free = new Map<string, FreeVariable>();
    for (const reference of this.references) {
      let scope: Names | null = reference.scope;
      while (scope !== null && !scope.names.has(reference.name)) scope = scope.parent;
      if (scope !== null) continue;
      let variable = free.get(reference.name);
      if (variable === undefined) {
        variable = { name: reference.name, uses: [], members: new Set(), whileDefined: false, onlyTypeof: true };
        free.set(reference.name, variable);
      }
      variable.uses.push({ start: reference.start, end: reference.end, shorthand: reference.shorthand });
      if (reference.member === null) {
        if (!reference.typeOf) variable.members = null;
      } else variable.members?.add(reference.member);
      variable.whileDefined ||= reference.whileDefined;
      variable.onlyTypeof &&= reference.typeOf;
    }
    return free;
  }

  private span(node: any, length = node.end - node.start): Span {
    const start = node.start - this.offset;
    return { start, end: start + length };
  }

  private refer(node: any, scope: Names, how: { member?: string; shorthand?: boolean; typeOf?: boolean } = {}): void {
    const { member = null, shorthand = false, typeOf = false } = how;
    this.identifiers.add(node.name);
    this.references.push({
      ...this.span(node),
      name: node.name,
      scope,
      member,
      shorthand,
      typeOf,
      whileDefined: this.deferred === 0,
    });
  }

  private declare(name: string, scope: Names): void {
    this.identifiers.add(name);
    scope.names.add(name);
  }

  private visitAll(nodes: readonly any[] | undefined | null, scope: Names): void {
    if (nodes) for (const node of nodes) this.visit(node, scope);
  }

  private visit(node: any, scope: Names): void {
    if (node === null || node === undefined) return;
    switch (node.type) {
      case "Identifier":
        return this.refer(node, scope);
      case "FunctionDeclaration":
        if (node.id) this.declare(node.id.name, scope);
        return this.visitFunction(node, scope);
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        return this.visitFunction(node, scope);
      case "ClassDeclaration":
        if (node.id) this.declare(node.id.name, scope);
        return this.visitClass(node, scope);
      case "ClassExpression":
        return this.visitClass(node, scope);
      case "VariableDeclaration":
        for (const { id, init } of node.declarations) {
          this.bindPattern(id, node.kind === "var" ? scope.forVar() : scope, scope);
          this.visit(init, scope);
        }
        return;
      case "BlockStatement":
        return this.visitAll(node.body, new Names(scope, false));
      case "ForStatement":
      case "ForInStatement":
      case "ForOfStatement":
        return this.visitParts(node, new Names(scope, false));
      case "SwitchStatement":
        this.visit(node.discriminant, scope);
        return this.visitAll(node.cases, new Names(scope, false));
      case "CatchClause": {
        const inner = new Names(scope, false);
        if (node.param) this.bindPattern(node.param, inner, inner);
        return this.visit(node.body, inner);
      }
      case "LabeledStatement":
        return this.visit(node.body, scope);
      case "BreakStatement":
      case "ContinueStatement":
        return;
      case "ThisExpression":
        if (this.ownThis === 0) this.outerThis.push(this.span(node));
        return;
      case "Super":
        if (this.ownSuper === 0) this.outerSuper.push(this.span(node));
        return;
      default:
        return this.visitExpression(node, scope);
    }
  }

  private visitExpression(node: any, scope: Names): void {
    switch (node.type) {
      case "MemberExpression":
        return this.visitMember(node, scope);
      case "Property":
        if (node.computed) this.visit(node.key, scope);
        if (node.shorthand) return this.visitShorthand(node.value, scope);
        if (node.method || node.kind !== "init") return this.visitMethod(node.value, scope);
        return this.visit(node.value, scope);
      case "UnaryExpression":
        if (node.operator === "typeof" && node.argument.type === "Identifier")
          return this.refer(node.argument, scope, { typeOf: true });
        return this.visit(node.argument, scope);
      case "MetaProperty":
        if (node.meta.name === "import") this.importMeta.push(this.span(node));
        else if (this.ownThis === 0) this.outerNewTarget.push(this.span(node));
        return;
      case "ImportExpression":
        this.importCalls.push(this.span(node, "import".length));
        return this.visitParts(node, scope);
      default:
        return this.visitParts(node, scope);
    }
  }

  private visitMember(node: any, scope: Names): void {
    if (node.object.type !== "Identifier") this.visit(node.object, scope);
    else if (!node.computed && node.property.type === "Identifier")
      this.refer(node.object, scope, { member: node.property.name });
    else if (node.computed && typeof node.property.value === "string")
      this.refer(node.object, scope, { member: node.property.value });
    else this.refer(node.object, scope);
    if (node.computed) this.visit(node.property, scope);
  }

  private visitShorthand(value: any, scope: Names): void {
    if (value.type === "Identifier") return this.refer(value, scope, { shorthand: true });
    this.refer(value.left, scope, { shorthand: true });
    this.visit(value.right, scope);
  }

  /** Everything below a node, in order. */
  private visitParts(node: any, scope: Names): void {
    for (const key in node) {
      const part = node[key];
      if (typeof part !== "object" || part === null || key === "loc") continue;
      if (Array.isArray(part)) this.visitAll(part, scope);
      else if (typeof part.type === "string") this.visit(part, scope);
    }
  }

  private visitFunction(node: any, scope: Names): void {
    const isArrow = node.type === "ArrowFunctionExpression";
    let outer = scope;
    if (node.type === "FunctionExpression" && node.id) {
      outer = new Names(scope, false);
      this.declare(node.id.name, outer);
    }
    const inner = new Names(outer, true);
    if (!isArrow) {
      inner.names.add("arguments");
      this.ownThis++;
    }
    this.deferred++;
    this.depth++;
    for (const param of node.params) this.bindPattern(param, inner, inner);
    if (node.body.type === "BlockStatement") this.visitAll(node.body.body, inner);
    else this.visit(node.body, inner);
    this.depth--;
    this.deferred--;
    if (!isArrow) this.ownThis--;
  }

  private visitMethod(node: any, scope: Names): void {
    this.ownSuper++;
    this.visitFunction(node, scope);
    this.ownSuper--;
  }

  private visitClass(node: any, scope: Names): void {
    const inner = new Names(scope, false);
    if (node.id) this.declare(node.id.name, inner);
    // The base of the root itself is taken from the class as it is, which needs none of the variables that name it.
    if (this.depth > 0) this.visit(node.superClass, inner);
    this.depth++;
    for (const member of node.body.body) {
      if (member.computed) this.visit(member.key, inner);
      if (member.type === "MethodDefinition") {
        this.visitMethod(member.value, inner);
        continue;
      }
      const body = new Names(inner, true);
      const isStatic = member.static || member.type === "StaticBlock";
      this.ownThis++;
      this.ownSuper++;
      if (!isStatic) this.deferred++;
      if (member.type === "StaticBlock") this.visitAll(member.body, body);
      else this.visit(member.value, body);
      if (!isStatic) this.deferred--;
      this.ownSuper--;
      this.ownThis--;
    }
    this.depth--;
  }

  /** Declares the names of a pattern in `target`; defaults and computed keys are uses, evaluated in `scope`. */
  private bindPattern(pattern: any, target: Names, scope: Names): void {
    switch (pattern?.type) {
      case "Identifier":
        return this.declare(pattern.name, target);
      case "ObjectPattern":
        for (const property of pattern.properties) {
          if (property.type === "RestElement") this.bindPattern(property.argument, target, scope);
          else {
            if (property.computed) this.visit(property.key, scope);
            this.bindPattern(property.value, target, scope);
          }
        }
        return;
      case "ArrayPattern":
        for (const element of pattern.elements) this.bindPattern(element, target, scope);
        return;
      case "AssignmentPattern":
        this.bindPattern(pattern.left, target, scope);
        return this.visit(pattern.right, scope);
      case "RestElement":
        return this.bindPattern(pattern.argument, target, scope);
    }
  }
}
