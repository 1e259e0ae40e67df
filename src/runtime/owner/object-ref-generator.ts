/** The consumer's end of a streaming task: refs to its items, as they are produced. */
import type { TaskRecord } from "../../core/task-record.ts";
import type { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";

interface StreamHold {
  task: TaskRecord | null;
  readonly runtime: Runtime;
}

const collected = new FinalizationRegistry<StreamHold>((hold) => abandon(hold));

function abandon(hold: StreamHold): void {
  const task = hold.task;
  if (task === null) return;
  hold.task = null;
  hold.runtime.streams.abandon(task);
}

/**
 * An async iterable of refs to the items a generator task yields, usable while the task still runs. When the task fails, the last ref
 * throws its error. Leaving the loop early tells the task to stop.
 *
 * @example
 * for await (const ref of count.remote(3)) console.log(await shoal.get(ref));
 */
export class ObjectRefGenerator<T = unknown> implements AsyncIterableIterator<ObjectRef<T>> {
  readonly #hold: StreamHold;
  readonly #completed: ObjectRef<undefined>;

  /** @internal */
  constructor(task: TaskRecord, completed: ObjectRef<undefined>, runtime: Runtime) {
    this.#hold = { task, runtime };
    this.#completed = completed;
    collected.register(this, this.#hold);
  }

  /** Resolves when the task has ended; getting it throws the task's error if it failed. */
  get completed(): ObjectRef<undefined> {
    return this.#completed;
  }

  next(): Promise<IteratorResult<ObjectRef<T>>> {
    const { task, runtime } = this.#hold;
    if (task === null) return Promise.resolve({ done: true, value: undefined });
    return runtime.streams.next(task) as Promise<IteratorResult<ObjectRef<T>>>;
  }

  return(): Promise<IteratorResult<ObjectRef<T>>> {
    abandon(this.#hold);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    abandon(this.#hold);
  }

  /** @internal */
  static taskOf(generator: ObjectRefGenerator<any>): TaskRecord | null {
    return generator.#hold.task;
  }
}
