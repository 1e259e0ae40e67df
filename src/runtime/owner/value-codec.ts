/**
 * Values as this process sends and receives them: the codec of values/ with what only a runtime knows - refs, actor handles, remote
 * functions, functions and classes by key.
 */

import { SerializationError } from "../../base/errors.ts";
import type { ObjectIndex, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import { assertNoPrivateInstanceMembers } from "../../functions/index.ts";
import type { Location } from "../../objects/types.ts";
import type { DecodeHooks, EncodeHooks, PathOf, Serialized, Special } from "../../values/hooks.ts";
import { deserialize, encodeValue, flatten, peekFunctions, registeredFor, registeredNamed } from "../../values/index.ts";
import { inlineBytesMax } from "../../wire/limits.ts";
import type { WireRef, WireValue } from "../../wire/messages.ts";
import { ActorHandleInternals, actorInternalsOf } from "./actor-handle.ts";
import { ObjectRef } from "./object-ref.ts";
import { ObjectRefGenerator } from "./object-ref-generator.ts";
import { PlacementGroup } from "./placement-group.ts";
import { remoteFromWire, remoteToWire } from "./remote-function.ts";
import type { Runtime } from "./runtime.ts";

/** Larger than any page size in use where the codec's alignment may be smaller: such ranges are not mapped by themselves. */
const pageBytes = process.arch === "arm64" ? 65536 : 4096;

/** A value made ready to send: inline bytes or primitive, or too large for a message. */
export interface Encoded {
  readonly value: WireValue;
  /** Set instead of `value` when the value belongs into the object store. */
  readonly large: Serialized | null;
  /** Records of the refs inside, in order of appearance. */
  readonly refs: ObjectRecord[] | null;
}

export class ValueCodec implements EncodeHooks, DecodeHooks {
  private readonly runtime: Runtime;
  private collecting: ObjectRecord[] | null = null;
  /** While an error is reported: what cannot travel inside it is left out. */
  lenientErrors = false;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** Serializes now: later changes to `value` are not seen. `root` begins the path in errors, e.g. `args[0]`. */
  encode(value: unknown, root: string): Encoded {
    switch (typeof value) {
      case "number":
        if (value === 0 ? !Object.is(value, -0) : !Number.isNaN(value)) return { value, large: null, refs: null };
        break;
      case "boolean":
      case "undefined":
        return { value, large: null, refs: null };
    }
    const outer = this.collecting;
    this.collecting = null;
    try {
      const encoded = encodeValue(value, this, root);
      const refs = this.collecting as ObjectRecord[] | null;
      if (encoded === null || typeof encoded !== "object" || encoded instanceof Uint8Array)
        return { value: encoded, large: null, refs };
      if (encoded.bytes > inlineBytesMax) return { value: undefined, large: encoded, refs };
      return { value: flatten(encoded), large: null, refs };
    } finally {
      this.collecting = outer;
    }
  }

  /** The value of an inline WireValue: at once, or as a promise when functions or classes have to be loaded first. */
  decode(wire: WireValue, mode: "copy" | "alias" = "copy"): unknown | Promise<unknown> {
    if (!(wire instanceof Uint8Array)) return wire;
    const missing = this.runtime.functions.missing(peekFunctions(wire));
    if (missing.length === 0) return deserialize(wire, this, mode);
    return this.runtime.functions.load(missing).then(() => deserialize(wire, this, mode));
  }

  /** The value in stored bytes: built on the reader's own mapping, nothing copied. */
  decodeStored(bytes: Uint8Array, location: Location): unknown | Promise<unknown> {
    const map = (offset: number, length: number): ArrayBuffer | undefined => {
      if (offset % pageBytes !== 0) return undefined;
      const view = this.runtime.store().readRange(location, offset, length);
      return view.byteOffset === 0 && view.buffer.byteLength === length ? (view.buffer as ArrayBuffer) : undefined;
    };
    const missing = this.runtime.functions.missing(peekFunctions(bytes));
    if (missing.length === 0) return deserialize(bytes, this, "alias", map);
    return this.runtime.functions.load(missing).then(() => deserialize(bytes, this, "alias", map));
  }

  encodeSpecial(value: object, path: PathOf): (Special & { payload?: unknown }) | undefined {
    if (ObjectRef.is(value))
      return { tag: "ref", data: this.noteRef(ObjectRef.recordOf(value, this.runtime, `send ${path()}:`)) };
    if (typeof value === "function") return this.encodeCallable(value, path);
    const actor = actorInternalsOf(value);
    if (actor !== undefined) return { tag: "actor", data: this.actorToWire(actor, path) };
    if (value instanceof PlacementGroup) return { tag: "pg", data: [value.id, value.bundles] };
    if (value instanceof ObjectRefGenerator) {
      throw new SerializationError(
        `Cannot serialize ${path()} as a value: an ObjectRefGenerator belongs to the process that made it`,
        { path: path() },
      );
    }
    const registered = registeredFor(value);
    if (registered !== undefined)
      return {
        tag: "registered",
        data: this.runtime.functions.registerSerializer(registered),
        payload: registered.serialize(value as never),
      };
    return undefined;
  }

  encodeClass(Class: Function, path: PathOf): string {
    assertNoPrivateInstanceMembers(Class, path());
    return this.runtime.functions.keyOf(Class, path);
  }

  decodeSpecial(special: Special, payload: unknown): unknown {
    switch (special.tag) {
      case "ref": {
        const [owner, index, address] = special.data as [WorkerId, ObjectIndex, string];
        return this.runtime.refFromWire([owner, index, address ?? ""]);
      }
      case "actor":
        return ActorHandleInternals.fromWire(special.data, this.runtime);
      case "remote":
        return remoteFromWire(special.data, this.runtime);
      case "function":
      case "class":
        return this.runtime.functions.loaded(special.data as string);
      case "registered":
        return (registeredNamed(special.data as string) ?? this.runtime.functions.loadedSerializer(special.data)).deserialize(
          payload as never,
        );
      case "pg": {
        const [id, bundles] = special.data as [PlacementGroupId, Record<string, number>[]];
        return new PlacementGroup(id, bundles, this.runtime);
      }
      default:
        throw new TypeError(`Cannot decode a special value of kind ${special.tag}`);
    }
  }

  decodeClass(key: string): Function {
    return this.runtime.functions.loaded(key);
  }

  wireRef(record: ObjectRecord): WireRef {
    const foreign = record.foreign;
    return foreign === null ? [this.runtime.selfId, record.index, ""] : [foreign.owner, record.index, foreign.address];
  }

  private actorToWire(actor: ActorHandleInternals, path: PathOf): unknown {
    actor.assertOf(this.runtime, `send ${path()}:`);
    return actor.toWire((record) => this.noteRef(record));
  }

  private noteRef(record: ObjectRecord): WireRef {
    this.collecting ??= [];
    this.collecting.push(record);
    return this.wireRef(record);
  }

  private encodeCallable(value: Function, path: PathOf): (Special & { payload?: unknown }) | undefined {
    const actor = actorInternalsOf(value);
    if (actor !== undefined) return { tag: "actor", data: this.actorToWire(actor, path) };
    const remote = remoteToWire(value, this.runtime, (record) => this.noteRef(record));
    if (remote !== undefined) return { tag: "remote", data: remote };
    const key = this.runtime.functions.keyOf(value, path);
    for (const held of this.runtime.functions.holdsOf(value)) this.noteRef(held);
    return { tag: "function", data: key };
  }
}
