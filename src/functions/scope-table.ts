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
  /** There is one such scope: a module's, or that of all scripts. */
  readonly isSingle: boolean;
  readonly variables: Readonly<Record<string, unknown>>;
}

export class ScopeTable {
  private readonly records = new Map<string, ScopeRecord[]>();
  private readonly bySnapshot = new WeakMap<object, ScopeRecord>();
  private readonly global: ScopeRecord = { scriptId: "", description: "Global", isSingle: true, variables: {} };

  /** A scope that only this function has. */
  own(fn: Function): ScopeRecord {
    return { scriptId: "", description: `of ${fn.name}`, isSingle: false, variables: {} };
  }

  /** The scope of that description of which there is only one. */
  single(scriptId: string, description: string): ScopeRecord {
    if (description === "Global") return this.global;
    const records = this.bucket(`${scriptId} ${description} `);
    if (records.length === 0) records.push({ scriptId, description, isSingle: true, variables: {} });
    return records[0];
  }

  record(node: FunctionNode, scope: Scope | null): ScopeRecord {
    if (scope === null) return this.global;
    const known = this.bySnapshot.get(scope.variables);
    if (known !== undefined) return known;
    const { description, variables } = scope;
    let record: ScopeRecord | undefined;
    if (description === "Module") record = this.single(node.inspected.scriptId, description);
    // The scope of scripts is one for all of them.
    else if (description === "Script") record = this.single("", description);
    else {
      const { scriptId } = node.inspected;
      const names = Object.keys(variables);
      const records = this.bucket(`${scriptId} ${description} ${names.join(",")}`);
      record = records.find((other) => isSame(names, other.variables, variables));
      if (record === undefined) {
        record = { scriptId, description, isSingle: false, variables };
        records.push(record);
      }
    }
    this.bySnapshot.set(scope.variables, record);
    return record;
  }

  private bucket(name: string): ScopeRecord[] {
    let records = this.records.get(name);
    if (records === undefined) {
      records = [];
      this.records.set(name, records);
    }
    return records;
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
