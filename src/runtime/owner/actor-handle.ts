/** Actor handles: an object whose methods are those of the actor's class, each with `.remote()`. */
import type { MethodOptions } from "../../api/types.ts";
import type { ActorId } from "../../base/ids.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import type { ActorView, WireRef } from "../../wire/messages.ts";
import { ObjectRef } from "./object-ref.ts";
import { checkMethodOptions } from "./options.ts";
import type { Runtime } from "./runtime.ts";

export type MethodKind = "function" | "async" | "generator" | "async generator";

/** What any holder of a handle must know; travels with it. */
export interface HandleSpec {
  readonly className: string;
  readonly methods: Readonly<Record<string, MethodKind>>;
  readonly maxTaskRetries: number;
  readonly maxPendingCalls: number;
  readonly concurrencyGroups: readonly string[];
}

/** For handles that travel before it is known whether `getIfExists` makes an actor or finds another: that is then found by its name. */
interface ByName {
  readonly name: string;
  readonly namespace: string;
}

type HandleWire = [actorId: ActorId, spec: HandleSpec, ref: WireRef | null, byName: ByName | null];

const inspectCustom = Symbol.for("nodejs.util.inspect.custom");

const internals = new WeakMap<object, ActorHandleInternals>();

export function actorInternalsOf(value: unknown): ActorHandleInternals | undefined {
  return (typeof value === "object" && value !== null) || typeof value === "function" ? internals.get(value) : undefined;
}

export class ActorHandleInternals {
  readonly actorId: ActorId;
  readonly spec: HandleSpec;
  readonly runtime: Runtime;
  readonly byName: ByName | null;
  /** Counts this handle with the actor's creator; null for a detached actor. */
  private readonly ref: ObjectRef | null;
  private readonly methods = new Map<string, object>();

  constructor(actorId: ActorId, spec: HandleSpec, ref: ObjectRef | null, runtime: Runtime, byName: ByName | null = null) {
    this.actorId = actorId;
    this.spec = spec;
    this.ref = ref;
    this.runtime = runtime;
    this.byName = byName;
  }

  get handleRecord(): ObjectRecord | null {
    return this.ref === null ? null : ObjectRef.recordOf(this.ref, this.runtime, "use");
  }

  /** Throws when the handle is not of this session. */
  assertOf(runtime: Runtime, verb: string): void {
    if (this.runtime !== runtime)
      throw new TypeError(
        `Cannot ${verb} a handle of actor ${this.spec.className} of an earlier session: it ended with shutdown()`,
      );
  }

  toWire(noteRef: (record: ObjectRecord) => WireRef): HandleWire {
    const record = this.handleRecord;
    const settled = this.byName === null ? null : this.runtime.actors.settledId(this.actorId);
    const counted = record === null ? null : noteRef(record);
    return settled === null ? [this.actorId, this.spec, counted, this.byName] : [settled, this.spec, counted, null];
  }

  /** The handle a user sees. */
  makeHandle(): any {
    // console.log looks through a proxy at its target.
    const target = Object.create(null, { [inspectCustom]: { value: () => this.describe(), configurable: true } });
    const handle = new Proxy(target, {
      get: (_target, property) => this.property(property),
      has: (_target, property) => typeof property === "string" && property in this.spec.methods,
      ownKeys: () => Object.keys(this.spec.methods),
      getOwnPropertyDescriptor: (_target, property) =>
        typeof property === "string" && property in this.spec.methods
          ? { configurable: true, enumerable: true, value: this.property(property) }
          : undefined,
      set: (_target, property) => {
        throw new TypeError(
          `Cannot set '${String(property)}' on a handle of actor ${this.spec.className}: its state is in another process`,
        );
      },
    });
    internals.set(handle, this);
    return handle;
  }

  private property(property: string | symbol): unknown {
    if (typeof property === "symbol") {
      if (property === Symbol.toStringTag) return "ActorHandle";
      if (property === inspectCustom || property === Symbol.toPrimitive) return () => this.describe();
      return undefined;
    }
    let method = this.methods.get(property);
    if (method !== undefined) return method;
    if (!Object.hasOwn(this.spec.methods, property)) {
      if (
        property === "then" ||
        property === "toJSON" ||
        property === "constructor" ||
        property === "asymmetricMatch" ||
        property === "nodeType" ||
        property === "$$typeof"
      )
        return undefined;
      return this.unknownMethod(property);
    }
    method = this.makeMethod(property, {});
    this.methods.set(property, method);
    return method;
  }

  private describe(): string {
    return `ActorHandle(${this.spec.className}, ${this.actorId})`;
  }

  private makeMethod(name: string, options: MethodOptions): object {
    const method = (..._args: unknown[]): never => {
      throw new TypeError(
        `Cannot call method '${name}' of actor ${this.spec.className} directly: use .remote(), e.g. handle.${name}.remote(...)`,
      );
    };
    return Object.assign(method, {
      remote: (...args: unknown[]) => this.runtime.actors.call(this, name, options, args),
      options: (more: MethodOptions) => {
        checkMethodOptions(more);
        return this.makeMethod(name, { ...options, ...more });
      },
    });
  }

  /** Fails where the mistake is, in the caller, not at the actor. */
  private unknownMethod(name: string): object {
    const fail = (): never => {
      throw new TypeError(
        `Cannot call method '${name}' of actor ${this.spec.className}: its methods are ${Object.keys(this.spec.methods).join(", ") || "none"}`,
      );
    };
    return { remote: fail, options: fail };
  }

  static fromWire(data: unknown, runtime: Runtime): any {
    const [actorId, spec, ref, byName] = data as HandleWire;
    const held = ref === null ? null : runtime.refFromWire([ref[0], ref[1], ref[2] ?? ""]);
    return new ActorHandleInternals(actorId, spec, held, runtime, byName).makeHandle();
  }

  /** A handle for an actor found by name. */
  static fromView(view: ActorView, runtime: Runtime): any {
    const held = view.handleIndex === null ? null : runtime.refFromWire([view.ownerId, view.handleIndex, ""]);
    return new ActorHandleInternals(view.actorId, view.handleSpec as HandleSpec, held, runtime).makeHandle();
  }
}
