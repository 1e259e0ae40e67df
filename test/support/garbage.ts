/** Collecting garbage on demand, so that a test need not wait for the engine to feel like it. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects in this process and lets finalizers run. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void; // not kept: tests run this in workers, too, and a native function does not travel
  for (let round = 0; round < 3; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve)); // finalizers are tasks of their own
  }
}
