/**
 * Runs what owners push to this worker. Each lane runs its tasks in order; synchronous ones follow each other without the event loop, so
 * that a stream of short tasks costs little more than the calls themselves.
 */

import { performance, setImmediate, setTimeout } from "../../base/clock.ts";
import { isShoalError, type ShoalError } from "../../base/errors.ts";
import type { LeaseId, ObjectIndex, WorkerId } from "../../base/ids.ts";
import { leavesWhenIdle } from "../../core/actor-registry-events.ts";
import type { ObjectRecord } from "../../core/object-record.ts";
import { SegmentMissing } from "../../objects/index.ts";
import type { Location } from "../../objects/types.ts";
import { Kind } from "../../wire/index.ts";
import type { FromDaemon, PeerMessage, WireArg, WireRef, WireRefLists, WireReturn } from "../../wire/messages.ts";
import { collectGarbage } from "../owner/collect-garbage.ts";
import { ExitActor } from "../owner/exit-actor.ts";
import type { ActorInfo, Runtime, WorkerSide } from "../owner/runtime.ts";
import { runInTask, runSynchronously } from "../owner/task-context.ts";
import type { Link } from "../transport/link.ts";
import { ActorHost } from "./actor-host.ts";
import { IdleCollector } from "./idle-collector.ts";
import { Lane, type LaneHooks } from "./lane.ts";
import { type LoadedDefinition, newLoadedDefinition, setFunction } from "./loaded-definition.ts";
import { RunEvents } from "./run-events.ts";
import { streamOut } from "./stream-out.ts";
import { isRetried, readable, toTaskError } from "./task-error.ts";
import { TaskRun } from "./task-run.ts";

/** Replies are written after this many synchronous tasks, so that the owner refills while the rest runs. */
const repliesPerFlush = 64;
/** A task that runs this long gives back what was queued behind it. */
const handBackAfterMs = 5;

/** An argument could not be had: the run fails with that very error, as it would have had the argument failed before. */
export class ArgumentFailed extends Error {
  override readonly name = "ArgumentFailed";
  declare readonly cause: ShoalError;
  constructor(cause: ShoalError) {
    super(cause.message, { cause });
  }
}

export class Executor implements WorkerSide, LaneHooks {
  readonly runtime: Runtime;
  readonly events: RunEvents;
  readonly actor: ActorHost;
  private readonly lanes = new Map<LeaseId, Lane>();
  private readonly definitions = new Map<WorkerId, Map<number, LoadedDefinition>>();
  /** Runs under way, by `<owner>:<index>`. */
  private readonly runs = new Map<string, TaskRun>();
  /** Refs in replies, held until the caller has registered with their owners. */
  private readonly held = new Map<string, readonly ObjectRecord[]>();
  private readonly idle: IdleCollector;
  private retiring = false;
  private unflushed = 0;
  /** How the process ends itself; replaced in tests. */
  onExit: (code: number) => void = (code) => process.exit(code);

  constructor(runtime: Runtime) {
    this.runtime = runtime;
    this.events = new RunEvents(runtime);
    this.actor = new ActorHost(this);
    const { ownership } = runtime;
    this.idle = new IdleCollector(
      () => this.runs.size > 0,
      () => ownership.owned.size > 0 || !ownership.borrowed.isEmpty,
    );
    runtime.workerSide = this;
  }

  actorInfo(): ActorInfo | null {
    return this.actor.info();
  }

  runsUnderWay(): TaskRun[] {
    return [...this.runs.values()];
  }

  // -------------------------------------------------------------- messages

  onPeerMessage(from: WorkerId, message: PeerMessage, link: Link): void {
    switch (message[0]) {
      case Kind.DefineTask:
        return this.define(from, message[1], newLoadedDefinition(message[2]));
      case Kind.Push:
        return this.pushed(from, link, message);
      case Kind.RecallTasks:
        return this.handBackQueue(this.lanes.get(message[1] as LeaseId));
      case Kind.CancelTask:
        return this.cancel(from, message[1], message[2], message[3]);
      case Kind.StreamConsumed:
        return this.consumed(from, message[1], message[2], message[3], message[4]);
      case Kind.ReplyAck:
        return this.release(`${from}:${message[1]}:${message[2]}:${message[3]}`);
    }
  }

  onDaemonMessage(message: FromDaemon): void {
    switch (message[0]) {
      case Kind.StartActor:
        this.actor.start(message[1], message[2], message[3]);
        return;
      case Kind.TryExit:
        if (this.retiring) this.exitWhenQuiet();
        else if (this.runs.size === 0 && this.runtime.ownership.owned.size === 0) this.exitSoon(0);
        else this.runtime.daemon.send([Kind.StayAlive]);
        return;
      case Kind.FlushEvents:
        this.events.flush();
        this.runtime.daemon.send([Kind.EventsFlushed, message[1]]);
        return;
      case Kind.Exit:
        if (message[1] === "out of scope" || message[1] === leavesWhenIdle) this.actor.exitWhenIdle();
        else this.exitSoon(0);
        return;
    }
  }

  /** An owner is gone: nobody waits for what runs for it. The daemon ends this process when that was a lease. */
  onPeerGone(peer: WorkerId): void {
    this.definitions.delete(peer);
    for (const [id, lane] of this.lanes) if (lane.owner === peer && lane.running === null) this.lanes.delete(id);
    for (const run of this.runs.values()) if (run.owner === peer) run.abort();
    for (const key of [...this.held.keys()]) if (key.startsWith(`${peer}:`)) this.release(key);
  }

  private define(from: WorkerId, id: number, loaded: LoadedDefinition): void {
    let known = this.definitions.get(from);
    if (known === undefined) {
      known = new Map();
      this.definitions.set(from, known);
    }
    known.set(id, loaded);
    const fn = this.runtime.functions.peek(loaded.wire.functionKey);
    if (fn !== undefined) setFunction(loaded, fn);
  }

  private pushed(from: WorkerId, link: Link, message: PeerMessage & { 0: typeof Kind.Push }): void {
    const [, laneId, definitionId, index, attempt, args, , gpuIds = []] = message;
    const loaded = this.definitions.get(from)?.get(definitionId);
    if (loaded === undefined) return link.fail(`a task names definition ${definitionId}, which was not sent`);
    if (laneId === -1) return this.actor.enqueue(new TaskRun(from, link, loaded, index, attempt, args, null, this.actor.actorId));
    let lane = this.lanes.get(laneId as LeaseId);
    if (lane === undefined) {
      lane = new Lane(laneId as LeaseId, from, gpuIds, this);
      this.lanes.set(lane.id, lane);
      this.dropOldLanes(lane);
    }
    if (lane.isWaiting || this.retiring) return void link.send([Kind.HandBack, [index]]);
    if (lane.running !== null) this.beginPulls(args);
    lane.queue.push(new TaskRun(from, link, loaded, index, attempt, args, lane, null));
    if (lane.running === null) this.runLane(lane);
  }

  /** Lanes of leases that ended are not announced: those with nothing to do go when a new one comes. */
  private dropOldLanes(fresh: Lane): void {
    for (const [id, lane] of this.lanes)
      if (lane !== fresh && lane.running === null && lane.queue.length === 0) this.lanes.delete(id);
  }

  // -------------------------------------------------------------- running

  private runLane(lane: Lane): void {
    while (lane.running === null) {
      const run = lane.queue.shift();
      if (run === undefined) return;
      if (run.cancelled) continue;
      lane.running = run;
      const busy = this.begin(run);
      if (busy !== null) {
        this.watchLongRun(lane, run);
        busy.then(() => {
          run.end();
          lane.running = null;
          this.runLane(lane);
        });
        return;
      }
      run.end();
      lane.running = null;
    }
  }

  private watchLongRun(lane: Lane, run: TaskRun): void {
    if (lane.queue.length === 0) return;
    setTimeout(() => {
      if (lane.running === run) this.handBackQueue(lane);
    }, handBackAfterMs);
  }

  /** Starts a run; null when it is already over, else what it waits for. */
  begin(run: TaskRun): Promise<void> | null {
    run.startMs = performance.now();
    const { loaded } = run;
    const { fn } = loaded; // called by itself: as a method of `loaded` it would get that as its `this`
    if (fn === null || !loaded.isPlain || loaded.wire.numReturns === -1) return this.runAsync(run);
    let args: unknown[] | null;
    try {
      args = this.decodeArgs(run.args);
    } catch (error) {
      this.fail(run, error);
      return null;
    }
    if (args === null) return this.runAsync(run);
    try {
      const result = runSynchronously(run, () => fn(...args));
      if (isThenable(result)) return this.settleLater(run, result);
      this.succeed(run, result);
    } catch (error) {
      this.fail(run, error);
    }
    return null;
  }

  /** Arguments when all can be had at once; null when something has to be loaded or made again first. */
  decodeArgs(wire: readonly WireArg[]): unknown[] | null {
    const { values } = this.runtime;
    const args: unknown[] = new Array(wire.length);
    for (let i = 0; i < wire.length; i++) {
      const arg = wire[i];
      if (!(arg instanceof Uint8Array) && !Array.isArray(arg)) {
        args[i] = arg;
        continue;
      }
      const value = Array.isArray(arg) ? this.tryStored(arg[0]) : values.decode(arg as Uint8Array);
      if (value instanceof Promise) return null;
      args[i] = value;
    }
    return args;
  }

  /** A stored argument; a promise when it needs something to be loaded or made again (decodeArgsSlowly then does it properly). */
  private tryStored(location: Location): unknown {
    try {
      return this.runtime.decodeStored(location);
    } catch (error) {
      if (error instanceof SegmentMissing) return Promise.resolve();
      throw error;
    }
  }

  /** As decodeArgs, waiting for what has to be loaded or made again. Rejects with ArgumentFailed when an argument cannot be had. */
  async decodeArgsSlowly(wire: readonly WireArg[]): Promise<unknown[]> {
    try {
      return await this.decodeEach(wire);
    } catch (error) {
      throw isShoalError(error) ? new ArgumentFailed(error) : error;
    }
  }

  private async decodeEach(wire: readonly WireArg[]): Promise<unknown[]> {
    const args: unknown[] = [];
    this.beginPulls(wire);
    for (const arg of wire)
      args.push(
        Array.isArray(arg)
          ? await this.readStored(arg as Extract<WireArg, readonly unknown[]>)
          : await this.runtime.values.decode(arg as Uint8Array),
      );
    return args;
  }

  /** Arguments on other nodes are on their way before the task's turn comes. */
  private beginPulls(wire: readonly WireArg[]): void {
    for (const arg of wire)
      if (Array.isArray(arg)) {
        const [location, [owner, index]] = arg as Extract<WireArg, readonly unknown[]>;
        this.runtime.pulls.begin(location, owner, index);
      }
  }

  /** A stored argument, pulled from its node first; if its bytes are gone, its owner is asked to make it again. */
  private async readStored([location, ref]: Extract<WireArg, readonly unknown[]>): Promise<unknown> {
    try {
      if (this.runtime.pulls.mustPull(location)) await this.pullStored(location, ref);
      return await this.runtime.decodeStored(location);
    } catch (error) {
      if (!(error instanceof SegmentMissing)) throw error;
      const held = this.runtime.refFromWire(ref);
      return this.runtime.getRef(held);
    }
  }

  /** Waits for the copy; where there can be none, reading says so. */
  private async pullStored(location: Location, [owner, index]: WireRef): Promise<void> {
    const ended = this.runtime.waitStarted();
    try {
      await this.runtime.pulls.pull(location, owner, index);
    } finally {
      ended();
    }
  }

  private async runAsync(run: TaskRun): Promise<void> {
    this.runs.set(run.key, run);
    try {
      const { loaded } = run;
      if (loaded.fn === null) setFunction(loaded, await this.runtime.functions.loadOne(loaded.wire.functionKey));
      const fn = loaded.fn as Function;
      // As the task itself: one that waits for an argument to be made again gives its CPU back to the task that makes it.
      const args = await runInTask(run, () => this.decodeArgsSlowly(run.args));
      if (run.cancelled) throw run.cancelReason();
      run.startMs = performance.now();
      await this.settle(
        run,
        runInTask(run, async () => fn(...args)),
      );
    } catch (error) {
      this.fail(run, error);
    } finally {
      this.runs.delete(run.key);
    }
  }

  /** A function declared without `async` returned a promise. */
  settleLater(run: TaskRun, result: PromiseLike<unknown>): Promise<void> {
    this.track(run);
    return this.settle(
      run,
      runInTask(run, () => Promise.resolve(result)),
    ).finally(() => this.untrack(run));
  }

  /** Waits for what the function returned and answers. Never rejects. */
  async settle(run: TaskRun, result: Promise<unknown>): Promise<void> {
    try {
      const value = await result;
      if (run.loaded.wire.numReturns === -1) await streamOut(this, run, value);
      else this.succeed(run, value);
    } catch (error) {
      this.fail(run, error);
    }
  }

  // -------------------------------------------------------------- answering

  succeed(run: TaskRun, result: unknown): void {
    const wanted = run.loaded.wire.numReturns;
    if (wanted === 1) return this.reply(run, [result]);
    if (wanted === 0) return this.reply(run, [undefined]);
    const list =
      typeof result === "object" && result !== null && Symbol.iterator in result ? [...(result as Iterable<unknown>)] : null;
    if (list === null || list.length !== wanted) {
      throw new TypeError(
        `Cannot return ${list === null ? typeof result : `${list.length} values`} from '${run.loaded.wire.name}': its numReturns is ${wanted}`,
      );
    }
    this.reply(run, list);
  }

  reply(run: TaskRun, results: readonly unknown[]): void {
    const returns: WireReturn[] = new Array(results.length);
    let refs: (ObjectRecord[] | null)[] | null = null;
    for (let i = 0; i < results.length; i++) {
      const encoded = this.runtime.values.encode(results[i], results.length === 1 ? "result" : `result[${i}]`);
      returns[i] =
        encoded.large === null
          ? encoded.value
          : [this.runtime.objects.store(run.index + i, run.attempt, run.owner, encoded.large)];
      if (encoded.refs !== null) {
        refs ??= results.map(() => null);
        refs[i] = encoded.refs;
      }
    }
    const lent = this.lend(run, refs, -1); // now: while the answer waits the task's own refs may go
    this.send(run, () => {
      if (run.link.isOpen) run.link.send([Kind.Reply, run.index, run.attempt, performance.now() - run.startMs, returns, lent]);
      else this.discard(run, returns);
    });
    this.events.record(run, "FINISHED");
    this.afterRun(run);
  }

  /** The caller is out of reach: what was stored for it has no owner that knows of it. */
  private discard(run: TaskRun, returns: readonly WireReturn[]): void {
    for (const value of returns) if (Array.isArray(value)) this.runtime.store().free(value[0]);
    this.release(`${run.owner}:${run.index}:${run.attempt}:-1`);
  }

  /** Holds the refs inside a reply until its receiver has registered with their owners. */
  lend(run: TaskRun, refs: (readonly ObjectRecord[] | null)[] | null, item: number): WireRefLists {
    if (refs === null) return null;
    const all = refs.flatMap((some) => some ?? []);
    for (const record of all) record.localRefs++;
    this.held.set(`${run.owner}:${run.index}:${run.attempt}:${item}`, all);
    return refs.map((some) => some?.map((record) => this.runtime.values.wireRef(record)) ?? null);
  }

  private release(key: string): void {
    const records = this.held.get(key);
    this.held.delete(key);
    for (const record of records ?? []) this.runtime.dropRef(record);
  }

  /**
   * Sends an answer, but not before the owners of refs that came with the arguments know this process: the caller lets go of its own hold
   * when it gets the answer.
   */
  send(run: TaskRun, answer: () => void): void {
    const waiting = this.runtime.borrows.unregistered(run.owner);
    if (waiting !== null) waiting.then(answer);
    else {
      answer();
      if (++this.unflushed >= repliesPerFlush) {
        this.unflushed = 0;
        run.link.flush();
      }
    }
  }

  fail(run: TaskRun, thrown: unknown): void {
    const error = readable(thrown);
    if (error instanceof ExitActor) return this.actor.exit(run);
    const { wire } = run.loaded;
    const wrapped = error instanceof ArgumentFailed ? error.cause : toTaskError(error, wire.name, this.runtime);
    const bytes = this.runtime.encodeError(wrapped);
    const reason = run.cancelled || wrapped.code === "TASK_CANCELLED" ? "cancelled" : "threw";
    const retry = reason === "threw" && !(error instanceof ArgumentFailed) && isRetried(error, wire.retryExceptions);
    this.send(run, () =>
      run.link.send([Kind.Failed, run.index, run.attempt, performance.now() - run.startMs, bytes, reason, retry, 0]),
    );
    this.events.record(run, "FAILED", wrapped.message);
    this.afterRun(run);
  }

  private afterRun(run: TaskRun): void {
    this.idle.ran();
    const { maxCalls } = run.loaded.wire;
    if (maxCalls > 0 && ++run.loaded.calls >= maxCalls) this.retire(run.lane);
  }

  /**
   * Takes no more tasks and ends. The daemon calls the leases back; until their owners are told they go on pushing, which is handed back; TryExit says when
   * all are.
   */
  retire(lane: Lane | null): void {
    if (this.retiring) return;
    this.retiring = true;
    this.runtime.daemon.send([Kind.Retiring]);
    if (lane !== null) this.handBackQueue(lane);
  }

  /** Nothing new comes, so nothing would make the engine collect the refs that keep this process up. */
  private exitWhenQuiet(waitMs = 20): void {
    if (this.runs.size === 0 && this.runtime.ownership.owned.size === 0) return void setImmediate(() => this.exitSoon(0));
    setTimeout(() => {
      collectGarbage();
      setImmediate(() => this.exitWhenQuiet(Math.min(1_000, waitMs * 2)));
    }, waitMs);
  }

  // -------------------------------------------------------------- lanes

  blocked(lane: Lane): void {
    this.runtime.daemon.send([Kind.Blocked, lane.id]);
    this.handBackQueue(lane);
  }

  unblocked(lane: Lane): void {
    this.runtime.daemon.send([Kind.Unblocked, lane.id]);
  }

  private handBackQueue(lane: Lane | undefined): void {
    if (lane === undefined || lane.queue.length === 0) return;
    const runs = lane.queue.drain();
    runs[0].link.send([Kind.HandBack, runs.map((run) => run.index)]);
  }

  private cancel(from: WorkerId, index: ObjectIndex, attempt: number, recursive: boolean): void {
    const key = `${from}:${index}`;
    const run = this.runs.get(key) ?? this.queued(from, index);
    if (run === undefined || run.attempt !== attempt) return;
    run.abort();
    if (recursive) this.runtime.tasks.cancelChildren(key);
    if (!this.runs.has(key)) this.fail(run, run.cancelReason());
  }

  private queued(from: WorkerId, index: ObjectIndex): TaskRun | undefined {
    for (const lane of this.lanes.values())
      for (const run of lane.queue) if (run.owner === from && run.index === index) return run;
    return this.actor.queued(from, index);
  }

  private consumed(from: WorkerId, index: ObjectIndex, attempt: number, items: number, done: boolean): void {
    const run = this.runs.get(`${from}:${index}`);
    if (run === undefined || run.attempt !== attempt) return;
    run.consumed = done ? -1 : Math.max(run.consumed, items);
    run.onConsumed?.();
  }

  // -------------------------------------------------------------- the end

  track(run: TaskRun): void {
    this.runs.set(run.key, run);
  }

  untrack(run: TaskRun): void {
    this.runs.delete(run.key);
  }

  exitSoon(code: number): void {
    this.events.flush();
    this.runtime.peers.flushAll();
    this.runtime.daemon.flush();
    setImmediate(() => this.onExit(code));
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
