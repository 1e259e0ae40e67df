/**
 * What is said on a bulk connection, which carries one object after the other from the node that has it to the one that asked.
 *
 *   puller -> holder   Want [name, offset, bytes, from]
 *   holder -> puller   Bytes [others]   then exactly `bytes - from` raw bytes
 *                      Gone [reason]    it is not here
 *                      Busy [ask]       these nodes have it or are about to; come back if they cannot help
 *                      Wait []          you are in line; said again every few seconds
 *
 * The messages are frames as on every connection (wire/frame.ts); the bytes follow the frame of `Bytes` bare.
 */
import type { NodeKey } from "../../../base/ids.ts";
import { checkedLocation } from "../../../objects/index.ts";
import type { Location } from "../../../objects/types.ts";
import { decodeBatch, encodeBatch, FrameError, frameHeaderBytes } from "../../../wire/index.ts";
import { bulkMessageBytesMax, namedHoldersMax } from "./limits.ts";

const kindWant = 1;
const kindBytes = 2;
const kindGone = 3;
const kindBusy = 4;
const kindWait = 5;

export interface Want {
  readonly location: Location;
  /** Bytes of the object the puller has already, from its beginning. */
  readonly from: number;
}

export type Answer =
  | { readonly kind: "bytes"; readonly others: readonly NodeKey[] }
  | { readonly kind: "gone"; readonly reason: string }
  | { readonly kind: "busy"; readonly ask: readonly NodeKey[] }
  | { readonly kind: "wait" };

export function encodeWant({ location, from }: Want): Buffer {
  return encodeBatch([[kindWant, location.name, location.offset, location.bytes, from]]);
}

/** Throws FrameError for anything that is not one Want with sane fields. */
export function decodeWant(body: Buffer): Want {
  const [kind, name, offset, bytes, from] = only(body);
  const location = kind === kindWant ? checkedLocation({ name, offset, bytes }) : null;
  if (location === null || !isNatural(from) || from > location.bytes) throw new FrameError("Cannot read a message as a Want");
  return { location, from };
}

export function encodeAnswer(answer: Answer): Buffer {
  switch (answer.kind) {
    case "bytes":
      return encodeBatch([[kindBytes, answer.others]]);
    case "gone":
      return encodeBatch([[kindGone, answer.reason]]);
    case "busy":
      return encodeBatch([[kindBusy, answer.ask]]);
    case "wait":
      return encodeBatch([[kindWait]]);
  }
}

/** Throws FrameError. */
export function decodeAnswer(body: Buffer): Answer {
  const [kind, field] = only(body);
  if (kind === kindBytes && isKeys(field)) return { kind: "bytes", others: field };
  if (kind === kindBusy && isKeys(field)) return { kind: "busy", ask: field };
  if (kind === kindGone && typeof field === "string") return { kind: "gone", reason: field.slice(0, 1000) };
  if (kind === kindWait) return { kind: "wait" };
  throw new FrameError(`Cannot read a message of kind ${kind} as an answer of a holder`);
}

/** Length of the whole frame that `head` begins, header included; `undefined` while too little of it is there. Throws FrameError. */
export function frameBytes(head: Buffer): number | undefined {
  if (head.length < frameHeaderBytes) return undefined;
  const bodyBytes = head.readUInt32LE(0);
  if (bodyBytes > bulkMessageBytesMax || head[5] !== 0)
    throw new FrameError(`Cannot read a frame of ${bodyBytes} bytes on a bulk connection as the limit is ${bulkMessageBytesMax}`);
  return frameHeaderBytes + bodyBytes;
}

export const frameBody = (frame: Buffer): Buffer => frame.subarray(frameHeaderBytes);

function only(body: Buffer): readonly any[] {
  const messages = decodeBatch(body);
  if (messages.length !== 1) throw new FrameError(`Cannot read ${messages.length} messages on a bulk connection as one`);
  return messages[0];
}

const isNatural = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function isKeys(value: unknown): value is NodeKey[] {
  return (
    Array.isArray(value) &&
    value.length <= namedHoldersMax &&
    value.every((key) => typeof key === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(key))
  );
}
