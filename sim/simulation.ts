/** What all simulated processes share. */
import type { ActorId, ObjectIndex, WorkerId } from "../src/base/ids.ts";
import type { Network } from "./network.ts";
import type { SimStore } from "./value.ts";
import type { World } from "./world.ts";

export const daemonId = "daemon";

/** Bugs put in on purpose, to see that they are noticed. */
export type Bug =
  | "none"
  | "free twice"
  | "lose recalls"
  | "lend nothing"
  | "forget borrowers"
  | "share busy workers"
  | "start calls out of order";

export interface Shared {
  readonly world: World;
  readonly network: Network;
  readonly store: SimStore;
  readonly bug: Bug;
  /** Faults happen in this run: then a result may be an error that a fault explains. */
  readonly faulty: boolean;
  /** CPUs of the node. */
  readonly cpus: number;
  newId(prefix: string): string;
}

/** A property does not hold. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export function check(condition: boolean, detail: () => string): void {
  if (!condition) throw new Violation(detail());
}

export const asWorker = (id: string): WorkerId => id as WorkerId;
export const asIndex = (index: number): ObjectIndex => index as ObjectIndex;
export const asActor = (id: string): ActorId => id as ActorId;
