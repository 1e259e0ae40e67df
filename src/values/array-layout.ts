/**
 * How an array is best written: dense, sparse, as a block of numbers, with or without properties of its own. The engine knows all of
 * it and tells none of it cheaply, so most of this is about asking the cheapest question that has an exact answer.
 */
import { inspect } from "node:util";
import { Tag } from "./format.ts";

/** For longer arrays `inspect` is the cheaper way to learn that there is nothing besides the elements. */
const LISTED_KEYS_MAX = 128;

/** Keys of an array besides its elements, or that it is better written as index-value pairs. */
export function fieldsOfArray(array: readonly unknown[]): readonly string[] | "sparse" {
  const { length } = array;
  // An array without fields that inspects as elements only; anything else in the text, also a change of format, leads to the exact way.
  if (length > LISTED_KEYS_MAX && inspect(array, inspectElementsOnly) === `[ ... ${length} more items ]`) {
    return length > 100_000 && looksSparse(array) ? "sparse" : noKeys;
  }
  const keys = Object.keys(array);
  if (keys.length === length && (length === 0 || keys[length - 1] === String(length - 1))) return noKeys;
  const indexCount = countIndexes(keys);
  if (length > 16 && indexCount < length / 8) return "sparse";
  return indexCount === keys.length ? noKeys : keys.slice(indexCount);
}

const noKeys: readonly string[] = [];
const inspectElementsOnly = {
  maxArrayLength: 0,
  depth: 0,
  customInspect: false,
  maxStringLength: 0,
  colors: false,
  compact: 3,
  breakLength: 128,
};

/** A sample of a long array has mostly holes. Only a question of space and time; both ways of writing are exact. */
function looksSparse(array: readonly unknown[]): boolean {
  const step = Math.floor(array.length / 64);
  let holes = 0;
  for (let i = 0; i < array.length; i += step) {
    if (!Object.hasOwn(array, i)) holes++;
  }
  return holes > 48;
}

/** Indexes come first among the keys of an array, in order. */
export function countIndexes(keys: readonly string[]): number {
  let count = keys.length;
  while (count > 0 && !isIndex(keys[count - 1])) count--;
  return count;
}

function isIndex(key: string): boolean {
  const index = Number(key);
  return index >= 0 && index < 0xffff_ffff && String(index >>> 0) === key;
}

/** The narrowest block that holds all elements exactly; 0 when some element is no number. */
export function numberBlockTag(array: readonly unknown[]): number {
  let min = 0;
  let max = 0;
  let allInts = true;
  for (let i = 0; i < array.length; i++) {
    const value = array[i];
    if (typeof value !== "number") return 0;
    if (!allInts) continue;
    if ((value | 0) !== value || (value === 0 && 1 / value < 0)) allInts = false;
    else if (value < min) min = value;
    else if (value > max) max = value;
  }
  if (!allInts) return Tag.Doubles;
  if (min >= -0x80 && max <= 0x7f) return Tag.Int8s;
  return min >= -0x8000 && max <= 0x7fff ? Tag.Int16s : Tag.Int32s;
}
