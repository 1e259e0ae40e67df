/** Checks what users pass as options, and turns it into what travels. */
import type { ActorOptions, MethodOptions, ResourceOptions, RuntimeEnv, TaskOptions } from "../../api/types.ts";
import type { Resources, RuntimeEnvSpec, SchedulingSpec, StrategySpec } from "../../wire/messages.ts";

const resourceOptions = ["numCpus", "numGpus", "memory", "resources", "schedulingStrategy", "labelSelector", "runtimeEnv"];
const taskOptions = new Set([
  ...resourceOptions,
  "name",
  "numReturns",
  "maxRetries",
  "retryExceptions",
  "maxCalls",
  "generatorBackpressure",
]);
const actorOptions = new Set([
  ...resourceOptions,
  "name",
  "namespace",
  "getIfExists",
  "lifetime",
  "maxRestarts",
  "maxTaskRetries",
  "maxPendingCalls",
  "maxConcurrency",
  "concurrencyGroups",
]);
const methodOptions = new Set([
  "name",
  "numReturns",
  "concurrencyGroup",
  "maxTaskRetries",
  "retryExceptions",
  "generatorBackpressure",
]);
const runtimeEnvFields = new Set(["workingDir", "envVars", "excludes", "npm", "setupTimeoutMs"]);

function checkNames(what: string, options: object, allowed: ReadonlySet<string>): void {
  if (typeof options !== "object" || options === null)
    throw new TypeError(`Cannot use ${String(options)} as ${what} options: expected an object`);
  for (const name of Object.keys(options)) {
    if (!allowed.has(name))
      throw new TypeError(`Cannot use ${what} option '${name}': the options are ${[...allowed].sort().join(", ")}`);
  }
}

function checkNumber(name: string, value: unknown, min: number, integer: boolean): void {
  if (value === undefined) return;
  if (typeof value !== "number" || Number.isNaN(value) || value < min || (integer && !Number.isInteger(value))) {
    throw new (typeof value === "number" ? RangeError : TypeError)(
      `Cannot use ${String(value)} as option '${name}': expected ${integer ? "an integer" : "a number"} of at least ${min}`,
    );
  }
}

function checkString(name: string, value: unknown): void {
  if (value !== undefined && (typeof value !== "string" || value === ""))
    throw new TypeError(`Cannot use ${String(value)} as option '${name}': expected a non-empty string`);
}

function checkResources(options: ResourceOptions): void {
  checkNumber("numCpus", options.numCpus, 0, false);
  checkNumber("numGpus", options.numGpus, 0, false);
  checkNumber("memory", options.memory, 0, false);
  for (const [name, amount] of Object.entries(options.resources ?? {})) {
    if (name === "CPU" || name === "GPU")
      throw new TypeError(`Cannot use '${name}' in option 'resources': use ${name === "CPU" ? "numCpus" : "numGpus"}`);
    checkNumber(`resources.${name}`, amount, 0, false);
  }
  const strategy = options.schedulingStrategy as unknown;
  if (
    strategy !== undefined &&
    strategy !== "DEFAULT" &&
    strategy !== "SPREAD" &&
    !["node", "group"].includes((strategy as { kind?: string })?.kind ?? "")
  ) {
    throw new TypeError(
      `Cannot use ${String(strategy)} as option 'schedulingStrategy': expected "DEFAULT", "SPREAD", nodeAffinity(...) or placementGroupScheduling(...)`,
    );
  }
  if (options.runtimeEnv !== undefined) checkRuntimeEnv(options.runtimeEnv);
}

/** Throws a TypeError when `env` is not a RuntimeEnv. */
export function checkRuntimeEnv(env: RuntimeEnv): void {
  checkNames("runtimeEnv", env, runtimeEnvFields);
  if (env.workingDir !== undefined) checkString("runtimeEnv.workingDir", env.workingDir);
  if (env.npm !== undefined && !(Array.isArray(env.npm) && env.npm.every((name) => typeof name === "string"))) {
    throw new TypeError("Cannot use option 'runtimeEnv.npm': expected a list of package names");
  }
  if (env.excludes !== undefined && !(Array.isArray(env.excludes) && env.excludes.every((glob) => typeof glob === "string"))) {
    throw new TypeError("Cannot use option 'runtimeEnv.excludes': expected a list of patterns");
  }
  for (const [name, value] of Object.entries(env.envVars ?? {})) {
    if (typeof value !== "string")
      throw new TypeError(`Cannot use ${String(value)} as environment variable '${name}': expected a string`);
  }
  checkNumber("runtimeEnv.setupTimeoutMs", env.setupTimeoutMs, 1, false);
}

function checkNumReturns(value: unknown): void {
  if (value === undefined || value === "streaming") return;
  checkNumber("numReturns", value, 0, true);
}

function checkRetryExceptions(value: unknown): void {
  if (value === undefined || typeof value === "boolean") return;
  if (Array.isArray(value) && value.every((item) => typeof item === "function")) return;
  throw new TypeError("Cannot use option 'retryExceptions': expected true, false or a list of error classes");
}

function checkBackpressure(value: unknown): void {
  if (value === undefined || value === -1) return;
  checkNumber("generatorBackpressure", value, 1, true);
}

export function checkTaskOptions(options: TaskOptions): void {
  checkNames("task", options, taskOptions);
  checkResources(options);
  checkString("name", options.name);
  checkNumReturns(options.numReturns);
  checkNumber("maxRetries", options.maxRetries, -1, true);
  checkRetryExceptions(options.retryExceptions);
  checkNumber("maxCalls", options.maxCalls, 0, true);
  checkBackpressure(options.generatorBackpressure);
}

export function checkActorOptions(options: ActorOptions): void {
  checkNames("actor", options, actorOptions);
  checkResources(options);
  checkString("name", options.name);
  checkString("namespace", options.namespace);
  if (options.lifetime !== undefined && options.lifetime !== "detached")
    throw new TypeError(`Cannot use ${String(options.lifetime)} as option 'lifetime': expected "detached"`);
  if (options.getIfExists && options.name === undefined)
    throw new TypeError("Cannot use option 'getIfExists' without option 'name'");
  checkNumber("maxRestarts", options.maxRestarts, -1, true);
  checkNumber("maxTaskRetries", options.maxTaskRetries, -1, true);
  if (options.maxPendingCalls !== -1) checkNumber("maxPendingCalls", options.maxPendingCalls, 1, true);
  checkNumber("maxConcurrency", options.maxConcurrency, 1, true);
  for (const [name, limit] of Object.entries(options.concurrencyGroups ?? {}))
    checkNumber(`concurrencyGroups.${name}`, limit, 1, true);
}

export function checkMethodOptions(options: MethodOptions): void {
  checkNames("method", options, methodOptions);
  checkString("name", options.name);
  checkNumReturns(options.numReturns);
  checkString("concurrencyGroup", options.concurrencyGroup);
  checkNumber("maxTaskRetries", options.maxTaskRetries, -1, true);
  checkRetryExceptions(options.retryExceptions);
  checkBackpressure(options.generatorBackpressure);
}

export function resourcesOf(options: ResourceOptions, cpus: number): Resources {
  const resources: Record<string, number> = { CPU: options.numCpus ?? cpus };
  if (options.numGpus) resources.GPU = options.numGpus;
  if (options.memory) resources.memory = options.memory;
  for (const [name, amount] of Object.entries(options.resources ?? {})) if (amount > 0) resources[name] = amount;
  return resources;
}

function strategyOf(options: ResourceOptions, inherited: StrategySpec | null): StrategySpec {
  const strategy = options.schedulingStrategy;
  if (strategy === undefined) return inherited ?? { kind: "default" };
  if (strategy === "DEFAULT") return { kind: "default" };
  if (strategy === "SPREAD") return { kind: "spread" };
  if (strategy.kind === "node") return { kind: "node", nodeId: strategy.nodeId, soft: strategy.soft };
  return {
    kind: "group",
    groupId: strategy.group.id,
    bundleIndex: strategy.bundleIndex,
    captureChildTasks: strategy.captureChildTasks,
  };
}

/** The job's environment with a task's own over it: variables are merged, other fields replaced. */
export function mergeRuntimeEnv(base: RuntimeEnv | RuntimeEnvSpec | null, over: RuntimeEnv | undefined): RuntimeEnvSpec | null {
  if (over === undefined || Object.keys(over).length === 0) return base;
  return { ...base, ...over, envVars: { ...base?.envVars, ...over.envVars } };
}

export interface Inherited {
  readonly runtimeEnv: RuntimeEnvSpec | null;
  /** Placement group whose child tasks are captured. */
  readonly strategy: StrategySpec | null;
}

export function schedulingSpec(
  options: ResourceOptions,
  resources: Resources,
  label: string,
  inherited: Inherited,
  retriable: boolean,
): SchedulingSpec {
  return {
    resources,
    strategy: strategyOf(options, inherited.strategy),
    labelSelector: options.labelSelector ?? {},
    runtimeEnv: mergeRuntimeEnv(inherited.runtimeEnv, options.runtimeEnv),
    label,
    retriable,
  };
}
