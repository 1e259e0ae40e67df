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

// ---------------------------------------------------------------- what a program says of its tasks, actors and groups
// A message past one of these closes the connection of the process that sent it, so whatever a user may pass is checked at the call, too.

/** Names of resources, labels, environment variables or packages in one message. */
export const namesMax = 1_000;

/** Characters of a name: of a task, an actor, a namespace, a resource, a label, an environment variable or a package. */
export const nameLengthMax = 1_024;

/** Characters of an id. */
export const idLengthMax = 64;

/** Amounts of a resource are below this. From here on numbers are not exact. */
export const amountsEnd = Number.MAX_SAFE_INTEGER;

/** CPUs, or GPUs, of a node. Each GPU is counted by itself, and each CPU has a worker started for it. */
export const processorsMax = 100_000;

/** Characters of all texts of a runtime env, or of a label selector, together: far above what a process can be started with, far below a frame. */
export const textsLengthMax = 16 * 1024 * 1024;

/** Bundles of one placement group. */
export const bundlesMax = 10_000;

/** Results of one call. A record each is made at the call, about 2.4 µs: without it one wrong number stops the program for minutes. */
export const returnsMax = 1_000_000;

// ---------------------------------------------------------------- between node daemons (docs/protocol-nodes.md)

/** Bytes of one handshake frame's body. Read before the peer has proved anything, so small: a hello has 110 bytes, a refusal some hundred. At it: the connection is refused. */
export const handshakeBytesMax = 1024;

/** How long a handshake may take, ms. Without it a silent peer would hold a place for ever. At it: the connection is refused. */
export const handshakeMs = 10_000;

/** Connections that have not proved the token yet. A flood would else use up descriptors. At it: the oldest is refused, since an honest peer needs only two round trips. */
export const strangersMax = 256;

/** Lines about refused connections in one window; what comes beyond is counted and summed up in one line at the window's end. */
export const refusalLinesMax = 20;
export const refusalWindowMs = 10_000;

/** Bytes of one data frame of a stream: bounds how long one stream holds the connection. */
export const streamChunkBytesMax = 64 * 1024;

/** Bytes a stream's sender may have under way or unread at the receiver. A reader that stalls costs its daemon this much and no more. */
export const streamWindowBytes = 256 * 1024;

/** Streams of one node connection. At it: the newest is reset. A stream serves a pair of processes, so this is far above what a node has. */
export const streamsMax = 65_536;

/** Bytes of a stream's target, or of the reason of a reset. Longer reasons are cut. */
export const streamTextBytesMax = 512;

/** Bytes of streams waiting in a socket to another node. At it streams wait for the socket; messages go on. Enough for 10 Gbit/s over 1 ms. */
export const linkBufferBytes = 1024 * 1024;

/** Bytes of messages waiting in a socket to another node that does not read. At it: the connection is closed. */
export const linkBacklogBytesMax = 512 * 1024 * 1024;

/** Messages waiting for a connection to a node that is being dialled. At it: they are dropped as when the dial fails. */
export const dialQueueMax = 100_000;

/** Values in one frame between nodes, counted before it is decoded: a frame of nothing but small ones would grow forty-fold. At it: the connection is closed. */
export const nodeValuesMax = 8_000_000;

/** Arrays and maps inside each other in one frame between nodes. At it: the connection is closed. */
export const nodeDepthMax = 128;

/** Bytes of what is sent first on a bulk connection. */
export const bulkFirstBytesMax = 1024 * 1024;

/** Objects an owner names to a node that leaves, in one message of about 100 bytes each. At it: the others come when it asks again. */
export const heldObjectsMax = 10_000;
