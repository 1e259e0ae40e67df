/** A growing buffer with the primitive writes of the format. Hot: the encoder extends it so that a write is a store and an increment. */
import { SerializationError } from "../base/errors.ts";
import { limits, SHORT_STRING, SHORT_STRING_MAX, Tag } from "./format.ts";

const INITIAL_BYTES = 16 * 1024;
/** A buffer that grew beyond this is given back after use instead of being kept for the next value. */
const KEPT_BYTES_MAX = 1024 * 1024;
/** Up to this length a loop over the characters beats a call into native code. */
const LOOPED_CHARS_MAX = 48;

const isWellFormed: (this: string) => boolean =
  (String.prototype as unknown as { isWellFormed?: (this: string) => boolean }).isWellFormed ??
  function (this: string) {
    return !/\p{Surrogate}/u.test(this);
  };

/** True when UTF-8 can say it: no half of a surrogate pair stands alone. */
export function wellFormed(text: string): boolean {
  return isWellFormed.call(text);
}

export class ByteWriter {
  protected bytes: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  private view = new DataView(this.bytes.buffer);
  pos = 0;

  /** Makes room for `count` more bytes. */
  protected ensure(count: number): void {
    if (this.pos + count > this.bytes.length) this.grow(count);
  }

  private grow(count: number): void {
    const needed = this.pos + count;
    if (needed > limits.headerBytesMax) {
      throw new SerializationError("Cannot serialize the value: its structure takes more than 2 GiB without its buffers");
    }
    const bytes = Buffer.allocUnsafeSlow(Math.min(Math.max(needed, this.bytes.length * 2), limits.headerBytesMax));
    bytes.set(this.bytes.subarray(0, this.pos));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }

  protected resetBytes(): void {
    this.pos = 0;
    if (this.bytes.length > KEPT_BYTES_MAX) {
      this.bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
      this.view = new DataView(this.bytes.buffer);
    }
  }

  writeByte(value: number): void {
    if (this.pos === this.bytes.length) this.grow(1);
    this.bytes[this.pos++] = value;
  }

  /** Writes a tag and a varint of up to 53 bits. */
  writeTagged(tag: number, value: number): void {
    this.writeByte(tag);
    this.writeVarint(value);
  }

  writeVarint(value: number): void {
    this.ensure(8);
    let rest = value;
    while (rest >= 0x8000_0000) {
      this.bytes[this.pos++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 0x80) {
      this.bytes[this.pos++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.pos++] = rest;
  }

  writeU32At(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  writeRawDouble(value: number): void {
    this.ensure(8);
    this.view.setFloat64(this.pos, value, true);
    this.pos += 8;
  }

  writeRawBigInt64(value: bigint): void {
    this.ensure(8);
    this.view.setBigInt64(this.pos, value, true);
    this.pos += 8;
  }

  writeRawBytes(source: Uint8Array): void {
    this.ensure(source.length);
    this.bytes.set(source, this.pos);
    this.pos += source.length;
  }

  writeNumber(value: number): void {
    this.ensure(9);
    const int = value | 0;
    if (int === value && (int !== 0 || 1 / value > 0)) {
      if (int >= 0 && int < 0x80) {
        this.bytes[this.pos++] = int;
      } else {
        this.bytes[this.pos++] = Tag.Int;
        this.writeVarint(((int << 1) ^ (int >> 31)) >>> 0);
      }
      return;
    }
    this.bytes[this.pos++] = Tag.Double;
    this.view.setFloat64(this.pos, value, true);
    this.pos += 8;
  }

  writeString(text: string): void {
    if (text.length > LOOPED_CHARS_MAX || !this.writeAscii(text)) this.writeLongString(text);
  }

  /** Writes a string of few characters if all are ASCII, and says so. */
  private writeAscii(text: string): boolean {
    const { length } = text;
    this.ensure(length + 5);
    const { bytes } = this;
    let pos = this.pos + (length <= SHORT_STRING_MAX ? 1 : 5);
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) return false;
      bytes[pos++] = code;
    }
    if (length <= SHORT_STRING_MAX) {
      bytes[this.pos] = SHORT_STRING + length;
    } else {
      bytes[this.pos] = Tag.StringLatin1;
      this.view.setUint32(this.pos + 1, length, true);
    }
    this.pos = pos;
    return true;
  }

  private writeLongString(text: string): void {
    const isUtf8 = wellFormed(text);
    const encoding = isUtf8 ? "utf8" : "utf16le";
    this.ensure(5 + (text.length > 0x1_0000 ? Buffer.byteLength(text, encoding) : text.length * (isUtf8 ? 3 : 2)));
    const length = this.bytes.write(text, this.pos + 5, encoding);
    // As many bytes as characters: all are ASCII, and one-byte decoding is the cheaper one.
    this.bytes[this.pos] = !isUtf8 ? Tag.StringUtf16 : length === text.length ? Tag.StringLatin1 : Tag.StringUtf8;
    this.view.setUint32(this.pos + 1, length, true);
    this.pos += 5 + length;
  }

  /** Writes numbers as one block; `tag` says their width, which they all fit. */
  protected writeNumberBlock(tag: number, numbers: readonly number[]): void {
    const count = numbers.length;
    this.writeTagged(tag, count);
    const width = tag === Tag.Int8s ? 1 : tag === Tag.Int16s ? 2 : tag === Tag.Int32s ? 4 : 8;
    this.ensure(count * width);
    const { view, bytes } = this;
    let pos = this.pos;
    if (tag === Tag.Int8s) {
      for (let i = 0; i < count; i++) bytes[pos++] = numbers[i];
    } else if (tag === Tag.Int16s) {
      for (let i = 0; i < count; i++, pos += 2) view.setInt16(pos, numbers[i], true);
    } else if (tag === Tag.Int32s) {
      for (let i = 0; i < count; i++, pos += 4) view.setInt32(pos, numbers[i], true);
    } else {
      for (let i = 0; i < count; i++, pos += 8) view.setFloat64(pos, numbers[i], true);
    }
    this.pos = pos;
  }
}
