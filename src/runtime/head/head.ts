/**
 * The head: what is one for the whole cluster. Actors and their names, placement groups, jobs, the key-value store, and who lives where.
 *
 * It lives in the head node's daemon but knows nothing of that daemon: nodes are `HeadNode`s to it. Decisions are the actor registry's
 * (core/); this class carries its effects to the nodes, keeps the subscribers, and wakes it when time has passed.
 */
import { ActorAlreadyExistsError } from "../../base/errors.ts";
import type { ActorId, JobId, NodeId, PlacementGroupId, WorkerId } from "../../base/ids.ts";
import { createActorRegistry, findByName, nextWakeMs, step, viewOf } from "../../core/actor-registry.ts";
import type { ActorPlace, RegistryEffect, RegistryEvent } from "../../core/actor-registry-events.ts";
import type { ActorSpec, ActorView, GroupView, ProcessExit, WireValue } from "../../wire/messages.ts";
import { CodeTable } from "./code-table.ts";
import type { ControlStore } from "./control-store.ts";
import { type GroupSpec, Groups } from "./groups.ts";
import type { HeadNode } from "./head-node.ts";

/** A process that wants to hear of an actor. */
interface Subscriber {
  readonly nodeId: NodeId;
  readonly workerId: WorkerId;
}

/** Milliseconds in which the order to create an actor follows its handle, whatever the load. */
const creationMs = 10_000;

const tables = { keys: "keys", actors: "detached actors" } as const;

export class Head {
  private readonly store: ControlStore;
  private readonly registry = createActorRegistry();
  readonly code: CodeTable;
  private readonly endedJobs = new Set<JobId>();
  private readonly groups = new Groups();
  private readonly nodes = new Map<NodeId, HeadNode>();
  private readonly subscribers = new Map<ActorId, Map<WorkerId, Subscriber>>();
  /** Which actors a process has subscribed to: to forget it when it ends. */
  private readonly subscriptions = new Map<WorkerId, Set<ActorId>>();
  /** Those who ask for actors that are still to be created. */
  private readonly awaited = new Map<ActorId, readonly ((view: ActorView | null) => void)[]>();
  private timer: NodeJS.Timeout | null = null;
  private queue: RegistryEvent[] = [];
  private stepping = false;
  private lastCreated: (RegistryEffect & { kind: "created" }) | null = null;

  constructor(store: ControlStore) {
    this.store = store;
    this.code = new CodeTable(
      () => this.store,
      (jobId) => this.needsCode(jobId),
    );
  }

  /** The job runs, or a detached actor of it lives. */
  private needsCode(jobId: JobId): boolean {
    if (!this.endedJobs.has(jobId)) return true;
    for (const record of this.registry.actors.values())
      if (record.spec.jobId === jobId && viewOf(record).state !== "DEAD") return true;
    return false;
  }

  addNode(node: HeadNode): void {
    this.nodes.set(node.nodeId, node);
  }

  // -------------------------------------------------------------- actors

  createActor(spec: ActorSpec, from: Subscriber): ActorView {
    if (spec.name === "") throw new Error("Cannot create actor as its name is empty");
    this.lastCreated = null;
    this.dispatch({ kind: "create", spec });
    const created = this.lastCreated as (RegistryEffect & { kind: "created" }) | null;
    if (created === null) throw new Error(`Cannot create actor ${spec.actorId} as the registry is busy`);
    if (created.outcome === "taken") {
      const { name, namespace, actorId, className } = created.view;
      throw new ActorAlreadyExistsError(
        `Cannot create actor '${name}' in namespace '${namespace}' as the name is taken by ${className} ${actorId}`,
        {
          actorName: name as string,
          namespace,
          actorId,
          actorClass: className,
        },
      );
    }
    this.subscribe(created.view.actorId, from);
    const view = this.actor(created.view.actorId) as ActorView;
    for (const found of this.awaited.get(spec.actorId) ?? []) found(view);
    return view;
  }

  findActor(namespace: string, name: string, from: Subscriber): ActorView | null {
    const record = findByName(this.registry, namespace, name);
    if (record === null) return null;
    this.subscribe(record.spec.actorId, from);
    return viewOf(record);
  }

  /**
   * The actor of a handle that arrived somewhere. The handle may have travelled faster than the order to create its actor, so an unknown one is
   * waited for, up to `creationMs`; null then. A handle that stands for whoever has a name is found by the name.
   */
  subscribeActor(
    actorId: ActorId,
    byName: { readonly name: string; readonly namespace: string } | null,
    from: Subscriber,
  ): ActorView | null | Promise<ActorView | null> {
    const view = (byName === null ? null : this.findActor(byName.namespace, byName.name, from)) ?? this.actor(actorId);
    if (view === null) return this.awaitCreation(actorId, from);
    if (view.state !== "DEAD") this.subscribe(view.actorId, from);
    return view;
  }

  private awaitCreation(actorId: ActorId, from: Subscriber): Promise<ActorView | null> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(null), creationMs);
      const settle = (view: ActorView | null): void => {
        clearTimeout(timer);
        const waiting = this.awaited.get(actorId)?.filter((other) => other !== settle) ?? [];
        if (waiting.length === 0) this.awaited.delete(actorId);
        else this.awaited.set(actorId, waiting);
        if (view !== null && view.state !== "DEAD") this.subscribe(view.actorId, from);
        resolve(view);
      };
      this.awaited.set(actorId, [...(this.awaited.get(actorId) ?? []), settle]);
    });
  }

  actor(actorId: ActorId): ActorView | null {
    const record = this.registry.actors.get(actorId);
    return record === undefined ? null : viewOf(record);
  }

  listActors(): ActorView[] {
    return [...this.registry.actors.values()].map(viewOf);
  }

  killActor(actorId: ActorId, noRestart: boolean): void {
    this.dispatch({ kind: "kill", actorId, noRestart });
  }

  actorOutOfScope(actorId: ActorId): void {
    this.dispatch({ kind: "outOfScope", actorId });
  }

  // -------------------------------------------------------------- news from nodes

  onActorPlaced(actorId: ActorId, place: ActorPlace): void {
    this.dispatch({ kind: "placed", actorId, place });
  }

  onActorUnplaceable(actorId: ActorId, reason: "unschedulable" | "runtime env", text: string): void {
    this.dispatch({ kind: "unplaceable", actorId, reason, text });
  }

  onActorReady(actorId: ActorId, incarnation: number, error: WireValue | null, errorText: string): void {
    this.dispatch({ kind: "ready", actorId, incarnation, error, errorText });
  }

  onActorExiting(actorId: ActorId, incarnation: number): void {
    this.dispatch({ kind: "exiting", actorId, incarnation });
  }

  onWorkerDied(workerId: WorkerId, exit: ProcessExit): void {
    this.unsubscribeAll(workerId);
    this.dispatch({ kind: "workerDied", workerId, exit });
  }

  onDriverGone(workerId: WorkerId): void {
    this.unsubscribeAll(workerId);
    this.dispatch({ kind: "ownerGone", ownerId: workerId });
  }

  onJobEnded(jobId: JobId): void {
    this.endedJobs.add(jobId);
    this.dispatch({ kind: "jobEnded", jobId });
    for (const groupId of this.groups.ofJob(jobId)) this.removeGroup(groupId);
  }

  onGroupCreated(groupId: PlacementGroupId): void {
    this.groups.becomeCreated(groupId);
  }

  onGroupRemoved(groupId: PlacementGroupId, actorIds: readonly ActorId[]): void {
    this.groups.becomeRemoved(groupId);
    if (actorIds.length > 0) this.dispatch({ kind: "groupRemoved", actorIds, groupText: `placement group ${groupId}` });
  }

  // -------------------------------------------------------------- placement groups

  createGroup(spec: GroupSpec): GroupView {
    const view = this.groups.add(spec);
    if (view === null) throw new Error(`Cannot create placement group '${spec.name}' as the name is taken`);
    this.anyNode().createGroup(spec.groupId, spec.jobId, spec.bundles, spec.strategy);
    return view;
  }

  removeGroup(groupId: PlacementGroupId): void {
    const view = this.groups.byId(groupId);
    if (view === null || view.state === "REMOVED") return;
    this.anyNode().removeGroup(groupId);
  }

  groupById(groupId: PlacementGroupId): GroupView | null {
    return this.groups.byId(groupId);
  }

  groupByName(name: string): GroupView | null {
    return this.groups.byName(name);
  }

  listGroups(): GroupView[] {
    return this.groups.list();
  }

  whenGroupSettled(groupId: PlacementGroupId): Promise<GroupView> {
    return new Promise((resolve, reject) => {
      if (!this.groups.whenSettled(groupId, resolve))
        reject(new Error(`Cannot wait for placement group ${groupId} as there is none of that id`));
    });
  }

  // -------------------------------------------------------------- keys

  /** True when the key is new. Without `overwrite` an existing value stays. */
  kvPut(namespace: string, key: string, value: unknown, overwrite: boolean): boolean {
    const isNew = this.store.get(tables.keys, kvKey(namespace, key)) === undefined;
    if (isNew || overwrite) this.store.put(tables.keys, kvKey(namespace, key), value);
    return isNew;
  }

  kvGet(namespace: string, key: string): unknown {
    return this.store.get(tables.keys, kvKey(namespace, key)) ?? null;
  }

  kvDelete(namespace: string, key: string): boolean {
    return this.store.delete(tables.keys, kvKey(namespace, key));
  }

  kvKeys(namespace: string, prefix: string): string[] {
    const start = kvKey(namespace, prefix);
    const keys: string[] = [];
    for (const [key] of this.store.entries(tables.keys)) if (key.startsWith(start)) keys.push(key.slice(namespace.length + 1));
    return keys;
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  // -------------------------------------------------------------- the registry's effects

  /** Steps the registry; events that arise while effects are carried out wait for their turn. */
  private dispatch(event: RegistryEvent): void {
    this.queue.push(event);
    if (this.stepping) return;
    this.stepping = true;
    try {
      for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
        for (const effect of step(this.registry, Date.now(), next)) this.carryOut(effect);
      }
    } finally {
      this.stepping = false;
    }
    this.armTimer();
  }

  private carryOut(effect: RegistryEffect): void {
    switch (effect.kind) {
      case "created":
        this.lastCreated = effect;
        return;
      case "place":
        return this.anyNode().placeActor(effect.spec);
      case "unplace":
        return this.anyNode().unplaceActor(effect.actorId);
      case "start":
        return this.nodes.get(effect.place.nodeId)?.startActor(effect.spec, effect.incarnation, effect.place);
      case "settled":
        return this.nodes.get(effect.nodeId)?.settleActor(effect.actorId);
      case "endProcess":
        return this.nodes.get(effect.nodeId)?.endWorker(effect.workerId, effect.how, effect.reason);
      case "publish":
        return this.publish(effect.view);
      case "save":
        return this.store.put(tables.actors, effect.spec.actorId, { spec: effect.spec, restartsLeft: effect.restartsLeft });
      case "forget":
        this.store.delete(tables.actors, effect.actorId);
        return;
    }
  }

  private publish(view: ActorView): void {
    const subscribers = this.subscribers.get(view.actorId);
    if (subscribers === undefined) return;
    for (const { nodeId, workerId } of subscribers.values()) this.nodes.get(nodeId)?.publishActor(workerId, view);
    if (view.state !== "DEAD") return;
    this.subscribers.delete(view.actorId);
    for (const workerId of subscribers.keys()) this.subscriptions.get(workerId)?.delete(view.actorId);
  }

  private subscribe(actorId: ActorId, from: Subscriber): void {
    const subscribers = this.subscribers.get(actorId);
    if (subscribers === undefined) this.subscribers.set(actorId, new Map([[from.workerId, from]]));
    else subscribers.set(from.workerId, from);
    const mine = this.subscriptions.get(from.workerId);
    if (mine === undefined) this.subscriptions.set(from.workerId, new Set([actorId]));
    else mine.add(actorId);
  }

  private unsubscribeAll(workerId: WorkerId): void {
    for (const actorId of this.subscriptions.get(workerId) ?? []) {
      const subscribers = this.subscribers.get(actorId);
      if (subscribers?.delete(workerId) === true && subscribers.size === 0) this.subscribers.delete(actorId);
    }
    this.subscriptions.delete(workerId);
  }

  /** The node that places actors and groups: while nodes cannot join there is the head's own. */
  private anyNode(): HeadNode {
    for (const node of this.nodes.values()) return node;
    throw new Error("Cannot place anything as the cluster has no node");
  }

  private armTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const wake = nextWakeMs(this.registry);
    if (wake === null) return;
    this.timer = setTimeout(() => this.dispatch({ kind: "tick" }), Math.max(0, wake - Date.now()));
    this.timer.unref();
  }
}

const kvKey = (namespace: string, key: string): string => `${namespace}\0${key}`;
