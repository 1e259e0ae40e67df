import * as shoal from "shoal";
import { afterEach, describe, expect, test } from "vitest";
import { newSignal, type Signal } from "../support/board.ts";
import { collectGarbage } from "../support/garbage.ts";
import { disposeAll, fill, untilFreed, untilNothingIsSpilled, untilSpilled } from "../support/pressure.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

const objectBytes = 40_000_000;
const session = useSession({ numCpus: 1, objectStoreMemory: 64_000_000 });

type Box = [shoal.ObjectRef<Uint8Array>];

const large = (mark: number) => shoal.put(new Uint8Array(objectBytes).fill(mark));
const lastOf = async (ref: shoal.ObjectRef<Uint8Array>) => (await shoal.get(ref)).at(-1);

/** Keeps a ref it was given inside a list, reads it when asked, and lets go when told. */
class Keeper {
  kept: shoal.ObjectRef<Uint8Array> | undefined;
  keep([ref]: Box): void {
    this.kept = ref;
  }
  async read(): Promise<number> {
    return (await shoal.get(this.kept!)).at(-1)!;
  }
  give(): Box {
    return [this.kept!];
  }
  async drop(): Promise<void> {
    this.kept = undefined;
    await collectGarbage();
  }
  async collect(): Promise<void> {
    await collectGarbage();
  }
  exit(): void {
    shoal.exitActor();
  }
}
const RemoteKeeper = shoal.remote(Keeper, { numCpus: 0 });

afterEach(() => untilNothingIsSpilled(session()));

describe("a ref inside a value", () => {
  test("keeps its object while a task has it, after the driver has let go; then it is freed", async () => {
    const signal = newSignal();
    const reader = shoal.remote(async ([ref]: Box, s: Signal) => {
      await shoal.get(s.wait.remote());
      return (await shoal.get(ref)).at(-1);
    });
    const ref = large(3);
    const result = reader.remote([ref], signal);
    ref[Symbol.dispose]();
    await waitFor("the task to wait", async () => (await shoal.get(signal.waiters.remote())) === 1);
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(result)).toBe(3);
    await untilFreed(session(), objectBytes, "the object to be freed after its last user");
    disposeAll(pressure);
  });

  test("handed down through tasks keeps its object until the last of them ends", async () => {
    const signal = newSignal();
    const down = shoal.remote(async (box: Box, depth: number, s: Signal): Promise<number> => {
      if (depth > 0) return shoal.get(down.remote(box, depth - 1, s));
      await shoal.get(s.wait.remote());
      return (await shoal.get(box[0])).at(-1)!;
    });
    const ref = large(4);
    const result = down.remote([ref], 4, signal);
    ref[Symbol.dispose]();
    await waitFor("the innermost task to wait", async () => (await shoal.get(signal.waiters.remote())) === 1);
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(result)).toBe(4);
    await untilFreed(session(), objectBytes, "the object to be freed after the innermost task");
    disposeAll(pressure);
  });

  test("is released when the task's process crashes", async () => {
    const crash = shoal.remote(
      async ([ref]: Box) => {
        await shoal.get(ref);
        process.exit(1);
      },
      { maxRetries: 0 },
    );
    const ref = large(5);
    const crashed = crash.remote([ref]);
    expect(await rejection(shoal.get(crashed))).toBeInstanceOf(shoal.WorkerCrashedError);
    ref[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilFreed(session(), objectBytes, "the object to be freed after the crash");
    disposeAll(pressure);
  });

  test("keeps its object as long as the object it is in, which is put", async () => {
    const inner = large(6);
    const outer = shoal.put({ deep: [new Map([["inner", inner]])] });
    inner[Symbol.dispose]();
    await collectGarbage();
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    const box = await shoal.get(outer);
    expect(await lastOf(box.deep[0]!.get("inner")!)).toBe(6);
    box.deep[0]!.get("inner")![Symbol.dispose]();
    outer[Symbol.dispose]();
    await untilFreed(session(), objectBytes, "the inner object to be freed with the outer one");
    disposeAll(pressure);
  });

  test("returned from a task keeps its object, which the worker owns", async () => {
    const make = shoal.remote((bytes: number) => ({ list: [shoal.put(new Uint8Array(bytes).fill(7))] }));
    const outer = make.remote(objectBytes);
    await shoal.wait([outer]);
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    const { list } = await shoal.get(outer);
    expect(await lastOf(list[0]!)).toBe(7);
    outer[Symbol.dispose]();
    expect(await lastOf(list[0]!)).toBe(7); // the ref by itself keeps it, too
    list[0]![Symbol.dispose]();
    await untilFreed(session(), objectBytes, "the returned object to be freed");
    disposeAll(pressure);
  });
});

describe("a ref in an actor's field", () => {
  test("keeps the object; letting go of it frees", async () => {
    const keeper = RemoteKeeper.remote();
    const ref = large(8);
    await shoal.get(keeper.keep.remote([ref]));
    ref[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    expect(await shoal.get(keeper.read.remote())).toBe(8);
    await shoal.get(keeper.drop.remote());
    await shoal.get(keeper.collect.remote());
    await untilFreed(session(), objectBytes, "the object to be freed by the actor");
    disposeAll(pressure);
  });

  test.each(["kill", "exit"] as const)("is released by the actor's death (%s)", async (how) => {
    const keeper = RemoteKeeper.remote();
    const ref = large(9);
    await shoal.get(keeper.keep.remote([ref]));
    ref[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    if (how === "kill") await shoal.kill(keeper);
    else await rejection(shoal.get(keeper.exit.remote()));
    await untilFreed(session(), objectBytes, "the object to be freed by the actor's death");
    disposeAll(pressure);
  });

  test("handed over by a task that ends outlives that task's process", async () => {
    const keeper = RemoteKeeper.remote();
    const lend = shoal.remote(
      async (box: Box, to: typeof keeper) => {
        await shoal.get(to.keep.remote(box));
        return process.pid;
      },
      { maxCalls: 1 },
    );
    const ref = large(10);
    const lenderPid = await shoal.get(lend.remote([ref], keeper));
    ref[Symbol.dispose]();
    const pressure = fill(objectBytes);
    await untilSpilled(session(), objectBytes);
    expect(lenderPid).not.toBe(process.pid);
    expect(await shoal.get(keeper.read.remote())).toBe(10);
    const [back] = await shoal.get(keeper.give.remote());
    await shoal.kill(keeper);
    expect(await lastOf(back)).toBe(10); // and what the actor gave back outlives the actor
    back[Symbol.dispose]();
    await untilFreed(session(), objectBytes, "the object to be freed");
    disposeAll(pressure);
  });
});
