/** The actor that lives in this worker, if it has become one: its instance, and which of its calls run. */
import { performance } from "../../base/clock.ts";
import type { ActorId, LeaseId, ObjectIndex, WorkerId } from "../../base/ids.ts";
import { Fifo } from "../../core/fifo.ts";
import { Kind } from "../../wire/index.ts";
import type { ActorSpec, WireArg } from "../../wire/messages.ts";
import type { ActorInfo } from "../owner/runtime.ts";
import { runInTask, runSynchronously, type TaskContext } from "../owner/task-context.ts";
import { ArgumentFailed, type Executor, isThenable } from "./executor.ts";
import { newLoadedDefinition } from "./loaded-definition.ts";
import { readable, toTaskError } from "./task-error.ts";
import type { TaskRun } from "./task-run.ts";

interface ActorStart {
  readonly classKey: string;
  readonly className: string;
  readonly args: readonly WireArg[];
  readonly maxConcurrency: number;
  readonly concurrencyGroups: Readonly<Record<string, number>>;
}

/** Names no lease: the daemon lends the CPU of the actor itself while its constructor waits. */
const constructorLane = -1 as LeaseId;

/** Calls that share a bound on how many run at once; they start in the order they came. */
interface Group {
  readonly limit: number;
  running: number;
  readonly queue: Fifo<TaskRun>;
}

export class ActorHost {
  spec: ActorSpec | null = null;
  incarnation = 0;
  /** Of callers one of whose calls waits for its arguments before it starts: when the latest such call has started. */
  private readonly starting = new Map<WorkerId, Promise<void>>();
  gpuIds: readonly number[] = [];
  private readonly executor: Executor;
  private instance: any = null;
  private readonly groups = new Map<string, Group>();
  private exiting = false;
  private exitAtIdle = false;

  constructor(executor: Executor) {
    this.executor = executor;
  }

  get actorId(): ActorId | null {
    return this.spec?.actorId ?? null;
  }

  info(): ActorInfo | null {
    const { spec } = this;
    if (spec === null) return null;
    return {
      actorId: spec.actorId,
      name: spec.name,
      namespace: spec.namespace,
      resources: spec.lifetimeResources,
      gpuIds: this.gpuIds,
      incarnation: this.incarnation,
    };
  }

  /** Makes the instance and tells the daemon how that went. */
  async start(spec: ActorSpec, incarnation: number, gpuIds: readonly number[]): Promise<void> {
    const { runtime } = this.executor;
    const start = spec.start as ActorStart;
    this.spec = spec;
    this.incarnation = incarnation;
    this.gpuIds = gpuIds;
    this.groups.set("", { limit: start.maxConcurrency, running: 0, queue: new Fifo() });
    for (const [name, limit] of Object.entries(start.concurrencyGroups))
      this.groups.set(name, { limit, running: 0, queue: new Fifo() });
    try {
      const Class = (await runtime.functions.loadOne(start.classKey)) as new (...args: unknown[]) => object;
      const args = await this.executor.decodeArgsSlowly(start.args);
      this.instance = runInTask(this.constructorContext(start), () => new Class(...args));
      await runtime.borrows.unregistered(null); // with the news its creator lets go of the arguments
      runtime.daemon.send([Kind.ActorReady, spec.actorId, incarnation, null, ""]);
    } catch (thrown) {
      const error = readable(thrown);
      const wrapped =
        error instanceof ArgumentFailed ? error.cause : toTaskError(error, `${start.className}.constructor`, runtime);
      runtime.daemon.send([Kind.ActorReady, spec.actorId, incarnation, runtime.encodeError(wrapped), wrapped.message]);
      this.executor.exitSoon(0);
    }
  }

  private constructorContext(start: ActorStart): TaskContext {
    const spec = this.spec as ActorSpec;
    const loaded = newLoadedDefinition({
      functionKey: start.classKey,
      name: `${start.className}.constructor`,
      numReturns: 1,
      maxCalls: 0,
      generatorBackpressure: -1,
      retryExceptions: false,
      method: null,
      concurrencyGroup: null,
      group: null,
      resources: spec.placement.resources,
    });
    let waits = 0;
    const { daemon } = this.executor.runtime;
    return {
      key: spec.actorId,
      taskId: spec.actorId,
      definition: loaded.wire,
      actorId: spec.actorId,
      attempt: this.incarnation,
      gpuIds: this.gpuIds,
      signal: new AbortController().signal,
      childStrategy: null,
      waitStarted: () => {
        if (waits++ === 0) daemon.send([Kind.Blocked, constructorLane]);
      },
      waitEnded: () => {
        if (--waits === 0) daemon.send([Kind.Unblocked, constructorLane]);
      },
    };
  }

  // -------------------------------------------------------------- calls

  enqueue(run: TaskRun): void {
    const group = this.groups.get(run.loaded.wire.concurrencyGroup ?? "") ?? (this.groups.get("") as Group);
    group.queue.push(run);
    this.pump(group);
  }

  queued(from: WorkerId, index: ObjectIndex): TaskRun | undefined {
    for (const group of this.groups.values())
      for (const run of group.queue) if (run.owner === from && run.index === index) return run;
    return undefined;
  }

  private pump(group: Group): void {
    while (group.running < group.limit && !this.exiting) {
      const run = group.queue.shift();
      if (run === undefined) break;
      if (run.cancelled) continue;
      group.running++;
      const busy = this.begin(run);
      if (busy === null) group.running--;
      else
        busy.then(() => {
          group.running--;
          this.pump(group);
        });
    }
    if (this.exitAtIdle) this.exitWhenIdle();
  }

  private begin(run: TaskRun): Promise<void> | null {
    run.startMs = performance.now();
    const { wire } = run.loaded;
    const method = this.instance?.[wire.method ?? ""];
    if (typeof method !== "function") {
      this.executor.fail(run, new TypeError(`Cannot call method '${wire.method}': the actor has none of that name`));
      return null;
    }
    if (this.starting.has(run.owner)) return this.beginInTurn(run, method);
    try {
      const args = this.executor.decodeArgs(run.args);
      if (args === null) return this.beginInTurn(run, method);
      if (wire.numReturns === -1 || method.constructor.name !== "Function") return this.beginAsync(run, method, args);
      const result = runSynchronously(run, () => method.apply(this.instance, args));
      if (isThenable(result)) return this.executor.settleLater(run, result);
      this.executor.succeed(run, result);
    } catch (error) {
      this.executor.fail(run, error);
    }
    return null;
  }

  /** Never rejects. */
  private beginAsync(run: TaskRun, method: Function, args: unknown[]): Promise<void> {
    this.executor.track(run);
    return this.executor
      .settle(
        run,
        runInTask(run, async () => method.apply(this.instance, args)),
      )
      .finally(() => this.executor.untrack(run));
  }

  /** A call whose arguments have to be loaded first, or before which there is one of its caller: they start in their order all the same. */
  private async beginInTurn(run: TaskRun, method: Function): Promise<void> {
    this.executor.track(run);
    const before = this.starting.get(run.owner);
    let hasStarted: () => void = () => {};
    const started = new Promise<void>((resolve) => {
      hasStarted = resolve;
    });
    this.starting.set(run.owner, started);
    const begun = (): void => {
      hasStarted();
      if (this.starting.get(run.owner) === started) this.starting.delete(run.owner);
    };
    try {
      const loading = this.executor.decodeArgsSlowly(run.args);
      loading.catch(() => {}); // it is looked at when its turn comes
      await before;
      const args = await loading;
      if (run.cancelled) throw run.cancelReason();
      const result = runInTask(run, async () => method.apply(this.instance, args));
      begun();
      await this.executor.settle(run, result);
    } catch (error) {
      this.executor.fail(run, error);
    } finally {
      begun();
      this.executor.untrack(run);
    }
  }

  // -------------------------------------------------------------- the end

  /** `exitActor()` was called in a method: the actor ends by its own will, and its callers are told so. */
  exit(run: TaskRun): void {
    const spec = this.spec;
    if (spec === null)
      return this.executor.fail(run, new Error("Cannot exit the actor: exitActor() was not called inside an actor"));
    if (this.exiting) return;
    this.exiting = true;
    this.executor.runtime.daemon.send([Kind.ActorExiting, spec.actorId, this.incarnation]);
    this.executor.exitSoon(0);
  }

  /** No handle is left: ends when what was called is done. */
  exitWhenIdle(): void {
    this.exitAtIdle = true;
    for (const group of this.groups.values()) if (group.running > 0 || group.queue.length > 0) return;
    if (this.exiting) return;
    this.exiting = true;
    this.executor.exitSoon(0);
  }
}
