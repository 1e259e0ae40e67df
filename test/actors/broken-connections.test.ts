/** A connection to an actor breaks while both ends live on. */
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import type { Socket } from "node:net";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal, newTally, type Signal, type Tally } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { rejection, waitFor } from "../support/wait-for.ts";

useSession({ numCpus: 2 });

const dialled: Socket[] = [];
subscribe("net.client.socket", (message) => dialled.push((message as { socket: Socket }).socket));

class Counter {
  private count = 0;
  private readonly order: string[] = [];
  async add(): Promise<number> {
    return ++this.count;
  }
  async pid(): Promise<number> {
    return process.pid;
  }
  async hold(tally: Tally, signal: Signal): Promise<string> {
    await shoal.get(tally.add.remote("held"));
    await shoal.get(signal.wait.remote());
    return "held";
  }
  async note(name: string): Promise<void> {
    this.order.push(name);
  }
  /** Its first run does not end. */
  async noteOrHang(tally: Tally, name: string): Promise<void> {
    if ((await shoal.get(tally.add.remote(name))) === 1) await new Promise(() => {});
    this.order.push(name);
  }
  async noted(): Promise<string[]> {
    return this.order;
  }
}
const CounterActor = shoal.remote(Counter, { numCpus: 0 });
type CounterHandle = shoal.ActorHandle<Counter>;

/** Resolves when this side has noticed: what is called before that is under way. */
function cutOff(socket: Socket): Promise<unknown> {
  const closed = once(socket, "close");
  socket.destroy();
  return closed;
}

/** An actor, and what breaks the connection to it. */
async function connected(): Promise<{ counter: CounterHandle; pid: number; cut: () => Promise<unknown> }> {
  await shoal.get(newSignal().send.remote()); // the board is connected to before
  const before = dialled.length;
  const counter = CounterActor.remote();
  const pid = await shoal.get(counter.pid.remote());
  const sockets = dialled.slice(before);
  expect(sockets.length).toBe(1);
  return { counter, pid, cut: () => cutOff(sockets[0]) };
}

describe("A connection to an actor that breaks while the actor lives", () => {
  test("is made again: the actor keeps its process and its state", async () => {
    const { counter, pid, cut } = await connected();
    expect(await shoal.get(counter.add.remote())).toBe(1);
    await cut();
    expect(await shoal.get(counter.add.remote(), { timeoutMs: 20_000 })).toBe(2);
    expect(await shoal.get(counter.pid.remote())).toBe(pid);
  });

  test("fails the call under way that may not run twice, and no later one", async () => {
    const { counter, cut } = await connected();
    const [tally, signal] = [newTally(), newSignal()];
    const held = counter.hold.remote(tally, signal);
    await waitFor("the call to be under way", async () => (await shoal.get(tally.count.remote("held"))) === 1);
    await cut();
    const after = counter.add.remote();
    const error = await rejection<shoal.ActorUnavailableError>(shoal.get(held, { timeoutMs: 20_000 }));
    expect(error).toBeInstanceOf(shoal.ActorUnavailableError);
    expect(error.message).toMatch(/connection to actor Counter .* broke/);
    expect(await shoal.get(after, { timeoutMs: 20_000 })).toBe(1);
    await shoal.get(signal.send.remote());
  });

  test("has the call under way run again when its retries allow it", async () => {
    const { counter, cut } = await connected();
    const tally = newTally();
    const first = counter.noteOrHang.options({ maxTaskRetries: 1 }).remote(tally, "first");
    await waitFor("the call to be under way", async () => (await shoal.get(tally.count.remote("first"))) === 1);
    await cut();
    const second = counter.note.remote("second");
    await shoal.get([first, second], { timeoutMs: 20_000 });
    expect(await shoal.get(tally.count.remote("first"))).toBe(2);
    expect((await shoal.get(counter.noted.remote())).toSorted()).toEqual(["first", "second"]);
  });

  test("may break again", async () => {
    const { counter, pid, cut } = await connected();
    await cut();
    const before = dialled.length;
    expect(await shoal.get(counter.add.remote(), { timeoutMs: 20_000 })).toBe(1);
    await Promise.all(dialled.slice(before).map(cutOff));
    expect(await shoal.get(counter.add.remote(), { timeoutMs: 20_000 })).toBe(2);
    expect(await shoal.get(counter.pid.remote())).toBe(pid);
  });
});
