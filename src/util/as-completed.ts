/** `asCompleted`: values of refs in the order in which they become ready. */
import { get, type ObjectRef, wait } from "../index.ts";
import { Doorbell } from "./doorbell.ts";

/**
 * Iterates over the values of `refs`, each as soon as it is there. Of a ref that failed the error is thrown, which ends the loop; to go on
 * behind failures, ask for the refs and `get` each. Leaving the loop cancels nothing: the refs are yours.
 *
 * @param options.yieldRefs Yields the refs, ready, instead of their values.
 *
 * @example for await (const square of asCompleted([3, 1, 2].map((i) => squareSlowly.remote(i)))) console.log(square);
 */
export function asCompleted<T>(refs: Iterable<ObjectRef<T>>, options?: { yieldRefs?: false }): AsyncIterableIterator<T>;
export function asCompleted<T>(refs: Iterable<ObjectRef<T>>, options: { yieldRefs: true }): AsyncIterableIterator<ObjectRef<T>>;
export async function* asCompleted<T>(
  refs: Iterable<ObjectRef<T>>,
  options: { yieldRefs?: boolean } = {},
): AsyncIterableIterator<T | ObjectRef<T>> {
  const ready: ObjectRef<T>[] = [];
  const bell = new Doorbell();
  let failure: { readonly error: unknown } | null = null;
  let remaining = 0;
  for (const ref of refs) {
    remaining++;
    // A wait each, not one over all again and again: that would be quadratic.
    wait([ref]).then(
      () => {
        ready.push(ref);
        bell.ring();
      },
      (error) => {
        failure ??= { error };
        bell.ring();
      },
    );
  }
  for (; remaining > 0; remaining--) {
    while (ready.length === 0) {
      if (failure !== null) throw (failure as { error: unknown }).error;
      await bell.wait();
    }
    const ref = ready.shift() as ObjectRef<T>;
    yield options.yieldRefs === true ? ref : await get(ref);
  }
}
