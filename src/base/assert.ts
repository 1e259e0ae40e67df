/** Assertions for our own bugs: always on, never for input from outside (that is `decode()`'s and `validate`'s part). */

/** One of Shoal's own invariants does not hold. Not a user error. */
export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed";
}

/** Throws `AssertionFailed` when `condition` is false; `detail` says what was expected, lazily where it costs. */
export function assert(condition: unknown, detail: string | (() => string)): asserts condition {
  if (!condition) throw new AssertionFailed(`Shoal invariant broken: ${typeof detail === "string" ? detail : detail()}`);
}
