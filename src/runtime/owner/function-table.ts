/** Functions and classes of this process by key: captured here, or loaded from the session's code. */

import type { ObjectRecord } from "../../core/object-record.ts";
import { capture, revive } from "../../functions/index.ts";
import type { CaptureContext, Captured } from "../../functions/types.ts";
import type { PathOf } from "../../values/hooks.ts";
import { type RegisteredSerializer, registerLoaded } from "../../values/index.ts";
import { actorInternalsOf } from "./actor-handle.ts";
import { DirectoryCodeStore } from "./code-store.ts";
import { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";
import { codeDir } from "./session-paths.ts";

type SerializerBundle = () => RegisteredSerializer;

export class FunctionTable {
  private readonly runtime: Runtime;
  private readonly context: CaptureContext;
  private readonly captured = new WeakMap<Function, Captured>();
  private readonly loadedByKey = new Map<string, Function>();
  private readonly loading = new Map<string, Promise<Function>>();
  private readonly bundles = new WeakMap<RegisteredSerializer, SerializerBundle>();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.context = {
      code: new DirectoryCodeStore(codeDir(runtime.paths.sessionDir), {
        isOpen: () => runtime.isCluster,
        put: (key, files) => {
          // Refused for want of room: whoever needs it is told why.
          runtime.daemon.request("putCode", { key, files }).catch(() => {});
        },
        fetch: (key) => runtime.daemon.request("fetchCode", { key }),
      }),
      shipsFiles: () => runtime.isCluster,
      encode: runtime.values,
      decode: runtime.values,
    };
  }

  /** Captures a function or class, once per function object. Throws a SerializationError that names what cannot travel. */
  capture(fn: Function): Captured {
    let captured = this.captured.get(fn);
    if (captured === undefined) {
      captured = capture(fn, this.context);
      this.captured.set(fn, captured);
      this.loadedByKey.set(captured.key, fn);
    }
    return captured;
  }

  keyOf(fn: Function, _path: PathOf): string {
    return this.capture(fn).key;
  }

  /** Records of the refs and handles that a function captured. */
  holdsOf(fn: Function): ObjectRecord[] {
    const records: ObjectRecord[] = [];
    for (const held of this.capture(fn).holds) {
      if (ObjectRef.is(held)) records.push(ObjectRef.recordOf(held, this.runtime, "send"));
      const record = actorInternalsOf(held)?.handleRecord;
      if (record) records.push(record);
    }
    return records;
  }

  /** Of `keys`, those that have to be loaded before they can be used. */
  missing(keys: readonly string[]): readonly string[] {
    return keys.length === 0 ? keys : keys.filter((key) => !this.loadedByKey.has(key));
  }

  async load(keys: readonly string[]): Promise<void> {
    await Promise.all(keys.map((key) => this.loadOne(key)));
  }

  loadOne(key: string): Promise<Function> {
    const known = this.loadedByKey.get(key);
    if (known !== undefined) return Promise.resolve(known);
    let loading = this.loading.get(key);
    if (loading === undefined) {
      loading = revive(key, this.context).then((fn) => {
        this.loadedByKey.set(key, fn);
        return fn;
      });
      loading.then(
        () => this.loading.delete(key),
        () => this.loading.delete(key),
      );
      this.loading.set(key, loading);
    }
    return loading;
  }

  /** A function that `load` has brought, or that was captured here. */
  loaded(key: string): Function {
    const fn = this.loadedByKey.get(key);
    if (fn === undefined) throw new Error(`Cannot use function ${key} as it has not been loaded`);
    return fn;
  }

  peek(key: string): Function | undefined {
    return this.loadedByKey.get(key);
  }

  /** A registered serializer travels as a function that returns its three parts, so class and functions arrive together. */
  registerSerializer(entry: RegisteredSerializer): string {
    let bundle = this.bundles.get(entry);
    if (bundle === undefined) {
      const { name, Class, serialize, deserialize } = entry;
      bundle = () => ({ name, Class, serialize, deserialize });
      this.bundles.set(entry, bundle);
    }
    return this.capture(bundle).key;
  }

  loadedSerializer(key: unknown): RegisteredSerializer {
    const entry = (this.loaded(key as string) as SerializerBundle)();
    return registerLoaded(entry);
  }
}
