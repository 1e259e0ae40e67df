/** Tasks with small values: plain ones, such that throw, nested ones, cancelled ones, and what `wait` and `asCompleted` say of them. */
import * as shoal from "shoal";
import { asCompleted } from "shoal/util";
import type { Kind, Round } from "../round.ts";

const workerLost = [shoal.WorkerCrashedError, shoal.NodeDiedError];

/** Takes `ms` of its worker, whatever else runs there. */
function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function mixed(x: number, ms: number): number {
  hold(ms);
  return (Math.imul(x, 2_654_435_761) ^ (x >>> 3)) >>> 0;
}

const mix = shoal.remote(mixed, { maxRetries: -1 });

const refuse = shoal.remote(
  (x: number): number => {
    throw new RangeError(`no ${x}`);
  },
  { maxRetries: -1 },
);

const addAll = shoal.remote((...numbers: number[]) => numbers.reduce((a, b) => a + b, 0), { maxRetries: -1 });

const mixTree = shoal.remote(
  async (x: number, width: number): Promise<number> => {
    const refs = Array.from({ length: width }, (_, i) => mix.remote(x + i, 5));
    return (await shoal.get(refs)).reduce((a, b) => a + b, 0);
  },
  { maxRetries: -1 },
);

const delegate = shoal.remote((x: number) => [mix.remote(x, 10)], { maxRetries: -1 });

const untilCancelled = shoal.remote(
  async (ms: number): Promise<string> => {
    const { signal } = shoal.getRuntimeContext();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve(null);
      });
    });
    signal.throwIfAborted();
    return "done";
  },
  { maxRetries: -1 },
);

const sumOfMixed = (x: number, width: number): number =>
  Array.from({ length: width }, (_, i) => mixed(x + i, 0)).reduce((a, b) => a + b, 0);

const start = (round: Round): number => round.random.int(1_000_000_000);

export const taskKinds: readonly Kind[] = [
  {
    name: "tasks",
    lanes: 2,
    async run(round) {
      const x = start(round);
      const refs = Array.from({ length: 50 }, (_, i) => mix.remote(x + i, round.random.int(20)));
      const sum = addAll.remote(...refs);
      for (const [i, ref] of refs.entries()) round.right(`task ${i}`, await round.value(`task ${i}`, ref), mixed(x + i, 0));
      round.right("the sum of refs", await round.value("the sum of refs", sum), sumOfMixed(x, 50));
    },
  },
  {
    name: "tasks without retries",
    lanes: 1,
    async run(round) {
      const x = start(round);
      const once = mix.options({ maxRetries: 0 });
      const refs = Array.from({ length: 20 }, (_, i) => once.remote(x + i, round.random.int(100)));
      for (const [i, ref] of refs.entries()) {
        const { value, error } = await round.outcome(`task ${i}`, ref, workerLost);
        if (error === null) round.right(`task ${i}`, value, mixed(x + i, 0));
      }
    },
  },
  {
    name: "tasks that throw",
    lanes: 1,
    async run(round) {
      const x = start(round);
      const ref = refuse.remote(x);
      const dependent = mix.remote(ref, 0);
      for (const [what, failed] of [
        ["the task", ref],
        ["its dependent", dependent],
      ] as const) {
        const { error } = await round.outcome(what, failed, [shoal.TaskError]);
        const cause = error?.cause;
        round.right(what, cause instanceof RangeError ? cause.message : String(error), `no ${x}`);
      }
    },
  },
  {
    name: "nested tasks",
    lanes: 1,
    async run(round) {
      const x = start(round);
      const refs = Array.from({ length: 4 }, (_, i) => mixTree.remote(x + i, 6));
      for (const [i, ref] of refs.entries()) round.right(`tree ${i}`, await round.value(`tree ${i}`, ref), sumOfMixed(x + i, 6));
    },
  },
  {
    name: "refs of tasks' tasks",
    lanes: 1,
    async run(round) {
      const x = start(round);
      const [inner] = await round.value("the outer task", delegate.remote(x));
      // The owner is the outer task's worker, which may be gone.
      const { value, error } = await round.outcome("the inner task", inner, [shoal.ObjectLostError]);
      if (error === null) round.right("the inner task", value, mixed(x, 0));
    },
  },
  {
    name: "cancelled tasks",
    lanes: 1,
    async run(round) {
      const refs = Array.from({ length: 6 }, () => untilCancelled.remote(round.random.int(400)));
      const doomed = refs.filter(() => round.random.chance(0.5));
      if (round.random.chance(0.7)) await round.outcome("any of them", refs[round.random.int(refs.length)]);
      for (const ref of doomed) await round.within("cancel()", shoal.cancel(ref));
      for (const [i, ref] of refs.entries()) {
        const allowed = doomed.includes(ref) ? [shoal.TaskCancelledError] : [];
        const { value, error } = await round.outcome(`task ${i}`, ref, allowed);
        if (error === null) round.right(`task ${i}`, value, "done");
      }
    },
  },
  {
    name: "wait and asCompleted",
    lanes: 1,
    async run(round) {
      const x = start(round);
      const refs = Array.from({ length: 20 }, (_, i) => mix.remote(x + i, round.random.int(60)));
      const wanted = 1 + round.random.int(refs.length);
      const [ready, pending] = await round.within("wait()", shoal.wait(refs, { numReturns: wanted }));
      round.right("the number of ready refs", ready.length, wanted);
      round.check("ready and pending are not what was waited for, in its order", isSplit(refs, ready, pending));
      const iterator = asCompleted(refs, { yieldRefs: true })[Symbol.asyncIterator]();
      const seen = new Set<unknown>();
      for (let i = 0; i < refs.length; i++) {
        const next = await round.within(`result ${i} of asCompleted()`, iterator.next());
        round.check("asCompleted() has ended early", next.done !== true);
        seen.add(next.value);
        const index = refs.indexOf(next.value as shoal.ObjectRef<number>);
        round.right(`task ${index}`, await round.value(`task ${index}`, refs[index]), mixed(x + index, 0));
      }
      round.right("different refs of asCompleted()", seen.size, refs.length);
    },
  },
];

function isSplit<T>(all: readonly T[], ready: readonly T[], pending: readonly T[]): boolean {
  const inOrder = (part: readonly T[]): boolean =>
    part.every((one, i) => i === 0 || all.indexOf(part[i - 1]) < all.indexOf(one)) && part.every((one) => all.includes(one));
  return ready.length + pending.length === all.length && inOrder(ready) && inOrder(pending);
}
