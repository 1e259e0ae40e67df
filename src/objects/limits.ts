/** Every bound of the object store in one place: unit, what would grow without it, what happens at it. */

/** Bytes of one value. `koffi.view` aborts Node 20 above 4 GiB, and so does V8's own array buffer limit there. At it: a RangeError before anything is stored. */
export const objectBytesMax = 4 * 1024 ** 3 - 64 * 1024;

/** Bytes of a slab shared by several small objects. 8 MiB holds eight of the largest and forty of 200 KiB, and costs one file, lock and rename for all. */
export const slabBytes = 8 * 1024 ** 2;

/** Largest object that goes into a slab. Above, a segment of its own wastes less than one eighth and can be spilled and freed alone. */
export const slabObjectBytesMax = 1024 ** 2;

/** Share of the store that freed segments may occupy while they wait for reuse, over all processes. At it: a freed segment is removed. */
export const warmFractionMax = 0.5;

/** A warm segment serves a request up to this much smaller than itself; more would waste shared memory, less would miss loops over nearly equal sizes. */
export const warmSlackFraction = 0.125;

/** Segments one process keeps mapped for reuse. Bounds address space and page tables: at it the oldest is unmapped and forgotten. */
export const warmSegmentsMax = 64;

/** Segments that others may have made warm which are tried (one failing rename each, about 3 us) before a fresh one is made. */
export const awayTriesMax = 8;

/** Above this share of the store the writer asks the daemon to spill; the daemon spills down to the second share. */
export const pressureFraction = 0.8;
export const spillTargetFraction = 0.6;

/** Milliseconds between two pressure calls of one process, so that a burst of puts is one message. */
export const pressureIntervalMs = 50;

/** Processes of one node that may have the accounting file open at once; 64 bytes each. At it: opening the store fails. */
export const storeProcessesMax = 4096;

/** Times a reader looks again when a segment moves to disk under its hands. Each move is final, so two would do. */
export const readTriesMax = 8;

/** Milliseconds a warm segment may lie unused before the daemon's sweep takes it back. A loop of puts reuses it within milliseconds. */
export const warmIdleMs = 10_000;

/** Ids of dead processes the daemon remembers, to take back what is freed in their name later. At it: the oldest is forgotten, and pressure does it. */
export const deadProcessesMax = 10_000;

/** Share of the machine's memory a store takes unless told, as Ray does; and the share of the free shared-memory file system it leaves alone. */
export const storeMemoryFraction = 0.3;
export const shmHeadroomFraction = 0.05;

/** Milliseconds a session's directory may exist without the mark of its daemon before it counts as left behind. */
export const unmarkedSessionMs = 60_000;

/** Files of which a process keeps a descriptor open for its views. At it: the oldest is closed, which its mappings do not need, and the next view of that file opens it again. */
export const viewedFilesOpenMax = 256;

/**
 * Views a process has mapped at once. The kernel allows 65,530 mappings a process by default, of which the JavaScript engine needs some, and
 * ends the process when refused. At it: further views are copies.
 */
export const viewsMax = 32_000;
