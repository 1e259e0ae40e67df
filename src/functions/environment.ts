/** The `.env` file of a captured function: its serialized values, those needed before the root class is defined and those after it. */

import type { Serialized } from "../values/index.ts";

/** So that the values begin where buffers in them can be used in place. */
const alignment = 64;

export interface Environment {
  readonly early: Uint8Array;
  readonly late: Uint8Array;
}

export function packEnvironment(early: Serialized | null, late: Serialized | null): Uint8Array {
  const earlyBytes = early?.bytes ?? 0;
  const lateBytes = late?.bytes ?? 0;
  const lateAt = alignment + Math.ceil(earlyBytes / alignment) * alignment;
  const packed = new Uint8Array(lateAt + lateBytes);
  const lengths = new DataView(packed.buffer);
  lengths.setUint32(0, earlyBytes, true);
  lengths.setUint32(4, lateBytes, true);
  early?.writeTo(packed.subarray(alignment, alignment + earlyBytes));
  late?.writeTo(packed.subarray(lateAt));
  return packed;
}

export function unpackEnvironment(packed: Uint8Array): Environment {
  const lengths = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  if (packed.length < alignment) throw new Error("Cannot read captured values: the file is cut off");
  const early = lengths.getUint32(0, true);
  const late = lengths.getUint32(4, true);
  const lateAt = alignment + Math.ceil(early / alignment) * alignment;
  if (lateAt + late > packed.length) throw new Error("Cannot read captured values: the file is cut off");
  return { early: packed.subarray(alignment, alignment + early), late: packed.subarray(lateAt, lateAt + late) };
}
