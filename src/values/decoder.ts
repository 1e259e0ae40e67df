/**
 * Reads what the encoder wrote. The bytes come from another process and are not trusted: whatever they say, decoding ends, allocates no
 * more than in proportion to them, and fails with a DecodeError. (What the hooks throw passes through.)
 */
import { ByteReader } from "./byte-reader.ts";
import { DecodeError } from "./decode-error.ts";
import { readDomException, readError } from "./decode-errors.ts";
import type { DecodedStores } from "./decoded-stores.ts";
import {
  Deferred,
  limits,
  NEW_SHAPE,
  SHORT_STRING,
  SHORT_STRING_MAX,
  specialTags,
  Tag,
  UNNUMBERED_SHAPE,
  wellKnownSymbols,
} from "./format.ts";
import type { DecodeHooks } from "./hooks.ts";

type Fields = Record<string, unknown>;

const symbolsByName = new Map([...wellKnownSymbols].map(([symbol, name]) => [name, symbol]));
/** Takes the place of an object that a reference must not reach yet. */
const unfinished = Symbol("unfinished");
/** Every array longer than this with few elements is kept as a dictionary, so its length costs nothing. */
const SPARSE_GAP_MIN = 2048;

export class Decoder extends ByteReader {
  readonly hooks: DecodeHooks;
  private readonly functions: readonly string[];
  private readonly stores: DecodedStores;
  private readonly objects: unknown[] = [];
  private readonly shapes: (readonly string[])[] = [];
  private readonly strings: string[] = [];
  private readonly deferred: { object: object; kind: number }[] = [];
  private depth = 0;

  constructor(
    bytes: Uint8Array,
    begin: number,
    end: number,
    hooks: DecodeHooks,
    functions: readonly string[],
    stores: DecodedStores,
  ) {
    super(bytes, begin, end);
    this.hooks = hooks;
    this.functions = functions;
    this.stores = stores;
  }

  /** Reads the whole body. */
  readBody(): unknown {
    const value = this.readValue();
    for (let i = 0; i < this.deferred.length; i++) this.readDeferred(this.deferred[i].object, this.deferred[i].kind);
    if (this.pos !== this.end) this.fail("it goes on after its end");
    return value;
  }

  /** Gives the next number to an object, so that its own contents can refer to it. */
  number<T>(object: T): T {
    this.objects.push(object);
    return object;
  }

  readValue(): unknown {
    const tag = this.readByte();
    if (tag < 0x80) return tag;
    if (tag >= SHORT_STRING && tag <= SHORT_STRING + SHORT_STRING_MAX) return this.readShortString(tag - SHORT_STRING);
    switch (tag) {
      case Tag.Undefined:
        return undefined;
      case Tag.Null:
        return null;
      case Tag.False:
        return false;
      case Tag.True:
        return true;
      case Tag.Int:
        return this.readInt();
      case Tag.Double:
        return this.readDouble();
      case Tag.StringLatin1:
      case Tag.StringUtf8:
      case Tag.StringUtf16:
        return this.readLongString(tag);
      case Tag.Ref:
        return this.readRef();
      case Tag.BigInt64:
        return this.view.getBigInt64(this.take(8), true);
      case Tag.Symbol:
        return this.readSymbol();
      case Tag.BigIntHex:
        return this.readBigIntHex();
      case Tag.StringStore:
        return this.readStoredString();
    }
    if (++this.depth > limits.depthMax + 8) this.fail("it is nested too deep");
    const value = this.readObject(tag);
    this.depth--;
    return value;
  }

  private readObject(tag: number): unknown {
    switch (tag) {
      case Tag.Object:
        return this.readFields(this.number({} as Fields));
      case Tag.NullObject:
        return this.readFields(this.number(Object.create(null) as Fields));
      case Tag.Array:
      case Tag.Int8s:
      case Tag.Int16s:
      case Tag.Int32s:
      case Tag.Doubles:
      case Tag.ArrayWithFields:
      case Tag.SparseArray:
        return this.readArray(tag, this.number([] as unknown[]));
      case Tag.Map:
        return this.readMap(this.number(new Map()));
      case Tag.Set:
        return this.readSet(this.number(new Set()));
      case Tag.Instance: {
        return this.readFieldsOfInstance(this.number(Object.create(this.readPrototype()) as Fields));
      }
      case Tag.Special:
      case Tag.SpecialWithPayload:
        return this.readSpecial(tag === Tag.SpecialWithPayload);
      case Tag.View:
        return this.number(this.stores.view(this.readByte(), this.readVarint(), this.readVarint(), this.readVarint()));
      case Tag.ArrayBuffer:
        return this.number(this.stores.arrayBuffer(this.readVarint()));
      case Tag.Deferred:
        return this.readShell();
      case Tag.Date:
        return this.number(new Date(this.readDouble()));
      case Tag.RegExp:
        return this.number(this.attempt("a regular expression", () => new RegExp(this.readString(), this.readString())));
      case Tag.Error:
        return readError(this);
      case Tag.DomException:
        return readDomException(this);
      case Tag.Url:
        return this.number(this.attempt("a URL", () => new URL(this.readString())));
      case Tag.UrlSearchParams:
        return this.number(new URLSearchParams(this.readString()));
      default:
        return this.readRareObject(tag);
    }
  }

  private readRareObject(tag: number): unknown {
    switch (tag) {
      case Tag.Boxed:
        return this.readBoxed();
      case Tag.ExtendedBuiltin: {
        const prototype = this.readPrototype();
        const object = this.readValue();
        if (typeof object !== "object" || object === null) this.fail("an instance extends no object");
        Object.setPrototypeOf(object, prototype);
        return this.readNamedFields(object as Fields);
      }
      case Tag.WithPrototype: {
        const number = this.objects.push(unfinished) - 1;
        const prototype = this.readValue();
        if (typeof prototype !== "object") this.fail("a prototype is no object");
        const object = Object.create(prototype) as Fields;
        this.objects[number] = object;
        return this.readFieldsOfInstance(object);
      }
      case Tag.ArrowVector: {
        const number = this.objects.push(unfinished) - 1;
        const Vector = this.readClass() as unknown as new (chunks: unknown) => object;
        const chunks = this.readValue();
        const vector = this.attempt("an Arrow vector", () => new Vector(chunks));
        this.objects[number] = vector;
        return vector;
      }
      default:
        return this.fail(`there is no tag 0x${tag.toString(16)}`);
    }
  }

  /** Runs a Class that rejects what only altered bytes can hold. */
  attempt<T>(what: string, make: () => T): T {
    try {
      return make();
    } catch (cause) {
      if (cause instanceof DecodeError) throw cause;
      throw new DecodeError(`Cannot decode bytes as ${what}: ${(cause as Error)?.message}`, { cause });
    }
  }

  readRef(): unknown {
    const number = this.readVarint();
    if (number >= this.objects.length) this.fail(`object ${number} is not known yet`);
    const object = this.objects[number];
    if (object === unfinished) this.fail(`object ${number} contains itself where it cannot`);
    return object;
  }

  readClass(): Function {
    const key = this.functions[this.readVarint()];
    if (key === undefined) this.fail("a class is not in the table");
    const Class = this.hooks.decodeClass(key);
    if (typeof Class !== "function") this.fail(`${key} is not a class`);
    return Class;
  }

  private readPrototype(): object {
    const Class = this.readClass();
    const { prototype } = Class;
    if (typeof prototype !== "object" || prototype === null) this.fail(`${Class.name} is not a class`);
    return prototype;
  }

  private readKeys(): readonly string[] {
    const code = this.readVarint();
    if (code > UNNUMBERED_SHAPE) {
      const keys = this.shapes[code - 2];
      if (keys === undefined) this.fail("a shape is not known yet");
      return keys;
    }
    const count = this.readCount(1);
    const keys: string[] = [];
    for (let i = 0; i < count; i++) keys.push(this.readString());
    if (code === NEW_SHAPE) this.shapes.push(keys);
    return keys;
  }

  private readFields<T extends object>(object: T): T {
    const keys = this.readKeys();
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      const value = this.readValue();
      if (key === "__proto__") define(object, key, value);
      else (object as Fields)[key] = value;
    }
    return object;
  }

  /** As `readFields`, where the prototype may have accessors or read-only properties of the same names. */
  private readFieldsOfInstance<T extends object>(object: T): T {
    const keys = this.readKeys();
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      const value = this.readValue();
      if (key in object) define(object, key, value);
      else (object as Fields)[key] = value;
    }
    return object;
  }

  /** Fields as pairs. They are defined and not assigned, since a class may have setters of the same name. */
  readNamedFields<T extends object>(object: T): T {
    const count = this.readCount(2);
    for (let i = 0; i < count; i++) {
      const key = this.readString();
      if (this.pos < this.end && this.bytes[this.pos] === Tag.Hole) this.pos++;
      else define(object, key, this.readValue());
    }
    return object;
  }

  private readArray(tag: number, array: unknown[]): unknown[] {
    if (tag === Tag.SparseArray) return this.readSparseArray(array);
    if (tag !== Tag.Array && tag !== Tag.ArrayWithFields) return this.readNumbers(tag, array);
    const length = this.readCount(1);
    for (let i = 0; i < length; i++) {
      if (this.pos < this.end && this.bytes[this.pos] === Tag.Hole) {
        this.pos++;
        array.length = i + 1;
      } else {
        array[i] = this.readValue();
      }
    }
    return tag === Tag.ArrayWithFields ? this.readFields(array) : array;
  }

  private readNumbers(tag: number, array: unknown[]): unknown[] {
    const width = tag === Tag.Int8s ? 1 : tag === Tag.Int16s ? 2 : tag === Tag.Int32s ? 4 : 8;
    const length = this.readCount(width);
    const { view } = this;
    let pos = this.take(length * width);
    if (tag === Tag.Int8s) {
      for (let i = 0; i < length; i++, pos += 1) array[i] = view.getInt8(pos);
    } else if (tag === Tag.Int16s) {
      for (let i = 0; i < length; i++, pos += 2) array[i] = view.getInt16(pos, true);
    } else if (tag === Tag.Int32s) {
      for (let i = 0; i < length; i++, pos += 4) array[i] = view.getInt32(pos, true);
    } else {
      for (let i = 0; i < length; i++, pos += 8) array[i] = view.getFloat64(pos, true);
    }
    return array;
  }

  private readSparseArray(array: unknown[]): unknown[] {
    const length = this.readVarint();
    if (length > 0xffff_ffff) this.fail("an array is too long");
    if (length > SPARSE_GAP_MIN) {
      // An element far behind the end turns the array into a dictionary; setting `length` would allocate up to 256 MB of holes.
      array[length - 1] = undefined;
      delete array[length - 1];
    } else {
      array.length = length;
    }
    const count = this.readCount(2);
    for (let i = 0; i < count; i++) {
      const index = this.readVarint();
      if (index >= length) this.fail("an index lies outside its array");
      array[index] = this.readValue();
    }
    return this.readFields(array);
  }

  private readMap(map: Map<unknown, unknown>): Map<unknown, unknown> {
    const count = this.readCount(2);
    for (let i = 0; i < count; i++) {
      const key = this.readValue();
      map.set(key, this.readValue());
    }
    return map;
  }

  private readSet(set: Set<unknown>): Set<unknown> {
    const count = this.readCount(1);
    for (let i = 0; i < count; i++) set.add(this.readValue());
    return set;
  }

  private readShell(): object {
    const kind = this.readByte();
    let object: object;
    if (kind === Deferred.Object) object = {};
    else if (kind === Deferred.NullObject) object = Object.create(null);
    else if (kind === Deferred.Array) object = [];
    else if (kind === Deferred.Map) object = new Map();
    else if (kind === Deferred.Set) object = new Set();
    else if (kind === Deferred.Instance) object = Object.create(this.readPrototype());
    else this.fail("objects of this kind are never put off");
    this.deferred.push({ object, kind });
    return this.number(object);
  }

  /** Fills an object whose shell was made before. */
  private readDeferred(object: object, kind: number): void {
    if (kind === Deferred.Instance) {
      this.readFieldsOfInstance(object);
      return;
    }
    const tag = this.readByte();
    if (kind === Deferred.Array) {
      if (
        tag !== Tag.Array &&
        tag !== Tag.ArrayWithFields &&
        tag !== Tag.SparseArray &&
        !(tag >= Tag.Int8s && tag <= Tag.Doubles)
      ) {
        this.fail("the contents of an array were expected");
      }
      this.readArray(tag, object as unknown[]);
    } else if (kind === Deferred.Map && tag === Tag.Map) {
      this.readMap(object as Map<unknown, unknown>);
    } else if (kind === Deferred.Set && tag === Tag.Set) {
      this.readSet(object as Set<unknown>);
    } else if (tag === (kind === Deferred.Object ? Tag.Object : Tag.NullObject)) {
      this.readFields(object);
    } else {
      this.fail("contents of another kind were expected");
    }
  }

  private readSpecial(hasPayload: boolean): unknown {
    const number = this.objects.push(unfinished) - 1;
    const tag = specialTags[this.readByte()];
    if (tag === undefined) this.fail("there is no such special");
    const data = this.readPlain();
    const payload = hasPayload ? this.readValue() : undefined;
    const value = this.hooks.decodeSpecial({ tag, data }, payload);
    this.objects[number] = value;
    return value;
  }

  private readPlain(): unknown {
    const tag = this.readByte();
    if (tag < 0x80) return tag;
    switch (tag) {
      case Tag.InternedString: {
        const text = this.strings[this.readVarint()];
        if (text === undefined) this.fail("a string is not known yet");
        return text;
      }
      case Tag.InternString: {
        const text = this.readString();
        this.strings.push(text);
        return text;
      }
      case Tag.PlainBytes: {
        const begin = this.take(this.readVarint());
        return new Uint8Array(this.bytes.subarray(begin, this.pos));
      }
      case Tag.PlainArray:
      case Tag.PlainObject:
        break;
      case Tag.Int:
      case Tag.Double:
      case Tag.Undefined:
      case Tag.Null:
      case Tag.False:
      case Tag.True:
      case Tag.BigInt64:
      case Tag.BigIntHex:
        this.pos--;
        return this.readValue();
      default:
        this.fail("plain data was expected");
    }
    if (++this.depth > limits.depthMax + 8) this.fail("it is nested too deep");
    const plain = tag === Tag.PlainArray ? this.readPlainArray() : this.readPlainObject();
    this.depth--;
    return plain;
  }

  private readPlainArray(): unknown[] {
    const length = this.readCount(1);
    const array: unknown[] = [];
    for (let i = 0; i < length; i++) array.push(this.readPlain());
    return array;
  }

  private readPlainObject(): object {
    const count = this.readCount(2);
    const object = {};
    for (let i = 0; i < count; i++) define(object, String(this.readPlain()), this.readPlain());
    return object;
  }

  private readBoxed(): object {
    const number = this.objects.push(unfinished) - 1;
    const value = this.readValue();
    if (value === null || value === undefined || typeof value === "object" || typeof value === "function")
      this.fail("a boxed value is no primitive");
    const object = Object(value) as object;
    this.objects[number] = object;
    return object;
  }

  private readSymbol(): symbol {
    const kind = this.readByte();
    const name = this.readString();
    if (kind === 0) return Symbol.for(name);
    return symbolsByName.get(name) ?? this.fail(`there is no symbol ${name}`);
  }

  private readBigIntHex(): bigint {
    const isNegative = this.readByte() === 1;
    const digits = this.readString();
    if (!/^[0-9a-f]+$/.test(digits)) this.fail("a bigint has wrong digits");
    const magnitude = this.attempt("a bigint", () => BigInt(`0x${digits}`));
    return isNegative ? -magnitude : magnitude;
  }

  private readStoredString(): string {
    const isUtf8 = this.readByte() === 0;
    const { begin, bytes } = this.stores.textRange(this.readVarint());
    return this.textAt(isUtf8 ? Tag.StringUtf8 : Tag.StringUtf16, begin, bytes);
  }
}

export function define(object: object, key: string, value: unknown, enumerable = true): void {
  Object.defineProperty(object, key, { value, enumerable, writable: true, configurable: true });
}
