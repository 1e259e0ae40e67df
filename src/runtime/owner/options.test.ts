import { describe, expect, it } from "vitest";
import type { ActorOptions, TaskOptions } from "../../api/types.ts";
import { Kind } from "../../wire/index.ts";
import { nameLengthMax, namesMax } from "../../wire/limits.ts";
import { faultOfMessage, faultOfRequest } from "../daemon/decode-message.ts";
import {
  checkActorOptions,
  checkMethodOptions,
  checkTaskOptions,
  mergeRuntimeEnv,
  resourcesOf,
  schedulingSpec,
} from "./options.ts";

const inherited = { runtimeEnv: null, strategy: null };
const many = (count: number, value: unknown): Record<string, unknown> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`n${i}`, value]));
const long = "x".repeat(nameLengthMax + 1);
const numbers = [0, 1, 0.5, -1, 9e15, Number.MAX_SAFE_INTEGER, 2 ** 53, 1e300, Infinity, -Infinity, Number.NaN];
const oddities = [null, "", "1", [], [1], {}, { a: 5 }, { a: null }, { a: undefined }, ["a"], true, 5, Symbol("s"), () => 1, 1n];
const anything = [...numbers, ...oddities];

/** Values for each option, among them all that one could think of as a mistake. */
const resourceValues: Record<string, unknown[]> = {
  numCpus: anything,
  numGpus: anything,
  memory: anything,
  resources: [
    ...oddities,
    ...numbers.map((amount) => ({ a: amount })),
    { [long]: 1 },
    many(namesMax - 3, 1),
    many(namesMax - 2, 1),
    new Uint8Array(3),
  ],
  labelSelector: [
    ...oddities,
    { zone: "north" },
    { [long]: "x" },
    many(namesMax, "x"),
    many(namesMax + 1, "x"),
    new Uint8Array(3),
  ],
  schedulingStrategy: [
    ...oddities,
    "DEFAULT",
    "SPREAD",
    { kind: "node" },
    { kind: "node", nodeId: "n" },
    { kind: "node", nodeId: 5, soft: true },
    { kind: "node", nodeId: "", soft: true },
    { kind: "node", nodeId: "x".repeat(65), soft: true },
    { kind: "node", nodeId: "n", soft: "yes" },
    { kind: "node", nodeId: "n", soft: true },
    { kind: "group" },
    { kind: "group", group: null, bundleIndex: 0 },
    { kind: "group", group: { id: "g" } },
    { kind: "group", group: { id: "g" }, bundleIndex: 0.5 },
    { kind: "group", group: { id: "g" }, bundleIndex: -1, captureChildTasks: 5 },
    { kind: "group", group: { id: 5 }, bundleIndex: -1, captureChildTasks: true },
    { kind: "group", group: { id: "g" }, bundleIndex: -1, captureChildTasks: true },
    { kind: "best" },
  ],
  runtimeEnv: [
    ...oddities,
    ...anything.map((value) => ({ envVars: value })),
    ...anything.map((value) => ({ envVars: { A: value } })),
    ...anything.map((value) => ({ workingDir: value })),
    ...anything.map((value) => ({ npm: value })),
    ...anything.map((value) => ({ npm: [value] })),
    ...anything.map((value) => ({ excludes: value })),
    ...anything.map((value) => ({ setupTimeoutMs: value })),
    { envVars: { [long]: "x" } },
    { envVars: many(namesMax, "x") },
    { envVars: many(namesMax + 1, "x") },
    { npm: [long] },
    { npm: Array(namesMax + 1).fill("a") },
    { excludes: Array(namesMax + 1).fill("a") },
  ],
};
const actorValues: Record<string, unknown[]> = {
  name: [...anything, long, "a"],
  namespace: [...anything, long, "a"],
  maxRestarts: anything,
};

const cases = (values: Record<string, unknown[]>): [string, unknown][] =>
  Object.entries(values).flatMap(([name, all]) => all.map((value): [string, unknown] => [name, value]));

/** The error of the check, or null. */
function refusal(check: () => void): Error | null {
  try {
    check();
    return null;
  } catch (error) {
    return error as Error;
  }
}

function expectClear(error: Error, option: string): void {
  expect(error instanceof TypeError || error instanceof RangeError, String(error)).toBe(true);
  expect(error.message).toMatch(/^Cannot (use|expect)/);
  expect(error.message).toContain(option === "runtimeEnv" ? "" : option);
}

function placementOf(options: TaskOptions | ActorOptions) {
  return schedulingSpec(options, resourcesOf(options, 1), "f", inherited, true);
}

describe("Options", () => {
  it("that pass are what the daemon takes of a task; others are refused with a word on what was passed", () => {
    const outcomes = { passed: 0, refused: 0 };
    for (const [name, value] of cases(resourceValues)) {
      const options = { [name]: value } as TaskOptions;
      const error = refusal(() => checkTaskOptions(options));
      outcomes[error === null ? "passed" : "refused"]++;
      if (error !== null) expectClear(error, name);
      else expect(faultOfMessage([Kind.DefineClass, 0, placementOf(options)]), name).toBe(null);
    }
    expect(outcomes.passed).toBeGreaterThan(20);
    expect(outcomes.refused).toBeGreaterThan(100);
  });

  it("that pass are what the head takes of an actor", () => {
    for (const [name, value] of cases({ ...resourceValues, ...actorValues })) {
      const options = { [name]: value } as ActorOptions;
      const error = refusal(() => checkActorOptions(options));
      if (error !== null) {
        expectClear(error, name);
        continue;
      }
      const actor = {
        actorId: "a1",
        className: "A",
        name: options.name ?? null,
        namespace: options.namespace ?? "default",
        getIfExists: options.getIfExists ?? false,
        detached: false,
        maxRestarts: options.maxRestarts ?? 0,
        jobId: "j1",
        ownerId: "w1",
        placement: placementOf(options),
        lifetimeResources: resourcesOf(options, 0),
      };
      expect(faultOfRequest("createActor", actor), name).toBe(null);
    }
  });

  it.each<[string, object]>([
    ["a NUL in a variable", { envVars: { A: "a\0b" } }],
    ["a NUL in a variable's name", { envVars: { "A\0": "b" } }],
    ["a variable without a name", { envVars: { "": "b" } }],
    ["a variable with = in its name", { envVars: { "A=B": "c" } }],
    ["a NUL in a path", { workingDir: "a\0b" }],
    ["a NUL in a package", { npm: ["a\0b"] }],
  ])("refuse %s, with which no process can be started", (_what, runtimeEnv) => {
    expect(() => checkTaskOptions({ runtimeEnv })).toThrow(TypeError);
    expect(() => checkActorOptions({ runtimeEnv })).toThrow(TypeError);
  });

  it("of a task over the job's are refused when both are too many together", () => {
    const half = many(namesMax / 2 + 1, "x") as Record<string, string>;
    const rest = Object.fromEntries(Object.keys(half).map((name) => [`other-${name}`, "x"]));
    expect(mergeRuntimeEnv({ envVars: half }, { envVars: half })).toEqual({ envVars: half });
    expect(() => mergeRuntimeEnv({ envVars: half }, { envVars: rest })).toThrow(RangeError);
  });

  it("bound the number of results", () => {
    expect(() => checkTaskOptions({ numReturns: 1_000_000 })).not.toThrow();
    for (const numReturns of [1_000_001, 1e9, Infinity]) {
      expect(() => checkTaskOptions({ numReturns })).toThrow(/^Cannot use .* as option 'numReturns': .* at most 1000000/);
      expect(() => checkMethodOptions({ numReturns })).toThrow(RangeError);
    }
  });

  it.each(["maxPendingCalls", "maxConcurrency", "maxRestarts", "maxTaskRetries"])(
    "take whole numbers only where each is another: %s",
    (name) => {
      for (const value of [1e300, Infinity, 0.5, Number.NaN])
        expect(() => checkActorOptions({ [name]: value })).toThrow(RangeError);
      expect(() => checkActorOptions({ [name]: null as never })).toThrow(TypeError);
    },
  );

  it("refuse groups of calls that have no bound", () => {
    for (const groups of [{ io: undefined }, { io: 0 }, { io: Infinity }, ["io"], "io", { [long]: 1 }])
      expect(refusal(() => checkActorOptions({ concurrencyGroups: groups as never }))?.message).toContain("concurrencyGroups");
  });
});
