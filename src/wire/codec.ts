/** Encodes batches of messages as MessagePack. Messages are arrays whose first element is the kind (messages.ts). */
import { Packr, RESERVE_START_SPACE, Unpackr } from "msgpackr";
import { FrameError, frameHeaderBytes, writeFrameHeader } from "./frame.ts";
import type { AnyMessage } from "./messages.ts";

const options = { useRecords: false, mapsAsObjects: true, int64AsType: "number" as const, moreTypes: false };
const packr = new Packr(options);
const unpackr = new Unpackr(options);

/** One frame holding `messages`, owned by the caller: the body is encoded behind room for the header, so that a frame is one buffer. */
export function encodeBatch(messages: readonly AnyMessage[], destination = ""): Buffer {
  const headerBytes = frameHeaderBytes + destination.length;
  const frame = packr.pack(messages, RESERVE_START_SPACE | headerBytes) as Buffer;
  writeFrameHeader(frame, frame.length - headerBytes, destination);
  return frame;
}

/** The messages of a frame's body. Throws `FrameError` for anything that is not an array of arrays that begin with a number. */
export function decodeBatch(body: Buffer): AnyMessage[] {
  let batch: unknown;
  try {
    batch = unpackr.unpack(body);
  } catch (cause) {
    throw new FrameError(
      `Cannot decode a frame of ${body.length} bytes as MessagePack: ${cause instanceof Error ? cause.message : cause}`,
    );
  }
  if (!Array.isArray(batch)) throw new FrameError(`Cannot read a frame as a batch of messages: ${typeof batch}`);
  for (const message of batch) {
    if (!Array.isArray(message) || typeof message[0] !== "number")
      throw new FrameError("Cannot read a message as an array that begins with its kind");
  }
  return batch as AnyMessage[];
}
