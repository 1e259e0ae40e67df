/**
 * Looks into a live function: where its source is, and the scopes it closes over with their present values.
 *
 * JavaScript has no such reflection, the inspector protocol has: `Runtime.getProperties` on a function lists `[[FunctionLocation]]` and
 * `[[Scopes]]`. The protocol only speaks JSON, so live values are handed over through a slot on a global symbol: a function is put
 * there to be named, and the list of its scopes is put there by a function called on it. Nothing is enabled for that; only the text
 * of scripts (scripts.ts) needs the debugger, for a moment.
 */
import { Session } from "node:inspector";

/** One scope of a function, the innermost first, as it is now. */
export interface Scope {
  /** As V8 says it: `Module`, `Script`, `Closure (outer)`, `Block (outer)`. */
  readonly description: string;
  /** A variable that is not initialised yet is `uninitialised`, or shows as `undefined` in versions of Node before 22. */
  readonly variables: Readonly<Record<string, unknown>>;
}

export const uninitialised: unique symbol = Symbol("uninitialised");

export interface Inspected {
  readonly scriptId: string;
  readonly line: number;
  readonly column: number;
  /** All scopes but the global one. */
  readonly scopes: readonly Scope[];
}

/** What `bind` made of a function. */
export interface BoundParts {
  readonly target: Function;
  readonly self: unknown;
  readonly args: readonly unknown[];
}

interface RemoteObject {
  readonly objectId?: string;
  readonly value?: unknown;
}

const slotSymbol = Symbol.for("shoal.functions.slot");
const slotExpression = 'globalThis[Symbol.for("shoal.functions.slot")]';
const objectGroup = "shoal.functions";
const takeThis = `function () { ${slotExpression}.taken = this; }`;

let session: Session | undefined;

/** The session of this process; connected on first use and kept, as an idle session with nothing enabled costs nothing. */
export function inspectorSession(): Session {
  if (session === undefined) {
    session = new Session();
    session.connect();
  }
  return session;
}

/** Sends one command and returns its result. Within one process the inspector answers before `post` returns. */
export function post<T>(method: string, params: object = {}): T {
  let result: unknown;
  let failure: Error | null = null;
  inspectorSession().post(method, params, (error, value) => {
    failure = error;
    result = value;
  });
  if (failure !== null)
    throw new Error(`Cannot inspect a function: ${method} failed: ${(failure as Error).message ?? JSON.stringify(failure)}`);
  return result as T;
}

/** Where a function is and what it closes over; `undefined` for functions that are not written in JavaScript. */
export function inspectFunction(fn: Function): Inspected | undefined {
  return withInternals(fn, (internals) => {
    const location = internals.get("[[FunctionLocation]]")?.value as
      | { scriptId: string; lineNumber: number; columnNumber: number }
      | undefined;
    const list = internals.get("[[Scopes]]");
    if (location === undefined || list?.objectId === undefined) return undefined;
    const taken = take(list.objectId) as Record<string, { description: string; object: Record<string, unknown> }>;
    const scopes: Scope[] = [];
    for (const key of Object.keys(taken)) {
      const { description, object } = taken[key];
      if (description !== "Global") scopes.push({ description, variables: readable(object) });
    }
    return { scriptId: location.scriptId, line: location.lineNumber, column: location.columnNumber, scopes };
  });
}

/** A copy of a scope, whose variables throw when they are read too early. */
function readable(scope: Record<string, unknown>): Record<string, unknown> {
  const variables: Record<string, unknown> = Object.create(null);
  for (const name of Object.keys(scope)) {
    try {
      variables[name] = scope[name];
    } catch {
      variables[name] = uninitialised;
    }
  }
  return variables;
}

/** The parts of a bound function; `undefined` for any other. */
export function inspectBound(fn: Function): BoundParts | undefined {
  return withInternals(fn, (internals) => {
    const target = internals.get("[[TargetFunction]]");
    if (target?.objectId === undefined) return undefined;
    const self = internals.get("[[BoundThis]]");
    const args = internals.get("[[BoundArgs]]");
    return {
      target: take(target.objectId) as Function,
      self: self?.objectId === undefined ? self?.value : take(self.objectId),
      args: args?.objectId === undefined ? [] : Array.from(take(args.objectId) as ArrayLike<unknown>),
    };
  });
}

function withInternals<T>(fn: Function, use: (internals: Map<string, RemoteObject>) => T): T {
  const slots = globalThis as unknown as Record<symbol, unknown>;
  slots[slotSymbol] = { fn, taken: undefined };
  try {
    const { result } = post<{ result: RemoteObject }>("Runtime.evaluate", {
      expression: `${slotExpression}.fn`,
      objectGroup,
      silent: true,
    });
    const { internalProperties } = post<{ internalProperties?: { name: string; value?: RemoteObject }[] }>(
      "Runtime.getProperties",
      {
        objectId: result.objectId,
        ownProperties: true,
        accessorPropertiesOnly: false,
        generatePreview: false,
      },
    );
    return use(new Map(internalProperties?.map(({ name, value }) => [name, value ?? {}])));
  } finally {
    // Each object handed out is kept until it is released; a batch of a few is as good as one.
    if (++unreleased >= releaseBatch) releaseInspected();
    delete slots[slotSymbol];
  }
}

const releaseBatch = 16;
let unreleased = 0;

/** Lets go of the objects that the inspector keeps for us. */
export function releaseInspected(): void {
  if (unreleased === 0) return;
  unreleased = 0;
  post("Runtime.releaseObjectGroup", { objectGroup });
}

/** The live object behind an id of the protocol. */
function take(objectId: string): unknown {
  const slots = globalThis as unknown as Record<symbol, { taken: unknown }>;
  post("Runtime.callFunctionOn", { objectId, functionDeclaration: takeThis, silent: true });
  const { taken } = slots[slotSymbol];
  slots[slotSymbol].taken = undefined;
  return taken;
}
