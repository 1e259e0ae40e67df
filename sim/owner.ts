/**
 * A simulated process: the real ownership, submitter and actor-client machines, and what runtime/owner does around them, with callbacks
 * for promises and virtual time for timers. Drivers and workers are made of it.
 */
import { type JobId, type LeaseId, type NodeId, nodeKeyOf, type WorkerId } from "../src/base/ids.ts";
import { isSettled, type ObjectRecord } from "../src/core/object-record.ts";
import { step } from "../src/core/ownership.ts";
import type { OwnershipEffect } from "../src/core/ownership-events.ts";
import { createOwnership, newOwned, type OwnershipState, resolveRef } from "../src/core/ownership-state.ts";
import { copyLocation, holderOf, segmentName } from "../src/objects/segment-name.ts";
import type { Location } from "../src/objects/types.ts";
import { Kind } from "../src/wire/index.ts";
import type { ActorView, AnyMessage, FromDaemon, PeerMessage, ProcessExit, Resources } from "../src/wire/messages.ts";
import { ActorCallers } from "./actor-callers.ts";
import { Borrows } from "./borrows.ts";
import type { Daemon } from "./daemon.ts";
import type { SimMessage, SimProcess } from "./network.ts";
import { type Body, Fault, isLarge, type Outcome, type Surroundings, type TaskSpec, Thrown } from "./program.ts";
import { Random } from "./random.ts";
import { isDaemon, type Shared } from "./simulation.ts";
import { TaskClient } from "./task-client.ts";
import { decodeError, decodeValue, encodeError, encodeOrder, encodeValue, thrownCode } from "./value.ts";
import type { Timer } from "./world.ts";

type Waiter = (record: ObjectRecord) => void;

/** Refs that a piece of user's code holds, and how it waits. */
export class Scope {
  readonly process: Owner;
  cancelled = false;
  private readonly held: ObjectRecord[] = [];
  /** The code waits for something remote, or goes on. */
  onWait: (waits: boolean) => void = () => {};

  constructor(process: Owner) {
    this.process = process;
  }

  /** Counts a ref that this code has got. */
  hold(record: ObjectRecord): ObjectRecord {
    record.localRefs++;
    this.held.push(record);
    return record;
  }

  /** Takes over a count that was made for this code. */
  adopt(record: ObjectRecord): ObjectRecord {
    this.held.push(record);
    return record;
  }

  /** The code is over: its refs are collected now, or a little later. */
  release(): void {
    const { process } = this;
    const drop = (): void => {
      for (const record of this.held.splice(0)) step(process.ownership, { kind: "drop", record });
      process.drain();
    };
    const { random } = process.shared.world;
    if (random.chance(0.5)) drop();
    else process.after(random.next() * 100, drop);
  }
}

export class Owner implements SimProcess {
  readonly shared: Shared;
  readonly node: Daemon;
  readonly id: string;
  readonly jobId: JobId;
  alive = true;
  busyUntilMs = 0;
  readonly ownership: OwnershipState;
  readonly tasks: TaskClient;
  readonly borrows: Borrows;
  readonly actors: ActorCallers;
  private readonly requests = new Map<number, (ok: boolean, value: unknown) => void>();
  private nextRequest = 1;
  private draining = false;

  constructor(shared: Shared, node: Daemon, id: string, jobId: JobId) {
    this.shared = shared;
    this.node = node;
    this.id = id;
    this.jobId = jobId;
    this.ownership = createOwnership(id as WorkerId);
    this.tasks = new TaskClient(this);
    this.borrows = new Borrows(this);
    this.actors = new ActorCallers(this);
  }

  get workerId(): WorkerId {
    return this.id as WorkerId;
  }

  // -------------------------------------------------------------- surroundings

  send(to: string, message: AnyMessage): void {
    if (this.alive) this.shared.network.send(this.id, to, message);
  }

  /** To the own daemon. */
  tell(message: AnyMessage): void {
    this.send(this.node.id, message);
  }

  connectedTo(peer: string): boolean {
    return this.shared.network.connected(this.id, peer);
  }

  request(method: string, params: unknown, answered: (ok: boolean, value: unknown) => void): void {
    const id = this.nextRequest++;
    this.requests.set(id, answered);
    this.tell([Kind.Request, id, method, params]);
  }

  /** A timer of this process: not before it looks up from what it computes, and never after its death. */
  after(ms: number, run: () => void): Timer {
    const { world } = this.shared;
    const fire = (): void => {
      if (!this.alive) return;
      if (this.busyUntilMs > world.now) world.at(this.busyUntilMs, fire);
      else run();
    };
    return world.after(ms, fire);
  }

  // -------------------------------------------------------------- objects

  recordOf(owner: string, index: number): ObjectRecord {
    const record = resolveRef(this.ownership, owner as WorkerId, index as ObjectRecord["index"], "");
    if (record.state === "gone") {
      record.localRefs++; // it is not freed again before its receiver has counted it
      step(this.ownership, { kind: "failObject", record, error: encodeError("FREED") });
      record.localRefs--;
    }
    this.drain();
    return record;
  }

  refOf(record: ObjectRecord): readonly [string, number] {
    return [record.foreign?.owner ?? this.id, record.index];
  }

  put(scope: Scope, value: number, inside: readonly ObjectRecord[]): ObjectRecord {
    const record = newOwned(this.ownership);
    record.localRefs = 1;
    const text = encodeValue({ value, refs: inside.map((ref) => this.refOf(ref)) });
    const location = value % 5 === 0 ? this.node.store.put(segmentName(this.id, record.index, 0, this.id), text) : null;
    step(this.ownership, {
      kind: "put",
      record,
      value: location === null ? text : undefined,
      location,
      contains: inside.length === 0 ? null : inside,
    });
    this.drain();
    return scope.adopt(record);
  }

  addWaiter(record: ObjectRecord, waiter: Waiter): void {
    record.waiters ??= [];
    record.waiters.push(waiter);
    if (record.foreign === null) return;
    step(this.ownership, { kind: "want", record });
    this.drain();
  }

  private whenSettled(record: ObjectRecord, then: () => void): void {
    if (isSettled(record)) then();
    else this.addWaiter(record, then);
  }

  /** The stored bytes of the record are gone: calls back when it is settled again, by whatever way. */
  recover(record: ObjectRecord, then: () => void): void {
    record.localRefs++;
    const { contains } = record;
    record.contains = null; // made again, it has refs of its own
    for (const inner of contains ?? []) step(this.ownership, { kind: "drop", record: inner });
    step(this.ownership, { kind: "lost", record, name: record.location?.name ?? "", error: () => encodeError("LOST") });
    this.drain();
    this.whenSettled(record, () => {
      then();
      step(this.ownership, { kind: "drop", record });
      this.drain();
    });
  }

  /** Calls back with what the records turned out to be, when all have. */
  get(scope: Scope, records: readonly ObjectRecord[], then: (outcomes: Outcome<ObjectRecord>[]) => void): void {
    if (records.every(isSettled)) return this.decodeAll(scope, records, then);
    scope.onWait(true);
    let left = new Set(records).size;
    for (const record of new Set(records)) {
      this.whenSettled(record, () => {
        if (--left > 0) return;
        scope.onWait(false);
        this.get(scope, records, then); // one that was there may have been lost meanwhile
      });
    }
  }

  private decodeAll(scope: Scope, records: readonly ObjectRecord[], then: (outcomes: Outcome<ObjectRecord>[]) => void): void {
    const away = records.find((record) => record.state === "stored" && this.read(record.location as Location) === undefined);
    if (away !== undefined) {
      scope.onWait(true); // what makes it again may need the CPU
      return this.fetch(away, () => {
        scope.onWait(false);
        this.get(scope, records, then);
      });
    }
    then(records.map((record) => this.decode(scope, record)));
  }

  /** The bytes, if they are on this node. */
  read(location: Location): string | undefined {
    const key = nodeKeyOf(this.id);
    return this.node.store.read(holderOf(location) === key ? location : copyLocation(location, key));
  }

  /** Brings the bytes of a stored record here, or has them made again. */
  private fetch(record: ObjectRecord, then: () => void): void {
    const location = record.location as Location;
    if (holderOf(location) === nodeKeyOf(this.id)) return this.recover(record, then);
    record.localRefs++;
    this.node.pull(location, record.foreign?.owner ?? this.id, record.index, (here) =>
      this.after(0, () => {
        if (here || record.state !== "stored" || record.location?.name !== location.name) then();
        else this.recover(record, then);
        step(this.ownership, { kind: "drop", record });
        this.drain();
      }),
    );
  }

  private decode(scope: Scope, record: ObjectRecord): Outcome<ObjectRecord> {
    if (record.state === "failed") {
      const code = decodeError(record.value);
      return code === thrownCode ? { kind: "threw" } : { kind: "failed", code };
    }
    const text = record.state === "stored" ? this.read(record.location as Location) : record.value;
    return { kind: "value", result: this.decodeText(scope, text as string) };
  }

  decodeText(scope: Scope, text: string): { value: number; refs: ObjectRecord[] } {
    const { value, refs } = decodeValue(text);
    return { value, refs: refs.map(([owner, index]) => scope.hold(this.recordOf(owner, index))) };
  }

  // -------------------------------------------------------------- user's code

  surroundings(scope: Scope): Surroundings<ObjectRecord> {
    return {
      submit: (spec, plain, inside) => this.submit(scope, spec, plain, inside),
      put: (value, inside) => this.put(scope, value, inside),
    };
  }

  private submit(scope: Scope, spec: TaskSpec, plain: readonly ObjectRecord[], inside: readonly ObjectRecord[]): ObjectRecord {
    const random = new Random(spec.seed ^ 0x5bd1e995);
    const shapes: Resources[] = [{ CPU: 1 }, { CPU: 1 }, { CPU: 1 }, { CPU: 0.5 }, {}];
    if (this.shared.cpus >= 2) shapes.push({ CPU: 2 });
    // Custom resources are kept while a task waits: only tasks that wait for nobody may take them, or users' own deadlocks arise.
    if (spec.depth === 0 && plain.length === 0 && inside.length === 0) shapes.push({ CPU: 1, disk: 1 }, { disk: 0.5 });
    const resources = random.pick(shapes);
    const order = encodeOrder({ spec, inside: inside.map((ref) => this.refOf(ref)) });
    return scope.adopt(
      this.tasks.submit(resources, random.pick([3, 3, 1, 0, -1]), [order, ...plain], inside.length === 0 ? null : inside),
    );
  }

  /** Runs the body to its end. */
  runBody(scope: Scope, body: Body<ObjectRecord>, then: (end: Outcome<ObjectRecord>) => void): void {
    const resume = (outcomes: Outcome<ObjectRecord>[]): void => {
      if (scope.cancelled) return then({ kind: "failed", code: "CANCELLED" });
      const next = advance(body, outcomes);
      if (next.kind === "end") return then(next.outcome);
      if (next.step.kind === "get") return this.get(scope, next.step.refs, resume);
      if (next.step.kind === "until") return next.step.start(() => resume([]));
      if (next.step.busy) this.busyUntilMs = this.shared.world.now + next.step.ms;
      this.after(next.step.ms, () => resume([]));
    };
    resume([]);
  }

  /** What a task's value is like when it travels: large ones by the store. */
  encodeResult(spec: TaskSpec, value: number, refs: readonly ObjectRecord[], segment: string): string | readonly [Location] {
    const text = encodeValue({ value, refs: refs.map((ref) => this.refOf(ref)) });
    return isLarge(spec) ? [this.node.store.put(segment, text)] : text;
  }

  // -------------------------------------------------------------- effects

  drain(): void {
    if (this.draining || !this.alive) return;
    this.draining = true;
    for (;;) {
      const { effects } = this.ownership;
      for (let i = 0; i < effects.length; i++) this.carryOut(effects[i]);
      effects.length = 0;
      this.tasks.drainSubmitter();
      this.actors.drainClients();
      if (this.ownership.effects.length === 0 && this.tasks.submitter.effects.length === 0 && this.actors.quiet) break;
    }
    this.draining = false;
  }

  private carryOut(effect: OwnershipEffect): void {
    switch (effect.kind) {
      case "enqueue":
        return effect.task.actorId === null ? this.tasks.enqueue(effect.task) : this.actors.ready(effect.task);
      case "settled": {
        const waiters = effect.record.waiters as Waiter[] | null;
        effect.record.waiters = null;
        for (const waiter of waiters ?? []) waiter(effect.record);
        return;
      }
      case "free":
        return this.free(effect.location);
      case "borrow":
        return this.borrows.add(effect.record);
      case "unborrow":
        return this.borrows.remove(effect.record);
      case "fetch":
        return this.borrows.fetch(effect.record);
      case "reportLost":
        return this.borrows.reportLost(effect.record, effect.name);
      case "actorOutOfScope":
        return this.request("actorOutOfScope", effect.actorId, () => {});
      case "cancelRunning":
        return this.tasks.cancelRunning(effect.task, effect.force);
      case "outOfRetries":
        return effect.task.actorId === null ? this.tasks.outOfRetries(effect.task) : this.actors.outOfRetries(effect.task);
      case "unqueued":
        return this.actors.unqueued(effect.task);
      case "retryLater":
        return this.tasks.retryLater(effect.task, effect.delayMs);
      case "rebuilding":
      case "streamReady":
      case "consumed":
        return;
    }
  }

  free(location: Location): void {
    if ((holderOf(location) ?? nodeKeyOf(this.id)) === nodeKeyOf(this.id)) this.node.store.free(location);
    else this.tell([Kind.FreeCopies, [location]]);
  }

  // -------------------------------------------------------------- messages

  receive(from: string, message: SimMessage): void {
    if (from === this.node.id) this.onDaemonMessage(message as FromDaemon);
    else if (isDaemon(from)) this.onRemoteDaemonMessage(from as NodeId, message as FromDaemon);
    else this.onPeerMessage(from, message as PeerMessage);
    this.drain();
  }

  private onPeerMessage(from: string, message: PeerMessage): void {
    switch (message[0]) {
      case Kind.Reply:
        return this.tasks.replied(from, message);
      case Kind.Failed:
        return this.tasks.failed(message);
      case Kind.HandBack:
        return this.tasks.handedBack(message[1]);
      case Kind.GetObject:
      case Kind.ObjectReply:
      case Kind.BorrowAdd:
      case Kind.BorrowRemove:
      case Kind.BorrowAck:
      case Kind.ObjectLost:
        return this.borrows.onMessage(from, message);
      default:
        return this.onTaskMessage(from, message);
    }
  }

  private onDaemonMessage(message: FromDaemon): void {
    switch (message[0]) {
      case Kind.Response: {
        const answered = this.requests.get(message[1]);
        this.requests.delete(message[1]);
        return answered?.(message[2], message[3]);
      }
      case Kind.Lease:
        return this.tasks.granted(message[1], message[2] as LeaseId, message[3]);
      case Kind.Recall:
        return this.tasks.recalled(message[1]);
      case Kind.WorkerDied:
        return this.workerDied(message[1], message[2]);
      case Kind.ActorState:
        return this.actors.viewed(message[1] as ActorView);
      case Kind.Unschedulable:
        return this.tasks.unschedulable(message[1], message[2]);
      case Kind.Spill:
        return this.tasks.spilled(message[1], message[2], message[3], message[4]);
      case Kind.NodeDied:
        return this.nodeDied(message[1]);
      case Kind.CopyMade:
        return step(this.ownership, { kind: "copyMade", index: message[1], copy: message[2] });
      default:
        return this.onWorkerMessage(message);
    }
  }

  /** What the daemon of another node says of the leases it was asked for. */
  private onRemoteDaemonMessage(from: NodeId, message: FromDaemon): void {
    switch (message[0]) {
      case Kind.Lease:
        return this.tasks.granted(message[1], message[2], message[3], from);
      case Kind.Recall:
        return this.tasks.recalled(message[1], from);
      case Kind.Decline:
        return this.tasks.declined(message[1], from, message[2]);
      case Kind.Unschedulable:
        return this.tasks.unschedulable(message[1], message[2], from);
      case Kind.WorkerDied:
        return this.workerDied(message[1], message[2]);
    }
  }

  /** The end of a node is the end of every process there. */
  private nodeDied(nodeId: NodeId): void {
    const key = nodeKeyOf(nodeId);
    this.borrows.nodeDied(nodeId);
    step(this.ownership, {
      kind: "nodeLost",
      isThere: (location) => holderOf(location) === key,
      error: () => encodeError("LOST"),
    });
    this.drain();
    this.tasks.nodeDied(nodeId);
  }

  hasGivenUp(node: string): boolean {
    return this.node.hasGivenUp(node);
  }

  private workerDied(workerId: string, exit: ProcessExit): void {
    this.tasks.workerDied(workerId, exit);
    this.actors.workerDied(workerId);
    this.borrows.ownerDied(workerId);
  }

  peerGone(peer: string): void {
    if (peer === this.node.id) return;
    if (isDaemon(peer)) return this.tasks.daemonLost(peer as NodeId);
    this.tasks.peerGone(peer);
    this.actors.peerGone(peer);
    this.borrows.peerGone(peer);
    this.onCallerGone(peer);
    this.drain();
  }

  /** What only workers receive. */
  protected onTaskMessage(_from: string, _message: PeerMessage): void {}
  protected onWorkerMessage(_message: FromDaemon): void {}
  protected onCallerGone(_peer: string): void {}
}

type Advance =
  | { readonly kind: "end"; readonly outcome: Outcome<ObjectRecord> }
  | { readonly kind: "step"; readonly step: Exclude<ReturnType<Body<ObjectRecord>["next"]>["value"], { value: number }> };

function advance(body: Body<ObjectRecord>, outcomes: Outcome<ObjectRecord>[]): Advance {
  try {
    const next = body.next(outcomes);
    return next.done ? { kind: "end", outcome: { kind: "value", result: next.value } } : { kind: "step", step: next.value };
  } catch (error) {
    if (error instanceof Thrown) return { kind: "end", outcome: { kind: "threw" } };
    if (error instanceof Fault) return { kind: "end", outcome: { kind: "failed", code: error.message } };
    throw error;
  }
}
