/** Objects between nodes: the daemon's part. */
export type { TransferLinks } from "./bulk-connections.ts";
export { ObjectTransfer, type PullResult, type TransferOptions, type TransferStats } from "./object-transfer.ts";
export type { PullRequest } from "./puller.ts";
