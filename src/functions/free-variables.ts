/**
 * Reads the source text of one function or class: which variables it uses from outside, where, and how.
 *
 * `Function.prototype.toString` gives text of three shapes: something that is an expression in parentheses (arrows, functions,
 * classes), or a method that is only legal inside an object literal. Both are parsed as strict code, since that is what they become.
 */
import { parse } from "./parser.ts";
import { Walker } from "./scope-walker.ts";

/** One use of a free variable; offsets count from the beginning of the function's text. */
export interface Use {
  readonly start: number;
  readonly end: number;
  /** `{ name }` in a literal or pattern: renaming must write `name: renamed`. */
  readonly shorthand: boolean;
  /** It is called: written as a property, it would get that property's object as `this`. */
  readonly callee: boolean;
}

export interface FreeVariable {
  readonly name: string;
  readonly uses: Use[];
  /** Properties read as `name.property`, or null when the variable is also used as a whole. */
  members: Set<string> | null;
  /** A class needs it while it is being defined (heritage, computed key, static initialiser). */
  whileDefined: boolean;
  /** The function changes it. */
  assigned: boolean;
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
  /** Uses of the surrounding function's `this` and `super`. */
  readonly outerThis: readonly Span[];
  readonly outerSuper: readonly Span[];
  /** A private name that no class in the text declares. */
  readonly outerPrivate: string | null;
  /** `import.meta`, and the keyword of each `import(...)`. */
  readonly importMeta: readonly Span[];
  readonly importCalls: readonly Span[];
  /** What `import()`, `require` and `new URL(..., import.meta.url)` are given as a literal. */
  readonly specifiers: ReadonlySet<string>;
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
      program = parse(`({${withPublicKey(text)}\n})`, parserOptions);
      shape = "method";
    } catch {
      throw failure;
    }
  }
  const expression = program.body[0].expression;
  const property = shape === "method" ? expression.properties[0] : null;
  const offset = shape === "method" ? 2 : 1;
  const walker = new Walker(offset);
  const node = property === null ? expression : property.value;
  walker.walkRoot(node);
  return {
    text,
    shape: property?.kind === "get" ? "getter" : property?.kind === "set" ? "setter" : shape,
    node,
    offset,
    free: walker.resolve(),
    identifiers: walker.identifiers,
    outerThis: walker.outerThis,
    outerSuper: walker.outerSuper,
    outerPrivate: text.includes("#")
      ? undeclaredPrivate(shape === "expression" ? `(${text}\n)` : `({${withPublicKey(text)}\n})`)
      : null,
    importMeta: walker.importMeta,
    importCalls: walker.importCalls,
    specifiers: walker.specifiers,
    methodKey: property === null ? null : methodKey(property, text, offset),
  };
}

/** `#name() {}` is legal in a class only; the name is replaced anyway. */
function withPublicKey(text: string): string {
  return text.replace(/^((?:async\b|get\b|set\b|[\s*])*)#/, "$1_");
}

function undeclaredPrivate(source: string): string | null {
  try {
    parse(source, { ...parserOptions, checkPrivateFields: true });
    return null;
  } catch (error) {
    // The text was legal with the check off.
    const { message, pos } = error as Error & { pos: number };
    return /'#([^']+)' must be declared/.exec(message)?.[1] ?? /#([\w$]+)/.exec(source.slice(pos))?.[1] ?? null;
  }
}

function methodKey(property: any, text: string, offset: number): Span & { replace: boolean } {
  let start = property.key.start - offset;
  let end = property.key.end - offset;
  if (property.computed) {
    start = text.lastIndexOf("[", start);
    end = text.indexOf("]", end) + 1;
  }
  return { start, end, replace: property.computed || text[start] === "#" };
}
