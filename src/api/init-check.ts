/** Checks `init`'s options before anything is started. */
import {
  checkAmount,
  checkAmounts,
  checkFlag,
  checkName,
  checkNames,
  checkNumber,
  checkText,
  checkTexts,
  shown,
} from "../runtime/owner/checks.ts";
import { checkRuntimeEnv } from "../runtime/owner/options.ts";
import { processorsMax } from "../wire/limits.ts";
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

/** CPU and GPU come with the custom resources in one message. */
const ownResources = 2;

export function checkInitOptions(options: InitOptions): void {
  checkNames("init", options, names);
  if (options.address !== "") checkText("address", options.address);
  checkNumber("numCpus", options.numCpus, 0, false, processorsMax);
  checkNumber("numGpus", options.numGpus, 0, false, processorsMax);
  checkAmount("objectStoreMemory", options.objectStoreMemory);
  checkAmounts("resources", options.resources, ownResources);
  for (const name of ["CPU", "GPU"])
    if (Object.hasOwn(options.resources ?? {}, name))
      throw new TypeError(`Cannot use '${name}' in init option 'resources': use ${name === "CPU" ? "numCpus" : "numGpus"}`);
  checkTexts("labels", options.labels);
  checkName("namespace", options.namespace);
  checkFlag("logToDriver", options.logToDriver);
  checkFlag("ignoreReinitError", options.ignoreReinitError);
  if (options.dashboard !== undefined && typeof options.dashboard !== "boolean") checkDashboard(options.dashboard);
  if (options.runtimeEnv !== undefined) checkRuntimeEnv(options.runtimeEnv);
}

function checkDashboard(dashboard: unknown): void {
  if (typeof dashboard !== "object" || dashboard === null)
    throw new TypeError(`Cannot use ${shown(dashboard)} as init option 'dashboard': expected true, false or { host, port }`);
  for (const name of Object.keys(dashboard))
    if (name !== "host" && name !== "port")
      throw new TypeError(`Cannot use '${name}' in init option 'dashboard': expected host and port`);
  const { host, port } = dashboard as { host?: unknown; port?: unknown };
  if (host !== undefined && (typeof host !== "string" || host === ""))
    throw new TypeError(`Cannot use ${shown(host)} as the dashboard's host: expected a name or an IP address`);
  if (port !== undefined && !(Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65_535))
    throw new RangeError(`Cannot use ${shown(port)} as the dashboard's port: expected a number from 0 (any free one) to 65535`);
}
