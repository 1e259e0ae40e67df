/** Where objects too large for a message live, as named between processes. */

/**
 * A stored object: file `name` in the session's shared-memory directory or, once spilled or when created beyond the limit, in its spill
 * directory. Readers try shared memory first, then disk; a file only ever moves in that direction.
 */
export interface Location {
  readonly name: string;
  /** Byte offset in the file; a multiple of the page size. 0 unless the segment is a slab shared by several objects. */
  readonly offset: number;
  readonly bytes: number;
  /** The process that wrote it and may use the pages again once freed, when that is not the owner. Set by the owner. */
  readonly writer?: string;
}
