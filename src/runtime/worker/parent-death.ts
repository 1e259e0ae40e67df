/** Asks the kernel to end this process with its parent: a worker in a long synchronous task cannot notice that its daemon is gone. */
import { createRequire } from "node:module";

const setParentDeathSignal = 1; // PR_SET_PDEATHSIG, prctl(2)
const sigkill = 9;

export function diesWithParent(): void {
  if (process.platform !== "linux") return;
  const koffi = createRequire(import.meta.url)("koffi");
  const prctl = koffi
    .load(null)
    .func("int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)");
  prctl(setParentDeathSignal, sigkill, 0, 0, 0);
}
