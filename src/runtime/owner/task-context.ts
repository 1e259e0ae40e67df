/**
 * Which task the code at hand belongs to. A synchronous function needs only a variable; code after an `await` finds its task through
 * AsyncLocalStorage. In a driver there is never one.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ActorId } from "../../base/ids.ts";
import type { StrategySpec, TaskDefinition } from "../../wire/messages.ts";

export interface TaskContext {
  /** `<owner>:<index>` of the task or call. */
  readonly key: string;
  readonly taskId: string;
  readonly definition: TaskDefinition;
  readonly actorId: ActorId | null;
  readonly attempt: number;
  readonly gpuIds: readonly number[];
  readonly signal: AbortSignal;
  /** Strategy that child tasks inherit (captureChildTasks). */
  readonly childStrategy: StrategySpec | null;
  waitStarted(): void;
  waitEnded(): void;
}

const storage = new AsyncLocalStorage<TaskContext>();
let synchronous: TaskContext | null = null;

export function currentTask(): TaskContext | null {
  return synchronous ?? storage.getStore() ?? null;
}

/** Runs `body` as part of a task, its asynchronous continuations included. */
export function runInTask<T>(context: TaskContext, body: () => T): T {
  return storage.run(context, body);
}

/** Runs a function that is known to be synchronous as part of a task: nothing is set up that it would have to pay for. */
export function runSynchronously<T>(context: TaskContext, body: () => T): T {
  const outer = synchronous;
  synchronous = context;
  try {
    return body();
  } finally {
    synchronous = outer;
  }
}
