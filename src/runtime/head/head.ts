/**
 * The head: what is one for the whole cluster. Actors and their names, placement groups, jobs, the key-value store, and who lives where.
 *
 * It lives in the head node's daemon but knows nothing of that daemon: nodes are `HeadNode`s to it. Decisions are the actor registry's
 * (core/); this class carries its effects to the nodes, keeps the subscribers, and wakes it when time has passed.
 */
import { ActorAlreadyExistsError } from "../../base/errors.ts";
import { type ActorId, type JobId, type NodeId, nodeKeyOf, type PlacementGroupId, type WorkerId } from "../../base/ids.ts";
import { createActorRegistry, findByName, nextWakeMs, step, viewOf } from "../../core/actor-registry.ts";
import type { ActorPlace, RegistryEffect, RegistryEvent } from "../../core/actor-registry-events.ts";
import type { GroupSpec } from "../../core/group-placement.ts";
import type { ActorSpec, ActorView, GroupView, ProcessExit, Resources, TaskEvent, WireValue } from "../../wire/messages.ts";
import type { JobInfo, JoinInfo, NodeInventory, NodeMessage, PendingDemand } from "../../wire/node-messages.ts";
import { ActorPlacing } from "./actor-placing.ts";
import { CodeTable } from "./code-table.ts";
import type { ControlStore } from "./control-store.ts";
import { GroupPlacing } from "./group-placing.ts";
import { Groups } from "./groups.ts";
import { HeadMemory } from "./head-memory.ts";
import type { HeadNode } from "./head-node.ts";
import type { HeadSide } from "./head-side.ts";
import { Jobs } from "./jobs.ts";
import { Members } from "./members.ts";
import { type Subscriber, Subscriptions } from "./subscriptions.ts";
import { TaskEvents } from "./task-events.ts";

/** What the head needs of the daemon it lives in. */
export interface HeadHandlers {
  /** Milliseconds of silence after which a node is dead. */
  readonly nodeTimeoutMs: number;
  /** Whether nothing listens at the address any more. */
  probe(host: string, port: number): Promise<boolean>;
}

/** Milliseconds in which the order to create an actor follows its handle, whatever the load. */
const creationMs = 10_000;

export class Head implements HeadSide {
  readonly memory = new HeadMemory();
  private readonly registry = createActorRegistry();
  readonly code: CodeTable;
  private readonly groups = new Groups();
  readonly jobs = new Jobs((jobId, record) => this.memory.saveJob(jobId, record));
  readonly taskEvents = new TaskEvents();
  readonly members: Members;
  private readonly actorPlacing: ActorPlacing;
  private readonly groupPlacing: GroupPlacing;
  private readonly subscriptions = new Subscriptions();
  /** Those who ask for actors that are still to be created. */
  private readonly awaited = new Map<ActorId, readonly ((view: ActorView | null) => void)[]>();
  private timer: NodeJS.Timeout | null = null;
  private queue: RegistryEvent[] = [];
  private stepping = false;
  /** Nodes of an earlier head that have neither joined again nor died; null: there was none, or all is settled. */
  private awaitedNodes: Set<NodeId> | null = null;
  private lastCreated: (RegistryEffect & { kind: "created" }) | null = null;

  constructor(handlers: HeadHandlers) {
    this.code = new CodeTable(
      () => this.memory.store,
      (jobId) => this.needsCode(jobId),
    );
    this.members = new Members(handlers.nodeTimeoutMs, {
      probe: (host, port) => handlers.probe(host, port),
      dead: (nodeId, reason) => this.nodeDead(nodeId, reason),
      announced: () => this.nodesChanged(),
    });
    this.actorPlacing = new ActorPlacing(this.members, {
      jobOf: (spec) => this.jobs.info(spec.jobId),
      groupNodes: (groupId) => this.groupPlacing.nodesOf(groupId),
      unplaceable: (actorId, text) => this.dispatch({ kind: "unplaceable", actorId, reason: "unschedulable", text }),
      warn: (spec, text) => this.warn(spec.jobId, text),
    });
    this.groupPlacing = new GroupPlacing(this.members, {
      created: (groupId) => this.groupCreated(groupId),
      rescheduling: (groupId) => this.groups.becomeRescheduling(groupId),
      removed: (groupId, actorIds) => this.groupRemoved(groupId, actorIds),
      moved: (spec, nodes) => this.memory.saveGroup({ spec, nodes }),
      warn: (spec, text) => this.warn(spec.jobId, text),
    });
  }

  /** The job runs, or a detached actor of it lives. */
  private needsCode(jobId: JobId): boolean {
    if (this.jobs.isRunning(jobId)) return true;
    for (const record of this.registry.actors.values())
      if (record.spec.jobId === jobId && viewOf(record).state !== "DEAD") return true;
    return false;
  }

  // -------------------------------------------------------------- after an earlier head

  /**
   * Takes over what an earlier head on the same store knew. Its nodes have the time of a silent node to join again; nothing is placed until all of them
   * have, or are dead, as what lives is on them.
   */
  recover(store: ControlStore): void {
    this.memory.store = store;
    const nodes = this.memory.nodes();
    if (nodes.length === 0) return;
    this.awaitedNodes = new Set(nodes.map(({ info }) => info.nodeId));
    this.actorPlacing.hold();
    this.groupPlacing.hold();
    for (const record of this.memory.jobs()) this.jobs.restore(record);
    for (const { spec, nodes } of this.memory.groups()) {
      this.groups.add(spec);
      this.groupPlacing.restore(spec, nodes);
      if (!nodes.includes(null)) this.groups.becomeCreated(spec.groupId);
    }
    const gone = new Set(nodes.flatMap(({ info, isHead }) => (isHead ? [info.nodeId] : [])));
    for (const saved of this.memory.actors()) {
      // What is detached outlives even the head's machine.
      const lost = saved.spec.detached && saved.place !== null && gone.has(saved.place.nodeId);
      this.dispatch({ kind: "restored", saved: lost ? { ...saved, place: null } : saved });
    }
    for (const { info, isHead } of nodes)
      this.members.restore(info, isHead ? "it was the head's, and the head has been started again" : null);
  }

  private nodeSettled(nodeId: NodeId): void {
    if (this.awaitedNodes?.delete(nodeId) !== true || this.awaitedNodes.size > 0) return;
    this.awaitedNodes = null;
    this.dispatch({ kind: "placeRestored" });
    for (const actorId of this.subscriptions.actors()) if (this.actor(actorId) === null) this.publish(unknownActor(actorId));
    this.actorPlacing.resume();
    this.groupPlacing.resume();
  }

  /**
   * A node says what it has. It may have been a member before, of this head or an earlier one; then what was said on a connection that broke may be lost: what
   * the node should have and has not is ordered again, what it has and should not is ended.
   */
  private reconcile({ nodeId }: JoinInfo, here: NodeInventory, node: HeadNode, told: (message: NodeMessage) => void): void {
    for (const { info, driverPid } of here.driven) this.onJobStarted(info, driverPid);
    for (const message of here.news) told(message);
    for (const { spec, incarnation, place, alive } of here.actors)
      this.dispatch({ kind: "recovered", spec, incarnation, place: { nodeId, ...place }, alive });
    this.actorPlacing.nodeBack(nodeId);
    this.dispatch({ kind: "absent", nodeId, present: new Set(here.actors.map(({ spec }) => spec.actorId)) });
    const processes = new Set(here.processes);
    const key = nodeKeyOf(nodeId);
    for (const ownerId of [...this.registry.byOwner.keys()])
      if (nodeKeyOf(ownerId) === key && !processes.has(ownerId)) this.dispatch({ kind: "ownerGone", ownerId });
    const driven = new Set(here.driven.map(({ info }) => info.jobId));
    for (const jobId of this.jobs.drivenFrom(nodeId)) if (!driven.has(jobId)) this.onJobEnded(jobId);
    for (const jobId of here.jobs) if (this.jobs.info(jobId) !== null && !this.jobs.isRunning(jobId)) node.jobEnded(jobId);
    this.subscriptions.nodeGone(key);
    for (const [workerId, actorIds] of here.subscriptions)
      for (const actorId of actorIds) this.subscribeAgain(actorId, { nodeId, workerId });
    this.groupPlacing.nodeBack(nodeId, new Map(here.bundles), here.groups);
    if (this.members.isDraining(nodeId)) node.drain("it was asked to leave when the head could not reach it");
  }

  /** What it would have heard meanwhile is told now. */
  private subscribeAgain(actorId: ActorId, from: Subscriber): void {
    const view = this.actor(actorId);
    if (view?.state !== "DEAD") this.subscriptions.add(actorId, from);
    // While nodes are awaited one of them may have it.
    if (view !== null || this.awaitedNodes === null)
      this.members.node(from.nodeId)?.publishActor(from.workerId, view ?? unknownActor(actorId));
  }

  // -------------------------------------------------------------- nodes

  /**
   * Null when the node is a member now, else why it cannot be one. `told` is called with what the node has told in vain since it was last heard.
   */
  join(info: JoinInfo, node: HeadNode, isHead: boolean, told: (message: NodeMessage) => void = () => {}): string | null {
    const refused = this.members.join(info, node, isHead);
    if (refused !== null) return refused;
    this.memory.saveNode(info, isHead);
    if (!isHead) {
      node.announceNodes(this.members.views());
      if (info.here === null) this.groupPlacing.nodeJoined(info.nodeId);
      else this.reconcile(info, info.here, node, told);
    }
    this.nodeSettled(info.nodeId);
    return null;
  }

  onHeartbeat(nodeId: NodeId, available: Resources, pending: readonly PendingDemand[], storeUsed: number): void {
    this.actorPlacing.nodeHeard(nodeId);
    this.members.heartbeat(nodeId, available, pending, storeUsed);
    this.groupPlacing.nodeHeard(nodeId);
  }

  /** Stops giving the node work and asks it to leave when it is through with what it has. */
  drainNode(nodeId: NodeId, reason: string): void {
    const node = this.members.node(nodeId);
    if (node === undefined) throw new Error(`Cannot drain node ${nodeId} as there is none of that id alive`);
    this.giveNothingNew(nodeId);
    node.drain(reason);
  }

  /** The node is about to leave, as it was told by others. */
  giveNothingNew(nodeId: NodeId): void {
    this.members.drain(nodeId);
    this.dispatch({ kind: "nodeDraining", nodeId });
  }

  private nodeDead(nodeId: NodeId, reason: string): void {
    const key = nodeKeyOf(nodeId);
    this.memory.forgetNode(nodeId);
    this.subscriptions.nodeGone(key);
    this.dispatch({ kind: "nodeDied", nodeId, text: reason });
    for (const ownerId of [...this.registry.byOwner.keys()])
      if (nodeKeyOf(ownerId) === key) this.dispatch({ kind: "ownerGone", ownerId });
    for (const jobId of this.jobs.drivenFrom(nodeId)) this.onJobEnded(jobId);
    // After this event the node is no candidate any more.
    queueMicrotask(() => {
      this.actorPlacing.nodeGone(nodeId);
      this.groupPlacing.nodeGone(nodeId);
      this.nodeSettled(nodeId);
    });
  }

  private nodesChanged(): void {
    this.actorPlacing.look();
    this.groupPlacing.look();
  }

  private warn(jobId: JobId | null, text: string): void {
    for (const node of this.members.living()) node.warn(jobId, text);
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
    this.subscriptions.add(created.view.actorId, from);
    const view = this.actor(created.view.actorId) as ActorView;
    for (const found of this.awaited.get(spec.actorId) ?? []) found(view);
    return view;
  }

  findActor(namespace: string, name: string, from: Subscriber): ActorView | null {
    const record = findByName(this.registry, namespace, name);
    if (record === null) return null;
    this.subscriptions.add(record.spec.actorId, from);
    return viewOf(record);
  }

  /**
   * The actor of a handle that arrived somewhere. The handle may have travelled faster than the order to create its actor, so an unknown one is
   * waited for, up to `creationMs`; null then. The id of a handle by `getIfExists` that found another actor is none: that actor is found by the name.
   */
  subscribeActor(
    actorId: ActorId,
    byName: { readonly name: string; readonly namespace: string } | null,
    from: Subscriber,
  ): ActorView | null | Promise<ActorView | null> {
    const view = this.actor(actorId) ?? (byName === null ? null : this.findActor(byName.namespace, byName.name, from));
    if (view === null) return this.awaitCreation(actorId, from);
    if (view.state !== "DEAD") this.subscriptions.add(view.actorId, from);
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
        if (view !== null && view.state !== "DEAD") this.subscriptions.add(view.actorId, from);
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

  /** A place is taken from the node that is looking for one: another was told meanwhile that it is not wanted. */
  onActorPlaced(actorId: ActorId, place: ActorPlace): void {
    if (this.actorPlacing.whereOf(actorId) !== place.nodeId)
      return this.members
        .node(place.nodeId)
        ?.endWorker(place.workerId, "now", "the actor it was meant for has ended or is placed elsewhere");
    this.actorPlacing.over(actorId);
    this.dispatch({ kind: "placed", actorId, place });
  }

  onActorUnplaceable(nodeId: NodeId, actorId: ActorId, reason: "unschedulable" | "runtime env", text: string): void {
    if (this.actorPlacing.whereOf(actorId) !== nodeId) return;
    this.actorPlacing.over(actorId);
    this.dispatch({ kind: "unplaceable", actorId, reason, text });
  }

  onActorReady(actorId: ActorId, incarnation: number, error: WireValue | null, errorText: string): void {
    this.dispatch({ kind: "ready", actorId, incarnation, error, errorText });
  }

  onActorExiting(actorId: ActorId, incarnation: number): void {
    this.dispatch({ kind: "exiting", actorId, incarnation });
  }

  onWorkerDied(workerId: WorkerId, exit: ProcessExit): void {
    this.subscriptions.processGone(workerId);
    this.dispatch({ kind: "workerDied", workerId, exit });
  }

  onDriverGone(workerId: WorkerId, jobId: JobId): void {
    this.subscriptions.processGone(workerId);
    this.dispatch({ kind: "ownerGone", ownerId: workerId });
    this.onJobEnded(jobId);
  }

  onTaskEvents(jobId: JobId, events: readonly TaskEvent[]): void {
    this.taskEvents.add(jobId, events);
  }

  onJobStarted(info: JobInfo, driverPid: number | null): void {
    this.jobs.start(info, driverPid);
  }

  onJobEnded(jobId: JobId): void {
    if (!this.jobs.end(jobId)) return;
    this.dispatch({ kind: "jobEnded", jobId });
    this.removeGroupsOf(jobId);
    for (const node of this.members.living()) node.jobEnded(jobId);
  }

  /** What a living actor made stays: the others of the job have ended by now, or will be heard of. */
  private removeGroupsOf(jobId: JobId): void {
    for (const { groupId, creatorId } of this.groups.ofJob(jobId)) {
      const creator = creatorId == null ? null : this.actor(creatorId);
      if (creator === null || creator.state === "DEAD") this.removeGroup(groupId);
    }
  }

  private actorDead(actorId: ActorId): void {
    this.memory.forgetActor(actorId);
    for (const { groupId, jobId } of this.groups.ofCreator(actorId)) if (!this.jobs.isRunning(jobId)) this.removeGroup(groupId);
  }

  onBundlesReserved(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    this.groupPlacing.onReserved(nodeId, groupId, attempt);
  }

  onBundlesRefused(nodeId: NodeId, groupId: PlacementGroupId, attempt: number): void {
    this.groupPlacing.onRefused(nodeId, groupId, attempt);
  }

  onBundlesRemoved(nodeId: NodeId, groupId: PlacementGroupId, actorIds: readonly ActorId[]): void {
    this.groupPlacing.onRemoved(nodeId, groupId, actorIds);
  }

  private groupCreated(groupId: PlacementGroupId): void {
    this.groups.becomeCreated(groupId);
    this.actorPlacing.look();
  }

  private groupRemoved(groupId: PlacementGroupId, actorIds: readonly ActorId[]): void {
    this.groups.becomeRemoved(groupId);
    this.memory.forgetGroup(groupId);
    if (actorIds.length > 0) this.dispatch({ kind: "groupRemoved", actorIds, groupText: `placement group ${groupId}` });
    this.actorPlacing.look();
  }

  // -------------------------------------------------------------- placement groups

  /** `from`: the process that wants it. */
  createGroup(wanted: GroupSpec, from: WorkerId): GroupView {
    const spec = { ...wanted, creatorId: this.registry.byWorker.get(from)?.spec.actorId ?? null };
    const view = this.groups.add(spec);
    if (view === null) throw new Error(`Cannot create placement group '${spec.name}' as the name is taken`);
    this.groupPlacing.place(spec);
    return this.groups.byId(spec.groupId) as GroupView;
  }

  removeGroup(groupId: PlacementGroupId): void {
    const view = this.groups.byId(groupId);
    if (view === null || view.state === "REMOVED") return;
    this.groupPlacing.remove(groupId);
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

  /** Tells all nodes that there will be no head any more. */
  end(reason: string): void {
    for (const node of this.members.living()) node.clusterEnds(reason);
  }

  close(): void {
    this.members.close();
    this.actorPlacing.close();
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
        return this.actorPlacing.place(effect.spec);
      case "unplace": {
        const nodeId = this.actorPlacing.over(effect.actorId) ?? effect.nodeId;
        if (nodeId !== null) this.members.node(nodeId)?.unplaceActor(effect.actorId);
        return;
      }
      case "start":
        return this.members.node(effect.place.nodeId)?.startActor(effect.spec, effect.incarnation, effect.place);
      case "settled":
        return this.members.node(effect.nodeId)?.settleActor(effect.actorId);
      case "endProcess":
        return this.members.node(effect.nodeId)?.endWorker(effect.workerId, effect.how, effect.reason);
      case "publish":
        return this.publish(effect.view);
      case "save":
        return this.memory.saveActor(effect.saved);
      case "forget":
        return this.actorDead(effect.actorId);
    }
  }

  private publish(view: ActorView): void {
    for (const { nodeId, workerId } of this.subscriptions.of(view.actorId))
      this.members.node(nodeId)?.publishActor(workerId, view);
    if (view.state === "DEAD") this.subscriptions.actorOver(view.actorId);
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

/** What subscribers are told of an actor that nobody knows: not the store, and no node has it. */
function unknownActor(actorId: ActorId): ActorView {
  return {
    actorId,
    className: "actor",
    name: null,
    namespace: "",
    state: "DEAD",
    incarnation: Number.MAX_SAFE_INTEGER,
    workerId: null,
    address: null,
    pid: null,
    nodeId: null,
    restartsLeft: 0,
    deathReason: "node died",
    deathMessage: "the head of the cluster was lost, and neither its successor nor any node knows the actor",
    deathCause: null,
    ownerId: "" as WorkerId,
    handleIndex: null,
    detached: false,
    handleSpec: null,
    jobId: "" as JobId,
  };
}
