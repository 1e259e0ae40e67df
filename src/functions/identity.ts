/**
 * Which function has which key, in both directions, for the whole process: reviving what was captured here gives the original, and
 * capturing what was revived here gives its key, so a class that travels there and back stays one class.
 */

export interface KnownFunction {
  readonly key: string;
  readonly holds: readonly object[];
}

const known = new WeakMap<Function, KnownFunction>();
const originals = new Map<string, WeakRef<Function>>();

export function knownFunction(fn: Function): KnownFunction | undefined {
  return known.get(fn);
}

export function noteKey(fn: Function, key: string, holds: readonly object[]): void {
  if (!known.has(fn)) known.set(fn, { key, holds });
}

/** Of functions with equal content the first stands for all, as long as it is there. */
export function noteOriginal(key: string, fn: Function): void {
  if (originals.get(key)?.deref() === undefined) originals.set(key, new WeakRef(fn));
}

export function originalOf(key: string): Function | undefined {
  return originals.get(key)?.deref();
}

/** Key of a function or class that was captured or revived in this process. */
export function keyOf(fn: Function): string | undefined {
  return known.get(fn)?.key;
}
