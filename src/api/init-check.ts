/** Checks `init`'s options before anything is started. */
import { checkRuntimeEnv } from "../runtime/owner/options.ts";
import type { InitOptions } from "./init-options.ts";

const names = new Set([
  "address",
  "numCpus",
  "numGpus",
  "resources",
  "labels",
  "objectStoreMemory",
  "namespace",
  "runtimeEnv",
  "logToDriver",
  "dashboard",
  "ignoreReinitError",
]);

export function checkInitOptions(options: InitOptions): void {
  for (const name of Object.keys(options)) {
    if (!names.has(name))
      throw new TypeError(`Cannot use init option '${name}': the options are ${[...names].sort().join(", ")}`);
  }
  for (const name of ["numCpus", "numGpus", "objectStoreMemory"] as const) {
    const value = options[name];
    if (value !== undefined && (typeof value !== "number" || !(value >= 0)))
      throw new RangeError(`Cannot use ${String(value)} as init option '${name}': expected a number of at least 0`);
  }
  for (const [name, amount] of Object.entries(options.resources ?? {})) {
    if (name === "CPU" || name === "GPU")
      throw new TypeError(`Cannot use '${name}' in init option 'resources': use ${name === "CPU" ? "numCpus" : "numGpus"}`);
    if (typeof amount !== "number" || !(amount >= 0))
      throw new RangeError(`Cannot use ${String(amount)} as resource '${name}': expected a number of at least 0`);
  }
  if (options.runtimeEnv !== undefined) checkRuntimeEnv(options.runtimeEnv);
}
