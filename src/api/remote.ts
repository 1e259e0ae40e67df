/** `remote`: functions and classes that run elsewhere. */
import { remoteOfClass } from "../runtime/owner/actor-class.ts";
import { remoteOfFunction } from "../runtime/owner/remote-function.ts";
import type { ActorClass, ActorOptions, AnyGenerator, NumReturnsOf, RemoteFunction, TaskOptions } from "./types.ts";

type AnyClass = abstract new (...args: any) => any;

/**
 * Makes a class an actor class: each `.remote(...)` starts an instance in a worker process of its own and returns a typed handle.
 *
 * @example
 * class Counter {
 *   n = 0;
 *   add(k: number) { return (this.n += k); }
 * }
 * const counter = shoal.remote(Counter).remote();
 * await shoal.get(counter.add.remote(2)); // 2
 */
export function remote<C, A extends unknown[]>(Class: new (...args: A) => C, options?: ActorOptions): ActorClass<C, A>;
/**
 * Makes a generator function remote: each `.remote(...)` submits a call and returns the refs of its items as they come.
 * Told apart here and not by the result's type, so that for a function whose result is a type parameter `get` takes what `.remote()` gives.
 */
export function remote<A extends unknown[], G extends AnyGenerator<any>, const O extends TaskOptions = TaskOptions>(
  fn: (...args: A) => G,
  options?: O,
): RemoteFunction<A, G, NumReturnsOf<O, undefined>>;
/**
 * Makes a function remote: each `.remote(...)` submits a call and returns a ref at once. The function travels by value, with what it captures;
 * see docs/functions.md. Throws a TypeError for unknown options.
 *
 * @example
 * const square = shoal.remote((x: number) => x * x);
 * await shoal.get(square.remote(3)); // 9
 */
export function remote<A extends unknown[], R, const O extends TaskOptions = TaskOptions>(
  fn: (...args: A) => R,
  options?: O,
): RemoteFunction<A, R, NumReturnsOf<O, 1>>;
export function remote(target: Function | AnyClass, options: object = {}): unknown {
  if (typeof target !== "function")
    throw new TypeError(`Cannot make ${target === null ? "null" : typeof target} remote: expected a function or a class`);
  return isClass(target) ? remoteOfClass(target, options) : remoteOfFunction(target, options);
}

function isClass(target: Function): boolean {
  return /^class\b/.test(Function.prototype.toString.call(target));
}
