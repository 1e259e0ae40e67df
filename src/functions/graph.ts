/**
 * Everything that travels with one function or class: the functions it uses, their variables, and the values those hold.
 *
 * Functions that are reached become part of the same module and share variables as they do in the program. A class becomes a module
 * of its own, so that every task of a process sees one and the same class: `instanceof` holds between what two tasks were sent.
 * A remote function has its own module too, by way of the runtime. Values are not looked into here but by the codec, whose
 * hooks tell what functions and classes it met.
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { SerializationError } from "../base/errors.ts";
import type { EncodeHooks, PathOf, Special } from "../values/hooks.ts";
import { serialize } from "../values/index.ts";
import { type Reference, referenceTo } from "./by-reference.ts";
import { assertNoPrivateInstanceMembers, isClassLike, type OwnProperty, prototypeState, staticState } from "./class-parts.ts";
import { CaptureFailure, explained, explainedClass, type ImportOrigin, type Part, refusal, type Sent } from "./failures.ts";
import { bundleFor } from "./file-bundle.ts";
import type { FreeVariable } from "./free-variables.ts";
import { importedReference } from "./imported-values.ts";
import { literalOf } from "./literals.ts";
import { TooManyFiles } from "./local-files.ts";
import { baseName, type Cell, type Dependency, type Init, type Overlay } from "./module-plan.ts";
import { type FunctionNode, readFunctionNode } from "./nodes.ts";
import type { ScopeRecord } from "./scope-table.ts";
import { isOwn, type SharedVariables } from "./shared-variables.ts";
import type { CaptureContext } from "./types.ts";
import { type FoundVariable, findVariable } from "./variables.ts";

/** What a capture asks of the one that runs it. */
export interface Outside {
  /** Captures another class; `isCyclic` says that it is being captured further out. */
  captureOther(fn: Function): { readonly key: string; readonly isCyclic: boolean; readonly holds: readonly object[] };
  /** True for functions that the runtime made: remote functions, actor classes, handles. */
  isHandle(fn: Function): boolean;
  readonly shared: SharedVariables;
}

export class Graph {
  readonly root: Function;
  readonly sent: Sent;
  readonly rootIsClass: boolean;
  readonly nodes: FunctionNode[] = [];
  readonly cells: Cell[] = [];
  readonly dependencies: Dependency[] = [];
  readonly overlays: Overlay[] = [];
  /** What data refers to by number: functions, classes and references met inside values. */
  readonly table: Init[] = [];
  readonly holds = new Set<object>();
  readonly values: { value: unknown; readonly late: boolean }[] = [];
  /** Cells by variable name of each node, in the order of `nodes`. */
  readonly bindings: Map<string, Cell>[] = [];
  /** Set when the root itself is an export of an installed package; then there is nothing else. */
  rootReference: Reference | null = null;
  /** Names that must keep meaning the global. */
  readonly globalNames = new Set<string>();

  private readonly context: CaptureContext;
  private readonly captureOther: Outside["captureOther"];
  private readonly isHandle: (fn: Function) => boolean;
  private readonly byReference: ReadonlySet<string>;
  private readonly shared: SharedVariables;
  private readonly nodeIndex = new Map<Function, number>();
  private readonly dependencyIndex = new Map<Function, number>();
  private readonly tableIndex = new Map<object, number>();
  private readonly valueInits = new Map<object, Init>();
  private readonly cellByScope = new Map<ScopeRecord, Map<string, Cell>>();
  /** Set while a value is looked into: whether it holds something that is defined late. */
  private touchesLate = false;
  private readonly hooks: EncodeHooks;

  constructor(root: Function, context: CaptureContext, outside: Outside, byReference: ReadonlySet<string>) {
    this.root = root;
    this.context = context;
    this.captureOther = outside.captureOther;
    this.isHandle = outside.isHandle;
    this.shared = outside.shared;
    this.byReference = byReference;
    this.rootIsClass = isClassLike(root);
    this.sent = { noun: this.rootIsClass ? "class" : "function", name: root.name || "anonymous" };
    this.hooks = {
      encodeSpecial: (value, path) => this.encodeSpecial(value, path),
      encodeClass: (Class, path) => this.encodeClass(Class, path),
    };
  }

  /** Finds everything. Throws a CaptureFailure. */
  discover(): void {
    this.rootReference = referenceTo(this.root) ?? null;
    if (this.rootReference !== null) return;
    const read = this.orFail(null, () => readFunctionNode(this.root, this.sent.name, this.sent, null));
    if ("kind" in read) {
      this.rootReference = read;
      return;
    }
    this.addNode(read);
    for (let at = 0; at < this.nodes.length; at++)
      this.orFail(this.nodes[at].origin, () => this.discoverNode(this.nodes[at], at));
    for (const cell of this.cells) this.linkShared(cell);
  }

  /** True when the user's own files that the module imports travel with it. */
  get shipsFiles(): boolean {
    return this.context.shipsFiles?.() ?? false;
  }

  /** Key of the bundle with what `paths` lead to; `url` is the one file, or the file that imports them. */
  bundleOf(url: string, paths: ReadonlySet<string>): string {
    const own = fileURLToPath(url.split("?")[0]);
    try {
      return bundleFor(url, paths, paths.has(own) ? null : dirname(own), this.context.code);
    } catch (error) {
      if (error instanceof TooManyFiles)
        throw refusal(this.sent, this.sent.name, `needs ${own} on another node, and ${error.message}`);
      throw error;
    }
  }

  /** All values that are decoded before (or after) the root class is defined, as one, so that what they share stays shared. */
  encodeValues(late: boolean): ReturnType<typeof serialize> | null {
    const values = this.values.map((entry) => (entry.late === late ? entry.value : undefined));
    return this.values.some((entry) => entry.late === late) ? serialize(values, this.hooks, "captured") : null;
  }

  /** Lets a variable that the module of a class has already be the one there. */
  private linkShared(cell: Cell): void {
    if (!isOwn(cell)) return;
    const owned = this.shared.find(cell);
    if (owned === undefined) return;
    const byAssignment = cell.assigned || owned.assigned;
    if (cell.init.kind === "literal" && !byAssignment) return;
    let dependency = this.dependencies.findIndex(({ key }) => key === owned.owner);
    if (dependency < 0) dependency = this.dependencies.push({ key: owned.owner, isCyclic: false, whileDefined: false }) - 1;
    // The value is serialized there. Other values that hold the same object get a copy.
    if (cell.init.kind === "value") this.values[cell.init.index].value = undefined;
    if (byAssignment) cell.link = { dependency, name: owned.name };
    else cell.init = { kind: "shared", dependency, name: owned.name };
  }

  private addNode(node: FunctionNode): number {
    const index = this.nodes.length;
    this.nodeIndex.set(node.fn, index);
    this.nodes.push(node);
    this.bindings.push(new Map());
    return index;
  }

  private discoverNode(node: FunctionNode, index: number): void {
    if (node.bound !== null) {
      const { target, self, args } = node.bound;
      node.boundInits = [target, self, ...args].map((part, at) => {
        const noun = at === 0 ? "target" : at === 1 ? "bound this" : "bound argument";
        return this.initOf(part, node, { noun, name: at < 2 ? "this" : `[${at - 2}]` }, null);
      });
      return;
    }
    const { free, node: tree } = node.text!;
    if (tree.superClass) this.discoverBase(node, index);
    for (const variable of free.values()) this.discoverVariable(node, index, variable);
    this.discoverProperties(node, index, "self", staticState(node.fn, node.text!.text));
    this.discoverProperties(node, index, "prototype", prototypeState(node.fn, node.text!.text));
  }

  /** What a class extends is what it extends now; the expression after `extends` is not evaluated again. */
  private discoverBase(node: FunctionNode, index: number): void {
    const base: unknown = Object.getPrototypeOf(node.fn);
    const init: Init =
      base === Function.prototype
        ? { kind: "literal", code: "null" }
        : this.initOf(base, node, { noun: "base class", name: (base as Function).name }, null);
    const cell: Cell = {
      name: "$base",
      scope: this.shared.scopes.own(node.fn),
      value: base,
      init,
      assigned: false,
      link: null,
    };
    if (init.kind === "dependency") this.dependencies[init.index].whileDefined = true;
    this.cells.push(cell);
    this.bindings[index].set(baseName, cell);
  }

  private discoverVariable(node: FunctionNode, index: number, variable: FreeVariable): void {
    const found = findVariable(node, variable);
    if (found === undefined) {
      if (variable.whileDefined && !variable.onlyTypeof && !(variable.name in globalThis)) {
        throw refusal(this.sent, node.path, `needs variable '${variable.name}' to be defined, which none of its functions uses`);
      }
      this.globalNames.add(variable.name);
      return;
    }
    const record = this.shared.scopes.record(node, found.scope);
    let byName = this.cellByScope.get(record);
    if (byName === undefined) {
      byName = new Map();
      this.cellByScope.set(record, byName);
    }
    let cell = byName.get(variable.name);
    if (cell === undefined) {
      const init: Init = { kind: "literal", code: "undefined" };
      cell = { name: variable.name, scope: record, value: found.value, init, assigned: false, link: null };
      byName.set(variable.name, cell);
      this.cells.push(cell);
      cell.init = this.initOfVariable(node, variable, found);
    } else if (cell.init.kind === "namespace") cell.init = this.widened(cell.init, this.initOfVariable(node, variable, found));
    this.bindings[index].set(variable.name, cell);
    cell.assigned ||= variable.assigned;
    if (index === 0 && this.rootIsClass && variable.whileDefined && cell.init.kind === "dependency") {
      this.dependencies[cell.init.index].whileDefined = true;
    }
  }

  /** Two functions use different parts of one module. */
  private widened(known: Init, more: Init): Init {
    if (known.kind !== "namespace" || more.kind !== "namespace") return more;
    return { kind: "namespace", members: [...new Map([...known.members, ...more.members])] };
  }

  private initOfVariable(node: FunctionNode, variable: FreeVariable, found: FoundVariable): Init {
    const { value } = found;
    const what: Part = { noun: "variable", name: variable.name };
    if (variable.onlyTypeof) return { kind: "literal", code: placeholderOf(value) };
    if (found.reference !== undefined) return { kind: "reference", reference: found.reference };
    const imported = importedReference(node, variable, found, this.byReference);
    if (imported === undefined) return this.initOf(value, node, what, null);
    if (imported.reference !== undefined && !imported.membersOnly) return { kind: "reference", reference: imported.reference };
    if (!imported.isModule) return this.initOf(value, node, what, imported.origin);
    const names = variable.members ?? Object.keys(value as object);
    const members = [...names].map((name): [string, Init] => {
      const member = imported.member(name);
      if (member !== undefined) return [name, { kind: "reference", reference: member }];
      const origin = imported.originOf(name);
      return [
        name,
        this.initOf(
          (value as Record<string, unknown>)[name],
          node,
          { noun: "variable", name: `${variable.name}.${name}` },
          origin,
        ),
      ];
    });
    return { kind: "namespace", members };
  }

  /** Undoes what a value that cannot travel left behind. */
  private rollback(to: readonly number[]): void {
    const arrays = [this.nodes, this.bindings, this.values, this.dependencies, this.table];
    arrays.forEach((array, at) => {
      array.length = to[at];
    });
    for (const [fn, index] of this.nodeIndex) if (index >= this.nodes.length) this.nodeIndex.delete(fn);
    for (const [fn, index] of this.dependencyIndex) if (index >= this.dependencies.length) this.dependencyIndex.delete(fn);
    for (const [value, index] of this.tableIndex) if (index >= this.table.length) this.tableIndex.delete(value);
    this.valueInits.clear();
  }

  private discoverProperties(node: FunctionNode, index: number, on: Overlay["on"], properties: readonly OwnProperty[]): void {
    for (const { key, value, enumerable, hasInitialiser } of properties) {
      const part: Part = { noun: on === "self" ? "property" : "method", name: String(key) };
      const before = [this.nodes.length, this.bindings.length, this.values.length, this.dependencies.length, this.table.length];
      try {
        const init = this.initOf(value, node, part, null);
        this.overlays.push({ node: index, on, key, enumerable, init });
      } catch (error) {
        if (!(error instanceof CaptureFailure) || !hasInitialiser) throw error;
        this.rollback(before);
      }
    }
  }

  private initOf(value: unknown, node: FunctionNode, what: Part, origin: ImportOrigin | null): Init {
    const code = literalOf(value);
    if (code !== undefined) return { kind: "literal", code };
    if (typeof value === "object" || typeof value === "function") {
      const reference = referenceTo(value as object);
      if (reference !== undefined) return { kind: "reference", reference };
      const known = this.valueInits.get(value as object);
      if (known !== undefined) return known;
    }
    const failing = origin ?? node.origin;
    const init = this.orFail(failing, () => {
      if (typeof value === "function") {
        const callable = this.initOfFunction(value, node, what, failing);
        if (callable !== undefined) return callable;
      }
      return this.initOfValue(value, node, what);
    });
    if (typeof value === "object" || typeof value === "function") this.valueInits.set(value as object, init);
    return init;
  }

  /** A function that travels as part of this module or as a class; undefined when the runtime has its own way for it. */
  private initOfFunction(fn: Function, from: FunctionNode, what: Part, origin: ImportOrigin | null): Init | undefined {
    const index = this.nodeIndex.get(fn);
    if (index !== undefined) {
      if (index === 0 && this.rootIsClass) this.touchesLate = true;
      return { kind: "node", index };
    }
    if (this.isHandle(fn)) return undefined;
    const path = `${from.path} -> ${what.name}`;
    if (isClassLike(fn)) return this.initOfClass(fn, from, path);
    const read = readFunctionNode(fn, path, this.sent, origin);
    return "kind" in read ? { kind: "reference", reference: read } : { kind: "node", index: this.addNode(read) };
  }

  private initOfClass(fn: Function, from: FunctionNode, path: string): Init {
    let index = this.dependencyIndex.get(fn);
    if (index === undefined) {
      const read = readFunctionNode(fn, path, this.sent, null);
      if ("kind" in read) return { kind: "reference", reference: read };
      const { key, isCyclic, holds } = this.orExplain(
        () => this.captureOther(fn),
        (error) => explainedClass(error, this.sent, from.path, fn.name),
      );
      if (!isCyclic) this.shared.recall(fn);
      for (const held of holds) this.holds.add(held);
      index = this.dependencies.length;
      this.dependencyIndex.set(fn, index);
      this.dependencies.push({ key, isCyclic, whileDefined: false });
    }
    if (this.dependencies[index].isCyclic) this.touchesLate = true;
    return { kind: "dependency", index };
  }

  private initOfValue(value: unknown, node: FunctionNode, what: Part): Init {
    const outer = this.touchesLate;
    this.touchesLate = false;
    this.looking = node;
    try {
      this.orExplain(
        () => serialize(value, this.hooks, what.name),
        (error) => explained(error, this.sent, node.path, what),
      );
      const late = this.touchesLate;
      this.values.push({ value, late });
      const frozen = typeof value === "object" && value !== null && Object.isFrozen(value);
      return { kind: "value", index: this.values.length - 1, late, frozen };
    } finally {
      this.touchesLate = outer;
    }
  }

  /** The function whose variable is being looked into. */
  private looking: FunctionNode | null = null;

  private orExplain<T>(run: () => T, explain: (error: unknown) => unknown): T {
    try {
      return run();
    } catch (error) {
      throw explain(error);
    }
  }

  private orFail<T>(origin: ImportOrigin | null, run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof SerializationError) throw new CaptureFailure(error, origin);
      if (error instanceof CaptureFailure && error.retry === null && origin !== null)
        throw new CaptureFailure(error.error, origin);
      throw error;
    }
  }

  private encodeSpecial(value: object, path: PathOf): ReturnType<EncodeHooks["encodeSpecial"]> {
    if (typeof value === "function" && !this.isHandle(value)) return this.local(this.entryOf(value, path));
    const reference = typeof value === "object" ? referenceTo(value) : undefined;
    if (reference !== undefined) return this.local(this.entryFor(value, { kind: "reference", reference }));
    const special = this.context.encode.encodeSpecial(value, path);
    if (special !== undefined && special.tag !== "registered") this.holds.add(value);
    return special;
  }

  private local(index: number): Special {
    return { tag: "local", data: index };
  }

  /** Number in the table of a function or class met inside a value. */
  private entryOf(fn: Function, path: PathOf): number {
    const known = this.tableIndex.get(fn);
    const init = known === undefined ? this.initOfMet(fn, path) : this.table[known];
    if (
      (init.kind === "node" && init.index === 0 && this.rootIsClass) ||
      (init.kind === "dependency" && this.dependencies[init.index].isCyclic)
    ) {
      this.touchesLate = true;
    }
    return this.entryFor(fn, init);
  }

  private initOfMet(fn: Function, path: PathOf): Init {
    const reference = referenceTo(fn);
    if (reference !== undefined) return { kind: "reference", reference };
    const from = this.looking!;
    const init = this.initOfFunction(fn, from, { noun: "variable", name: path() }, from.origin)!;
    this.looking = from;
    return init;
  }

  private entryFor(value: object, init: Init): number {
    let index = this.tableIndex.get(value);
    if (index === undefined) {
      index = this.table.length;
      this.table.push(init);
      this.tableIndex.set(value, index);
    }
    return index;
  }

  private encodeClass(Class: Function, path: PathOf): string {
    assertNoPrivateInstanceMembers(Class, path());
    return `local:${this.entryOf(Class, path)}`;
  }
}

/** Something of the same type, for a variable of which only the type is asked. */
function placeholderOf(value: unknown): string {
  if (typeof value === "function") return "() => {}";
  if (typeof value === "object" && value !== null) return "{}";
  return literalOf(value) ?? '""';
}
