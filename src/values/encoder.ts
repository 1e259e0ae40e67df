/**
 * Writes a value in one walk: bytes, identity, paths and out-of-band ranges together. `v8.serialize` would need a walk of its own before
 * it to find refs and classes, and costs some 10 us for the smallest object. This file holds what plain data needs and is hot;
 * everything with a prototype of its own is in `encode-builtins.ts` and `encode-instances.ts`.
 */
import { types } from "node:util";
import { SerializationError } from "../base/errors.ts";
import { countIndexes, fieldsOfArray, numberBlockTag } from "./array-layout.ts";
import { BackingStores } from "./backing-stores.ts";
import { ByteWriter, wellFormed } from "./byte-writer.ts";
import { builtinWriters } from "./encode-builtins.ts";
import { writeFunction, writeOtherObject } from "./encode-instances.ts";
import { Deferred, limits, NEW_SHAPE, PREFIX_BYTES, Tag, UNNUMBERED_SHAPE, wellKnownSymbols } from "./format.ts";
import type { EncodeHooks, PathOf } from "./hooks.ts";
import { formatStep, Step } from "./path.ts";
import { type Shape, Shapes } from "./shapes.ts";

/** Up to this many objects are found by looking through a list, beyond it by a Set, which costs more to set up. */
const LINEAR_OBJECTS_MAX = 8;
/** Arrays at least this long are looked at for being numbers only. */
const NUMBER_BLOCK_MIN = 8;
/** Strings of this many characters and more become a range of their own, so that they are not copied with the header. */
const STORED_STRING_MIN = 64 * 1024;

/** What `rollback` needs to forget everything that was written after `mark`. */
interface Mark {
  readonly pos: number;
  readonly objects: number;
  readonly functions: number;
  readonly stores: number;
  readonly shapes: number;
  readonly strings: number;
  readonly deferred: number;
  readonly depth: number;
  readonly inPlace: number;
}

export class Encoder extends ByteWriter {
  hooks!: EncodeHooks;
  /** Prefix of the paths in errors. */
  root = "";
  readonly functions: string[] = [];
  readonly stores = new BackingStores();
  /** Numbers of the strings in the data of specials, where ids and addresses repeat. */
  readonly internedStrings = new Map<string, number>();
  /** More than 0 while contents must not be put off, because a reader's function will see them before the rest is read. */
  inPlace = 0;

  private readonly shapes = new Shapes();
  private readonly objects: object[] = [];
  /** The objects once more, when they are many. */
  private readonly seen = new Set<object>();
  /** Their numbers, as far as they were needed. */
  private readonly objectNumbers = new Map<object, number>();
  /** Objects begun but not readable yet by a later `Ref`: what a serializer's payload must not lead back to. */
  private readonly unfinished = new Set<number>();
  private readonly functionNumbers = new Map<string, number>();
  private readonly classNumbers = new Map<Function, number>();
  private readonly deferred: { object: object; kind: number; path: string }[] = [];
  private depth = 0;
  private isPrototypeExtended = false;
  private readonly owners: object[] = [];
  private readonly keys: unknown[] = [];

  readonly pathOf: PathOf = () => {
    let path = this.root;
    for (let i = 1; i <= this.depth; i++) path += formatStep(this.owners[i], this.keys[i]);
    return path;
  };

  /** Writes the body for `value`, behind room for the prefix. */
  begin(value: unknown, hooks: EncodeHooks, root: string): void {
    this.hooks = hooks;
    this.root = root;
    this.pos = PREFIX_BYTES;
    this.isPrototypeExtended = isObjectPrototypeExtended();
    this.writeValue(value);
    for (let i = 0; i < this.deferred.length; i++) {
      const { object, kind, path } = this.deferred[i];
      this.root = path;
      this.writeContents(object, kind);
    }
  }

  /** The bytes written since `begin`, copied out. */
  takeHeader(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.bytes, 0, this.pos);
  }

  setByteAt(offset: number, value: number): void {
    this.bytes[offset] = value;
  }

  /** Lets go of everything that belongs to the value. (For most values most of it is empty, and emptying it again would cost as much as encoding one.) */
  reset(): void {
    this.resetBytes();
    this.hooks = undefined!;
    if (this.functions.length > 0) this.functions.length = 0;
    if (this.stores.count > 0) this.stores.clear();
    if (this.shapes.count > 0) this.shapes.clear();
    if (this.objects.length > 0) this.objects.length = 0;
    if (this.seen.size > 0) this.seen.clear();
    if (this.objectNumbers.size > 0) this.objectNumbers.clear();
    if (this.functionNumbers.size > 0) this.functionNumbers.clear();
    if (this.classNumbers.size > 0) this.classNumbers.clear();
    if (this.internedStrings.size > 0) this.internedStrings.clear();
    if (this.unfinished.size > 0) this.unfinished.clear();
    if (this.deferred.length > 0) this.deferred.length = 0;
    if (this.owners.length > 0) this.owners.length = 0;
    if (this.keys.length > 0) this.keys.length = 0;
    this.depth = 0;
    this.inPlace = 0;
  }

  mark(): Mark {
    return {
      pos: this.pos,
      objects: this.objects.length,
      functions: this.functions.length,
      stores: this.stores.count,
      shapes: this.shapes.count,
      strings: this.internedStrings.size,
      deferred: this.deferred.length,
      depth: this.depth,
      inPlace: this.inPlace,
    };
  }

  rollback(mark: Mark): void {
    this.pos = mark.pos;
    this.depth = mark.depth;
    this.inPlace = mark.inPlace;
    while (this.objects.length > mark.objects) {
      const object = this.objects.pop()!;
      this.seen.delete(object);
      this.objectNumbers.delete(object);
    }
    // It holds either all objects or none.
    if (this.objects.length < LINEAR_OBJECTS_MAX) this.seen.clear();
    while (this.functions.length > mark.functions) this.functionNumbers.delete(this.functions.pop()!);
    this.classNumbers.clear();
    this.stores.truncate(mark.stores);
    this.shapes.truncate(mark.shapes);
    for (const [text, number] of this.internedStrings) {
      if (number >= mark.strings) this.internedStrings.delete(text);
    }
    this.deferred.length = mark.deferred;
  }

  /** Refuses what is at the present path. */
  fail(found: string): never {
    const path = this.pathOf();
    throw new SerializationError(`Cannot serialize ${path} as a value: ${found}`, { path });
  }

  writeValue(value: unknown): void {
    switch (typeof value) {
      case "string":
        if (value.length >= STORED_STRING_MIN) this.writeStoredString(value);
        else this.writeString(value);
        return;
      case "number":
        this.writeNumber(value);
        return;
      case "object":
        if (value === null) this.writeByte(Tag.Null);
        else this.writeObject(value);
        return;
      case "undefined":
        this.writeByte(Tag.Undefined);
        return;
      case "boolean":
        this.writeByte(value ? Tag.True : Tag.False);
        return;
      case "bigint":
        this.writeBigInt(value);
        return;
      case "symbol":
        this.writeSymbol(value);
        return;
      default:
        if (!this.writeRef(value as Function)) writeFunction(this, value as Function);
    }
  }

  /** Writes the value of a part of `owner`, which is what paths name. */
  writePart(owner: object, key: unknown, value: unknown): void {
    const depth = ++this.depth;
    if (depth > limits.depthMax) this.failTooDeep();
    this.owners[depth] = owner;
    this.keys[depth] = key;
    this.writeValue(value);
    this.depth = depth - 1;
  }

  private writeObject(value: object): void {
    if (this.writeRef(value)) return;
    const prototype = types.isProxy(value) ? undefined : Object.getPrototypeOf(value);
    const canWait = this.depth >= limits.depthInPlace && this.inPlace === 0;
    if (prototype === Object.prototype) {
      if (canWait) this.defer(value, Deferred.Object);
      else this.writeContents(value, Deferred.Object);
    } else if (prototype === Array.prototype && Array.isArray(value)) {
      if (canWait) this.defer(value, Deferred.Array);
      else this.writeContents(value, Deferred.Array);
    } else if (prototype === null) {
      if (canWait) this.defer(value, Deferred.NullObject);
      else this.writeContents(value, Deferred.NullObject);
    } else if (!builtinWriters.get(prototype)?.(this, value)) {
      writeOtherObject(this, value);
    }
  }

  /** Contents of an object that has its number. */
  private writeContents(value: object, kind: number): void {
    if (kind === Deferred.Array) {
      this.writeArray(value as unknown[]);
    } else if (kind === Deferred.Map) {
      this.writeMap(value as Map<unknown, unknown>);
    } else if (kind === Deferred.Set) {
      this.writeSet(value as Set<unknown>);
    } else {
      if (kind !== Deferred.Instance) this.writeByte(kind === Deferred.Object ? Tag.Object : Tag.NullObject);
      const shape = kind === Deferred.Instance || this.isPrototypeExtended ? undefined : this.shapes.find(value);
      if (shape === undefined) this.writeFields(value, Object.keys(value));
      else this.writeKnownFields(value, shape);
    }
  }

  /** Writes the contents now, or, if this is too deep for the stack, notes them for later. `classNumber` for instances. */
  writeContentsOrDefer(value: object, kind: number, classNumber = 0): void {
    if (this.depth >= limits.depthInPlace && this.inPlace === 0) {
      this.defer(value, kind, classNumber);
      return;
    }
    if (kind === Deferred.Instance) this.writeTagged(Tag.Instance, classNumber);
    this.writeContents(value, kind);
  }

  private defer(value: object, kind: number, classNumber = 0): void {
    this.writeByte(Tag.Deferred);
    this.writeByte(kind);
    if (kind === Deferred.Instance) this.writeVarint(classNumber);
    const path = this.pathOf();
    this.deferred.push({
      object: value,
      kind,
      path: path.length > 1000 ? `${path.slice(0, 300)} ... ${path.slice(-300)}` : path,
    });
  }

  /** Writes a reference if the object was seen before; else gives it the next number. */
  private writeRef(value: object): boolean {
    const { objects } = this;
    const count = objects.length;
    let number = -1;
    if (count < LINEAR_OBJECTS_MAX) {
      for (let i = 0; i < count; i++) {
        if (objects[i] === value) number = i;
      }
    } else {
      if (this.seen.size === 0) for (const object of objects) this.seen.add(object);
      // One look-up that also adds. Most objects appear once, so numbers are looked for only after a second appearance.
      if (this.seen.add(value).size === count) number = this.numberOf(value);
    }
    if (number < 0) {
      objects.push(value);
      return false;
    }
    if (this.unfinished.has(number)) this.fail("its serialized form leads back to itself");
    this.writeTagged(Tag.Ref, number);
    return true;
  }

  private numberOf(value: object): number {
    const { objects, objectNumbers } = this;
    for (let i = objectNumbers.size; i < objects.length; i++) objectNumbers.set(objects[i], i);
    return objectNumbers.get(value)!;
  }

  /** The number of the object begun last. */
  get latestNumber(): number {
    return this.objects.length - 1;
  }

  /** Runs `write` while no reference to object `number` may be written and nothing may be put off: a reader's function needs the result first. */
  writeBefore(number: number, write: () => void): void {
    this.unfinished.add(number);
    this.inPlace++;
    try {
      write();
    } finally {
      this.inPlace--;
      this.unfinished.delete(number);
    }
  }

  /** The number of a function in the table that says what must be loaded before decoding. */
  functionNumber(key: string): number {
    let number = this.functionNumbers.get(key);
    if (number === undefined) {
      if (Buffer.byteLength(key) > limits.functionKeyBytesMax || !wellFormed(key))
        this.fail("the key of its class or function is too long");
      number = this.functions.push(key) - 1;
      this.functionNumbers.set(key, number);
    }
    return number;
  }

  classNumber(Class: Function): number {
    let number = this.classNumbers.get(Class);
    if (number === undefined) {
      number = this.functionNumber(this.hooks.encodeClass(Class, this.pathOf));
      this.classNumbers.set(Class, number);
    }
    return number;
  }

  /** Shape and values of own properties. */
  writeFields(owner: object, keys: readonly string[]): void {
    const code = this.shapes.codeFor(keys);
    this.writeVarint(code);
    const { length } = keys;
    if (code === NEW_SHAPE || code === UNNUMBERED_SHAPE) {
      this.writeVarint(length);
      for (let i = 0; i < length; i++) this.writeString(keys[i]);
    }
    const depth = ++this.depth;
    if (depth > limits.depthMax) this.failTooDeep();
    this.owners[depth] = owner;
    for (let i = 0; i < length; i++) {
      const value = (owner as Record<string, unknown>)[keys[i]];
      if (typeof value === "number") {
        this.writeNumber(value);
      } else {
        this.keys[depth] = keys[i];
        this.writeValue(value);
      }
    }
    this.depth = depth - 1;
  }

  /** As `writeFields` for an object that has just those keys. The engine reads fields faster in a `for in` than by a list of keys. */
  private writeKnownFields(owner: object, shape: Shape): void {
    this.writeVarint(shape.index + 2);
    const depth = ++this.depth;
    if (depth > limits.depthMax) this.failTooDeep();
    this.owners[depth] = owner;
    const { keys } = shape;
    let i = 0;
    for (const key in owner) {
      // A getter may have deleted some of the keys since they were compared, or have added some.
      while (i < keys.length && keys[i] !== key) this.writeValue(this.readGone(owner, keys[i++]));
      if (i === keys.length) break;
      i++;
      const value = (owner as Record<string, unknown>)[key];
      if (typeof value === "number") {
        this.writeNumber(value);
      } else {
        this.keys[depth] = key;
        this.writeValue(value);
      }
    }
    while (i < keys.length) this.writeValue(this.readGone(owner, keys[i++]));
    this.depth = depth - 1;
  }

  private readGone(owner: object, key: string): unknown {
    this.keys[this.depth] = key;
    return (owner as Record<string, unknown>)[key];
  }

  private failTooDeep(): never {
    this.fail(`it is nested more than ${limits.depthMax} levels deep where that is not possible`);
  }

  writeArray(array: readonly unknown[]): void {
    const { length } = array;
    const extraKeys = fieldsOfArray(array);
    if (extraKeys === "sparse") {
      this.writeSparseArray(array);
      return;
    }
    if (extraKeys.length === 0 && length >= NUMBER_BLOCK_MIN && typeof array[0] === "number") {
      const tag = numberBlockTag(array);
      if (tag !== 0) {
        this.writeNumberBlock(tag, array as number[]);
        return;
      }
    }
    this.writeTagged(extraKeys.length === 0 ? Tag.Array : Tag.ArrayWithFields, length);
    const depth = ++this.depth;
    if (depth > limits.depthMax) this.failTooDeep();
    this.owners[depth] = array;
    for (let i = 0; i < length; i++) {
      const value = array[i];
      if (typeof value === "number") {
        this.writeNumber(value);
      } else if (value === undefined && !Object.hasOwn(array, i)) {
        this.writeByte(Tag.Hole);
      } else {
        this.keys[depth] = i;
        this.writeValue(value);
      }
    }
    this.depth = depth - 1;
    if (extraKeys.length > 0) this.writeFields(array, extraKeys);
  }

  private writeSparseArray(array: readonly unknown[]): void {
    const keys = Object.keys(array);
    const indexCount = countIndexes(keys);
    this.writeTagged(Tag.SparseArray, array.length);
    this.writeVarint(indexCount);
    for (let i = 0; i < indexCount; i++) {
      const index = Number(keys[i]);
      this.writeVarint(index);
      this.writePart(array, index, array[index]);
    }
    this.writeFields(array, keys.slice(indexCount));
  }

  writeMap(map: Map<unknown, unknown>): void {
    // A copy, as getters met on the way could change the map.
    const entries = [...Map.prototype.entries.call(map)];
    this.writeTagged(Tag.Map, entries.length);
    for (let i = 0; i < entries.length; i++) {
      const [key, value] = entries[i];
      if (typeof key === "string") this.writeValue(key);
      else this.writePart(map, new Step(` (Map key ${i})`), key);
      this.writePart(map, key, value);
    }
  }

  writeSet(set: Set<unknown>): void {
    const items = [...Set.prototype.values.call(set)];
    this.writeTagged(Tag.Set, items.length);
    for (let i = 0; i < items.length; i++) this.writePart(set, i, items[i]);
  }

  writeBigInt(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.writeByte(Tag.BigInt64);
      this.writeRawBigInt64(value);
      return;
    }
    this.writeByte(Tag.BigIntHex);
    this.writeByte(value < 0n ? 1 : 0);
    this.writeString((value < 0n ? -value : value).toString(16));
  }

  writeSymbol(symbol: symbol): void {
    const wellKnown = wellKnownSymbols.get(symbol);
    const name = wellKnown ?? Symbol.keyFor(symbol);
    if (name === undefined)
      this.fail(`${String(symbol)} exists in this process only; Symbol.for("...") makes one that can travel`);
    this.writeByte(Tag.Symbol);
    this.writeByte(wellKnown === undefined ? 0 : 1);
    this.writeString(name);
  }

  private writeStoredString(text: string): void {
    const isUtf8 = wellFormed(text);
    const bytes = Buffer.from(text, isUtf8 ? "utf8" : "utf16le");
    this.writeByte(Tag.StringStore);
    this.writeByte(isUtf8 ? 0 : 1);
    this.writeVarint(this.stores.addText(bytes));
  }
}

/** Somebody gave all objects an enumerable property, which `for in` would list. */
function isObjectPrototypeExtended(): boolean {
  for (const _ in Object.prototype) return true;
  return false;
}
