/** Identifiers. All are opaque strings, branded so that one kind cannot stand in for another. */
import { randomBytes } from "node:crypto";

declare const brand: unique symbol;
type Id<Kind extends string> = string & { readonly [brand]: Kind };

/** A driver or worker process (16 hex digits). Owns the objects it makes. Its first six digits are its node's: whoever has the id knows where it lives. */
export type WorkerId = Id<"WorkerId">;
/** A node daemon (16 hex digits). Its first six are unique among the cluster's nodes: the head refuses a second. */
export type NodeId = Id<"NodeId">;
/** One user program connected to a cluster (8 hex digits). */
export type JobId = Id<"JobId">;
/** An actor, over all its restarts (16 hex digits). */
export type ActorId = Id<"ActorId">;
/** A placement group (16 hex digits). */
export type PlacementGroupId = Id<"PlacementGroupId">;
/** A lease of a worker by an owner, unique in its daemon. */
export type LeaseId = number & { readonly [brand]: "LeaseId" };
/** An object within its owner: objects are named by (owner, index) everywhere. */
export type ObjectIndex = number & { readonly [brand]: "ObjectIndex" };

const hex = (bytes: number): string => randomBytes(bytes).toString("hex");

/** Hex digits of a node's id that begin the ids of its processes. */
const nodeKeyDigits = 6;

/** The part of a node's id that its processes' ids begin with. */
export type NodeKey = Id<"NodeKey">;

export const newNodeId = (): NodeId => hex(8) as NodeId;
export const newWorkerId = (nodeId: NodeId): WorkerId => (nodeId.slice(0, nodeKeyDigits) + hex(5)) as WorkerId;
/** Which node a process, or a node, is. */
export const nodeKeyOf = (id: WorkerId | NodeId | string): NodeKey => id.slice(0, nodeKeyDigits) as NodeKey;
export const newJobId = (): JobId => hex(4) as JobId;
export const newActorId = (): ActorId => hex(8) as ActorId;
export const newPlacementGroupId = (): PlacementGroupId => hex(8) as PlacementGroupId;
