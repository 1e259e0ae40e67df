/** Remote functions: what `remote(fn)` gives, and how it travels inside other functions and values. */
import type { RemoteFunction, TaskOptions } from "../../api/types.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import type { LocalDefinition } from "../../core/task-record.ts";
import { displayName } from "../../functions/index.ts";
import type { WireRef } from "../../wire/messages.ts";
import { type ActorClassSpec, actorClassSpecOf, makeActorClass } from "./actor-class.ts";
import { checkTaskOptions } from "./options.ts";
import type { Runtime } from "./runtime.ts";

/** A function under one set of options. */
export interface RemoteSpec {
  /** Null in a process that knows the function only by key until it is loaded. */
  readonly fn: Function | null;
  readonly key: string | null;
  /** As given by the options or by another process; null: the function's own. */
  readonly givenName: string | null;
  readonly isGenerator: boolean;
  readonly options: TaskOptions;
  /** The definition under which the current session submits it. */
  definition: {
    readonly runtime: Runtime;
    readonly inherited: unknown;
    readonly local: LocalDefinition;
    readonly pins: readonly ObjectRecord[];
  } | null;
}

const specs = new WeakMap<object, RemoteSpec>();

/** The name for people: in errors, logs and listings. */
export function nameOf(spec: RemoteSpec): string {
  return spec.givenName ?? (spec.fn === null ? "anonymous" : displayName(spec.fn));
}

/** Gives the session to submit to, starting a local one if there is none; set by the API layer. */
let currentRuntime: () => Runtime = () => {
  throw new Error("Shoal's API has not been loaded");
};
export function provideRuntime(provider: () => Runtime): void {
  currentRuntime = provider;
}
export const theRuntime = (): Runtime => currentRuntime();

export function makeRemoteFunction(spec: RemoteSpec): RemoteFunction<any, any, any> {
  const call = (..._args: unknown[]): never => {
    const name = nameOf(spec);
    throw new TypeError(`Cannot call remote function '${name}' directly: use .remote(), e.g. ${name}.remote(...)`);
  };
  Object.defineProperty(call, "name", { get: () => nameOf(spec) });
  const remote = Object.assign(call, {
    remote: (...args: unknown[]) => currentRuntime().tasks.submit(spec, args),
    options: (options: TaskOptions) => {
      checkTaskOptions(options);
      checkStreaming(spec, options);
      return makeRemoteFunction({
        ...spec,
        givenName: options.name ?? spec.givenName,
        options: { ...spec.options, ...options },
        definition: null,
      });
    },
  });
  specs.set(remote, spec);
  return remote as unknown as RemoteFunction<any, any, any>;
}

function checkStreaming(spec: RemoteSpec, options: TaskOptions): void {
  if (options.numReturns === "streaming" && !spec.isGenerator) {
    throw new TypeError(`Cannot use numReturns "streaming" for '${nameOf(spec)}': it is not a generator function`);
  }
}

/** `remote(fn, options)`. */
export function remoteOfFunction(fn: Function, options: TaskOptions): RemoteFunction<any, any, any> {
  checkTaskOptions(options);
  const kind = Object.getPrototypeOf(fn)?.constructor?.name ?? "";
  const spec: RemoteSpec = {
    fn,
    key: null,
    givenName: options.name ?? null,
    isGenerator: kind.endsWith("GeneratorFunction"),
    options,
    definition: null,
  };
  checkStreaming(spec, options);
  return makeRemoteFunction(spec);
}

export function remoteSpecOf(value: unknown): RemoteSpec | undefined {
  return typeof value === "function" ? specs.get(value) : undefined;
}

type RemoteWire = [
  "function" | "class",
  key: string,
  name: string,
  isGenerator: boolean,
  options: object,
  refs: readonly WireRef[],
];

/** How a remote function or actor class travels; undefined for other functions. Its captured refs travel with it. */
export function remoteToWire(
  value: Function,
  runtime: Runtime,
  noteRef: (record: ObjectRecord) => WireRef,
): RemoteWire | undefined {
  const spec = specs.get(value);
  if (spec !== undefined) {
    const key = spec.key ?? runtime.functions.capture(spec.fn as Function).key;
    const refs = spec.fn === null ? [] : runtime.functions.holdsOf(spec.fn).map(noteRef);
    return ["function", key, nameOf(spec), spec.isGenerator, wireOptions(spec.options), refs];
  }
  const actor = actorClassSpecOf(value);
  if (actor === undefined) return undefined;
  const key = actor.key ?? runtime.functions.capture(actor.Class as Function).key;
  const refs = actor.Class === null ? [] : runtime.functions.holdsOf(actor.Class).map(noteRef);
  return [
    "class",
    key,
    actor.name,
    false,
    {
      options: actor.options,
      methods: actor.methods ?? methodsOf(actor, runtime),
      hasAsync: actor.hasAsync ?? asyncOf(actor, runtime),
    },
    refs,
  ];
}

function methodsOf(actor: ActorClassSpec, runtime: Runtime): Readonly<Record<string, string>> {
  return runtime.functions.capture(actor.Class as Function).methods;
}

function asyncOf(actor: ActorClassSpec, runtime: Runtime): boolean {
  return runtime.functions.capture(actor.Class as Function).hasAsyncMethod;
}

/** Error classes do not survive as options of a travelling function by name alone; they travel as names, which is how they are matched. */
function wireOptions(options: TaskOptions): object {
  const { retryExceptions, ...rest } = options;
  return retryExceptions === undefined ? rest : { ...rest, retryExceptions: retryNames(retryExceptions) };
}

export function retryNames(retry: TaskOptions["retryExceptions"]): boolean | string[] {
  return typeof retry === "boolean" || retry === undefined
    ? (retry ?? false)
    : retry.map((item) => (typeof item === "string" ? item : (item as Function).name));
}

export function remoteFromWire(data: unknown, runtime: Runtime): unknown {
  const [what, key, name, isGenerator, options] = data as RemoteWire;
  if (what === "function")
    return makeRemoteFunction({
      fn: runtime.functions.peek(key) ?? null,
      key,
      givenName: name,
      isGenerator,
      options: options as TaskOptions,
      definition: null,
    });
  const {
    options: actorOptions,
    methods,
    hasAsync,
  } = options as { options: object; methods: Record<string, string>; hasAsync: boolean };
  return makeActorClass({ Class: runtime.functions.peek(key) ?? null, key, name, options: actorOptions, methods, hasAsync });
}
