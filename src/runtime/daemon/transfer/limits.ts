/** Every bound of the transfer of objects between nodes: unit, what would grow without it, what happens at it. */

/** Bytes read and written at once. 1 MiB stays in the second-level cache between the socket and the segment; more was slower, less costs calls. */
export const sliceBytes = 1024 ** 2;

/** A read of so many bytes shows that they come fast; from then on the reader is woken for `wakeBytes` at a time, half of what it can read at once. */
export const fastReadBytes = 64 * 1024;
export const wakeBytes = 512 * 1024;

/** Slices of one served object under way between file and socket, so that the next is read while the last is sent. 3 MiB a transfer. */
export const slicesInFlight = 3;

/** Nodes that one node sends the same object to at once. More would share the same line; at it, others are sent on to these nodes. */
export const transfersPerObjectMax = 2;

/** Objects one node sends at once. At it: requests wait in line. */
export const transfersMax = 8;

/** Requests that wait in line at one node. At it: the requester is told to come back later. */
export const waitingMax = 1024;

/** Pulls of one node at once, and their bytes; beyond, they wait in line, as long as anything is under way. */
export const pullsMax = 16;
export const pullBytesMax = 2 * 1024 ** 3;

/** Idle bulk connections kept to one node, and for how long. Beyond: closed. */
export const idleConnectionsMax = 4;
export const idleConnectionMs = 10_000;

/** Milliseconds without a byte after which a transfer counts as broken; the sender of what waits in line says so this often. */
export const silenceMaxMs = 30_000;
export const stillWaitingMs = 5_000;

/** Milliseconds before a node that was busy or did not answer is asked again: doubled from the first to the last. */
export const retryFirstMs = 20;
export const retryLastMs = 1_000;

/** Times a connection to one node may break in a row without a byte before it is given up for this object. */
export const breaksMax = 5;

/** Milliseconds a node may be unknown here before it counts as gone: it may have joined a moment ago. */
export const unknownNodeMs = 3_000;

/** Objects of which a sender remembers who has a copy, and nodes for each. At it: the oldest is forgotten, which costs a detour. */
export const rememberedObjectsMax = 10_000;
export const rememberedHoldersMax = 64;

/** Nodes named in one answer. */
export const namedHoldersMax = 8;

/** Bytes of a message on a bulk connection. */
export const bulkMessageBytesMax = 64 * 1024;

/** Dead nodes remembered, whose objects are not asked for again. */
export const deadNodesMax = 10_000;
