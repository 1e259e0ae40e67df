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
  ForInStatement: (walker, node, scope) => walker.visitParts(node, new Names(scope, false)),
  ForOfStatement: (walker, node, scope) => walker.visitParts(node, new Names(scope, false)),
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
  ImportExpression: (walker, node, scope) => {
    walker.importCalls.push(walker.span(node, "import".length));
    walker.visitParts(node, scope);
  },
};

export class Walker {
  readonly identifiers = new Set<string>();
  readonly outerThis: Span[] = [];
  readonly outerSuper: Span[] = [];
  readonly outerNewTarget: Span[] = [];
  readonly importMeta: Span[] = [];
  readonly importCalls: Span[] = [];
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

  span(node: any, length = node.end - node.start): Span {
    const start = node.start - this.offset;
    return { start, end: start + length };
  }

  refer(node: any, scope: Names, how: { member?: string; shorthand?: boolean; typeOf?: boolean } = {}): void {
    const { member = null, shorthand = false, typeOf = false } = how;
    this.identifiers.add(node.name);
    const whileDefined = this.deferred === 0;
    this.references.push({ ...this.span(node), name: node.name, scope, member, shorthand, typeOf, whileDefined });
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
    else if (this.ownThis === 0) this.outerNewTarget.push(this.span(node));
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
      if (member.computed) this.visit(member.key, inner);
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
