/** The wire: frames, batches, messages and their bounds. */
export { decodeBatch, encodeBatch } from "./codec.ts";
export { type Frame, FrameError, FrameSplitter, frameHeaderBytes } from "./frame.ts";
export { batchMessagesMax, frameBytesMax, inlineBytesMax, protocolVersion } from "./limits.ts";
export { Kind } from "./messages.ts";
