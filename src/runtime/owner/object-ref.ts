/** ObjectRef: a handle on a value that exists, or will, somewhere in the cluster. */
import type { ObjectRecord } from "../../core/object-record.ts";
import type { Runtime } from "./runtime.ts";

declare const valueType: unique symbol;

/** Shared by a ref and the finalization registry, so that an early release is not counted twice. */
interface Hold {
  record: ObjectRecord | null;
  readonly runtime: Runtime;
}

const collected = new FinalizationRegistry<Hold>((hold) => release(hold));

function release(hold: Hold): void {
  const record = hold.record;
  if (record === null) return;
  hold.record = null;
  hold.runtime.dropRef(record);
}

/**
 * A reference to a remote value of type `T`. Not a promise: use `await get(ref)`. Pass it to tasks and actors as an argument, put it
 * into values. The value is freed when the last ref to it, in whatever process, is collected or disposed (`using ref = put(x)`).
 */
export class ObjectRef<T = unknown> {
  declare readonly [valueType]: T;
  readonly #hold: Hold;

  /** @internal Takes one count that is already on the record. */
  constructor(record: ObjectRecord, runtime: Runtime) {
    this.#hold = { record, runtime };
    collected.register(this, this.#hold);
  }

  /** Owner and index, in hexadecimal: the object's name in listings and errors. */
  get id(): string {
    const record = this.#hold.record;
    return record === null ? "disposed" : this.#hold.runtime.objectId(record);
  }

  /** Releases the ref now instead of at garbage collection. Using it afterwards is an error. */
  [Symbol.dispose](): void {
    release(this.#hold);
  }

  toString(): string {
    return `ObjectRef(${this.id})`;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** @internal */
  static recordOf(ref: ObjectRef<any>, runtime: Runtime, verb: string): ObjectRecord {
    const hold = ref.#hold;
    if (hold.record === null) throw new TypeError(`Cannot ${verb} an ObjectRef that was disposed`);
    if (hold.runtime !== runtime)
      throw new TypeError(`Cannot ${verb} an ObjectRef of an earlier session: it ended with shutdown()`);
    return hold.record;
  }

  /** @internal True for a ref, without touching what it refers to. */
  static is(value: unknown): value is ObjectRef<any> {
    return typeof value === "object" && value !== null && #hold in value;
  }
}
