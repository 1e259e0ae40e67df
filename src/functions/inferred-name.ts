/**
 * The name a reader would give to a function that has none: `const square = remote((x) => x * x)` makes it `square`. JavaScript names a
 * function after a variable only when it is assigned directly, and here a call stands between.
 */
import { inspectFunction } from "./inspect.ts";
import { scriptOf } from "./scripts.ts";

/** What stands before a function that is the first argument of a call of `remote`, itself assigned to a variable, field or property. */
const assignedCall =
  /([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*(?::[^=;{}()]*)?\s*[=:]\s*(?:\(\s*0\s*,\s*)?[\w$.]*\bremote\s*\)?\s*(?:<[^;{}()]*>)?\s*\(\s*(?:\/\*[^*]*\*\/\s*)?(?:__name\(\s*)?$/u;

/** Characters before the function that are looked at. */
const lookBack = 400;

const names = new WeakMap<Function, string>();

/** The function's own name, or the one its surroundings give it, or "anonymous". */
export function displayName(fn: Function): string {
  if (fn.name !== "") return fn.name;
  let name = names.get(fn);
  if (name === undefined) {
    name = nameBefore(fn) ?? "anonymous";
    names.set(fn, name);
  }
  return name;
}

function nameBefore(fn: Function): string | undefined {
  try {
    const place = inspectFunction(fn);
    if (place === undefined) return undefined;
    const script = scriptOf(place.scriptId);
    const start = script.startOf(Function.prototype.toString.call(fn), place.line, place.column);
    return start < 0 ? undefined : assignedCall.exec(script.text.slice(Math.max(0, start - lookBack), start))?.[1];
  } catch {
    return undefined; // a name is only for people; that it cannot be found is no reason to fail
  }
}
