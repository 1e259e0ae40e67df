/** What of the head is in its store, and how it gets there. A head that starts on the store of an earlier one begins with this. */
import type { ActorId, JobId, NodeId, PlacementGroupId } from "../../base/ids.ts";
import type { SavedActor } from "../../core/actor-registry-events.ts";
import type { GroupSpec } from "../../core/group-placement.ts";
import type { JoinInfo } from "../../wire/node-messages.ts";
import { type ControlStore, MemoryControlStore } from "./control-store.ts";
import type { JobRecord } from "./jobs.ts";

const tables = { keys: "keys", actors: "actors", groups: "groups", jobs: "jobs", nodes: "nodes", cluster: "cluster" } as const;

export interface SavedNode {
  readonly info: JoinInfo;
  readonly isHead: boolean;
}

export interface SavedGroup {
  readonly spec: GroupSpec;
  /** Where its bundles are reserved. */
  readonly nodes: readonly (NodeId | null)[];
}

export class HeadMemory {
  store: ControlStore = new MemoryControlStore();

  /** The id of the cluster: what the store says, else `otherwise`, from now on. */
  clusterId(otherwise: string): string {
    const known = this.store.get(tables.cluster, "id");
    if (typeof known === "string") return known;
    this.store.put(tables.cluster, "id", otherwise);
    return otherwise;
  }

  saveActor(saved: SavedActor): void {
    this.store.put(tables.actors, saved.spec.actorId, saved);
  }

  forgetActor(actorId: ActorId): void {
    this.store.delete(tables.actors, actorId);
  }

  actors(): SavedActor[] {
    return [...this.store.entries(tables.actors)].map(([, value]) => value as SavedActor);
  }

  saveGroup(saved: SavedGroup): void {
    this.store.put(tables.groups, saved.spec.groupId, saved);
  }

  forgetGroup(groupId: PlacementGroupId): void {
    this.store.delete(tables.groups, groupId);
  }

  groups(): SavedGroup[] {
    return [...this.store.entries(tables.groups)].map(([, value]) => value as SavedGroup);
  }

  /** `record` null: forgotten. */
  saveJob(jobId: JobId, record: JobRecord | null): void {
    if (record === null) this.store.delete(tables.jobs, jobId);
    else this.store.put(tables.jobs, jobId, { ...record });
  }

  jobs(): JobRecord[] {
    return [...this.store.entries(tables.jobs)].map(([, value]) => value as JobRecord);
  }

  saveNode(info: JoinInfo, isHead: boolean): void {
    const saved: SavedNode = { info: { ...info, here: null }, isHead };
    this.store.put(tables.nodes, info.nodeId, saved);
  }

  forgetNode(nodeId: NodeId): void {
    this.store.delete(tables.nodes, nodeId);
  }

  nodes(): SavedNode[] {
    return [...this.store.entries(tables.nodes)].map(([, value]) => value as SavedNode);
  }

  // -------------------------------------------------------------- keys

  /** True when the key is new. Without `overwrite` an existing value stays. */
  putKey(namespace: string, key: string, value: unknown, overwrite: boolean): boolean {
    const isNew = this.store.get(tables.keys, keyOf(namespace, key)) === undefined;
    if (isNew || overwrite) this.store.put(tables.keys, keyOf(namespace, key), value);
    return isNew;
  }

  getKey(namespace: string, key: string): unknown {
    return this.store.get(tables.keys, keyOf(namespace, key)) ?? null;
  }

  deleteKey(namespace: string, key: string): boolean {
    return this.store.delete(tables.keys, keyOf(namespace, key));
  }

  keys(namespace: string, prefix: string): string[] {
    const start = keyOf(namespace, prefix);
    const keys: string[] = [];
    for (const [key] of this.store.entries(tables.keys)) if (key.startsWith(start)) keys.push(key.slice(namespace.length + 1));
    return keys;
  }
}

const keyOf = (namespace: string, key: string): string => `${namespace}\0${key}`;
