/** Encodes batches of messages as MessagePack. Messages are arrays whose first element is the kind (messages.ts). */
import { Packr, Unpackr } from "msgpackr";
import { FrameError, frameHeaderBytes, writeFrameHeader } from "./frame.ts";
import type { AnyMessage } from "./messages.ts";

const options = { useRecords: false, mapsAsObjects: true, int64AsType: "number" as const, moreTypes: false };
const packr = new Packr(options);
const unpackr = new Unpackr(options);

/** One frame holding `messages`, as two buffers to write in order. The body is a copy owned by the caller. */
export function encodeBatch(messages: readonly AnyMessage[], destination = ""): { header: Buffer; body: Buffer } {
  const body = packr.pack(messages) as Buffer;
  const header = Buffer.allocUnsafe(frameHeaderBytes + destination.length);
  writeFrameHeader(header, body.length, destination);
  return { header, body };
}

/** The messages of a frame's body. Throws `FrameError` for anything that is not an array of arrays that begin with a number. */
export function decodeBatch(body: Buffer): AnyMessage[] {
  let batch: unknown;
  try {
    batch = unpackr.unpack(body);
  } catch (cause) {
    throw new FrameError(`Cannot decode a frame of ${body.length} bytes as MessagePack: ${cause instanceof Error ? cause.message : cause}`);
  }
  if (!Array.isArray(batch)) throw new FrameError(`Cannot read a frame as a batch of messages: ${typeof batch}`);
  for (const message of batch) {
    if (!Array.isArray(message) || typeof message[0] !== "number") throw new FrameError("Cannot read a message as an array that begins with its kind");
  }
  return batch as AnyMessage[];
}
