/** The types users meet: options, and how a function's or class's own types become the types of its remote form. */
import type { ObjectRef } from "../runtime/owner/object-ref.ts";
import type { ObjectRefGenerator } from "../runtime/owner/object-ref-generator.ts";
import type { NodeAffinity, PlacementGroupScheduling } from "./scheduling-strategies.ts";

/** Environment of the worker processes that run a task or actor. Merged over the job's: `envVars` key by key, the rest replaced. */
export interface RuntimeEnv {
  /** Directory the worker starts in; it must exist on the machine. */
  workingDir?: string;
  /** Added to the worker's environment. With all else of the env at most 128 KiB on Linux: a process cannot be started with more. */
  envVars?: Record<string, string>;
  /** Patterns left out when `workingDir` travels to another machine. */
  excludes?: string[];
  /** Packages as `npm install` takes them, e.g. `"lodash@4"`; installed once per session and set. */
  npm?: string[];
  /** Bound on the set-up, in milliseconds. Default 600,000. */
  setupTimeoutMs?: number;
}

/** Any constructor of an error, for `retryExceptions`. */
export type ErrorClass = abstract new (...args: any[]) => Error;

export type SchedulingStrategy = "DEFAULT" | "SPREAD" | NodeAffinity | PlacementGroupScheduling;

/** What a task or an actor may ask of the machine it runs on. Quantities may be fractions down to 0.0001. */
export interface ResourceOptions {
  /** CPUs. Default 1 (an actor: 1 to be placed, 0 while it lives). */
  numCpus?: number;
  /** GPUs. Default 0. Ids are in `getRuntimeContext().gpuIds`. */
  numGpus?: number;
  /** Bytes of memory to be reserved for scheduling; not enforced. */
  memory?: number;
  /** Custom resources by name. */
  resources?: Record<string, number>;
  schedulingStrategy?: SchedulingStrategy;
  /** Labels a node must have: `value`, `!value`, `in(a,b)`, `!in(a,b)`. */
  labelSelector?: Record<string, string>;
  runtimeEnv?: RuntimeEnv;
}

export interface TaskOptions extends ResourceOptions {
  /** Shown in errors, logs and listings. Default: the function's name. */
  name?: string;
  /** How many objects one call returns: `n` gives a list of refs, 0 gives `undefined`, "streaming" a generator of refs. At most 1,000,000. */
  numReturns?: number | "streaming";
  /** Further runs after a lost worker or node. Default 3; -1 without end; 0 never. */
  maxRetries?: number;
  /** Also run again when the function throws: any error, or one of these classes. Default false. */
  retryExceptions?: boolean | readonly ErrorClass[];
  /** The worker process ends after so many calls of this function. Default 0: never. */
  maxCalls?: number;
  /** Streaming: pause the producer while so many items are not consumed. Default -1: never. */
  generatorBackpressure?: number;
}

export interface ActorOptions extends ResourceOptions {
  /** Registers the actor under this name, unique in its namespace; see `getActor`. */
  name?: string;
  namespace?: string;
  /** With `name`: take the actor of that name if there is one. */
  getIfExists?: boolean;
  /** "detached": lives on when its last handle and its creator are gone. */
  lifetime?: "detached";
  /** Times it is started again after a crash. Default 0; -1 without end. */
  maxRestarts?: number;
  /** Times a call is run again when the actor crashed under it. Default 0; -1 without end. */
  maxTaskRetries?: number;
  /** `.remote()` throws when a handle has so many calls under way. Default -1: no bound. */
  maxPendingCalls?: number;
  /** Calls that may be under way inside the actor at once. Default 1; 1000 when the class has an async method. */
  maxConcurrency?: number;
  /** Named groups of calls with a bound each; a method joins one by `handle.method.options({ concurrencyGroup })` or `concurrencyGroupOf`. */
  concurrencyGroups?: Record<string, number>;
}

export interface MethodOptions {
  name?: string;
  numReturns?: number | "streaming";
  concurrencyGroup?: string;
  maxTaskRetries?: number;
  retryExceptions?: boolean | readonly ErrorClass[];
  generatorBackpressure?: number;
}

export interface GetOptions {
  /** Reject with GetTimeoutError after so many milliseconds; 0 polls. */
  timeoutMs?: number;
  /** Stop waiting when it fires; rejects with its reason. The task goes on. */
  signal?: AbortSignal;
}

export interface WaitOptions {
  /** How many refs to wait for. Default 1. */
  numReturns?: number;
  /** Return what is ready after so many milliseconds; 0 polls. */
  timeoutMs?: number;
  /** Accepted for programs that come from Ray. */
  fetchLocal?: boolean;
}

/** Each parameter may be given as a value or as a ref to one. */
export type RemoteArgs<A extends readonly unknown[]> = { [K in keyof A]: A[K] | ObjectRef<Awaited<A[K]>> };

export type AnyGenerator<T> = Generator<T, any, any> | AsyncGenerator<T, any, any>;

/** The value a ref stands for. */
export type Value<R> = R extends ObjectRef<infer T> ? T : never;

type IsAny<T> = 0 extends 1 & T ? true : false;

type ItemOf<R> =
  IsAny<Awaited<R>> extends true
    ? any
    : Awaited<R> extends AsyncIterable<infer T>
      ? T
      : Awaited<R> extends Iterable<infer T>
        ? T
        : never;

type RefsOf<V> =
  IsAny<V> extends true
    ? ObjectRef<any>[]
    : V extends readonly unknown[]
      ? { -readonly [K in keyof V]: ObjectRef<V[K]> }
      : ObjectRef<any>[];

/** What `.remote()` gives for a function that returns `R` under `numReturns` N. */
export type Returned<R, N> = N extends "streaming"
  ? ObjectRefGenerator<ItemOf<R>>
  : N extends 0
    ? undefined
    : N extends 1
      ? ObjectRef<Awaited<R>>
      : N extends number
        ? number extends N
          ? ObjectRef<Awaited<R>>
          : RefsOf<Awaited<R>>
        : // These two extend everything.
          true extends IsAny<R> | ([R] extends [never] ? true : false)
          ? ObjectRef<R>
          : [R] extends [AnyGenerator<infer T>]
            ? ObjectRefGenerator<T>
            : ObjectRef<Awaited<R>>;

/** What options say of `numReturns`. */
export type NumReturnsOf<O, Otherwise> = O extends { numReturns: infer N } ? N : Otherwise;

/** A function that runs elsewhere. Calling it directly throws a TypeError. */
export interface RemoteFunction<A extends readonly unknown[], R, N = undefined> {
  /** The function's name, or the one given in its options. */
  readonly name: string;
  /** Submits one call; returns at once. Arguments are captured now: later changes to them are not seen. */
  remote(...args: RemoteArgs<A>): Returned<R, N>;
  /** The same function with other options for the calls made through the result. */
  options<const O extends TaskOptions>(options: O): RemoteFunction<A, R, NumReturnsOf<O, N>>;
}

export interface ActorMethod<A extends readonly unknown[], R, N = undefined> {
  /** Calls the method; returns at once. Calls from one caller start in the order they were made. */
  remote(...args: RemoteArgs<A>): Returned<R, N>;
  options<const O extends MethodOptions>(options: O): ActorMethod<A, R, NumReturnsOf<O, N>>;
}

/**
 * A living actor: every method of the class, to be called with `.remote()`. Fields are not reachable from outside (`never`); they are not filtered
 * out, so that a class may hold a handle of its own kind.
 */
export type ActorHandle<C> = {
  readonly [K in keyof C]: C[K] extends (...args: infer A) => infer R ? ActorMethod<A, R> : never;
} & {
  /** Type-only mark. */
  readonly __actor?: C;
};

/** A class whose instances live in worker processes of their own. */
export interface ActorClass<C, A extends readonly unknown[] = any[]> {
  /** Starts an actor; returns its handle at once. */
  remote(...args: RemoteArgs<A>): ActorHandle<C>;
  options(options: ActorOptions): ActorClass<C, A>;
}
