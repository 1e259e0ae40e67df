/**
 * Key lists of the objects of one value. Arrays of records repeat the same keys; each list is written once and then named by a number.
 * Looking a list up compares strings that the engine has interned, so it costs a pointer comparison a key.
 */
import { limits, NEW_SHAPE, UNNUMBERED_SHAPE } from "./format.ts";

export interface Shape {
  readonly keys: readonly string[];
  readonly index: number;
}

/** Up to this many shapes are searched one by one, beyond it by first key. */
const LINEAR_MAX = 4;
/** Objects used as dictionaries make a shape each; more than this under one first key, and they are no longer remembered. */
const SAME_FIRST_KEY_MAX = 8;
const SHAPES_MAX = 1024;

export class Shapes {
  private readonly linear: Shape[] = [];
  private byFirstKey: Map<string, Shape[]> | undefined;
  private latest: Shape | undefined;
  count = 0;

  /** The shape of an object, if it is one of the few that come first; does not make a list of its keys. */
  find(object: object): Shape | undefined {
    const { latest } = this;
    if (latest === undefined) return undefined;
    if (hasKeys(object, latest.keys)) return latest;
    for (const shape of this.linear) {
      if (hasKeys(object, shape.keys)) {
        this.latest = shape;
        return shape;
      }
    }
    return undefined;
  }

  /** The number to write for these keys: of a known shape, or that of a new one which the caller then spells out. */
  codeFor(keys: readonly string[]): number {
    const { latest } = this;
    if (latest !== undefined && sameKeys(latest.keys, keys)) return latest.index + 2;
    if (keys.length === 0 || keys.length > limits.shapeKeysMax) return UNNUMBERED_SHAPE;
    for (const shape of this.linear) {
      if (sameKeys(shape.keys, keys)) return this.found(shape);
    }
    if (this.linear.length < LINEAR_MAX) {
      this.linear.push(this.add(keys));
      return NEW_SHAPE;
    }
    this.byFirstKey ??= new Map();
    const bucket = this.byFirstKey.get(keys[0]);
    if (bucket !== undefined) {
      for (const shape of bucket) {
        if (sameKeys(shape.keys, keys)) return this.found(shape);
      }
      if (bucket.length >= SAME_FIRST_KEY_MAX) return UNNUMBERED_SHAPE;
    }
    if (this.count >= SHAPES_MAX) return UNNUMBERED_SHAPE;
    const shape = this.add(keys);
    if (bucket !== undefined) bucket.push(shape);
    else this.byFirstKey.set(keys[0], [shape]);
    return NEW_SHAPE;
  }

  private found(shape: Shape): number {
    this.latest = shape;
    return shape.index + 2;
  }

  private add(keys: readonly string[]): Shape {
    const shape = { keys, index: this.count++ };
    this.latest = shape;
    return shape;
  }

  clear(): void {
    this.linear.length = 0;
    this.byFirstKey = undefined;
    this.latest = undefined;
    this.count = 0;
  }

  /** Forgets the shapes that were added since `count` was read. */
  truncate(count: number): void {
    while (this.linear.length > 0 && this.linear[this.linear.length - 1].index >= count) this.linear.pop();
    for (const [first, bucket] of this.byFirstKey ?? []) {
      while (bucket.length > 0 && bucket[bucket.length - 1].index >= count) bucket.pop();
      if (bucket.length === 0) this.byFirstKey!.delete(first);
    }
    this.latest = undefined;
    this.count = count;
  }
}

function sameKeys(a: readonly string[], b: readonly string[]): boolean {
  const { length } = a;
  if (b.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}

/** The object inherits no enumerable property. */
function hasKeys(object: object, keys: readonly string[]): boolean {
  let i = 0;
  for (const key in object) {
    if (key !== keys[i]) return false;
    i++;
  }
  return i === keys.length;
}
