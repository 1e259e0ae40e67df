import { describe, expect, test } from "vitest";
import { boundedStream, type Flight, type Landing } from "./bounded-stream.ts";

interface Launched {
  readonly items: number[];
  readonly land: (landing: Landing<number>) => void;
  cancelled: boolean;
}

/** A stream whose flights land when the test says so. */
function manual(source: Iterable<number> | AsyncIterable<number>, { maxInFlight = 4, chunkSize = 1, ordered = true } = {}) {
  const launched: Launched[] = [];
  const launch = (items: number[]): Flight<number> => {
    let land!: (landing: Landing<number>) => void;
    const landing = new Promise<Landing<number>>((resolve) => {
      land = resolve;
    });
    const flight: Launched = { items, land, cancelled: false };
    launched.push(flight);
    return {
      landing,
      cancel: () => {
        flight.cancelled = true;
      },
    };
  };
  const stream = boundedStream({ source, launch, maxInFlight: () => maxInFlight, chunkSize, ordered });
  return {
    stream,
    launched,
    landAll: () => {
      for (const { land, items } of launched) land({ values: items.map((item) => item * 10) });
    },
  };
}

/** Lets everything that is ready happen. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function* counting(counter: { pulled: number; closed?: boolean }, end = Number.POSITIVE_INFINITY): Generator<number> {
  try {
    while (counter.pulled < end) yield counter.pulled++;
  } finally {
    counter.closed = true;
  }
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of stream) values.push(value);
  return values;
}

describe("boundedStream", () => {
  test("pulls nothing before the first next()", async () => {
    const counter = { pulled: 0 };
    manual(counting(counter));
    await settle();
    expect(counter.pulled).toBe(0);
  });

  test("pulls no more than maxInFlight chunks ahead of the consumer, from an endless source", async () => {
    const counter = { pulled: 0, closed: false };
    const { stream, landAll } = manual(counting(counter), { maxInFlight: 3, chunkSize: 2 });
    for (let taken = 0; taken < 20; taken++) {
      const next = stream.next();
      await settle();
      landAll();
      expect(await next).toEqual({ value: taken * 10, done: false });
      await settle();
      expect(counter.pulled).toBeLessThanOrEqual(taken + 1 + 3 * 2);
    }
    await stream.return?.();
    expect(counter.closed).toBe(true);
  });

  test("keeps the order of the items when they land in another", async () => {
    const { stream, launched } = manual([1, 2, 3]);
    const values = collect(stream);
    await settle();
    for (const { land, items } of [...launched].reverse()) land({ values: items });
    expect(await values).toEqual([1, 2, 3]);
  });

  test("unordered: hands out what lands first", async () => {
    const { stream, launched } = manual([1, 2, 3], { ordered: false });
    const values = collect(stream);
    await settle();
    for (const index of [2, 0, 1]) {
      launched[index]?.land({ values: launched[index].items });
      await settle();
    }
    expect(await values).toEqual([3, 1, 2]);
  });

  test("hands out what is there while the source is slow", async () => {
    async function* slow(): AsyncGenerator<number> {
      yield 1;
      await new Promise(() => undefined);
    }
    const { stream, landAll } = manual(slow());
    const first = stream.next();
    await settle();
    landAll();
    expect(await first).toEqual({ value: 10, done: false });
  });

  test("an error comes at its place, after the results before it, and cancels what is under way", async () => {
    const counter = { pulled: 0, closed: false };
    const { stream, launched } = manual(counting(counter), { maxInFlight: 4, chunkSize: 3 });
    const first = stream.next();
    await settle();
    launched[1]?.land({ values: [30], failure: { error: new Error("item 4") } });
    launched[0]?.land({ values: [0, 10, 20] });
    const taken = [(await first).value];
    for (let i = 0; i < 3; i++) taken.push((await stream.next()).value);
    expect(taken).toEqual([0, 10, 20, 30]);
    await expect(stream.next()).rejects.toThrow("item 4");
    expect(await stream.next()).toEqual({ value: undefined, done: true });
    expect(launched.slice(2).every((flight) => flight.cancelled)).toBe(true);
    expect(launched.slice(0, 2).some((flight) => flight.cancelled)).toBe(false);
    expect(counter.closed).toBe(true);
  });

  test("an error of the source comes after the results of its items, those of the open chunk included", async () => {
    function* failing(): Generator<number> {
      yield 1;
      yield 2;
      yield 3;
      throw new Error("source");
    }
    const { stream, landAll } = manual(failing(), { chunkSize: 2 });
    const taken: number[] = [];
    const reading = (async () => {
      for await (const value of stream) taken.push(value);
    })();
    await settle();
    landAll();
    await expect(reading).rejects.toThrow("source");
    expect(taken).toEqual([10, 20, 30]);
  });

  test("an error thrown by launch comes after what was launched before", async () => {
    const stream = boundedStream<number, number>({
      source: [1, 2],
      launch: ([item]) => {
        if (item === 2) throw new TypeError("cannot travel");
        return { landing: Promise.resolve({ values: [item as number] }), cancel: () => undefined };
      },
      maxInFlight: () => 8,
      chunkSize: 1,
      ordered: true,
    });
    expect(await stream.next()).toEqual({ value: 1, done: false });
    await expect(stream.next()).rejects.toThrow("cannot travel");
  });

  test("leaving the loop cancels what is under way and closes the source", async () => {
    const counter = { pulled: 0, closed: false };
    const { stream, launched } = manual(counting(counter), { maxInFlight: 3 });
    const first = stream.next();
    await settle();
    launched[0]?.land({ values: [1] });
    await first;
    await settle();
    await stream.return?.();
    expect(launched.map((flight) => flight.cancelled)).toEqual([false, ...launched.slice(1).map(() => true)]);
    expect(counter.closed).toBe(true);
  });

  test("return() does not wait for a task that never ends, nor for a source that never answers", async () => {
    const never: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined), return: () => new Promise(() => undefined) }),
    };
    const { stream } = manual(never);
    const next = stream.next();
    await settle();
    expect(await stream.return?.()).toEqual({ value: undefined, done: true });
    expect(await next).toEqual({ value: undefined, done: true });
    const { stream: stuck, launched } = manual([1]);
    const first = stuck.next();
    await settle();
    await stuck.return?.();
    expect(await first).toEqual({ value: undefined, done: true });
    expect(launched[0]?.cancelled).toBe(true);
  });

  test("an empty source gives no results", async () => {
    expect(await collect(manual([]).stream)).toEqual([]);
  });
});
