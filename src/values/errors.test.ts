import { AssertionError } from "node:assert";
import { createHash } from "node:crypto";
import net from "node:net";
import { Readable } from "node:stream";
import { types } from "node:util";
import { describe, expect, it } from "vitest";
import { SerializationError, TaskError } from "../base/errors.ts";
import { deserialize, flatten, serialize } from "./index.ts";
import { FakeHooks } from "./testing/fake-hooks.ts";

const hooks = new FakeHooks();

function roundTrip<T>(value: T, withHooks = hooks): T {
  return deserialize(flatten(serialize(value, withHooks, "args[0]")), withHooks, "copy") as T;
}

class QuotaError extends RangeError {
  readonly quota: number;
  constructor(quota: number, options?: ErrorOptions) {
    super(`over ${quota}`, options);
    this.name = "QuotaError";
    this.quota = quota;
  }
}

describe("errors as values", () => {
  it("built-in classes stay, with message, stack, cause, errors and own fields", () => {
    for (const Class of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
      const error = Object.assign(new Class("m", { cause: new Error("c") }), { code: "E", details: [1] });
      const read = roundTrip(error);
      expect(read).toBeInstanceOf(Class);
      expect(types.isNativeError(read)).toBe(true);
      expect([read.message, read.stack, read.name, read.code, read.details]).toEqual(["m", error.stack, error.name, "E", [1]]);
      expect((read.cause as Error).message).toBe("c");
      expect(Object.keys(read)).toEqual(["code", "details"]);
    }
    const all = roundTrip(new AggregateError([new TypeError("a"), 5], "both"));
    expect(all.errors[0]).toBeInstanceOf(TypeError);
    expect(all.errors[1]).toBe(5);
    expect(Object.keys(all)).toEqual([]);
  });

  it("classes of the user stay, without running their constructors", () => {
    const read = roundTrip(new QuotaError(5, { cause: 0 }));
    expect(read).toBeInstanceOf(QuotaError);
    expect(types.isNativeError(read)).toBe(true);
    expect([read.message, read.quota, read.name, read.cause]).toEqual(["over 5", 5, "QuotaError", 0]);
  });

  it("errors without a message or with themselves as cause arrive so", () => {
    expect(Object.hasOwn(roundTrip(new Error()), "message")).toBe(false);
    const loop = new Error("loop");
    loop.cause = loop;
    const read = roundTrip(loop);
    expect(read.cause).toBe(read);
  });

  it("errors of Shoal need no hook", () => {
    const task = roundTrip(new TaskError("failed", { pid: 5, functionName: "f", cause: new TypeError("user") }));
    expect(task).toBeInstanceOf(TaskError);
    expect([task.code, task.pid, task.functionName, (task.cause as Error).name]).toEqual(["TASK_FAILED", 5, "f", "TypeError"]);
    const refused = roundTrip(new SerializationError("no", { path: "args[1]" }));
    expect(refused).toBeInstanceOf(SerializationError);
    expect(refused).toBeInstanceOf(TypeError);
    expect(refused.path).toBe("args[1]");
  });

  it("errors of Node and of the web stay what they are", () => {
    const abort = roundTrip(new DOMException("gone", "AbortError"));
    expect(abort).toBeInstanceOf(DOMException);
    expect([abort.name, abort.message, abort.code]).toEqual(["AbortError", "gone", 20]);
    const system = roundTrip(Object.assign(new Error("ENOENT"), { errno: -2, code: "ENOENT", syscall: "open", path: "/x" }));
    expect(system).toMatchObject({ errno: -2, code: "ENOENT", syscall: "open", path: "/x" });
    const assertion = roundTrip(new AssertionError({ actual: 1, expected: 2, operator: "strictEqual" }));
    expect(assertion).toBeInstanceOf(AssertionError);
    expect([assertion.actual, assertion.expected]).toEqual([1, 2]);
  });

  it("a failure arrives whatever it holds when the hooks ask for it", () => {
    const lenient = new FakeHooks({ lenientErrors: true });
    lenient.encodeClass = () => {
      throw new SerializationError("Cannot send the class");
    };
    const error = Object.assign(new QuotaError(1, { cause: Object.assign(new Error("inner"), { socket: new net.Socket() }) }), {
      request: { socket: new net.Socket() },
      status: 503,
    });
    const read = roundTrip(error, lenient);
    expect(read).toBeInstanceOf(RangeError);
    expect([read.name, read.status, "request" in read, (read.cause as Error).message]).toEqual([
      "QuotaError",
      503,
      false,
      "inner",
    ]);
    expect(() => roundTrip(error)).toThrow(SerializationError);
    let chain = new Error("0");
    for (let i = 0; i < 100; i++) chain = new Error("next", { cause: chain });
    expect((roundTrip(chain, lenient).cause as Error).message).toBe("next");
  });
});

describe("what cannot travel", () => {
  const cases: [unknown, string][] = [
    [
      { db: { socket: new net.Socket() } },
      "Cannot serialize args[0].db.socket as a value: a Socket holds operating-system state",
    ],
    [[net.createServer()], "Cannot serialize args[0][0] as a value: a Server holds operating-system state"],
    [new Map([["k", [new WeakMap()]]]), 'Cannot serialize args[0].get("k")[0] as a value: a WeakMap cannot be listed'],
    [new Map([[new WeakSet(), 1]]), "Cannot serialize args[0] (Map key 0) as a value: a WeakSet cannot be listed"],
    [
      new Set([1, new WeakRef({})]),
      "Cannot serialize args[0] (Set item 1) as a value: a WeakRef is about garbage collection in this process",
    ],
    [
      { "a b": Promise.resolve() },
      'Cannot serialize args[0]["a b"] as a value: a Promise settles in this process only; await it first',
    ],
    [Symbol("local"), "Cannot serialize args[0] as a value: Symbol(local) exists in this process only"],
    [{ stream: Readable.from([1]) }, "Cannot serialize args[0].stream as a value: a Readable is a stream"],
    [{ h: createHash("sha1") }, "Cannot serialize args[0].h as a value: a Hash"],
    [{ p: new Proxy({}, {}) }, "Cannot serialize args[0].p as a value: a Proxy cannot travel"],
    [(function* () {})(), "Cannot serialize args[0] as a value: a generator's position cannot travel"],
    [new Map().keys(), "Cannot serialize args[0] as a value: an iterator's position cannot travel"],
    [[1].values(), "Cannot serialize args[0] as a value: an iterator's position cannot travel"],
    ["x".matchAll(/x/g), "Cannot serialize args[0] as a value: an iterator's position cannot travel"],
    [new SharedArrayBuffer(8), "Cannot serialize args[0] as a value: the memory of a SharedArrayBuffer"],
    [{ s: new Int32Array(new SharedArrayBuffer(8)) }, "Cannot serialize args[0].s as a value: the memory of a SharedArrayBuffer"],
    [new AbortController(), "Cannot serialize args[0] as a value: an AbortController holds state of Node"],
    [new ReadableStream(), "Cannot serialize args[0] as a value: a ReadableStream"],
    [new Blob([]), "Cannot serialize args[0] as a value: a Blob holds state of Node"],
    [new MessageChannel().port1, "Cannot serialize args[0] as a value: a MessagePort holds"],
    [new Intl.NumberFormat(), "Cannot serialize args[0] as a value: a NumberFormat holds native state"],
    [process, "Cannot serialize args[0] as a value: it holds state of this process"],
  ];
  for (const [value, message] of cases) {
    it(`is named: ${message.slice(17, 75)}`, () => {
      const attempt = () => serialize(value, hooks, "args[0]");
      expect(attempt).toThrow(message);
      expect(attempt).toThrow(SerializationError);
      expect(attempt).toThrow(TypeError);
    });
  }

  it("timers are named", () => {
    const timer = setTimeout(() => {}, 1000);
    expect(() => serialize([{ timer }], hooks, "args[0]")).toThrow(
      "Cannot serialize args[0][0].timer as a value: a Timeout holds operating-system state",
    );
    clearTimeout(timer);
  });

  it("functions are named where the hooks refuse them", () => {
    const strict = new FakeHooks();
    strict.encodeSpecial = () => undefined;
    expect(() => serialize({ f: function later() {} }, strict, "x")).toThrow(
      "Cannot serialize x.f as a value: functions cannot travel inside it, and this is the function later",
    );
  });

  it("a class of the user with the name of one of Node's may travel", () => {
    class Socket {
      open = true;
    }
    expect(roundTrip(new Socket()).open).toBe(true);
  });

  it("the error carries the path, and the encoder is clean afterwards", () => {
    try {
      serialize({ a: [0, new WeakMap()] }, hooks, "args[0]");
      expect.unreachable();
    } catch (error) {
      expect((error as SerializationError).path).toBe("args[0].a[1]");
    }
    expect(roundTrip({ fine: [1] })).toEqual({ fine: [1] });
  });
});
