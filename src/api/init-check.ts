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
  if (options.dashboard !== undefined && typeof options.dashboard !== "boolean") checkDashboard(options.dashboard);
  if (options.runtimeEnv !== undefined) checkRuntimeEnv(options.runtimeEnv);
}

function checkDashboard(dashboard: unknown): void {
  if (typeof dashboard !== "object" || dashboard === null)
    throw new TypeError(`Cannot use ${String(dashboard)} as init option 'dashboard': expected true, false or { host, port }`);
  for (const name of Object.keys(dashboard))
    if (name !== "host" && name !== "port")
      throw new TypeError(`Cannot use '${name}' in init option 'dashboard': expected host and port`);
  const { host, port } = dashboard as { host?: unknown; port?: unknown };
  if (host !== undefined && (typeof host !== "string" || host === ""))
    throw new TypeError(`Cannot use ${String(host)} as the dashboard's host: expected a name or an IP address`);
  if (port !== undefined && !(Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535))
    throw new RangeError(`Cannot use ${String(port)} as the dashboard's port: expected a number from 0 (any free one) to 65535`);
}
