/** Values and errors of the simulation as bytes: JSON, with the refs inside beside it. */
import type { Location } from "../src/objects/types.ts";
import type { WireValue } from "../src/wire/messages.ts";
import type { TaskSpec } from "./program.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const encodeError = (code: string): Uint8Array => encoder.encode(code);
export const decodeError = (error: WireValue): string => decoder.decode(error as Uint8Array);

/** A user's error, as opposed to one that only a fault explains. */
export const thrownCode = "THREW";

export interface StoredValue {
  readonly value: number;
  readonly refs: readonly (readonly [string, number])[];
}

export const encodeValue = (value: StoredValue): string => JSON.stringify([value.value, value.refs]);
export function decodeValue(text: WireValue): StoredValue {
  const [value, refs] = JSON.parse(text as string);
  return { value, refs };
}

/** The first argument of every task: what it is to do, and the refs that it gets as refs. */
export interface Order {
  readonly spec: TaskSpec;
  readonly inside: readonly (readonly [string, number])[];
}
export const encodeOrder = (order: Order): string => JSON.stringify([order.spec.seed, order.spec.depth, order.inside]);
export function decodeOrder(text: WireValue): Order {
  const [seed, depth, inside] = JSON.parse(text as string);
  return { spec: { seed, depth }, inside };
}

/** A node's object store: names and their contents. Content is lost by a fault, or by `free`. */
export class SimStore {
  private readonly contents = new Map<string, string>();

  /** The name says whose object it is, and which run of its task wrote it. */
  put(name: string, value: string): Location {
    this.contents.set(name, value);
    return { name, offset: 0, bytes: value.length };
  }

  /** Undefined when the bytes are gone. */
  read(location: Location): string | undefined {
    return this.contents.get(location.name);
  }

  free(location: Location): void {
    this.contents.delete(location.name);
  }

  get names(): string[] {
    return [...this.contents.keys()];
  }

  lose(name: string): void {
    this.contents.delete(name);
  }

  /** What processes of a dead node owned. */
  nodeDied(nodeId: string): void {
    for (const name of this.contents.keys()) if (name.startsWith(nodeId)) this.contents.delete(name);
  }

  ownerGone(owner: string): void {
    for (const name of this.contents.keys()) if (name.startsWith(`${owner}.`)) this.contents.delete(name);
  }
}
