/**
 * The simulated head: the real membership, actor registry, actor placement and group placement machines, and what runtime/head does around them.
 * It is a part of its node's daemon.
 */
import { type ActorId, type NodeId, nodeKeyOf, type PlacementGroupId, type WorkerId } from "../src/base/ids.ts";
import * as placement from "../src/core/actor-placement.ts";
import * as actors from "../src/core/actor-registry.ts";
import type { ActorPlace, RegistryEffect, RegistryEvent } from "../src/core/actor-registry-events.ts";
import * as groups from "../src/core/group-placement.ts";
import * as membership from "../src/core/membership.ts";
import type { ActorSpec, ActorView } from "../src/wire/messages.ts";
import { type JoinInfo, type NodeInventory, NodeKind, type NodeMessage } from "../src/wire/node-messages.ts";
import type { Daemon } from "./daemon.ts";
import { nodeTimeoutMs } from "./simulation.ts";
import type { Timer } from "./world.ts";

export interface Caller {
  readonly nodeId: NodeId;
  readonly workerId: WorkerId;
}

type Answer = (ok: boolean, value: unknown) => void;

const announceMs = 50;
const newsMs = 20;
/** A handle may travel faster than the order to create its actor. */
const creationMs = 10_000;

export class SimHead {
  readonly membership = membership.createMembership({ timeoutMs: nodeTimeoutMs, announceMs });
  readonly registry = actors.createActorRegistry();
  readonly placement = placement.createActorPlacement();
  readonly groups = groups.createGroupPlacement();
  private readonly daemon: Daemon;
  /** Living nodes. */
  readonly living = new Set<NodeId>();
  /** Nodes whose connection has broken: what they were told would be heard before they have said what they have. */
  private readonly away = new Set<NodeId>();
  private readonly subscribers = new Map<ActorId, Map<WorkerId, NodeId>>();
  private readonly groupWaiters = new Map<PlacementGroupId, Answer[]>();
  private readonly created = new Set<PlacementGroupId>();
  private readonly awaited = new Map<ActorId, Set<(view: ActorView | null) => void>>();
  private readonly queue: (() => void)[] = [];
  private stepping = false;
  private steps = 0;
  private timer: Timer | null = null;
  private timerAtMs = Number.POSITIVE_INFINITY;
  private newsPlanned = false;
  private lastCreated: ActorView | null = null;

  constructor(daemon: Daemon) {
    this.daemon = daemon;
  }

  start(): void {
    this.join(joinInfoOf(this.daemon, null), true);
  }

  private get world() {
    return this.daemon.shared.world;
  }

  // -------------------------------------------------------------- machines

  /** Events that arise while effects are carried out wait for their turn. */
  private enqueue(run: () => void): void {
    this.queue.push(run);
    if (this.stepping) return;
    this.stepping = true;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) next();
    this.stepping = false;
    this.arm();
  }

  /** Of a thousand nodes not everything can be looked at after every step. */
  private get checksNow(): boolean {
    return !this.daemon.shared.large || this.steps++ % 500 === 0;
  }

  private tellMembership(event: membership.MembershipEvent): void {
    this.enqueue(() => this.stepMembership(event));
  }

  private stepMembership(event: membership.MembershipEvent): membership.MembershipEffect[] {
    const effects = membership.step(this.membership, this.world.now, event);
    if (this.checksNow) membership.validate(this.membership);
    for (const effect of effects) this.carryOutMembership(effect);
    return effects;
  }

  private tellRegistry(event: RegistryEvent): void {
    this.enqueue(() => this.stepRegistry(event));
  }

  private stepRegistry(event: RegistryEvent): void {
    const effects = actors.step(this.registry, this.world.now, event);
    if (this.checksNow) actors.validate(this.registry);
    for (const effect of effects) this.carryOutRegistry(effect);
  }

  private tellPlacement(event: placement.ActorPlacementEvent): void {
    this.enqueue(() => {
      const effects = placement.step(this.placement, this.world.now, event, this.view);
      if (this.checksNow) placement.validate(this.placement);
      for (const effect of effects) this.carryOutPlacement(effect);
    });
  }

  private tellGroups(event: groups.GroupPlacementEvent): void {
    this.enqueue(() => {
      const effects = groups.step(this.groups, this.world.now, event, this.view);
      if (this.checksNow) groups.validate(this.groups);
      for (const effect of effects) this.carryOutGroups(effect);
    });
  }

  private readonly view = ((head: SimHead) => ({
    get candidates() {
      return membership.candidates(head.membership);
    },
    get count() {
      return head.living.size;
    },
    get living() {
      return head.living;
    },
    random: () => head.world.random.next(),
    groupNodes: (groupId: string) => groups.nodesOf(head.groups, groupId),
  }))(this);

  private arm(): void {
    const wakes = [
      actors.nextWakeMs(this.registry),
      membership.nextWakeMs(this.membership),
      placement.nextWakeMs(this.placement),
    ].map((wakeMs) => wakeMs ?? Number.POSITIVE_INFINITY);
    const wakeMs = Math.min(...wakes);
    if (this.timer !== null && wakeMs >= this.timerAtMs) return;
    this.timer?.cancel();
    this.timer = null;
    this.timerAtMs = wakeMs;
    if (wakeMs === Number.POSITIVE_INFINITY) return;
    this.timer = this.daemon.after(wakeMs - this.world.now, () => {
      this.timer = null;
      this.tellRegistry({ kind: "tick" });
      this.tellMembership({ kind: "tick" });
      this.tellPlacement({ kind: "look" });
    });
  }

  // -------------------------------------------------------------- nodes

  private send(to: NodeId, message: NodeMessage): void {
    if (to === this.daemon.nodeId) this.daemon.obey(message);
    else if (this.living.has(to) && !this.away.has(to)) {
      this.daemon.shared.onOrder(to, message[0]);
      this.daemon.sendNode(to, message);
    }
  }

  private join(info: JoinInfo, isHead: boolean): string | null {
    const { nodeId } = info;
    const isNew = !this.living.has(nodeId);
    this.living.add(nodeId);
    let refused: string | null = null;
    this.enqueue(() => {
      for (const effect of this.stepMembership({ kind: "join", info, isHead }))
        if (effect.kind === "refused") refused = effect.reason;
      if (refused !== null) return void (isNew && this.living.delete(nodeId));
      this.away.delete(nodeId);
      if (isHead) return;
      if (info.here === null || this.daemon.shared.bug === "repeat no orders") this.tellGroups({ kind: "nodeJoined", nodeId });
      else this.reconcile(nodeId, info.here);
    });
    return refused;
  }

  /** As runtime/head: a node that was a member before says what it has. */
  private reconcile(nodeId: NodeId, here: NodeInventory): void {
    for (const { info } of here.driven) if (!this.ended.has(info.jobId)) this.jobs.set(info.jobId, info.driverNode);
    for (const message of here.news) this.receive(nodeId, message);
    for (const { spec, incarnation, place, alive } of here.actors)
      this.tellRegistry({ kind: "recovered", spec, incarnation, place: { nodeId, ...place }, alive });
    this.tellPlacement({ kind: "nodeBack", nodeId });
    this.tellRegistry({ kind: "absent", nodeId, present: new Set(here.actors.map(({ spec }) => spec.actorId)) });
    this.enqueue(() => {
      const processes = new Set(here.processes);
      for (const ownerId of [...this.registry.byOwner.keys()])
        if (nodeKeyOf(ownerId) === nodeKeyOf(nodeId) && !processes.has(ownerId))
          this.tellRegistry({ kind: "ownerGone", ownerId });
      const driven = new Set<string>(here.driven.map(({ info }) => info.jobId));
      for (const [jobId, home] of this.jobs) if (home === nodeId && !driven.has(jobId)) this.jobEnded(jobId);
      for (const jobId of here.jobs) if (this.ended.has(jobId)) this.send(nodeId, [NodeKind.JobEnded, jobId]);
      this.subscribeAgain(nodeId, here);
      this.tellGroups({ kind: "nodeBack", nodeId, bundles: new Map(here.bundles), known: here.groups });
    });
  }

  private subscribeAgain(nodeId: NodeId, here: NodeInventory): void {
    for (const subscribers of this.subscribers.values())
      for (const [workerId, home] of subscribers) if (home === nodeId) subscribers.delete(workerId);
    for (const [workerId, actorIds] of here.subscriptions)
      for (const actorId of actorIds) {
        const record = this.registry.actors.get(actorId);
        if (record === undefined) continue;
        if (record.state !== "DEAD") this.subscribe({ nodeId, workerId }, actorId);
        this.send(nodeId, [NodeKind.PublishActor, workerId, actors.viewOf(record)]);
      }
  }

  disconnected(nodeId: NodeId): void {
    this.away.add(nodeId);
    this.tellMembership({ kind: "disconnected", nodeId, reason: "lost" });
  }

  /** What is free on the head's own node. */
  ownNews(): void {
    if (this.newsPlanned) return;
    this.newsPlanned = true;
    this.daemon.after(newsMs, () => {
      this.newsPlanned = false;
      this.heartbeat(this.daemon.nodeId, this.daemon.free());
    });
  }

  private heartbeat(nodeId: NodeId, available: Readonly<Record<string, number>>): void {
    this.tellPlacement({ kind: "nodeHeard", nodeId });
    this.tellMembership({ kind: "heartbeat", nodeId, available, pending: [], storeUsed: 0 });
    this.tellGroups({ kind: "nodeHeard", nodeId });
  }

  private nodeDead(nodeId: NodeId): void {
    this.living.delete(nodeId);
    const key = nodeKeyOf(nodeId);
    for (const subscribers of this.subscribers.values())
      for (const [workerId, home] of subscribers) if (home === nodeId) subscribers.delete(workerId);
    this.tellRegistry({ kind: "nodeDied", nodeId, text: "dead" });
    for (const ownerId of [...this.registry.byOwner.keys()])
      if (nodeKeyOf(ownerId) === key) this.tellRegistry({ kind: "ownerGone", ownerId });
    for (const [jobId, home] of this.jobs) if (home === nodeId) this.jobEnded(jobId);
    this.tellPlacement({ kind: "nodeGone", nodeId });
    this.tellGroups({ kind: "nodeGone", nodeId });
  }

  // -------------------------------------------------------------- jobs

  readonly jobs = new Map<string, NodeId>();
  private readonly ended = new Set<string>();

  hasEnded(jobId: string): boolean {
    return this.ended.has(jobId);
  }

  /** Whether head and node talk. */
  hears(nodeId: NodeId): boolean {
    return this.living.has(nodeId) && !this.away.has(nodeId) && !this.daemon.shared.network.separated(nodeId, this.daemon.id);
  }

  private jobEnded(jobId: string): void {
    if (!this.jobs.delete(jobId)) return;
    this.ended.add(jobId);
    this.tellRegistry({ kind: "jobEnded", jobId: jobId as ActorSpec["jobId"] });
    for (const group of [...this.groups.groups.values()])
      if (group.spec.jobId === jobId) this.tellGroups({ kind: "remove", groupId: group.spec.groupId });
    for (const nodeId of this.living) this.send(nodeId, [NodeKind.JobEnded, jobId as ActorSpec["jobId"]]);
  }

  // -------------------------------------------------------------- messages

  /** From the daemon of another node. True when it was for the head. */
  fromNode(from: NodeId, message: NodeMessage): boolean {
    if (message[0] === NodeKind.Request) {
      const [, id, method, params] = message;
      const answer: Answer = (ok, value) => this.daemon.sendNode(from, [NodeKind.Response, id, ok, value]);
      if (method === "join") {
        const refused = this.join(params as JoinInfo, false);
        if (refused !== null) answer(false, refused);
        else answer(true, [...this.membership.members.values()].map(membership.nodeView));
        return true;
      }
      const [inner, caller] = params as [unknown, Caller];
      if (this.living.has(from)) this.answer(method, inner, caller, answer);
      return true;
    }
    if (message[0] < NodeKind.Heartbeat || message[0] > NodeKind.Leaving) return false;
    if (this.living.has(from)) this.receive(from, message);
    return true;
  }

  receive(from: NodeId, message: NodeMessage): void {
    switch (message[0]) {
      case NodeKind.Heartbeat:
        this.send(from, [NodeKind.Nodes, []]);
        return this.heartbeat(from, message[2]);
      case NodeKind.Placed:
        return this.placed(message[1], { nodeId: from, ...message[2] });
      case NodeKind.Unplaceable:
        if (placement.whereOf(this.placement, message[1]) !== from) return;
        this.tellPlacement({ kind: "over", actorId: message[1] });
        return this.tellRegistry({ kind: "unplaceable", actorId: message[1], reason: message[2], text: message[3] });
      case NodeKind.Ready: {
        const [, actorId, incarnation, error, errorText] = message;
        return this.tellRegistry({ kind: "ready", actorId, incarnation, error, errorText });
      }
      case NodeKind.ProcessEnded:
        for (const subscribers of this.subscribers.values()) subscribers.delete(message[1]);
        return this.tellRegistry({ kind: "workerDied", workerId: message[1], exit: message[2] });
      case NodeKind.DriverGone:
        for (const subscribers of this.subscribers.values()) subscribers.delete(message[1]);
        this.tellRegistry({ kind: "ownerGone", ownerId: message[1] });
        return this.enqueue(() => this.jobEnded(message[2]));
      case NodeKind.JobStarted:
        if (!this.ended.has(message[1].jobId)) this.jobs.set(message[1].jobId, message[1].driverNode);
        return;
      case NodeKind.BundlesReserved:
        return this.tellGroups({ kind: "reserved", nodeId: from, groupId: message[1], attempt: message[2] });
      case NodeKind.BundlesRefused:
        return this.tellGroups({ kind: "refused", nodeId: from, groupId: message[1], attempt: message[2] });
      case NodeKind.BundlesRemoved:
        return this.tellGroups({ kind: "removed", nodeId: from, groupId: message[1], actorIds: message[2] });
    }
  }

  /** A place is taken from the node that is looking for one; another was told meanwhile that it is not wanted. */
  private placed(actorId: ActorId, place: ActorPlace): void {
    this.enqueue(() => {
      if (placement.whereOf(this.placement, actorId) !== place.nodeId)
        return this.send(place.nodeId, [NodeKind.EndWorker, place.workerId, "now", "its actor is placed elsewhere"]);
      this.tellPlacement({ kind: "over", actorId });
      this.tellRegistry({ kind: "placed", actorId, place });
    });
  }

  answer(method: string, params: unknown, caller: Caller, answer: Answer): void {
    this.enqueue(() => {
      switch (method) {
        case "createActor": {
          const spec = params as ActorSpec;
          this.subscribe(caller, spec.actorId);
          this.stepRegistry({ kind: "create", spec });
          for (const found of this.awaited.get(spec.actorId) ?? []) found(this.lastCreated);
          return answer(true, this.lastCreated);
        }
        case "subscribeActor":
          return this.found(params as ActorId, caller, answer);
        case "killActor": {
          const [actorId, noRestart] = params as [ActorId, boolean];
          this.stepRegistry({ kind: "kill", actorId, noRestart });
          return answer(true, null);
        }
        case "actorOutOfScope":
          this.stepRegistry({ kind: "outOfScope", actorId: params as ActorId });
          return answer(true, null);
        case "createGroup":
          this.tellGroups({ kind: "place", spec: params as groups.GroupSpec });
          return answer(true, null);
        case "removeGroup":
          this.tellGroups({ kind: "remove", groupId: params as PlacementGroupId });
          return answer(true, null);
        case "waitGroup": {
          const groupId = params as PlacementGroupId;
          if (this.created.has(groupId) || !this.groups.groups.has(groupId)) return answer(true, this.created.has(groupId));
          const waiters = this.groupWaiters.get(groupId);
          if (waiters === undefined) this.groupWaiters.set(groupId, [answer]);
          else waiters.push(answer);
          return;
        }
      }
    });
  }

  private found(actorId: ActorId, caller: Caller, answer: Answer): void {
    const record = this.registry.actors.get(actorId);
    if (record !== undefined) {
      this.subscribe(caller, actorId);
      return answer(true, actors.viewOf(record));
    }
    const waiting = this.awaited.get(actorId) ?? new Set();
    this.awaited.set(actorId, waiting);
    const found = (view: ActorView | null): void => {
      if (!waiting.delete(found)) return;
      if (view !== null) this.subscribe(caller, actorId);
      answer(true, view);
    };
    waiting.add(found);
    this.daemon.after(creationMs, () => found(null));
  }

  private subscribe(caller: Caller, actorId: ActorId): void {
    const subscribers = this.subscribers.get(actorId);
    if (subscribers === undefined) this.subscribers.set(actorId, new Map([[caller.workerId, caller.nodeId]]));
    else subscribers.set(caller.workerId, caller.nodeId);
  }

  // -------------------------------------------------------------- effects

  private carryOutMembership(effect: membership.MembershipEffect): void {
    switch (effect.kind) {
      case "probe":
        this.daemon.after(this.world.random.next() * 20, () => {
          const { network, nodes } = this.daemon.shared;
          const gone = nodes.get(effect.nodeId)?.alive !== true && !network.separated(this.daemon.id, effect.nodeId);
          this.tellMembership({ kind: "probed", nodeId: effect.nodeId, gone });
        });
        return;
      case "dead":
        return this.nodeDead(effect.nodeId);
      case "announce":
        for (const nodeId of this.living) this.send(nodeId, [NodeKind.Nodes, effect.nodes]);
        this.tellPlacement({ kind: "look" });
        return this.tellGroups({ kind: "look" });
    }
  }

  private carryOutRegistry(effect: RegistryEffect): void {
    switch (effect.kind) {
      case "created":
        this.lastCreated = effect.view;
        return;
      case "place":
        return this.tellPlacement({ kind: "place", spec: effect.spec });
      case "unplace": {
        const { actorId } = effect;
        return this.enqueue(() => {
          const nodeId = placement.whereOf(this.placement, actorId) ?? effect.nodeId;
          this.placement.placing.delete(actorId);
          if (nodeId !== null) this.send(nodeId, [NodeKind.UnplaceActor, actorId]);
        });
      }
      case "start": {
        const { workerId, gpuIds, nodeId } = effect.place;
        return this.send(nodeId, [NodeKind.StartActor, effect.spec, effect.incarnation, { workerId, gpuIds }]);
      }
      case "settled":
        return this.send(effect.nodeId, [NodeKind.SettleActor, effect.actorId]);
      case "endProcess":
        return this.send(effect.nodeId, [NodeKind.EndWorker, effect.workerId, effect.how, effect.reason]);
      case "publish": {
        const { view } = effect;
        for (const [workerId, nodeId] of this.subscribers.get(view.actorId) ?? [])
          this.send(nodeId, [NodeKind.PublishActor, workerId, view]);
        if (view.state === "DEAD") this.subscribers.delete(view.actorId);
        return;
      }
    }
  }

  private carryOutPlacement(effect: placement.ActorPlacementEffect): void {
    switch (effect.kind) {
      case "send":
        return this.send(effect.nodeId, [NodeKind.PlaceActor, effect.spec, null]);
      case "unsend":
        return this.send(effect.nodeId, [NodeKind.UnplaceActor, effect.actorId]);
      case "unplaceable": {
        const { actorId, text } = effect;
        return this.tellRegistry({ kind: "unplaceable", actorId, reason: "unschedulable", text });
      }
    }
  }

  private carryOutGroups(effect: groups.GroupPlacementEffect): void {
    switch (effect.kind) {
      case "reserve": {
        const { spec, attempt, indexes, queue, nodeId } = effect;
        const { groupId, jobId, strategy } = spec;
        const bundles = indexes.map((index) => ({ index, resources: spec.bundles[index] }));
        if (this.daemon.shared.faulty) this.daemon.shared.onReserve(nodeId);
        if (nodeId === this.daemon.nodeId) return this.daemon.reserve(groupId, attempt, jobId, bundles, strategy, queue);
        return this.send(nodeId, [NodeKind.ReserveBundles, groupId, attempt, jobId, bundles, strategy]);
      }
      case "release": {
        const { groupId, indexes } = effect;
        return this.send(
          effect.nodeId,
          indexes === null ? [NodeKind.RemoveBundles, groupId] : [NodeKind.RemoveBundles, groupId, indexes],
        );
      }
      case "announce": {
        const { spec, nodes } = effect;
        const message: NodeMessage = [NodeKind.GroupPlaced, spec.groupId, nodes, spec.bundles];
        for (const nodeId of effect.nodeId === null ? this.living : [effect.nodeId]) this.send(nodeId, message);
        return;
      }
      case "created":
        this.created.add(effect.groupId);
        this.daemon.shared.counts.groups++;
        this.settleGroup(effect.groupId, true);
        return this.tellPlacement({ kind: "look" });
      case "gone":
        this.created.delete(effect.groupId);
        this.settleGroup(effect.groupId, false);
        this.tellRegistry({ kind: "groupRemoved", actorIds: effect.actorIds, groupText: effect.groupId });
        return this.tellPlacement({ kind: "look" });
    }
  }

  private settleGroup(groupId: PlacementGroupId, created: boolean): void {
    const waiters = this.groupWaiters.get(groupId) ?? [];
    this.groupWaiters.delete(groupId);
    for (const answer of waiters) answer(true, created);
  }
}

/** `news`: of a node that was a member before; null at its first join. */
export function joinInfoOf(daemon: Daemon, news: readonly NodeMessage[] | null): JoinInfo {
  return {
    nodeId: daemon.nodeId,
    hostname: daemon.id,
    host: daemon.id,
    port: 1,
    resources: daemon.total(),
    available: daemon.free(),
    labels: {},
    objectStoreMemory: 0,
    driverOnly: false,
    here: news === null ? null : daemon.takeInventory(news),
  };
}
