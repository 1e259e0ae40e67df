/** A simulated worker: lanes of tasks, or an actor; what runtime/worker does. */
import type { ActorId, LeaseId } from "../src/base/ids.ts";
import type { ObjectRecord } from "../src/core/object-record.ts";
import { step } from "../src/core/ownership.ts";
import { segmentName } from "../src/objects/segment-name.ts";
import { Kind } from "../src/wire/index.ts";
import type { FromDaemon, PeerMessage, WireArg, WireRef, WireReturn } from "../src/wire/messages.ts";
import { Owner, Scope } from "./owner.ts";
import { type Outcome, type Result, type TaskSpec, taskBody } from "./program.ts";
import { check } from "./simulation.ts";
import { decodeOrder, encodeError, encodeValue, thrownCode } from "./value.ts";

/** A task that runs this long gives back what was queued behind it. */
const handBackAfterMs = 5;

interface Run {
  readonly owner: string;
  readonly index: number;
  readonly attempt: number;
  readonly args: readonly WireArg[];
  readonly lane: Lane | null;
  readonly scope: Scope;
  startMs: number;
  started: boolean;
}

interface Lane {
  readonly id: LeaseId;
  readonly owner: string;
  queue: Run[];
  running: Run | null;
  waits: number;
}

export class Worker extends Owner {
  private readonly lanes = new Map<LeaseId, Lane>();
  private readonly runs = new Map<string, Run>();
  private readonly held = new Map<string, ObjectRecord[]>();
  actorId: ActorId | null = null;
  private readonly calls: Run[] = [];
  private callsRunning = 0;
  private callsMax = 1;
  private exitAtIdle = false;
  /** Calls started, and the last one's index, by caller. */
  private readonly started = new Map<string, { count: number; index: number }>();

  // -------------------------------------------------------------- messages

  protected override onTaskMessage(from: string, message: PeerMessage): void {
    switch (message[0]) {
      case Kind.Push:
        return this.pushed(from, message);
      case Kind.RecallTasks:
        return this.handBackQueue(this.lanes.get(message[1] as LeaseId));
      case Kind.CancelTask:
        return this.cancel(from, message[1], message[2]);
      case Kind.ReplyAck:
        return this.letGo(`${from}:${message[1]}:${message[2]}`);
    }
  }

  protected override onWorkerMessage(message: FromDaemon): void {
    switch (message[0]) {
      case Kind.StartActor:
        return this.becomeActor(message[1].actorId, message[2]);
      case Kind.TryExit:
        if (this.runs.size === 0 && this.ownership.owned.size === 0) this.exit();
        else this.tell([Kind.StayAlive]);
        return;
      case Kind.Exit:
        if (message[1] !== "out of scope") return this.exit();
        this.exitAtIdle = true;
        return this.pumpCalls();
    }
  }

  protected override onCallerGone(peer: string): void {
    for (const [id, lane] of this.lanes) if (lane.owner === peer && lane.running === null) this.lanes.delete(id);
    for (const run of this.runs.values()) if (run.owner === peer) run.scope.cancelled = true;
    for (const key of [...this.held.keys()]) if (key.startsWith(`${peer}:`)) this.letGo(key);
  }

  private exit(): void {
    this.after(0.1, () => this.shared.network.kill(this.id));
  }

  private pushed(from: string, message: PeerMessage & { 0: typeof Kind.Push }): void {
    const [, laneId, , index, attempt, args] = message;
    const lane = laneId === -1 ? null : this.laneOf(laneId as LeaseId, from);
    const run: Run = { owner: from, index, attempt, args, lane, scope: new Scope(this), startMs: 0, started: false };
    if (lane === null) {
      this.calls.push(run);
      return this.pumpCalls();
    }
    if (lane.waits > 0) return this.send(from, [Kind.HandBack, [index]]);
    lane.queue.push(run);
    if (lane.running === null) this.runLane(lane);
  }

  private laneOf(id: LeaseId, owner: string): Lane {
    let lane = this.lanes.get(id);
    if (lane !== undefined) return lane;
    lane = { id, owner, queue: [], running: null, waits: 0 };
    this.lanes.set(id, lane);
    return lane;
  }

  // -------------------------------------------------------------- tasks

  private runLane(lane: Lane): void {
    while (lane.running === null) {
      const run = lane.queue.shift();
      if (run === undefined) return;
      if (run.scope.cancelled) continue;
      lane.running = run;
      run.scope.onWait = (waits) => this.laneWaits(lane, waits);
      this.begin(run, () => {
        lane.running = null;
        this.runLane(lane);
      });
      if (lane.queue.length > 0) this.after(handBackAfterMs, () => lane.running === run && this.handBackQueue(lane));
    }
  }

  private laneWaits(lane: Lane, waits: boolean): void {
    lane.waits += waits ? 1 : -1;
    this.tell([waits ? Kind.Blocked : Kind.Unblocked, lane.id]);
    if (waits) this.handBackQueue(lane);
  }

  private handBackQueue(lane: Lane | undefined): void {
    if (lane === undefined || lane.queue.length === 0) return;
    const { queue } = lane;
    lane.queue = [];
    this.send(lane.owner, [Kind.HandBack, queue.map((run) => run.index)]);
  }

  private begin(run: Run, then: () => void): void {
    const key = `${run.owner}:${run.index}`;
    this.runs.set(key, run);
    run.startMs = this.shared.world.now;
    run.started = true;
    const order = decodeOrder(run.args[0] as string);
    const end = (outcome: Outcome<ObjectRecord>): void => {
      this.runs.delete(key);
      this.answer(run, order.spec, outcome);
      then();
    };
    const inside = order.inside.map(([owner, index]) => run.scope.hold(this.recordOf(owner, index)));
    this.decodeArgs(run, run.args.slice(1), [], (plain, failure) => {
      if (failure !== null) return end(failure);
      this.runBody(run.scope, taskBody(order.spec, plain, inside, this.surroundings(run.scope)), end);
    });
  }

  /** Values of the plain arguments; a stored one whose bytes are gone is asked of its owner. */
  private decodeArgs(
    run: Run,
    args: readonly WireArg[],
    done: Result<ObjectRecord>[],
    then: (plain: Result<ObjectRecord>[], failure: Outcome<ObjectRecord> | null) => void,
  ): void {
    if (args.length === 0) return then(done, null);
    const [arg, ...rest] = args;
    const text = Array.isArray(arg) ? this.read(arg[0]) : (arg as string);
    if (text !== undefined) return this.decodeArgs(run, rest, [...done, this.decodeText(run.scope, text)], then);
    const [owner, index] = (arg as readonly [unknown, WireRef])[1];
    this.get(run.scope, [run.scope.hold(this.recordOf(owner, index))], ([outcome]) => {
      if (outcome.kind !== "value") return then([], outcome);
      this.decodeArgs(run, rest, [...done, outcome.result], then);
    });
  }

  private answer(run: Run, spec: TaskSpec, outcome: Outcome<ObjectRecord>): void {
    const durationMs = this.shared.world.now - run.startMs;
    if (outcome.kind === "value") {
      const { value, refs } = outcome.result;
      this.reply(
        run,
        this.encodeResult(spec, value, refs, segmentName(run.owner, run.index, run.attempt, this.id)),
        refs,
        durationMs,
      );
    } else {
      const code = outcome.kind === "threw" ? thrownCode : outcome.code;
      const reason = code === "CANCELLED" ? "cancelled" : "threw";
      this.borrows.whenRegistered(run.owner, () =>
        this.send(run.owner, [Kind.Failed, run.index, run.attempt, durationMs, encodeError(code), reason, false, 0]),
      );
    }
    run.scope.release();
  }

  /** The refs in a reply are held until its receiver has registered with their owners. */
  private reply(run: Run, value: WireReturn, refs: readonly ObjectRecord[], durationMs: number): void {
    for (const record of refs) record.localRefs++;
    if (refs.length > 0) this.held.set(`${run.owner}:${run.index}:${run.attempt}`, [...refs]);
    const lists =
      refs.length === 0 ? null : [refs.map((record): WireRef => [record.foreign?.owner ?? this.workerId, record.index, ""])];
    this.borrows.whenRegistered(run.owner, () =>
      this.send(run.owner, [Kind.Reply, run.index, run.attempt, durationMs, [value], lists]),
    );
  }

  private letGo(key: string): void {
    const records = this.held.get(key);
    this.held.delete(key);
    for (const record of records ?? []) step(this.ownership, { kind: "drop", record });
  }

  private cancel(from: string, index: number, attempt: number): void {
    const queued = [...this.lanes.values()]
      .flatMap((lane) => lane.queue)
      .find((run) => run.owner === from && run.index === index);
    const run =
      this.runs.get(`${from}:${index}`) ?? queued ?? this.calls.find((call) => call.owner === from && call.index === index);
    if (run === undefined || run.attempt !== attempt) return;
    run.scope.cancelled = true;
    if (run.started) return;
    this.send(from, [Kind.Failed, index, attempt, 0, encodeError("CANCELLED"), "cancelled", false, 0]);
  }

  // -------------------------------------------------------------- the actor

  private becomeActor(actorId: ActorId, incarnation: number): void {
    const { random } = this.shared.world;
    this.actorId = actorId;
    this.callsMax = random.chance(0.7) ? 1 : 3;
    this.after(random.next() * 5, () => this.tell([Kind.ActorReady, actorId, incarnation, null, ""]));
  }

  private pumpCalls(): void {
    while (this.calls.length > 0 && this.callsRunning < this.callsMax) {
      const run = (this.shared.bug === "start calls out of order" ? this.calls.pop() : this.calls.shift()) as Run;
      if (!run.scope.cancelled) this.beginCall(run);
    }
    if (this.exitAtIdle && this.callsRunning === 0 && this.calls.length === 0) this.exit();
  }

  private beginCall(run: Run): void {
    const known = this.started.get(run.owner) ?? { count: 0, index: 0 };
    check(
      run.attempt > 0 || run.index > known.index,
      () => `actor ${this.actorId} starts call ${run.index} of ${run.owner} after call ${known.index}`,
    );
    this.started.set(run.owner, { count: known.count + 1, index: Math.max(known.index, run.index) });
    const key = `${run.owner}:${run.index}`;
    this.runs.set(key, run);
    this.callsRunning++;
    run.started = true;
    run.startMs = this.shared.world.now;
    this.after(this.shared.world.random.next() * 3, () => {
      this.runs.delete(key);
      this.callsRunning--;
      this.reply(run, encodeValue({ value: known.count + 1, refs: [] }), [], this.shared.world.now - run.startMs);
      run.scope.release();
      this.pumpCalls();
    });
  }
}
