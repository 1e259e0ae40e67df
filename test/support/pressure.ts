/**
 * Seeing that an object was freed, or was not, from outside: the store's limit is known, so what is kept beyond it must lie on the disk, and
 * goes from there when it is freed. The oldest objects are the ones that are spilled.
 */
import * as shoal from "shoal";
import { collectGarbage } from "./garbage.ts";
import { storeUse } from "./store-use.ts";
import { waitFor } from "./wait-for.ts";

/** Collects garbage in a worker; with one CPU that is the worker that ran the last task. */
const collectThere = shoal.remote(async () => collectGarbage(), { name: "collect garbage" });

/** Puts `bytes` in objects of 2 MB and returns their refs. */
export function fill(bytes: number): shoal.ObjectRef<Uint8Array>[] {
  return Array.from({ length: Math.ceil(bytes / 2_000_000) }, (_, i) => shoal.put(new Uint8Array(2_000_000).fill(i)));
}

export function disposeAll(refs: readonly shoal.ObjectRef<unknown>[]): void {
  for (const ref of refs) ref[Symbol.dispose]();
}

/** Resolves when the session keeps nothing on disk any more: what had been spilled is freed. Collects garbage here and in workers meanwhile. */
export async function untilNothingIsSpilled(context: { readonly sessionDir: string }, what: string): Promise<void> {
  await waitFor(what, async () => {
    await collectGarbage();
    await shoal.get(collectThere.remote());
    return storeUse(context).spillBytes === 0;
  });
}

/** Resolves when something is spilled: more is kept than the store takes. */
export async function untilSomethingIsSpilled(context: { readonly sessionDir: string }): Promise<void> {
  await waitFor("objects to be spilled", () => storeUse(context).spillBytes > 0);
}
