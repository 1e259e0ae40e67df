/** Values to bytes. Encoders are kept and reused; a getter or serializer of the user's that serializes on its own gets another one. */

import type { PlacedRange } from "./backing-stores.ts";
import { Encoder } from "./encoder.ts";
import { FLAG_FUNCTIONS, FLAG_STORES, MAGIC, PAGE_SHIFT_MIN, VERSION } from "./format.ts";
import type { EncodeHooks, Serialized } from "./hooks.ts";

const idle: Encoder[] = [new Encoder()];

const noFunctions: readonly string[] = [];

/**
 * Captures `value` as it is now; `root` is the beginning of paths in errors, e.g. `args[0]`. The buffers inside are read by `writeTo`
 * only, which the caller calls before anybody can change them.
 */
export function serialize(value: unknown, hooks: EncodeHooks, root: string): Serialized {
  const encoder = idle.pop() ?? new Encoder();
  try {
    encoder.begin(value, hooks, root);
    return finish(encoder);
  } finally {
    encoder.reset();
    if (idle.length < 4) idle.push(encoder);
  }
}

function finish(encoder: Encoder): Serialized {
  const bodyEnd = encoder.pos;
  let flags = 0;
  let functions = noFunctions;
  if (encoder.functions.length > 0) {
    flags |= FLAG_FUNCTIONS;
    functions = encoder.functions.slice();
    encoder.writeVarint(functions.length);
    for (const key of functions) encoder.writeString(key);
  }
  const hasStores = encoder.stores.count > 0;
  if (hasStores) {
    flags |= FLAG_STORES;
    encoder.stores.writeTable((value) => encoder.writeVarint(value));
  }
  encoder.setByteAt(0, MAGIC);
  encoder.setByteAt(1, VERSION);
  encoder.setByteAt(2, flags);
  encoder.setByteAt(3, 0);
  encoder.writeU32At(4, bodyEnd);
  const header = encoder.takeHeader();
  if (!hasStores) return new HeaderOnly(header, functions);
  const { placed, bytes, align } = encoder.stores.place(header.length);
  return new WithRanges(header, functions, placed, bytes, align);
}

/** A value without buffers, which is most of them. */
class HeaderOnly implements Serialized {
  readonly header: Uint8Array;
  readonly functions: readonly string[];
  readonly align = 64;

  constructor(header: Uint8Array, functions: readonly string[]) {
    this.header = header;
    this.functions = functions;
  }

  get bytes(): number {
    return this.header.length;
  }

  writeTo(target: Uint8Array): void {
    target.set(this.header);
  }

  *parts(): Generator<{ offset: number; bytes: Uint8Array }> {
    yield { offset: 0, bytes: this.header };
  }
}

class WithRanges implements Serialized {
  readonly functions: readonly string[];
  readonly bytes: number;
  readonly align: number;
  private readonly header: Uint8Array;
  private readonly placed: readonly PlacedRange[];

  constructor(header: Uint8Array, functions: readonly string[], placed: readonly PlacedRange[], bytes: number, align: number) {
    this.header = header;
    this.functions = functions;
    this.placed = placed;
    this.bytes = bytes;
    this.align = align;
  }

  writeTo(target: Uint8Array): void {
    target.set(this.header);
    let end = this.header.length;
    for (const { buffer, begin, bytes, offset } of this.placed) {
      // The gaps are written too: a reused segment must not show what it held before.
      target.fill(0, end, offset);
      target.set(new Uint8Array(buffer, begin, bytes), offset);
      end = offset + bytes;
    }
  }

  *parts(): Generator<{ offset: number; bytes: Uint8Array }> {
    yield { offset: 0, bytes: this.header };
    let end = this.header.length;
    for (const { buffer, begin, bytes, offset } of this.placed) {
      if (offset - end >= 2 ** PAGE_SHIFT_MIN) yield { offset: end, bytes: new Uint8Array(offset - end) };
      if (bytes > 0) yield { offset, bytes: new Uint8Array(buffer, begin, bytes) };
      end = offset + bytes;
    }
  }
}

/** The flat form in memory of its own. */
export function flatten(serialized: Serialized): Uint8Array {
  if (serialized instanceof HeaderOnly) return serialized.header;
  const flat = new Uint8Array(serialized.bytes);
  serialized.writeTo(flat);
  return flat;
}
