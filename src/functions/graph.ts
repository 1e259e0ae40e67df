/**
 * Everything that travels with one function or class: the functions it uses, their variables, and the values those hold.
 *
 * Functions that are reached become part of the same module and share variables as they do in the program. A class becomes a module
 * of its own, so that every task of a process sees one and the same class: `instanceof` holds between what two tasks were sent.
 * A remote function has its own module too, by way of the runtime. Values are not looked into here but by the codec, whose
 * hooks tell what functions and classes it met.
 */
import { SerializationError } from "../base/errors.ts";
import type { EncodeHooks, PathOf, Special } from "../values/hooks.ts";
import { serialize } from "../values/index.ts";
import { type Reference, referenceTo } from "./by-reference.ts";
import {
  assertNoPrivateInstanceMembers,
  isClassLike,
  isNative,
  type OwnProperty,
  prototypeState,
  staticState,
} from "./class-parts.ts";
import type { FreeVariable } from "./free-variables.ts";
import { importedReference } from "./imported-values.ts";
import { literalOf } from "./literals.ts";
import { type FunctionNode, type ImportOrigin, packageExport, readNode } from "./nodes.ts";
import { type ScopeRecord, ScopeTable } from "./scope-table.ts";
import type { CaptureContext } from "./types.ts";
import { type FoundVariable, findVariable } from "./variables.ts";

/** How a variable or property gets its value in the generated module. */
export type Init =
  | { readonly kind: "literal"; readonly code: string }
  /** A function of this module, by its number. The root is 0. */
  | { readonly kind: "node"; readonly index: number }
  /** A class of another module, by its number among those this module needs. */
  | { readonly kind: "dependency"; readonly index: number }
  | { readonly kind: "reference"; readonly reference: Reference }
  /** A serialized value. `late` when it cannot be decoded before the root class is defined. */
  | { readonly kind: "value"; readonly index: number; readonly late: boolean }
  /** An object with these properties, which stands for a module of which only they are used. */
  | { readonly kind: "namespace"; readonly members: readonly (readonly [string, Init])[] };

/** Under which the base class of a class is bound; no variable can have the name. */
export const baseName = "extends";

/** One variable of the program that the module has too. Functions that share it in the program share it there. */
export interface Cell {
  readonly name: string;
  readonly scope: ScopeRecord;
  init: Init;
  whileDefined: boolean;
}

export interface Overlay {
  readonly node: number;
  readonly on: "self" | "prototype";
  readonly key: string | symbol;
  readonly enumerable: boolean;
  readonly init: Init;
}

/** A class that the module imports; `key` is known when its capture is done or, inside a cycle, begun. */
export interface Dependency {
  readonly fn: Function;
  key: string;
  /** It is being captured further out and needs this module in turn. */
  isCyclic: boolean;
  whileDefined: boolean;
}

/** What a capture asks of the one that runs it. */
export interface Outside {
  /** Captures another class; `isCyclic` says that it is being captured further out. */
  captureOther(fn: Function): { readonly key: string; readonly isCyclic: boolean };
  /** True for functions that the runtime made: remote functions, actor classes, handles. */
  isHandle(fn: Function): boolean;
}

/** What the codec's data refers to by number: functions, classes and references met inside values. */
type TableEntry = Init;

/** Why a capture failed; `retry` names an imported variable that could travel by reference to its module instead. */
export class CaptureFailure extends Error {
  readonly error: SerializationError;
  readonly retry: ImportOrigin | null;
  constructor(error: SerializationError, retry: ImportOrigin | null) {
    super(error.message);
    this.error = error;
    this.retry = retry;
  }
}

export class Graph {
  readonly root: Function;
  readonly rootName: string;
  readonly rootIsClass: boolean;
  readonly nodes: FunctionNode[] = [];
  readonly cells: Cell[] = [];
  readonly dependencies: Dependency[] = [];
  readonly overlays: Overlay[] = [];
  readonly table: TableEntry[] = [];
  readonly holds = new Set<object>();
  readonly values: { readonly value: unknown; readonly late: boolean }[] = [];
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
  private readonly scopes = new ScopeTable();
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
    this.rootName = root.name || "anonymous";
    this.context = context;
    this.captureOther = outside.captureOther;
    this.isHandle = outside.isHandle;
    this.byReference = byReference;
    this.rootIsClass = isClassLike(root);
    this.hooks = {
      encodeSpecial: (value, path) => this.encodeSpecial(value, path),
      encodeClass: (Class, path) => this.encodeClass(Class, path),
    };
  }

  /** Finds everything. Throws a CaptureFailure. */
  discover(): void {
    const node = this.orFail(null, () => readNode(this.root, this.rootName, this.rootName, null));
    this.rootReference = packageExport(node) ?? null;
    if (this.rootReference !== null) return;
    this.addNode(node);
    for (let at = 0; at < this.nodes.length; at++) this.discoverNode(this.nodes[at], at);
  }

  /** All values that are decoded before (or after) the root class is defined, as one, so that what they share stays shared. */
  encodeValues(late: boolean): ReturnType<typeof serialize> | null {
    const values = this.values.map((entry) => (entry.late === late ? entry.value : undefined));
    return this.values.some((entry) => entry.late === late) ? serialize(values, this.hooks, "captured") : null;
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
        const what = at === 0 ? "its target" : at === 1 ? "its bound 'this'" : `bound argument ${at - 2}`;
        return this.initOf(part, node, what, null);
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
      base === Function.prototype ? { kind: "literal", code: "null" } : this.initOf(base, node, "base class", null);
    const cell: Cell = { name: "$base", scope: this.scopes.own(node.fn), init, whileDefined: true };
    if (init.kind === "dependency") this.dependencies[init.index].whileDefined = true;
    this.cells.push(cell);
    this.bindings[index].set(baseName, cell);
  }

  private discoverVariable(node: FunctionNode, index: number, variable: FreeVariable): void {
    const found = findVariable(node, variable);
    if (found === undefined) {
      this.globalNames.add(variable.name);
      return;
    }
    const record = this.scopes.record(node, found.scope);
    let byName = this.cellByScope.get(record);
    if (byName === undefined) {
      byName = new Map();
      this.cellByScope.set(record, byName);
    }
    let cell = byName.get(variable.name);
    if (cell === undefined) {
      cell = { name: variable.name, scope: record, init: { kind: "literal", code: "undefined" }, whileDefined: false };
      byName.set(variable.name, cell);
      this.cells.push(cell);
      cell.init = this.initOfVariable(node, variable, found);
    } else if (cell.init.kind === "namespace") cell.init = this.widened(cell.init, this.initOfVariable(node, variable, found));
    this.bindings[index].set(variable.name, cell);
    if (index === 0 && this.rootIsClass && variable.whileDefined) {
      cell.whileDefined = true;
      if (cell.init.kind === "dependency") this.dependencies[cell.init.index].whileDefined = true;
    }
  }

  /** Two functions use different parts of one module. */
  private widened(known: Init, more: Init): Init {
    if (known.kind !== "namespace" || more.kind !== "namespace") return more;
    return { kind: "namespace", members: [...new Map([...known.members, ...more.members])] };
  }

  private initOfVariable(node: FunctionNode, variable: FreeVariable, found: FoundVariable): Init {
    const { value } = found;
    const what = `variable '${variable.name}'`;
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
      return [name, this.initOf((value as Record<string, unknown>)[name], node, `${what}.${name}`, origin)];
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
      const prefix = on === "self" ? "property" : "method";
      const before = [this.nodes.length, this.bindings.length, this.values.length, this.dependencies.length, this.table.length];
      try {
        const init = this.initOf(value, node, `${prefix} '${String(key)}'`, null);
        this.overlays.push({ node: index, on, key, enumerable, init });
      } catch (error) {
        if (!(error instanceof CaptureFailure) || !hasInitialiser) throw error;
        this.rollback(before);
      }
    }
  }

  private initOf(value: unknown, node: FunctionNode, what: string, origin: ImportOrigin | null): Init {
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
  private initOfFunction(fn: Function, from: FunctionNode, what: string, origin: ImportOrigin | null): Init | undefined {
    const index = this.nodeIndex.get(fn);
    if (index !== undefined) {
      if (index === 0 && this.rootIsClass) this.touchesLate = true;
      return { kind: "node", index };
    }
    if (this.isHandle(fn)) return undefined;
    const name = fn.name && what === `variable '${fn.name}'` ? fn.name : fn.name ? `${what} (${fn.name})` : what;
    const path = `${from.path} -> ${name}`;
    if (isClassLike(fn)) return this.initOfClass(fn, path);
    const node = readNode(fn, path, this.rootName, origin);
    const reference = packageExport(node);
    if (reference !== undefined) return { kind: "reference", reference };
    return { kind: "node", index: this.addNode(node) };
  }

  private initOfClass(fn: Function, path: string): Init {
    let index = this.dependencyIndex.get(fn);
    if (index === undefined) {
      const reference = isNative(fn) ? undefined : packageExport(readNode(fn, path, this.rootName, null));
      if (reference !== undefined) return { kind: "reference", reference };
      const { key, isCyclic } = this.captureOther(fn);
      index = this.dependencies.length;
      this.dependencyIndex.set(fn, index);
      this.dependencies.push({ fn, key, isCyclic, whileDefined: false });
    }
    if (this.dependencies[index].isCyclic) this.touchesLate = true;
    return { kind: "dependency", index };
  }

  private initOfValue(value: unknown, node: FunctionNode, what: string): Init {
    const outer = this.touchesLate;
    this.touchesLate = false;
    try {
      this.looking = node;
      serialize(value, this.hooks, what);
      const late = this.touchesLate;
      this.values.push({ value, late });
      return { kind: "value", index: this.values.length - 1, late };
    } catch (error) {
      throw this.explained(error, node, what);
    } finally {
      this.touchesLate = outer;
    }
  }

  /** The function whose variable is being looked into. */
  private looking: FunctionNode | null = null;

  /** The codec names the way to what cannot travel; this names the function, and the way to it. */
  private explained(error: unknown, node: FunctionNode, what: string): unknown {
    if (!(error instanceof SerializationError) || error.message.startsWith("Cannot send function")) return error;
    const place = error.path.startsWith(what) ? error.path : what;
    const reason = /as a value: (.*)$/s.exec(error.message)?.[1] ?? error.message;
    const owner = node.path === this.rootName ? `its ${place}` : `${place} of '${node.fn.name || "a function"}'`;
    const path = `${node.path} -> ${place}`;
    const way = node.path === this.rootName ? "" : ` (${path})`;
    return new SerializationError(`Cannot send function '${this.rootName}' as ${owner} cannot travel: ${reason}${way}`, {
      path,
      cause: error,
    });
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
    const what = path();
    const init = this.initOfFunction(fn, from, what, from.origin)!;
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
