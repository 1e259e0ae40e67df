/**
 * MessagePack from other machines: counted before it is decoded. A decoder believes what a header says, so nine bytes could ask for
 * gigabytes of array. One pass over the bytes proves that every element that is promised is there, and how many there are.
 */
import { Packr, RESERVE_START_SPACE, Unpackr } from "msgpackr";
import { FrameError } from "./frame.ts";
import { nodeDepthMax, nodeValuesMax } from "./limits.ts";

const options = {
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: "number" as const,
  moreTypes: false,
  variableMapSize: true,
};
const packr = new Packr(options);
const unpackr = new Unpackr(options);

/** `value` behind `headerBytes` bytes of room, owned by the caller. */
export function encodeBehind(headerBytes: number, value: unknown): Buffer {
  return packr.pack(value, RESERVE_START_SPACE | headerBytes) as Buffer;
}

/** The one value that `body` holds. Byte arrays in it are views of `body`. Throws `FrameError`. */
export function decodeBounded(body: Buffer): unknown {
  countValues(body);
  try {
    return unpackr.unpack(body);
  } catch (cause) {
    throw new FrameError(
      `Cannot decode a frame of ${body.length} bytes as MessagePack: ${cause instanceof Error ? cause.message : cause}`,
    );
  }
}

const malformed = (what: string, at: number): FrameError => new FrameError(`Cannot read MessagePack: ${what} at byte ${at}`);

/** Extension type of `undefined` (msgpackr's) and of timestamps (the format's). */
const undefinedExtension = 0;
const timestampExtension = 0xff;

/** Throws `FrameError` unless `body` is exactly one value within the limits. */
function countValues(body: Buffer): void {
  /** How many values each open array or map still wants. */
  const wanted: number[] = [];
  let left = 1;
  let values = 0;
  let at = 0;
  const need = (bytes: number): void => {
    if (body.length - at < bytes) throw malformed("it ends early", at);
  };
  const open = (count: number): void => {
    if (count > body.length - at) throw malformed(`${count} values are promised, ${body.length - at} bytes are there`, at);
    if (wanted.length >= nodeDepthMax) throw malformed(`more than ${nodeDepthMax} levels`, at);
    wanted.push(left);
    left = count;
  };
  /** Reads a length of `bytes` bytes. */
  const length = (bytes: number): number => {
    need(bytes);
    const value = body.readUIntBE(at, bytes);
    at += bytes;
    return value;
  };
  const skip = (bytes: number): void => {
    need(bytes);
    at += bytes;
  };
  const extension = (bytes: number): void => {
    need(1 + bytes);
    const type = body[at];
    const allowed = type === undefinedExtension ? bytes === 1 : type === timestampExtension && [4, 8, 12].includes(bytes);
    if (!allowed) throw malformed(`extension ${type} of ${bytes} bytes`, at);
    at += 1 + bytes;
  };
  for (;;) {
    while (left === 0) {
      const outer = wanted.pop();
      if (outer === undefined) {
        if (at !== body.length) throw malformed(`${body.length - at} bytes too many`, at);
        return;
      }
      left = outer;
    }
    left--;
    if (++values > nodeValuesMax) throw malformed(`more than ${nodeValuesMax} values`, at);
    need(1);
    const token = body[at++];
    if (token <= 0x7f || token >= 0xe0) continue;
    if (token <= 0x8f) open((token & 0x0f) * 2);
    else if (token <= 0x9f) open(token & 0x0f);
    else if (token <= 0xbf) skip(token & 0x1f);
    else if (token === 0xc1) throw malformed("an unused token", at - 1);
    else if (token <= 0xc3) continue;
    else if (token <= 0xc6) skip(length(1 << (token - 0xc4)));
    else if (token <= 0xc9) extension(length(1 << (token - 0xc7)));
    else if (token <= 0xcb) skip(token === 0xca ? 4 : 8);
    else if (token <= 0xd3) skip(1 << ((token - 0xcc) & 3));
    else if (token <= 0xd8) extension(1 << (token - 0xd4));
    else if (token <= 0xdb) skip(length(1 << (token - 0xd9)));
    else if (token <= 0xdd) open(length(token === 0xdc ? 2 : 4));
    else open(length(token === 0xde ? 2 : 4) * 2);
  }
}
