import * as shoal from "shoal";
import { expect, test } from "vitest";
import { collectGarbage } from "../support/garbage.ts";
import { useSession } from "../support/session.ts";
import { SignalActor } from "../support/signal-actor.ts";
import { storeUse } from "../support/store-use.ts";
import { rejection } from "../support/wait-for.ts";

const itemBytes = 4_000_000;
const session = useSession({ numCpus: 2, objectStoreMemory: 48_000_000 });

/** Yields `n` items of 4 MB, then ends as told. */
const stream = shoal.remote(
  function* (n: number, end: "return" | "throw" | "exit") {
    for (let i = 0; i < n; i++) yield new Uint8Array(4_000_000).fill(i);
    if (end === "throw") throw new RangeError("at the end");
    if (end === "exit") process.exit(1);
  },
  { maxRetries: 0, generatorBackpressure: 2 },
);

test("a consumed item is freed: a long stream passes through a small store without touching the disk", async () => {
  let seen = 0;
  for await (using ref of stream.remote(60, "return")) {
    const item = await shoal.get(ref);
    expect(item[itemBytes - 1]).toBe(seen % 256);
    seen += 1;
    await collectGarbage(); // the view that get gave
  }
  expect(seen).toBe(60);
  expect(storeUse(session()).spillBytes).toBe(0);
});

test.each(["throw", "exit"] as const)("after a stream that ends by %s only the refs that are held remain", async (end) => {
  for (let round = 0; round < 6; round++) {
    const refs: shoal.ObjectRef<Uint8Array>[] = [];
    for await (const ref of stream.remote(5, end)) refs.push(ref);
    expect(refs.length).toBe(6);
    const error = await rejection(shoal.get(refs.pop()!));
    expect(error).toBeInstanceOf(end === "throw" ? shoal.TaskError : shoal.WorkerCrashedError);
    expect((await shoal.get(refs[4]!))[0]).toBe(4);
    for (const ref of refs) ref[Symbol.dispose]();
    await collectGarbage();
  }
  // 6 rounds of 20 MB went through 48 MB: what was not freed would be on disk now.
  expect(storeUse(session()).spillBytes).toBe(0);
});

test("a stream that is dropped without being read frees what it made", async () => {
  for (let round = 0; round < 8; round++) {
    const dropped = stream.remote(5, "return");
    await dropped.next();
    await dropped.return();
    await collectGarbage();
  }
  const refs = Array.from({ length: 8 }, (_, i) => shoal.put(new Uint8Array(itemBytes).fill(i)));
  expect((await shoal.get(refs)).map((item) => item[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(storeUse(session()).spillBytes).toBe(0);
  for (const ref of refs) ref[Symbol.dispose]();
});

test("a retry under backpressure passes over what was taken before", async () => {
  const crashOnce = shoal.remote(
    function* (n: number) {
      for (let i = 0; i < n; i++) {
        if (i === 6 && shoal.getRuntimeContext().attempt === 0) process.exit(1);
        yield i;
      }
    },
    { maxRetries: 1, generatorBackpressure: 2 },
  );
  const seen: number[] = [];
  for await (const ref of crashOnce.remote(10)) seen.push(await shoal.get(ref, { timeoutMs: 20_000 }));
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a retry of a stream that nobody reads any more ends", async () => {
  const signal = SignalActor.remote();
  const endless = shoal.remote(
    async function* (end: ReturnType<typeof SignalActor.remote>) {
      for (let i = 0; ; i++) {
        yield i;
        if (shoal.getRuntimeContext().attempt > 0) continue;
        await shoal.get(end.wait.remote());
        process.exit(1);
      }
    },
    { maxRetries: 1, generatorBackpressure: 2 },
  );
  const stream = endless.remote(signal);
  await stream.next();
  await stream.return();
  await shoal.get(signal.send.remote());
  expect(await shoal.get(stream.completed, { timeoutMs: 20_000 })).toBeUndefined();
});
