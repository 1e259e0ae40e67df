/** The `.env` file of a captured function: its serialized values, those needed before the root class is defined and those after it. */

/** So that the values begin where buffers in them can be used in place. */
const alignment = 64;

export interface Environment {
  readonly early: Uint8Array;
  readonly late: Uint8Array;
}

export function packEnvironment(early: Uint8Array, late: Uint8Array): Uint8Array {
  const lateAt = alignment + Math.ceil(early.length / alignment) * alignment;
  const packed = new Uint8Array(lateAt + late.length);
  const lengths = new DataView(packed.buffer);
  lengths.setUint32(0, early.length, true);
  lengths.setUint32(4, late.length, true);
  packed.set(early, alignment);
  packed.set(late, lateAt);
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
