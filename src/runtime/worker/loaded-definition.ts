/** A task definition as a worker got it from one owner, with its function once loaded. */
import type { TaskDefinition } from "../../wire/messages.ts";

export interface LoadedDefinition {
  readonly wire: TaskDefinition;
  fn: Function | null;
  /** Declared without `async` and `*`: it runs to its end without the event loop, unless it returns a promise. */
  isPlain: boolean;
  calls: number;
}

export function newLoadedDefinition(wire: TaskDefinition): LoadedDefinition {
  return { wire, fn: null, isPlain: false, calls: 0 };
}

export function setFunction(loaded: LoadedDefinition, fn: Function): void {
  loaded.fn = fn;
  loaded.isPlain = fn.constructor.name === "Function" || fn.constructor === Function;
}
