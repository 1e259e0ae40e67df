/** What function capture gives to the runtime, and asks of it. */
import type { DecodeHooks, EncodeHooks } from "../values/hooks.ts";

/** A function or class ready to travel. */
export interface Captured {
  /** Content hash: the same source with the same captured values has the same key. */
  readonly key: string;
  /** Display name (`square`, `Counter`, or `anonymous`). */
  readonly name: string;
  readonly kind: "function" | "async" | "generator" | "async generator" | "class";
  /** For a class: has it an async method (own or inherited). Decides the default `maxConcurrency`. */
  readonly hasAsyncMethod: boolean;
  /** Method names of a class with their kind, own and inherited (constructor excluded). */
  readonly methods: Readonly<Record<string, "function" | "async" | "generator" | "async generator">>;
  /** What the function captured and must stay alive with it: ObjectRefs, actor handles. */
  readonly holds: readonly object[];
}

/** Where generated modules are stored and fetched: the session's `code/` directory, or memory before there is one. */
export interface CodeStore {
  has(key: string, main?: CodeSuffix): boolean;
  /** Files by suffix: `.mjs` (the module), `.mjs.map`, `.env` (captured values, serialized); or `.files`, files of the user's own. */
  write(key: string, files: CodeFiles): void;
  /** Absolute path of the module (or other main file), after making sure that it is there. */
  fetch(key: string, main?: CodeSuffix): Promise<string>;
}

/** The main file of an entry: with it, all of its files are there. */
export type CodeSuffix = ".mjs" | ".files";

export type CodeFiles = Readonly<Record<string, string | Uint8Array>>;

export interface CaptureContext {
  readonly code: CodeStore;
  /** True where processes may not see each other's files: those of the user's own that a function imports by reference go along. */
  readonly shipsFiles?: () => boolean;
  /**
   * The runtime's value hooks, for refs, handles and remote functions. Every function met is shown to `encodeSpecial`, to see whether the runtime has
   * its own way to send it. For the user's own functions it comes back to `capture`, which then throws something to be let through.
   */
  readonly encode: EncodeHooks;
  readonly decode: DecodeHooks;
}
