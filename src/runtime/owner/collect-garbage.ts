/**
 * Garbage collection on demand: refs are counted down by finalizers, and the engine, which sees neither shared memory nor what other
 * processes wait for, collects when it likes. The function is not exposed unless Node was started so; the flag can be set later, for contexts made after it.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let collect: (() => void) | null = null;

/** Collects now; finalizers run in tasks of their own soon after. */
export function collectGarbage(): void {
  if (collect === null) {
    setFlagsFromString("--expose-gc");
    collect = (globalThis as { gc?: () => void }).gc ?? (runInNewContext("gc") as () => void);
  }
  collect();
}
