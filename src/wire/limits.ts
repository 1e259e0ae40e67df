/**
 * Every bound of the wire in one place: unit, what would grow without it, what happens at it.
 */

/** Bytes of one frame's body. Without it a peer could make us buffer without end. At it: the connection is closed with one line. Inline values stay under 100 KiB, so a frame of many fits well. */
export const frameBytesMax = 256 * 1024 * 1024;

/** Bytes of the destination in a frame's header: a worker id. */
export const destinationBytesMax = 32;

/** Bytes of a value that travels in messages and lives in the owner's table. Above it: shared memory. Ray's `max_direct_call_object_size`. */
export const inlineBytesMax = 100 * 1024;

/** Messages collected for one peer before they are written without waiting for the end of the turn: bounds the memory of one batch. */
export const batchMessagesMax = 1024;

/** Protocol version, exchanged first. Both sides must be equal. */
export const protocolVersion = 1;
