/** Runs a generator task: sends its items as they are made, no faster than its consumer allows. */
import { setImmediate } from "../../base/clock.ts";
import { Kind } from "../../wire/index.ts";
import type { WireReturn } from "../../wire/messages.ts";
import { runInTask } from "../owner/task-context.ts";
import type { Executor } from "./executor.ts";
import type { TaskRun } from "./task-run.ts";

/** Attempts of stream items are numbered from here in segment names, apart from those of the task's own returns. */
const itemAttemptBase = 2 ** 20;

export async function streamOut(executor: Executor, run: TaskRun, produced: unknown): Promise<void> {
  const iterator = iteratorOf(produced, run);
  const limit = run.loaded.wire.generatorBackpressure;
  let items = 0;
  try {
    for (;;) {
      if (limit > 0) await roomFor(run, items, limit);
      if (run.cancelled || run.consumed === -1) break;
      const step = await runInTask(run, async () => iterator.next());
      if (step.done) break;
      sendItem(executor, run, items++, step.value);
      run.link.flush();
      await turn(); // items leave, and word from the consumer comes in, between two items of a synchronous generator
    }
  } finally {
    if (run.cancelled || run.consumed === -1) await iterator.return?.(undefined);
  }
  executor.reply(run, [undefined]);
}

function iteratorOf(produced: unknown, run: TaskRun): Iterator<unknown> | AsyncIterator<unknown> {
  const iterable = produced as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null;
  const make = (iterable?.[Symbol.asyncIterator] ?? iterable?.[Symbol.iterator]) as
    | (() => Iterator<unknown> | AsyncIterator<unknown>)
    | undefined;
  if (typeof make !== "function")
    throw new TypeError(`Cannot stream what '${run.loaded.wire.name}' returned: it is not a generator`);
  return make.call(iterable);
}

/** Resolves when fewer than `limit` items are produced but not consumed, or nobody wants more. */
function roomFor(run: TaskRun, produced: number, limit: number): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!run.cancelled && run.consumed !== -1 && produced - run.consumed >= limit) return;
      run.onConsumed = null;
      resolve();
    };
    run.onConsumed = look;
    look();
  });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function sendItem(executor: Executor, run: TaskRun, item: number, value: unknown): void {
  const { runtime } = executor;
  const encoded = runtime.values.encode(value, `item ${item}`);
  const wire: WireReturn =
    encoded.large === null
      ? encoded.value
      : [runtime.objects.store(run.index, itemAttemptBase * (run.attempt + 1) + item, run.owner, encoded.large)];
  const refs = executor.lend(run, encoded.refs === null ? null : [encoded.refs], item)?.[0] ?? null;
  executor.send(run, () => run.link.send([Kind.StreamItem, run.index, run.attempt, item, wire, refs]));
}
