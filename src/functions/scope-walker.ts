/**
 * Walks the syntax tree of one function or class once, noting by scope what is declared and what is referred to. What no scope inside declares is
 * free: it belongs to the surroundings.
 */
import type { FreeVariable, Span, Use } from "./free-variables.ts";

/** The names that a function or block declares. */
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
  readonly assigned: boolean;
}

interface How {
  readonly member?: string;
  readonly shorthand?: boolean;
  readonly typeOf?: boolean;
  readonly assigned?: boolean;
  readonly callee?: boolean;
}

/** How a node is walked. Nodes that are not listed have all their parts walked. */
const visits: Readonly<Record<string, (walker: Walker, node: any, scope: Names) => void>> = {
  Identifier: (walker, node, scope) => walker.refer(node, scope),
  FunctionDeclaration: (walker, node, scope) => {
    if (node.id) walker.declare(node.id.name, scope);
    walker.visitFunction(node, scope);
  },
  FunctionExpression: (walker, node, scope) => walker.visitFunction(node, scope),
  ArrowFunctionExpression: (walker, node, scope) => walker.visitFunction(node, scope),
  ClassDeclaration: (walker, node, scope) => {
    if (node.id) walker.declare(node.id.name, scope);
    walker.visitClass(node, scope);
  },
  ClassExpression: (walker, node, scope) => walker.visitClass(node, scope),
  VariableDeclaration: (walker, node, scope) => {
    for (const { id, init } of node.declarations) {
      walker.bindPattern(id, node.kind === "var" ? scope.forVar() : scope, scope);
      walker.visit(init, scope);
    }
  },
  BlockStatement: (walker, node, scope) => walker.visitAll(node.body, new Names(scope, false)),
  ForStatement: (walker, node, scope) => walker.visitParts(node, new Names(scope, false)),
  ForInStatement: (walker, node, scope) => walker.visitForEach(node, new Names(scope, false)),
  ForOfStatement: (walker, node, scope) => walker.visitForEach(node, new Names(scope, false)),
  SwitchStatement: (walker, node, scope) => {
    walker.visit(node.discriminant, scope);
    walker.visitAll(node.cases, new Names(scope, false));
  },
  CatchClause: (walker, node, scope) => {
    const inner = new Names(scope, false);
    if (node.param) walker.bindPattern(node.param, inner, inner);
    walker.visit(node.body, inner);
  },
  LabeledStatement: (walker, node, scope) => walker.visit(node.body, scope),
  BreakStatement: () => {},
  ContinueStatement: () => {},
  ThisExpression: (walker, node) => walker.noteThis(node),
  Super: (walker, node) => walker.noteSuper(node),
  MetaProperty: (walker, node) => walker.noteMeta(node),
  MemberExpression: (walker, node, scope) => walker.visitMember(node, scope),
  Property: (walker, node, scope) => walker.visitProperty(node, scope),
  UnaryExpression: (walker, node, scope) => {
    if (node.operator === "typeof" && node.argument.type === "Identifier") walker.refer(node.argument, scope, { typeOf: true });
    else walker.visit(node.argument, scope);
  },
  AssignmentExpression: (walker, node, scope) => {
    walker.visitTarget(node.left, scope);
    walker.visit(node.right, scope);
  },
  UpdateExpression: (walker, node, scope) => walker.visitTarget(node.argument, scope),
  CallExpression: (walker, node, scope) => {
    if (loaders.has(node.callee.name)) walker.noteSpecifier(node.arguments[0]);
    if (node.callee.type === "Identifier") walker.refer(node.callee, scope, { callee: true });
    else walker.visit(node.callee, scope);
    walker.visitAll(node.arguments, scope);
  },
  NewExpression: (walker, node, scope) => {
    if (node.callee.name === "URL" && node.arguments[1]?.object?.type === "MetaProperty") walker.noteSpecifier(node.arguments[0]);
    walker.visitParts(node, scope);
  },
  TaggedTemplateExpression: (walker, node, scope) => {
    if (node.tag.type === "Identifier") walker.refer(node.tag, scope, { callee: true });
    else walker.visit(node.tag, scope);
    walker.visit(node.quasi, scope);
  },
  ImportExpression: (walker, node, scope) => {
    walker.importCalls.push(walker.span(node, "import".length));
    walker.noteSpecifier(node.source);
    walker.visitParts(node, scope);
  },
};

/** `require`, and what test runners put in the place of `import()`. */
const loaders: ReadonlySet<string> = new Set(["require", "__vite_ssr_dynamic_import__"]);

export class Walker {
  readonly identifiers = new Set<string>();
  readonly outerThis: Span[] = [];
  readonly outerSuper: Span[] = [];
  readonly importMeta: Span[] = [];
  readonly importCalls: Span[] = [];
  /** What `import()`, `require` and `new URL(..., import.meta.url)` are given as a literal. */
  readonly specifiers = new Set<string>();
  private readonly offset: number;
  private readonly references: Reference[] = [];
  /** How many functions with a `this` of their own are around the node at hand. */
  private ownThis = 0;
  /** How many methods, which are what `super` belongs to, are around the node at hand. */
  private ownSuper = 0;
  /** How many function bodies are around the node at hand: with none it runs while the root is being defined. */
  private deferred = 0;
  /** How many functions and classes are around the node at hand. */
  private depth = 0;

  /** `offset` is how far the tree's positions are ahead of the function's text. */
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
        variable = { name: reference.name, uses: [], members: new Set(), whileDefined: false, assigned: false, onlyTypeof: true };
        free.set(reference.name, variable);
      }
      const { start, end, shorthand, callee } = reference;
      variable.uses.push({ start, end, shorthand, callee });
      if (reference.member === null) {
        if (!reference.typeOf) variable.members = null;
      } else variable.members?.add(reference.member);
      variable.whileDefined ||= reference.whileDefined;
      variable.assigned ||= reference.assigned;
      variable.onlyTypeof &&= reference.typeOf;
    }
    return free;
  }

  noteSpecifier(node: any): void {
    if (node?.type === "Literal" && typeof node.value === "string") this.specifiers.add(node.value);
  }

  span(node: any, length = node.end - node.start): Span {
    const start = node.start - this.offset;
    return { start, end: start + length };
  }

  refer(node: any, scope: Names, how: How = {}): void {
    const { member = null, shorthand = false, typeOf = false, assigned = false, callee = false } = how;
    this.identifiers.add(node.name);
    const whileDefined = this.deferred === 0;
    this.references.push({
      ...this.span(node),
      name: node.name,
      scope,
      member,
      shorthand,
      typeOf,
      assigned,
      callee,
      whileDefined,
    });
  }

  declare(name: string, scope: Names): void {
    this.identifiers.add(name);
    scope.names.add(name);
  }

  visit(node: any, scope: Names): void {
    if (node === null || node === undefined) return;
    const visit = visits[node.type];
    if (visit === undefined) this.visitParts(node, scope);
    else visit(this, node, scope);
  }

  visitAll(nodes: readonly any[], scope: Names): void {
    for (const node of nodes) this.visit(node, scope);
  }

  /** Everything below a node, in order. */
  visitParts(node: any, scope: Names): void {
    for (const key in node) {
      const part = node[key];
      if (typeof part !== "object" || part === null) continue;
      if (Array.isArray(part)) this.visitAll(part, scope);
      else if (typeof part.type === "string") this.visit(part, scope);
    }
  }

  noteThis(node: any): void {
    if (this.ownThis === 0) this.outerThis.push(this.span(node));
  }

  noteSuper(node: any): void {
    if (this.ownSuper === 0) this.outerSuper.push(this.span(node));
  }

  noteMeta(node: any): void {
    if (node.meta.name === "import") this.importMeta.push(this.span(node));
  }

  visitForEach(node: any, scope: Names): void {
    if (node.left.type === "VariableDeclaration") this.visit(node.left, scope);
    else this.visitTarget(node.left, scope);
    this.visit(node.right, scope);
    this.visit(node.body, scope);
  }

  /** What is assigned to: a variable, a property, or a pattern of them. */
  visitTarget(node: any, scope: Names, shorthand = false): void {
    switch (node?.type) {
      case "Identifier":
        this.refer(node, scope, { assigned: true, shorthand });
        break;
      case "ObjectPattern":
        for (const property of node.properties) {
          if (property.computed) this.visit(property.key, scope);
          if (property.type === "RestElement") this.visitTarget(property.argument, scope);
          else this.visitTarget(property.value, scope, property.shorthand);
        }
        break;
      case "ArrayPattern":
        for (const element of node.elements) this.visitTarget(element, scope);
        break;
      case "AssignmentPattern":
        this.visitTarget(node.left, scope, shorthand);
        this.visit(node.right, scope);
        break;
      case "RestElement":
        this.visitTarget(node.argument, scope);
        break;
      default:
        this.visit(node, scope);
    }
  }

  visitMember(node: any, scope: Names): void {
    const { object, property, computed } = node;
    if (object.type !== "Identifier") this.visit(object, scope);
    else if (!computed && property.type === "Identifier") this.refer(object, scope, { member: property.name });
    else if (computed && typeof property.value === "string") this.refer(object, scope, { member: property.value });
    else this.refer(object, scope);
    if (computed) this.visit(property, scope);
  }

  visitProperty(node: any, scope: Names): void {
    const { key, value, computed, shorthand, method, kind } = node;
    if (computed) this.visit(key, scope);
    if (method || kind !== "init") this.visitMethod(value, scope);
    else if (!shorthand) this.visit(value, scope);
    else if (value.type === "Identifier") this.refer(value, scope, { shorthand: true });
    else {
      this.refer(value.left, scope, { shorthand: true });
      this.visit(value.right, scope);
    }
  }

  visitFunction(node: any, scope: Names): void {
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

  visitClass(node: any, scope: Names): void {
    const inner = new Names(scope, false);
    if (node.id) this.declare(node.id.name, inner);
    // The base of the root itself is taken from the class as it is, which needs none of the variables that name it.
    if (this.depth > 0) this.visit(node.superClass, inner);
    this.depth++;
    for (const member of node.body.body) {
      // Computed names of the root's methods are taken from the class as it is, like its base.
      if (member.computed && (this.depth > 1 || member.type !== "MethodDefinition")) this.visit(member.key, inner);
      if (member.type === "MethodDefinition") this.visitMethod(member.value, inner);
      else this.visitInitialiser(member, new Names(inner, true));
    }
    this.depth--;
  }

  private visitMethod(node: any, scope: Names): void {
    this.ownSuper++;
    this.visitFunction(node, scope);
    this.ownSuper--;
  }

  /** The value of a field, or a static block: code with the instance or the class as `this`. */
  private visitInitialiser(member: any, scope: Names): void {
    const isDeferred = member.type === "PropertyDefinition" && !member.static;
    this.ownThis++;
    this.ownSuper++;
    if (isDeferred) this.deferred++;
    if (member.type === "StaticBlock") this.visitAll(member.body, scope);
    else this.visit(member.value, scope);
    if (isDeferred) this.deferred--;
    this.ownSuper--;
    this.ownThis--;
  }

  /** Declares the names of a pattern in `target`; defaults and computed keys are uses, evaluated in `scope`. */
  bindPattern(pattern: any, target: Names, scope: Names): void {
    switch (pattern?.type) {
      case "Identifier":
        this.declare(pattern.name, target);
        break;
      case "ObjectPattern":
        for (const property of pattern.properties) {
          if (property.computed) this.visit(property.key, scope);
          this.bindPattern(property.type === "RestElement" ? property.argument : property.value, target, scope);
        }
        break;
      case "ArrayPattern":
        for (const element of pattern.elements) this.bindPattern(element, target, scope);
        break;
      case "AssignmentPattern":
        this.bindPattern(pattern.left, target, scope);
        this.visit(pattern.right, scope);
        break;
      case "RestElement":
        this.bindPattern(pattern.argument, target, scope);
        break;
    }
  }
}
