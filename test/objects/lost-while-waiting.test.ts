/** Stored bytes that are lost while somebody who saw them there still waits for something else. */
import { rmSync } from "node:fs";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, newTally, type Signal, type Tally } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { segmentFiles } from "../support/store-use.ts";
import { rejection } from "../support/wait-for.ts";

const session = useSession({ numCpus: 2, resources: { gate: 1 } });

/** Its first run answers at once, every other one when `again` is sent. In a process of its own, so that nobody maps the bytes. */
const make = shoal.remote(
  async (tally: Tally, again: Signal, mark: number) => {
    if ((await shoal.get(tally.add.remote("made"))) > 1) await shoal.get(again.wait.remote());
    return new Uint8Array(3_000_000).fill(mark);
  },
  { maxCalls: 1 },
);
const until = shoal.remote(async (signal: Signal) => shoal.get(signal.wait.remote()), { numCpus: 0 });
/** What runs through the gate runs one at a time, in the order of the calls. */
const gate = { numCpus: 0, resources: { gate: 1 } };
const firstOf = shoal.remote((array: Uint8Array) => array[0], gate);
const pass = shoal.remote(() => "passed", gate);

class Reader {
  echo(value: unknown) {
    return value;
  }
  firstOf(array: Uint8Array) {
    return array[0];
  }
}
const ReaderActor = shoal.remote(Reader, { numCpus: 0 });

async function stored(tally: Tally, again: Signal, mark: number, maxRetries = 3): Promise<shoal.ObjectRef<Uint8Array>> {
  const ref = make.options({ maxRetries }).remote(tally, again, mark);
  await shoal.wait([ref]);
  return ref;
}

/** Loses all stored bytes, and has somebody notice that those of `ref` are gone. */
async function lose(ref: shoal.ObjectRef<Uint8Array>, tally: Tally, runs: number): Promise<unknown> {
  for (const path of segmentFiles(session())) rmSync(path);
  const value = shoal.get(ref);
  value.catch(() => undefined);
  if (runs > 1) while ((await shoal.get(tally.count.remote("made"))) < runs);
  else await value.catch(() => undefined);
  return value;
}

describe("an argument lost while its task is queued", () => {
  test("is made again before the task runs", async () => {
    const [tally, open, again] = [newTally(), newSignal(), newSignal()];
    const array = await stored(tally, again, 7);
    const blocker = until.options(gate).remote(open);
    const queued = firstOf.remote(array);
    const value = lose(array, tally, 2);
    await shoal.get(open.send.remote());
    await shoal.get(blocker);
    expect(await shoal.get(pass.remote())).toBe("passed"); // it was the queued one's turn before
    await shoal.get(again.send.remote());
    expect(await shoal.get(queued)).toBe(7);
    await value;
  });

  test("fails the task with what it failed with when it cannot be made again", async () => {
    const [tally, open, again] = [newTally(), newSignal(), newSignal()];
    const array = await stored(tally, again, 7, 0);
    const blocker = until.options(gate).remote(open);
    const queued = firstOf.remote(array);
    await lose(array, tally, 1).catch(() => undefined);
    await shoal.get(open.send.remote());
    await shoal.get(blocker);
    expect(await rejection(shoal.get(queued))).toBeInstanceOf(shoal.ObjectReconstructionFailedError);
    expect(await shoal.get(pass.remote())).toBe("passed");
  });

  test("is made again before an actor's method is called with it", async () => {
    const [tally, open, again] = [newTally(), newSignal(), newSignal()];
    const reader = ReaderActor.remote();
    expect(await shoal.get(reader.echo.remote("there"))).toBe("there");
    const array = await stored(tally, again, 9);
    const before = reader.echo.remote(until.remote(open));
    const queued = reader.firstOf.remote(array); // behind the call whose argument is pending
    const value = lose(array, tally, 2);
    await shoal.get(open.send.remote());
    await shoal.get(before);
    await shoal.get(again.send.remote());
    expect(await shoal.get(queued)).toBe(9);
    await value;
  });

  test("is made again before an actor is created with it", async () => {
    class Keeper {
      readonly first: number;
      constructor(array: Uint8Array, _other: unknown) {
        this.first = array[0];
      }
      get() {
        return this.first;
      }
    }
    const [tally, open, again] = [newTally(), newSignal(), newSignal()];
    const array = await stored(tally, again, 11);
    const keeper = shoal.remote(Keeper, { numCpus: 0 }).remote(array, until.remote(open));
    const value = lose(array, tally, 2);
    await shoal.get(open.send.remote());
    await shoal.get(again.send.remote());
    expect(await shoal.get(keeper.get.remote())).toBe(11);
    await value;
  });
});

describe("get() of several", () => {
  test("waits again for one that was lost while it waited for another", async () => {
    const [tally, open, again] = [newTally(), newSignal(), newSignal()];
    const array = await stored(tally, again, 5);
    const late = until.remote(open);
    const both = shoal.get([array, late]);
    both.catch(() => undefined);
    const value = lose(array, tally, 2);
    await shoal.get(open.send.remote());
    await shoal.get(late);
    await shoal.get(again.send.remote());
    expect(((await both)[0] as Uint8Array)[0]).toBe(5);
    await value;
  });

  test("counts its timeout from the beginning, also when it waits again", async () => {
    const [tally, open, again] = [newTally(), newSignal(), newSignal()];
    const array = await stored(tally, again, 5);
    const late = until.remote(open);
    const both = shoal.get([array, late], { timeoutMs: 1_500 });
    both.catch(() => undefined);
    const value = lose(array, tally, 2);
    await shoal.get(open.send.remote());
    await shoal.get(late);
    const error = await rejection<shoal.GetTimeoutError>(both);
    expect(error).toBeInstanceOf(shoal.GetTimeoutError);
    expect(error.timeoutMs).toBe(1_500);
    await shoal.get(again.send.remote());
    await value;
  });
});
