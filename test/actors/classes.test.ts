/** Classes of every shape as actors, defined wherever a program may define them. */
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { useSession } from "../support/session.ts";

useSession();

describe("An actor's class", () => {
  test("may extend another, which keeps its constructor, super calls and accessors", async () => {
    class Shape {
      readonly name: string;
      constructor(name: string) {
        this.name = name;
      }
      area(): number {
        return 0;
      }
      describe(): string {
        return `${this.name} of ${this.area()}, ${this.label}`;
      }
      get label(): string {
        return "plain";
      }
    }
    class Square extends Shape {
      readonly side: number;
      constructor(side: number) {
        super("square");
        this.side = side;
      }
      override area(): number {
        return this.side ** 2;
      }
      override get label(): string {
        return `not ${super.label}`;
      }
    }
    const square = shoal.remote(Square).remote(3);
    expect(await shoal.get(square.describe.remote())).toBe("square of 9, not plain");
    expect(await shoal.get(square.area.remote())).toBe(9);
  });

  test("may have static members, private fields and private methods", async () => {
    class Account {
      static readonly currency = "EUR";
      static opened = 0;
      static format(amount: number): string {
        return `${amount} ${Account.currency}`;
      }
      #balance = 0;
      constructor() {
        Account.opened += 1;
      }
      #checked(amount: number): number {
        if (amount < 0) throw new RangeError("negative");
        return amount;
      }
      deposit(amount: number): string {
        this.#balance += this.#checked(amount);
        return Account.format(this.#balance);
      }
      static count(): number {
        return Account.opened;
      }
      opened(): number {
        return Account.count();
      }
    }
    const account = shoal.remote(Account).remote();
    expect(await shoal.get(account.deposit.remote(5))).toBe("5 EUR");
    expect(await shoal.get(account.deposit.remote(6))).toBe("11 EUR");
    expect(await shoal.get(account.opened.remote())).toBe(1);
    expect(Account.opened).toBe(0);
  });

  test("may be defined inside a task, and inside another actor", async () => {
    const inTask = shoal.remote(async () => {
      class Inner {
        x = 1;
        next(): number {
          return ++this.x;
        }
      }
      return shoal.get(shoal.remote(Inner).remote().next.remote());
    });
    class Outer {
      async run(): Promise<number> {
        class Inner {
          value(): number {
            return 42;
          }
        }
        return shoal.get(shoal.remote(Inner).remote().value.remote());
      }
    }
    expect(await shoal.get(inTask.remote())).toBe(2);
    expect(await shoal.get(shoal.remote(Outer).remote().run.remote())).toBe(42);
  });

  test("keeps its own code when eleven classes have one name", async () => {
    const classes = Array.from({ length: 11 }, (_, i) => {
      class Same {
        number(): number {
          return i;
        }
      }
      return shoal.remote(Same, { numCpus: 0 });
    });
    const actors = classes.map((Same) => Same.remote());
    expect(await shoal.get(actors.map((actor) => actor.number.remote()))).toEqual(Array.from({ length: 11 }, (_, i) => i));
  });

  test("may be an expression without a name, and may capture variables", async () => {
    const factor = 6;
    const actor = shoal
      .remote(
        class {
          times(x: number): number {
            return x * factor;
          }
        },
      )
      .remote();
    expect(await shoal.get(actor.times.remote(7))).toBe(42);
  });

  test("may start actors of its own class", async () => {
    class Node {
      readonly depth: number;
      constructor(depth: number) {
        this.depth = depth;
      }
      async total(): Promise<number> {
        if (this.depth === 0) return 1;
        const child = shoal.remote(Node).remote(this.depth - 1);
        return 1 + (await shoal.get(child.total.remote()));
      }
    }
    expect(await shoal.get(shoal.remote(Node).remote(4).total.remote())).toBe(5);
  });

  test("may return this actor's own handle through getRuntimeContext-free means: a handle given to it", async () => {
    class Self {
      me: shoal.ActorHandle<Self> | null = null;
      n = 0;
      know(me: shoal.ActorHandle<Self>): void {
        this.me = me;
      }
      bump(): number {
        return ++this.n;
      }
      async viaSelf(): Promise<number> {
        return shoal.get(this.me!.bump.remote());
      }
    }
    const actor = shoal.remote(Self).remote();
    await shoal.get(actor.know.remote(actor));
    expect(await shoal.get(actor.viaSelf.remote())).toBe(1);
  });
});

describe("An actor's streaming method", () => {
  class Producer {
    *sync(count: number): Generator<number> {
      for (let i = 0; i < count; i++) yield i;
    }
    async *async(count: number): AsyncGenerator<Float64Array> {
      for (let i = 0; i < count; i++) yield new Float64Array(20_000).fill(i);
    }
    *broken(): Generator<number> {
      yield 1;
      throw new TypeError("ran dry");
    }
    ping(): string {
      return "pong";
    }
  }

  test("streams, from sync and async generators, to the driver and to a task", async () => {
    const producer = shoal.remote(Producer).remote();
    const seen: number[] = [];
    for await (const ref of producer.sync.remote(5)) seen.push(await shoal.get(ref));
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    const inTask = shoal.remote(async (handle: typeof producer) => {
      const firsts: number[] = [];
      for await (const ref of handle.async.remote(4)) firsts.push((await shoal.get(ref))[0]!);
      return firsts;
    });
    expect(await shoal.get(inTask.remote(producer))).toEqual([0, 1, 2, 3]);
  });

  test("gives its error as the last item, and the actor lives on", async () => {
    const producer = shoal.remote(Producer).remote();
    const outcomes: unknown[] = [];
    try {
      for await (const ref of producer.broken.remote()) outcomes.push(await shoal.get(ref));
    } catch (error) {
      outcomes.push((error as shoal.TaskError).cause);
    }
    expect(outcomes[0]).toBe(1);
    expect(outcomes[1]).toBeInstanceOf(TypeError);
    expect(outcomes.length).toBe(2);
    expect(await shoal.get(producer.ping.remote())).toBe("pong");
  });

  test("ends with ActorDiedError when the actor is killed in mid-stream", async () => {
    class Endless {
      async *numbers(): AsyncGenerator<number> {
        for (let i = 0; ; i++) {
          yield i;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      }
    }
    const endless = shoal.remote(Endless).remote();
    let count = 0;
    const consume = async () => {
      for await (const ref of endless.numbers.options({ generatorBackpressure: 4 }).remote()) {
        await shoal.get(ref);
        if (++count === 10) await shoal.kill(endless);
      }
    };
    await expect(consume()).rejects.toBeInstanceOf(shoal.ActorDiedError);
    expect(count).toBeGreaterThanOrEqual(10);
  });
});
