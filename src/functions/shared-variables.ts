/**
 * Variables that a class and a function, or two classes, have in common. A class has a module of its own, so without more ado each side
 * would have its own copy:
 *
 *     let made = 0;
 *     class Node { id = made++ }
 *     const build = remote((n) => { ...; return made })
 *
 * Within one capture the module of the class owns such a variable, and the other side reads and writes it there. Of a class that was
 * captured before, only variables that still have the value they had then are shared, since a function sends what its variables hold when it is sent.
 */
import type { Cell } from "./module-plan.ts";
import { type ScopeRecord, ScopeTable } from "./scope-table.ts";

/** A variable in the module of a class. */
export interface OwnedVariable {
  readonly owner: string;
  /** Its name in that module. */
  readonly name: string;
  readonly assigned: boolean;
  readonly value: unknown;
}

/** A variable of a class that was captured before, of the kind that can be told again: a primitive at the top of a module. */
interface KeptVariable extends OwnedVariable {
  readonly scriptId: string;
  readonly description: string;
  readonly variable: string;
}

/** What nested captures have in common while they are under way. */
export class SharedVariables {
  readonly scopes = new ScopeTable();
  private readonly owned = new Map<ScopeRecord, Map<string, OwnedVariable>>();

  find({ scope, name, value }: Cell): OwnedVariable | undefined {
    const found = this.owned.get(scope)?.get(name);
    return found !== undefined && Object.is(found.value, value) ? found : undefined;
  }

  /** The class of that key has been captured: its variables can be shared. `nameOf` gives their names in its module. */
  own(Class: Function, key: string, cells: readonly Cell[], nameOf: (cell: Cell) => string): void {
    const keeping: KeptVariable[] = [];
    for (const cell of cells) {
      if (!isOwn(cell)) continue;
      const variable: OwnedVariable = { owner: key, name: nameOf(cell), assigned: cell.assigned, value: cell.value };
      this.add(cell.scope, cell.name, variable);
      const { scriptId, description } = cell.scope;
      if (cell.scope.isSingle && cell.init.kind === "literal")
        keeping.push({ ...variable, scriptId, description, variable: cell.name });
    }
    if (keeping.length > 0) kept.set(Class, keeping);
  }

  /** A class that was captured before is needed here. */
  recall(Class: Function): void {
    for (const variable of kept.get(Class) ?? []) {
      this.add(this.scopes.single(variable.scriptId, variable.description), variable.variable, variable);
    }
  }

  private add(scope: ScopeRecord, name: string, variable: OwnedVariable): void {
    let byName = this.owned.get(scope);
    if (byName === undefined) {
      byName = new Map();
      this.owned.set(scope, byName);
    }
    if (!byName.has(name)) byName.set(name, variable);
  }
}

const kept = new WeakMap<Function, readonly KeptVariable[]>();

/** True for variables with a value of their own; functions, classes and imports need no sharing. */
export function isOwn({ init, link }: Cell): boolean {
  return link === null && (init.kind === "literal" || init.kind === "value");
}
