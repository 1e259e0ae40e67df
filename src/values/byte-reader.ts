/** Reads the primitives of the format. Bytes are untrusted: every read is checked against the end, every length against what is left. */
import { DecodeError } from "./decode-error.ts";
import { SHORT_STRING, SHORT_STRING_MAX, Tag } from "./format.ts";

/** Short strings that were read before, by a hash of their bytes: property names come back in message after message. */
const cachedStrings: string[] = new Array<string>(1024).fill("");

/** Lists to be filled with the characters of a short string, by length: faster than a call into native code. */
const codeLists: number[][] = Array.from({ length: SHORT_STRING_MAX + 1 }, (_, length) => new Array<number>(length).fill(0));

export class ByteReader {
  readonly bytes: Uint8Array;
  pos: number;
  end: number;
  private dataView: DataView | null = null;
  private textBuffer: Buffer | null = null;

  constructor(bytes: Uint8Array, pos: number, end: number) {
    this.bytes = bytes;
    this.pos = pos;
    this.end = end;
  }

  /** Made when it is needed: asking a short array that lies in the engine's heap for its buffer moves it out of there, which costs more than reading it. */
  get view(): DataView {
    const { bytes } = this;
    this.dataView ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.dataView;
  }

  private get buffer(): Buffer {
    const { bytes } = this;
    this.textBuffer ??= Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.textBuffer;
  }

  fail(what: string): never {
    throw new DecodeError(`Cannot decode the value at byte ${this.pos} as sent: ${what}`);
  }

  /** Moves over `count` bytes and returns where they begin. */
  take(count: number): number {
    const begin = this.pos;
    if (count > this.end - begin) this.fail("it ends too early");
    this.pos = begin + count;
    return begin;
  }

  readByte(): number {
    if (this.pos >= this.end) this.fail("it ends too early");
    return this.bytes[this.pos++];
  }

  readVarint(): number {
    let byte = this.readByte();
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let factor = 0x80;
    for (let i = 0; i < 7; i++) {
      byte = this.readByte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      factor *= 0x80;
    }
    this.fail("a number is too large");
  }

  /** A count of things that take at least `bytesEach` bytes each. */
  readCount(bytesEach: number): number {
    const count = this.readVarint();
    if (count * bytesEach > this.end - this.pos) this.fail(`${count} items do not fit into the rest`);
    return count;
  }

  readInt(): number {
    const value = this.readVarint();
    if (value > 0xffff_ffff) this.fail("an integer is too large");
    return (value >>> 1) ^ -(value & 1);
  }

  readDouble(): number {
    return this.view.getFloat64(this.take(8), true);
  }

  /** A string with its tag. */
  readString(): string {
    const tag = this.readByte();
    if (tag >= SHORT_STRING && tag <= SHORT_STRING + SHORT_STRING_MAX) return this.readShortString(tag - SHORT_STRING);
    return this.readLongString(tag);
  }

  readShortString(length: number): string {
    const begin = this.take(length);
    const { bytes } = this;
    let hash = length;
    for (let i = begin; i < this.pos; i++) hash = (Math.imul(hash, 31) + bytes[i]) | 0;
    const slot = (hash ^ (hash >>> 10) ^ (hash >>> 20)) & 1023;
    const cached = cachedStrings[slot];
    if (cached.length === length) {
      let i = 0;
      while (i < length && cached.charCodeAt(i) === bytes[begin + i]) i++;
      if (i === length) return cached;
    }
    const codes = codeLists[length];
    for (let i = 0; i < length; i++) codes[i] = bytes[begin + i];
    const text = String.fromCharCode.apply(null, codes);
    cachedStrings[slot] = text;
    return text;
  }

  readLongString(tag: number): string {
    if (tag !== Tag.StringLatin1 && tag !== Tag.StringUtf8 && tag !== Tag.StringUtf16) this.fail("a string was expected");
    const length = this.view.getUint32(this.take(4), true);
    const begin = this.take(length);
    return this.textAt(tag, begin, length);
  }

  textAt(tag: number, begin: number, length: number): string {
    const encoding = tag === Tag.StringLatin1 ? "latin1" : tag === Tag.StringUtf8 ? "utf8" : "utf16le";
    try {
      return this.buffer.toString(encoding, begin, begin + length);
    } catch (cause) {
      throw new DecodeError(`Cannot decode ${length} bytes as a string: ${(cause as Error).message}`, { cause });
    }
  }
}
