/** What a generated module will consist of: found by graph.ts, written by emit.ts. */
import type { Reference } from "./by-reference.ts";
import type { ScopeRecord } from "./scope-table.ts";

/** How a variable or property gets its value in the generated module. */
export type Init =
  | { readonly kind: "literal"; readonly code: string }
  /** A function of this module, by its number. The root is 0. */
  | { readonly kind: "node"; readonly index: number }
  /** A class of another module, by its number among those this module needs. */
  | { readonly kind: "dependency"; readonly index: number }
  | { readonly kind: "reference"; readonly reference: Reference }
  /** A serialized value. `late` when it cannot be decoded before the root class is defined. */
  | { readonly kind: "value"; readonly index: number; readonly late: boolean; readonly frozen: boolean }
  /** An object with these properties, which stands for a module of which only they are used. */
  | { readonly kind: "namespace"; readonly members: readonly (readonly [string, Init])[] }
  /** The same object as in a variable of the module of a class. */
  | { readonly kind: "shared"; readonly dependency: number; readonly name: string };

/** One variable of the program that the module has too. Functions that share it in the program share it there. */
export interface Cell {
  readonly name: string;
  readonly scope: ScopeRecord;
  readonly value: unknown;
  init: Init;
  /** A function of this module assigns to it. */
  assigned: boolean;
  /** Set when the variable itself is one of a class's module, and is read and written there. */
  link: { readonly dependency: number; readonly name: string } | null;
}

/** A property that was set on a function, class or prototype after it was made. */
export interface Overlay {
  readonly node: number;
  readonly on: "self" | "prototype";
  readonly key: string | symbol;
  readonly enumerable: boolean;
  readonly init: Init;
}

/** A class that the module needs; `key` is known when its capture is done or, inside a cycle, begun. */
export interface Dependency {
  readonly key: string;
  /** It is being captured further out and needs this module in turn. */
  readonly isCyclic: boolean;
  /** The root class cannot be defined without it. */
  whileDefined: boolean;
}

/** Under which the base class of a class is bound; no variable can have the name. */
export const baseName = "extends";
