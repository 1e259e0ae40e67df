/**
 * Tells when two functions close over the same scope, so that they share its variables where they arrive too.
 *
 * The inspector gives a fresh copy of a scope each time and no identity. The scope of a module is one per script. Others are taken for
 * the same when all their variables are identical and one of them is a function, since a function declared in a scope is made anew for each.
 */
import type { Scope } from "./inspect.ts";
import type { FunctionNode } from "./nodes.ts";

export interface ScopeRecord {
  readonly scriptId: string;
  readonly description: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

export class ScopeTable {
  private readonly records = new Map<string, ScopeRecord[]>();
  private readonly bySnapshot = new WeakMap<object, ScopeRecord>();
  private readonly global: ScopeRecord = { scriptId: "", description: "Global", variables: {} };

  /** A scope that only this function has. */
  own(fn: Function): ScopeRecord {
    return { scriptId: "", description: `of ${fn.name}`, variables: {} };
  }

  record(node: FunctionNode, scope: Scope | null): ScopeRecord {
    if (scope === null) return this.global;
    const known = this.bySnapshot.get(scope.variables);
    if (known !== undefined) return known;
    const isShared = scope.description === "Module" || scope.description === "Script";
    // The scope of scripts is one for all of them.
    const scriptId = scope.description === "Script" ? "" : node.inspected.scriptId;
    const names = Object.keys(scope.variables);
    const bucket = `${scriptId} ${scope.description} ${isShared ? "" : names.join(",")}`;
    let records = this.records.get(bucket);
    if (records === undefined) {
      records = [];
      this.records.set(bucket, records);
    }
    let record = records.find((other) => isShared || isSame(names, other.variables, scope.variables));
    if (record === undefined) {
      record = { scriptId, description: scope.description, variables: scope.variables };
      records.push(record);
    }
    this.bySnapshot.set(scope.variables, record);
    return record;
  }
}

function isSame(
  names: readonly string[],
  one: Readonly<Record<string, unknown>>,
  other: Readonly<Record<string, unknown>>,
): boolean {
  let hasFunction = false;
  for (const name of names) {
    if (!Object.is(one[name], other[name])) return false;
    hasFunction ||= typeof one[name] === "function";
  }
  return hasFunction;
}
