import { rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SerializationError } from "../base/errors.ts";
import { capture } from "./capture.ts";
import { bundleRoundTrip } from "./testing/bundle.ts";
import { RoundTrip } from "./testing/round-trip.ts";

let there: RoundTrip;
let bundle: string;

beforeAll(async () => {
  bundle = await bundleRoundTrip();
  there = new RoundTrip(join(bundle, "round-trip-child.mjs"));
});
afterAll(() => {
  there.close();
  rmSync(bundle, { recursive: true });
});

function refusalOf(fn: Function): SerializationError {
  try {
    there.capture(fn);
  } catch (error) {
    expect(error).toBeInstanceOf(SerializationError);
    expect(error).toBeInstanceOf(TypeError);
    return error as SerializationError;
  }
  throw new Error("It was captured");
}

const cache = new WeakMap<object, number>();
function helper(key: object) {
  return cache.get(key);
}

test("the message names the function, the variable and what it holds", () => {
  const socket = connect({ port: 9, host: "127.0.0.1" }).on("error", () => {});
  socket.destroy();
  const pool = { name: "pool", connections: [{ socket }] };
  const error = refusalOf(function load() {
    return pool.name;
  });
  expect(error.message).toBe(
    "Cannot send function 'load' as its variable 'pool.connections[0].socket' cannot travel: a Socket holds operating-system state",
  );
  expect(error.path).toBe("load -> pool.connections[0].socket");
});

test("deep in helpers, the way is told", () => {
  const middle = { run: (key: object) => helper(key) };
  const error = refusalOf(function work() {
    return middle.run({});
  });
  expect(error.message).toBe(
    "Cannot send function 'work' as variable 'cache' of 'helper' cannot travel: a WeakMap cannot be listed (work -> middle.run -> helper -> cache)",
  );
});

test("in a class, the class is named too", () => {
  class Store {
    read(key: object) {
      return cache.get(key);
    }
  }
  expect(refusalOf(Store).message).toBe(
    "Cannot send class 'Store' as its variable 'cache' cannot travel: a WeakMap cannot be listed",
  );
  const use = function use() {
    return new Store();
  };
  expect(refusalOf(use).message).toBe(
    "Cannot send function 'use' as class 'Store' cannot travel: its variable 'cache' cannot travel: a WeakMap cannot be listed",
  );
});

test("this, super, new.target and private names of the surroundings", () => {
  class Around extends Object {
    #hidden = 1;
    value = 2;
    arrow() {
      return () => this.value;
    }
    viaSuper() {
      return () => super.toString();
    }
    method() {
      return this.#hidden;
    }
    static isThat(x: Around) {
      return #hidden in x;
    }
  }
  const around = new Around();
  expect(refusalOf(around.arrow()).message).toMatch(/as it uses 'this' of the function around it/);
  expect(refusalOf(around.viaSuper()).message).toMatch(/as it uses 'super'/);
  expect(refusalOf(around.method).message).toMatch(/as it uses the private member #hidden of the class around it/);
  expect(refusalOf(Around.isThat).message).toMatch(/#hidden/);
  function Maker(this: unknown) {
    return () => new.target;
  }
  expect(refusalOf(new (Maker as any)()).message).toMatch(/new\.target/);
});

test("an arrow at the top of a module may use this, which is undefined there", async () => {
  expect(await there.call(topThis)).toBe(undefined);
});
const topThis: () => unknown = () => this as unknown;

test("a variable that has no value yet is named", () => {
  const early = function early() {
    return [later, laterClass];
  };
  expect(refusalOf(early).message).toBe(
    "Cannot send function 'early' as its variable 'later' has no value yet: it is declared further down than the call that sends it",
  );
  const later = 1;
  class laterClass {}
  expect(there.capture(early).name).toBe("early");
});

test("a variable that holds undefined is none of those", async () => {
  const options: { size?: number } = {};
  const size = options.size;
  let unset: number | undefined;
  expect(await there.call(() => [size, unset])).toEqual([undefined, undefined]);
  unset = 1;
});

test("sloppy code that is not legal in a module", () => {
  const sloppy = new Function("x", "with (x) { return y; }");
  expect(refusalOf(sloppy).message).toMatch(
    /^Cannot send function 'anonymous' as it is not legal in strict code, which it becomes: /,
  );
});

test("functions that only Node has", () => {
  const { resolve } = promise();
  expect(refusalOf(() => resolve(1)).message).toMatch(/'resolve' is a native function that no module exports/);
});

function promise() {
  let resolve!: (value: number) => void;
  new Promise<number>((settle) => {
    resolve = settle;
  });
  return { resolve };
}

test("what is no function", () => {
  expect(() => capture(5 as never, there.context)).toThrow("Cannot capture 5 as a function: it is a number");
});

test("what failed can be mended and sent", async () => {
  const box: { bad?: object; n: number } = { bad: new WeakMap(), n: 4 };
  const fn = () => box.n;
  refusalOf(fn);
  delete box.bad;
  expect(await there.call(fn)).toBe(4);
});
