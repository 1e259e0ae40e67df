/** Checks what users pass as options, and turns it into what travels. */
import type { ActorOptions, MethodOptions, ResourceOptions, RuntimeEnv, TaskOptions } from "../../api/types.ts";
import { idLengthMax, nameLengthMax, namesMax, returnsMax } from "../../wire/limits.ts";
import type { Resources, RuntimeEnvSpec, SchedulingSpec, StrategySpec } from "../../wire/messages.ts";
import {
  checkAmount,
  checkAmounts,
  checkDelay,
  checkFlag,
  checkList,
  checkName,
  checkNames,
  checkNumber,
  checkText,
  checkTexts,
  entriesOf,
  shown,
} from "./checks.ts";

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

/** CPU, GPU and memory come with the custom resources in one message. */
const ownResources = 3;

function checkResources(options: ResourceOptions): void {
  checkAmount("numCpus", options.numCpus);
  checkAmount("numGpus", options.numGpus);
  checkAmount("memory", options.memory);
  checkAmounts("resources", options.resources, ownResources);
  for (const name of ["CPU", "GPU"])
    if (Object.hasOwn(options.resources ?? {}, name))
      throw new TypeError(`Cannot use '${name}' in option 'resources': use ${name === "CPU" ? "numCpus" : "numGpus"}`);
  checkStrategy(options.schedulingStrategy);
  checkTexts("labelSelector", options.labelSelector);
  if (options.runtimeEnv !== undefined) checkRuntimeEnv(options.runtimeEnv);
}

function checkStrategy(strategy: unknown): void {
  if (strategy === undefined || strategy === "DEFAULT" || strategy === "SPREAD") return;
  const { kind, ...fields } = (typeof strategy === "object" && strategy !== null ? strategy : {}) as Record<string, unknown>;
  const isId = (value: unknown): boolean => typeof value === "string" && value !== "" && value.length <= idLengthMax;
  if (kind === "node" && isId(fields.nodeId) && typeof fields.soft === "boolean") return;
  const group = fields.group as { readonly id?: unknown } | null | undefined;
  if (
    kind === "group" &&
    isId(group?.id) &&
    Number.isSafeInteger(fields.bundleIndex) &&
    ["boolean", "undefined"].includes(typeof fields.captureChildTasks)
  )
    return;
  throw new TypeError(
    `Cannot use ${kind === "node" || kind === "group" ? `{ kind: "${kind}" } with these fields` : shown(strategy)} as option 'schedulingStrategy': expected "DEFAULT", "SPREAD", nodeAffinity(...) or placementGroupScheduling(...)`,
  );
}

/** Throws a TypeError or RangeError when `env` is not a RuntimeEnv, or one that no process can be started in. */
export function checkRuntimeEnv(env: RuntimeEnv): void {
  checkNames("runtimeEnv", env, runtimeEnvFields);
  checkText("runtimeEnv.workingDir", env.workingDir);
  checkNoNul("runtimeEnv.workingDir", env.workingDir ?? "");
  checkList("runtimeEnv.npm", env.npm, "package names", nameLengthMax);
  for (const name of env.npm ?? []) checkNoNul("runtimeEnv.npm", name);
  checkList("runtimeEnv.excludes", env.excludes, "patterns");
  checkTexts("runtimeEnv.envVars", env.envVars);
  for (const [name, value] of Object.entries(env.envVars ?? {})) {
    if (name === "" || name.includes("="))
      throw new TypeError(`Cannot use '${name}' as the name of an environment variable: expected a name without '='`);
    checkNoNul("runtimeEnv.envVars", name);
    checkNoNul(`runtimeEnv.envVars.${name}`, value);
  }
  checkDelay("runtimeEnv.setupTimeoutMs", env.setupTimeoutMs, 1);
}

/** Texts end there for the operating system. */
function checkNoNul(option: string, text: string): void {
  if (text.includes("\0")) throw new TypeError(`Cannot use a text with a NUL character (\\0) as option '${option}'`);
}

function checkNumReturns(value: unknown): void {
  if (value === undefined || value === "streaming") return;
  checkNumber("numReturns", value, 0, true, returnsMax);
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
  checkName("name", options.name);
  checkNumReturns(options.numReturns);
  checkNumber("maxRetries", options.maxRetries, -1, true);
  checkRetryExceptions(options.retryExceptions);
  checkNumber("maxCalls", options.maxCalls, 0, true);
  checkBackpressure(options.generatorBackpressure);
}

export function checkActorOptions(options: ActorOptions): void {
  checkNames("actor", options, actorOptions);
  checkResources(options);
  checkName("name", options.name);
  checkName("namespace", options.namespace);
  if (options.lifetime !== undefined && options.lifetime !== "detached")
    throw new TypeError(`Cannot use ${shown(options.lifetime)} as option 'lifetime': expected "detached"`);
  checkFlag("getIfExists", options.getIfExists);
  if (options.getIfExists && options.name === undefined)
    throw new TypeError("Cannot use option 'getIfExists' without option 'name'");
  checkNumber("maxRestarts", options.maxRestarts, -1, true);
  checkNumber("maxTaskRetries", options.maxTaskRetries, -1, true);
  if (options.maxPendingCalls !== -1) checkNumber("maxPendingCalls", options.maxPendingCalls, 1, true);
  checkNumber("maxConcurrency", options.maxConcurrency, 1, true);
  for (const [name, limit] of entriesOf("concurrencyGroups", options.concurrencyGroups, namesMax))
    checkNumber(`concurrencyGroups.${name}`, limit ?? null, 1, true);
}

export function checkMethodOptions(options: MethodOptions): void {
  checkNames("method", options, methodOptions);
  checkName("name", options.name);
  checkNumReturns(options.numReturns);
  checkName("concurrencyGroup", options.concurrencyGroup);
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
  const envVars = { ...base?.envVars, ...over.envVars };
  checkTexts("runtimeEnv.envVars", envVars); // each had few enough
  return { ...base, ...over, envVars };
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
