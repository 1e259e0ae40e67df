/**
 * Checks of single values that users pass, each named in the error that is thrown. What passes here is what the daemon takes
 * (daemon/decode-message.ts): there a wrong value costs the connection, here only the call.
 */
import { longestMs } from "../../base/timer-ms.ts";
import { amountsEnd, nameLengthMax, namesMax, textsLengthMax } from "../../wire/limits.ts";

/** Options with names that are not `allowed` are mistakes, most often of spelling. `what` is said of them: "task", "wait". */
export function checkNames(what: string, options: unknown, allowed: ReadonlySet<string>): void {
  if (typeof options !== "object" || options === null)
    throw new TypeError(`Cannot use ${shown(options)} as ${what} options: expected an object`);
  for (const name of Object.keys(options)) {
    if (!allowed.has(name))
      throw new TypeError(`Cannot use ${what} option '${name}': the options are ${[...allowed].sort().join(", ")}`);
  }
}

export function checkNumber(name: string, value: unknown, min: number, integer: boolean, max = Number.MAX_SAFE_INTEGER): void {
  if (value === undefined) return;
  const kind = integer ? "an integer" : "a number";
  if (typeof value !== "number")
    throw new TypeError(`Cannot use ${shown(value)} as option '${name}': expected ${kind} of at least ${min}`);
  if (!(value >= min) || (integer && Number.isFinite(value) && !Number.isInteger(value)))
    throw new RangeError(`Cannot use ${value} as option '${name}': expected ${kind} of at least ${min}`);
  if (value > max) throw new RangeError(`Cannot use ${value} as option '${name}': expected ${kind} of at most ${max}`);
}

export function checkDelay(name: string, value: unknown, min: number): void {
  checkNumber(name, value, min, false, longestMs);
}

/** How much of a resource. */
export function checkAmount(name: string, value: unknown): void {
  checkNumber(name, value, 0, false, amountsEnd - 1);
}

/** Amounts by the name of the resource; `others` names come with them in one message. */
export function checkAmounts(option: string, amounts: unknown, others: number): void {
  for (const [name, amount] of entriesOf(option, amounts, namesMax - others)) checkAmount(`${option}.${name}`, amount);
}

/** A name that people see, or by which something is found. */
export function checkName(option: string, value: unknown): void {
  checkText(option, value, nameLengthMax);
}

export function checkText(option: string, value: unknown, lengthMax = textsLengthMax): void {
  if (value === undefined) return;
  if (typeof value !== "string" || value === "")
    throw new TypeError(`Cannot use ${shown(value)} as option '${option}': expected a non-empty string`);
  if (value.length > lengthMax)
    throw new RangeError(`Cannot use a text of ${value.length} characters as option '${option}': expected at most ${lengthMax}`);
}

export function checkFlag(option: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean")
    throw new TypeError(`Cannot use ${shown(value)} as option '${option}': expected true or false`);
}

/** Texts by name, such as labels. */
export function checkTexts(option: string, texts: unknown): void {
  let length = 0;
  for (const [name, text] of entriesOf(option, texts, namesMax)) {
    if (typeof text !== "string")
      throw new TypeError(`Cannot use ${shown(text)} as option '${option}.${name}': expected a string`);
    length += text.length;
  }
  checkLength(option, length);
}

/** Strings in a list, e.g. of package names. `length`: of each. */
export function checkList(option: string, list: unknown, what: string, length = Number.POSITIVE_INFINITY): void {
  if (list === undefined) return;
  if (!Array.isArray(list) || !list.every((item) => typeof item === "string"))
    throw new TypeError(`Cannot use ${shown(list)} as option '${option}': expected a list of ${what}`);
  if (list.length > namesMax)
    throw new RangeError(`Cannot use ${list.length} ${what} as option '${option}': expected at most ${namesMax}`);
  const long = list.find((item) => item.length > length);
  if (long !== undefined)
    throw new RangeError(`Cannot use a text of ${long.length} characters in option '${option}': expected at most ${length} each`);
  checkLength(
    option,
    list.reduce((sum, item) => sum + item.length, 0),
  );
}

function checkLength(option: string, length: number): void {
  if (length > textsLengthMax)
    throw new RangeError(`Cannot use ${length} characters as option '${option}': expected at most ${textsLengthMax} in all`);
}

/** What is in a record of values by name. */
export function entriesOf(option: string, values: unknown, max: number): [string, unknown][] {
  if (values === undefined) return [];
  if (typeof values !== "object" || values === null || Array.isArray(values) || ArrayBuffer.isView(values))
    throw new TypeError(`Cannot use ${shown(values)} as option '${option}': expected an object with a value for each name`);
  const entries = Object.entries(values);
  if (entries.length > max)
    throw new RangeError(`Cannot use ${entries.length} names in option '${option}': expected at most ${max}`);
  const long = entries.find(([name]) => name.length > nameLengthMax);
  if (long !== undefined)
    throw new RangeError(
      `Cannot use a name of ${long[0].length} characters in option '${option}': expected at most ${nameLengthMax}`,
    );
  return entries;
}

/** A value in an error message. */
export function shown(value: unknown): string {
  if (typeof value === "string") return value.length > 100 ? `'${value.slice(0, 100)}...'` : `'${value}'`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? "an array" : "an object";
}
