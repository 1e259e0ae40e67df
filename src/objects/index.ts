/** Shared-memory objects of one node: the store each process opens, and the daemon's part of it. */

export { pressureFraction, spillTargetFraction } from "./limits.ts";
export { native } from "./native.ts";
export { type ObjectSource, ObjectStore, type ObjectStoreOptions, type ObjectStoreStats } from "./object-store.ts";
export { checkedLocation, type OpenSegment, SegmentMissing } from "./open-segment.ts";
export { copyLocation, holderOf, isSameObject, parseSegmentName as segmentParts, segmentName } from "./segment-name.ts";
export type { ObjectWriter } from "./segment-writer.ts";
export { markInUse, sessionHolder, sweepStaleSessions } from "./session-mark.ts";
export type { Spilled } from "./spiller.ts";
export { defaultStoreBytes, sharedMemoryRoot } from "./store-limit.ts";
export { StoreManager, type StoreManagerOptions, type StoreStats } from "./store-manager.ts";
export type { Location } from "./types.ts";
