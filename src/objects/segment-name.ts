/**
 * Names of segment files. The name says who may do what with the file, so that processes need no messages about it:
 *
 *   <owner>.<index>.<attempt>            sealed, written by its owner
 *   <owner>.<index>.<attempt>.<writer>   sealed, written by another process (a task's result)
 *   <owner>.slab<n>                      a slab of its owner's objects; the writer holds a shared lock while it may still grow
 *   <owner>.<index>....copy.<node>       a copy of such a segment, written by the daemon of the node with that key
 *   <owner>.slab<n>.<offset>.copy.<node> a copy of one object of a slab
 *   tmp.<writer>.<name>                  being written: only the writer touches it
 *   warm.<writer>.<name>                 freed and mapped by nobody: whoever renames or removes it first has it
 *   dead.<name>                          freed but still mapped by a reader: removed when the last mapping goes
 *
 * A name is used once: a reused segment or slab gets a new one, so a stale location finds nothing instead of another's bytes.
 *
 * So a location also says on which node its bytes are: the writer's. And a node knows, without asking, what its copy of an object is called.
 */
import { type NodeKey, nodeKeyOf } from "../base/ids.ts";
import type { Location } from "./types.ts";

export interface SegmentName {
  readonly owner: string;
  readonly writer: string;
}

/** A name that came from another process: nothing that leads out of the directory, nothing but a sealed segment's. */
const sealed =
  /^([A-Za-z0-9_-]{1,64})\.(?:\d{1,16}\.\d{1,9}(?:\.([A-Za-z0-9_-]{1,64}))?(?:\.copy\.([A-Za-z0-9_-]{1,64}))?|slab\d{1,16}(?:\.\d{1,16}\.copy\.([A-Za-z0-9_-]{1,64}))?)$/;

export function segmentName(owner: string, index: number, attempt: number, writer: string): string {
  return writer === owner ? `${owner}.${index}.${attempt}` : `${owner}.${index}.${attempt}.${writer}`;
}

export function slabName(owner: string, serial: number): string {
  return `${owner}.slab${serial}`;
}

/** Reads a sealed segment's name; `undefined` for anything else. */
export function parseSegmentName(name: string): SegmentName | undefined {
  const parts = sealed.exec(name);
  return parts === null ? undefined : { owner: parts[1], writer: parts[3] ?? parts[4] ?? parts[2] ?? parts[1] };
}

/** Whether the segment is shared by several objects, which are freed by their owner one by one. */
export const isSlabName = (name: string): boolean => /\.slab\d+$/.test(name);

/** The node on which the bytes of `location` are; `undefined` when that is no segment's name. */
export function holderOf(location: Location): NodeKey | undefined {
  const parsed = parseSegmentName(location.name);
  return parsed === undefined ? undefined : nodeKeyOf(parsed.writer);
}

const copySuffix = /\.copy\.[A-Za-z0-9_-]{1,64}$/;

/** The name common to all copies of an object, without the node. */
function copyBase(location: Location): string {
  if (copySuffix.test(location.name)) return location.name.replace(copySuffix, "");
  return isSlabName(location.name) ? `${location.name}.${location.offset}` : location.name;
}

/** Where the copy is, or would be, that the node `node` makes of the object at `location`, which may be a copy itself. */
export function copyLocation(location: Location, node: NodeKey): Location {
  return { name: `${copyBase(location)}.copy.${node}`, offset: 0, bytes: location.bytes };
}

/** Whether both are places of one and the same object's bytes. */
export const isSameObject = (a: Location, b: Location): boolean => copyBase(a) === copyBase(b) && a.bytes === b.bytes;

export const temporaryPrefix = (writer: string): string => `tmp.${writer}.`;
export const warmPrefix = (writer: string): string => `warm.${writer}.`;
export const deadPrefix = "dead.";
export const anyWarmPrefix = "warm.";
export const anyTemporaryPrefix = "tmp.";
