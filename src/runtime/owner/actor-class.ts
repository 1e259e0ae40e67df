/** Actor classes: what `remote(Class)` gives. */
import type { ActorClass, ActorOptions } from "../../api/types.ts";
import { displayName } from "../../functions/index.ts";
import { checkActorOptions } from "./options.ts";
import { theRuntime } from "./remote-function.ts";

export interface ActorClassSpec {
  readonly Class: Function | null;
  readonly key: string | null;
  readonly name: string;
  readonly options: ActorOptions;
  /** Known without capture in a process that got the class by key. */
  readonly methods: Readonly<Record<string, string>> | null;
  readonly hasAsync: boolean | null;
}

const specs = new WeakMap<object, ActorClassSpec>();

export function makeActorClass(spec: ActorClassSpec): ActorClass<any, any> {
  const call = (..._args: unknown[]): never => {
    throw new TypeError(`Cannot call actor class '${spec.name}' directly: use .remote(), e.g. ${spec.name}.remote(...)`);
  };
  Object.defineProperty(call, "name", { value: spec.name });
  const actorClass = Object.assign(call, {
    remote: (...args: unknown[]) => theRuntime().actors.create(spec, args),
    options: (options: ActorOptions) => {
      checkActorOptions(options);
      const merged = { ...spec.options, ...options };
      checkActorOptions(merged);
      return makeActorClass({ ...spec, options: merged });
    },
  });
  specs.set(actorClass, spec);
  return actorClass as unknown as ActorClass<any, any>;
}

/** `remote(Class, options)`. */
export function remoteOfClass(Class: Function, options: ActorOptions): ActorClass<any, any> {
  checkActorOptions(options);
  return makeActorClass({ Class, key: null, name: displayName(Class), options, methods: null, hasAsync: null });
}

export function actorClassSpecOf(value: unknown): ActorClassSpec | undefined {
  return typeof value === "function" ? specs.get(value) : undefined;
}
