/** The one runtime of this process. Kept on `globalThis`, so that two copies of the package in one process share it. */
import type { Runtime } from "./runtime.ts";

const key = Symbol.for("shoal.runtime");
const holder = globalThis as { [key]?: Runtime | null };

export function theRuntimeIfAny(): Runtime | null {
  return holder[key] ?? null;
}

export function adoptRuntime(runtime: Runtime | null): void {
  holder[key] = runtime;
}
