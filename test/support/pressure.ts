/**
 * Seeing from outside that an object was freed, or was not. A test keeps one large object and then fills the store with smaller ones: a
 * large object that lives is moved to the disk, as the oldest; one that is freed has no file any more, neither in memory, as what is kept
 * warm is given up under pressure, nor on disk.
 */
import * as shoal from "shoal";
import { collectGarbage } from "./garbage.ts";
import { filesOfAtLeast, storeUse } from "./store-use.ts";
import { waitFor } from "./wait-for.ts";

type Session = { readonly sessionDir: string };

const smallBytes = 2_000_000;

/** Collects garbage in a worker; with one CPU that is the worker that ran the last task. */
const collectThere = shoal.remote(async () => collectGarbage(), { name: "collect garbage" });

export async function collectEverywhere(): Promise<void> {
  await collectGarbage();
  await shoal.get(collectThere.remote());
}

/** Puts `bytes` in objects of 2 MB and returns their refs. */
export function fill(bytes: number): shoal.ObjectRef<Uint8Array>[] {
  return Array.from({ length: Math.ceil(bytes / smallBytes) }, (_, i) => shoal.put(new Uint8Array(smallBytes).fill(i)));
}

export function disposeAll(refs: readonly shoal.ObjectRef<unknown>[]): void {
  for (const ref of refs) ref[Symbol.dispose]();
}

/** Resolves when the session's objects of `bytes` have been moved to the disk: they are alive, and no longer in memory. */
export async function untilSpilled(session: Session, bytes: number): Promise<void> {
  await waitFor("the large object to be spilled", () => filesOfAtLeast(bytes, session).spilled.length > 0);
}

/**
 * Resolves when the session has no object of `bytes` any more, neither in memory nor on disk. Collects garbage here and in workers meanwhile,
 * and fills the store to where its daemon asks all processes to collect: an idle worker would keep its last refs until it runs again.
 */
export async function untilFreed(session: Session, bytes: number, what: string): Promise<void> {
  await waitFor(what, async () => {
    await collectEverywhere();
    disposeAll(fill(6 * smallBytes));
    const { shm, spilled } = filesOfAtLeast(bytes, session);
    return shm.length + spilled.length === 0;
  });
}

/** Resolves when nothing of the session is on disk. */
export async function untilNothingIsSpilled(session: Session): Promise<void> {
  await waitFor("everything to leave the disk", async () => {
    await collectEverywhere();
    return storeUse(session).spillBytes === 0;
  });
}
