/**
 * Names of segment files. The name says who may do what with the file, so that processes need no messages about it:
 *
 *   <owner>.<index>.<attempt>            sealed, written by its owner
 *   <owner>.<index>.<attempt>.<writer>   sealed, written by another process (a task's result)
 *   <owner>.slab<n>                      a slab of its owner's objects; the writer holds a shared lock while it may still grow
 *   tmp.<writer>.<name>                  being written: only the writer touches it
 *   warm.<writer>.<name>                 freed and mapped by nobody: whoever renames or removes it first has it
 *   dead.<name>                          freed but still mapped by a reader: removed when the last mapping goes
 *
 * A name is used once: a reused segment or slab gets a new one, so a stale location finds nothing instead of another's bytes.
 */

export interface SegmentName {
  readonly owner: string;
  readonly writer: string;
}

/** A name that came from another process: nothing that leads out of the directory, nothing but a sealed segment's. */
const sealed = /^([A-Za-z0-9_-]{1,64})\.(?:\d{1,16}\.\d{1,9}(?:\.([A-Za-z0-9_-]{1,64}))?|slab\d{1,16})$/;

export function segmentName(owner: string, index: number, attempt: number, writer: string): string {
  return writer === owner ? `${owner}.${index}.${attempt}` : `${owner}.${index}.${attempt}.${writer}`;
}

export function slabName(owner: string, serial: number): string {
  return `${owner}.slab${serial}`;
}

/** Reads a sealed segment's name; `undefined` for anything else. */
export function parseSegmentName(name: string): SegmentName | undefined {
  const parts = sealed.exec(name);
  return parts === null ? undefined : { owner: parts[1], writer: parts[2] ?? parts[1] };
}

export const temporaryPrefix = (writer: string): string => `tmp.${writer}.`;
export const warmPrefix = (writer: string): string => `warm.${writer}.`;
export const deadPrefix = "dead.";
export const anyWarmPrefix = "warm.";
export const anyTemporaryPrefix = "tmp.";
