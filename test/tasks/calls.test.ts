import type { TaskOptions } from "shoal";
import * as shoal from "shoal";
import { describe, expect, test } from "vitest";
import { newSignal } from "../support/board.ts";
import { useSession } from "../support/session.ts";
import { rejection, thrownBy, waitFor } from "../support/wait-for.ts";

useSession();

const square = shoal.remote((x: number) => x * x);
const add = shoal.remote((a: number, b: number) => a + b);

describe("calling a remote function", () => {
  test("the four squares", async () => {
    expect(await shoal.get([0, 1, 2, 3].map((i) => square.remote(i)))).toEqual([0, 1, 4, 9]);
  });

  test("an async function's result is awaited", async () => {
    const later = shoal.remote(async (x: number) => {
      await new Promise((resolve) => setImmediate(resolve));
      return x + 1;
    });
    expect(await shoal.get(later.remote(1))).toBe(2);
  });

  test("a function that returns nothing gives undefined", async () => {
    expect(await shoal.get(shoal.remote(() => {}).remote())).toBeUndefined();
  });

  test("a thousand calls at once all come back, each with its own result", async () => {
    const refs = Array.from({ length: 1000 }, (_, i) => square.remote(i));
    expect(await shoal.get(refs)).toEqual(Array.from({ length: 1000 }, (_, i) => i * i));
  });

  test("two calls run at the same time, outside the driver", async () => {
    const signal = newSignal();
    const where = shoal.remote(async (gate: typeof signal) => {
      await shoal.get(gate.wait.remote());
      return process.pid;
    });
    const pids = [where.remote(signal), where.remote(signal)];
    await waitFor("both to wait", async () => (await shoal.get(signal.waiters.remote())) === 2);
    await shoal.get(signal.send.remote());
    for (const pid of await shoal.get(pids)) expect(pid).not.toBe(process.pid);
  });

  test("sequential calls reuse a worker", async () => {
    const pid = shoal.remote(() => process.pid);
    const first = await shoal.get(pid.remote());
    expect(await shoal.get(pid.remote())).toBe(first);
  });

  test("calling it directly throws a TypeError that says what to do", () => {
    const error = thrownBy(() => (square as unknown as (x: number) => number)(2));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(".remote(");
  });

  test("what is not a function or a class is refused", () => {
    for (const value of [1, null, undefined, {}, "x"]) {
      expect(() => shoal.remote(value as never)).toThrow(TypeError);
    }
  });
});

describe("arguments", () => {
  test("default, optional and rest parameters are bound as in a local call", async () => {
    const defaults = shoal.remote((a: number, b = 10, ...rest: number[]) => [a, b, ...rest]);
    expect(await shoal.get(defaults.remote(1))).toEqual([1, 10]);
    expect(await shoal.get(defaults.remote(1, undefined))).toEqual([1, 10]);
    expect(await shoal.get(defaults.remote(1, 2, 3, 4))).toEqual([1, 2, 3, 4]);
    const counted = shoal.remote((...all: unknown[]) => all.length);
    expect(await shoal.get(counted.remote())).toBe(0);
    expect(await shoal.get(counted.remote(undefined, undefined))).toBe(2);
    const destructured = shoal.remote(({ a, b = 2 }: { a: number; b?: number }, [c]: number[]) => a + b + c!);
    expect(await shoal.get(destructured.remote({ a: 1 }, [3]))).toBe(6);
  });

  test("a ref as argument is replaced by its value before the function runs", async () => {
    expect(await shoal.get(add.remote(square.remote(3), shoal.put(1)))).toBe(10);
    const kind = shoal.remote((x: unknown) => typeof x);
    expect(await shoal.get(kind.remote(shoal.put("text")))).toBe("string");
  });

  test("the same ref may be given twice", async () => {
    const ref = square.remote(3);
    expect(await shoal.get(add.remote(ref, ref))).toBe(18);
  });

  test("a ref inside a container arrives as a ref", async () => {
    const look = shoal.remote(async (box: { list: shoal.ObjectRef<number>[]; map: Map<string, shoal.ObjectRef<number>> }) => ({
      list: box.list.map((ref) => ref instanceof shoal.ObjectRef),
      values: [await shoal.get(box.list[0]!), await shoal.get(box.map.get("b")!)],
    }));
    const box = { list: [shoal.put(7)], map: new Map([["b", square.remote(4)]]) };
    expect(await shoal.get(look.remote(box))).toEqual({ list: [true], values: [7, 16] });
  });

  test("a task waits for its arguments while others run", async () => {
    const signal = newSignal();
    const slow = shoal.remote(async (gate: typeof signal) => {
      await shoal.get(gate.wait.remote());
      return 5;
    });
    const dependent = square.remote(slow.remote(signal));
    expect(await shoal.get(square.remote(2))).toBe(4);
    const [ready] = await shoal.wait([dependent], { timeoutMs: 0 });
    expect(ready).toEqual([]);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(dependent)).toBe(25);
  });

  test("arguments are captured at the call: later changes are not seen", async () => {
    const signal = newSignal();
    const gate = shoal.remote(async (s: typeof signal) => shoal.get(s.wait.remote())).remote(signal);
    const sum = shoal.remote((values: { x: number[]; y: Float64Array; z: Float64Array }, _gate: unknown) => [
      values.x.reduce((a, b) => a + b, 0),
      values.y.reduce((a, b) => a + b, 0),
      values.z.reduce((a, b) => a + b, 0),
    ]);
    const values = { x: [1, 2, 3], y: Float64Array.of(1, 2, 3), z: new Float64Array(50_000).fill(1) };
    const result = sum.remote(values, gate);
    const shared = shoal.put(values);
    values.x[0] = 100;
    values.x.push(100);
    values.y.fill(100);
    values.z.fill(100);
    await shoal.get(signal.send.remote());
    expect(await shoal.get(result)).toEqual([6, 6, 50_000]);
    expect(await shoal.get(sum.remote(shared, undefined))).toEqual([6, 6, 50_000]);
  });

  test("a task that changes its argument changes nobody else's", async () => {
    const scribble = shoal.remote((values: number[]) => {
      values.push(1);
      return values.length;
    });
    const ref = shoal.put([1, 2, 3]);
    expect(await shoal.get([scribble.remote(ref), scribble.remote(ref), scribble.remote(ref)])).toEqual([4, 4, 4]);
    expect(await shoal.get(ref)).toEqual([1, 2, 3]);
  });

  test("an argument that cannot travel is a TypeError at the call that names the path to it", () => {
    const take = shoal.remote((_x: unknown) => 1);
    const error = thrownBy<shoal.SerializationError>(() => take.remote({ db: { cache: new WeakMap() } }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toBeInstanceOf(shoal.SerializationError);
    expect(error).toBeInstanceOf(shoal.ShoalError);
    expect(error.code).toBe("SERIALIZATION");
    expect(error.path).toBe("args[0].db.cache");
    expect(error.message).toContain("args[0].db.cache");
    expect(error.message).toContain("WeakMap");
  });

  test("large arguments arrive whole", async () => {
    const digest = shoal.remote((bytes: Uint8Array, text: string) => [bytes.length, bytes[0], bytes.at(-1), text.length]);
    const bytes = new Uint8Array(3_000_000);
    bytes[0] = 7;
    bytes[bytes.length - 1] = 9;
    expect(await shoal.get(digest.remote(bytes, "é".repeat(500_000)))).toEqual([3_000_000, 7, 9, 500_000]);
  });

  test("a hundred arguments of 300 KB, as refs", async () => {
    const total = shoal.remote((...parts: Uint8Array[]) => parts.reduce((sum, part) => sum + part.length + part[0]!, 0));
    const refs = Array.from({ length: 100 }, (_, i) => shoal.put(new Uint8Array(300_000).fill(i)));
    expect(await shoal.get(total.remote(...refs))).toBe(100 * 300_000 + 4950);
  });
});

describe("what a task knows of itself", () => {
  test("the runtime context names job, node, worker and task", async () => {
    const look = shoal.remote(
      () => {
        const { jobId, nodeId, workerId, taskId, taskName, actorId, attempt, assignedResources } = shoal.getRuntimeContext();
        return { jobId, nodeId, workerId, taskId, taskName, actorId, attempt, assignedResources };
      },
      { name: "look around", numCpus: 0.5 },
    );
    const here = shoal.getRuntimeContext();
    const [first, second] = await shoal.get([look.remote(), look.remote()]);
    expect(first!.jobId).toBe(here.jobId);
    expect(first!.nodeId).toBe(here.nodeId);
    expect(first!.workerId).not.toBe(here.workerId);
    expect(first!.taskName).toBe("look around");
    expect(first!.taskId).toEqual(expect.any(String));
    expect(first!.taskId).not.toBe(second!.taskId);
    expect(first!.actorId).toBeUndefined();
    expect(first!.assignedResources).toEqual({ CPU: 0.5 });
    expect(here.taskId).toBeUndefined();
  });

  test("each of two tasks in one process sees its own context", async () => {
    const nested = shoal.remote(async (depth: number): Promise<string[]> => {
      const before = shoal.getRuntimeContext().taskId!;
      const below = depth === 0 ? [] : await shoal.get(nested.remote(depth - 1));
      if (shoal.getRuntimeContext().taskId !== before) throw new Error("the context changed across an await");
      return [before, ...below];
    });
    const ids = await shoal.get(nested.remote(3));
    expect(new Set(ids).size).toBe(4);
  });

  test("options never change the function they were made from", async () => {
    const name = shoal.remote(() => shoal.getRuntimeContext().taskName, { name: "original" });
    const renamed = name.options({ name: "renamed" });
    expect(await shoal.get([name.remote(), renamed.remote(), name.remote()])).toEqual(["original", "renamed", "original"]);
  });

  test("options that are not options are refused at once", async () => {
    expect(() => square.options({ numCpu: 1 } as never)).toThrow(/numCpu/);
    expect(() => shoal.remote(() => 1, { retries: 1 } as never)).toThrow(/retries/);
    expect(() => square.options({ numCpus: -1 })).toThrow();
    expect(() => square.options({ numCpus: "2" as never })).toThrow(TypeError);
    expect(() => square.options({ numReturns: -1 })).toThrow();
    expect(() => square.options({ numReturns: 1.5 })).toThrow();
    expect(() => square.options({ maxRetries: -2 })).toThrow();
    expect(() => square.options({ resources: { CPU: 1 } })).toThrow(/numCpus/);
    expect(() => square.options({ schedulingStrategy: "RANDOM" as never })).toThrow();
    expect(() => square.options({ generatorBackpressure: 0 })).toThrow();
  });

  test("values that no node could make sense of are refused at once, and the session goes on", async () => {
    const values: [TaskOptions, typeof TypeError | typeof RangeError, RegExp][] = [
      [{ numCpus: Number.MAX_SAFE_INTEGER }, RangeError, /9007199254740991 as option 'numCpus'/],
      [{ numGpus: Infinity }, RangeError, /Infinity as option 'numGpus'/],
      [{ memory: 1e300 }, RangeError, /1e\+300 as option 'memory'/],
      [{ resources: { tape: Infinity } }, RangeError, /Infinity as option 'resources.tape'/],
      [{ labelSelector: { a: 5 as never } }, TypeError, /5 as option 'labelSelector.a'/],
      [{ labelSelector: { a: undefined as never } }, TypeError, /undefined as option 'labelSelector.a'/],
      [{ labelSelector: ["a"] as never }, TypeError, /an array as option 'labelSelector'/],
      [{ schedulingStrategy: { kind: "node" } as never }, TypeError, /\{ kind: "node" \}.* as option 'schedulingStrategy'/],
      [{ numReturns: 1e9 }, RangeError, /1000000000 as option 'numReturns': expected an integer of at most 1000000/],
    ];
    for (const [options, type, message] of values) {
      const error = thrownBy(() => square.options(options).remote(1));
      expect(error).toBeInstanceOf(type);
      expect(error.message).toMatch(message);
      expect(await shoal.get(square.remote(3))).toBe(9);
    }
  });

  test("misspelt options of a verb are refused with the names that there are", async () => {
    const ref = square.remote(2);
    const actor = shoal.remote(class {}, { numCpus: 0 }).remote();
    const [node] = await shoal.nodes();
    const calls: [() => Promise<unknown>, string][] = [
      [() => shoal.get(ref, { timeout: 5 } as never), "Cannot use get option 'timeout': the options are signal, timeoutMs"],
      [() => shoal.get([ref], { timeout: 5 } as never), "Cannot use get option 'timeout': the options are signal, timeoutMs"],
      [
        () => shoal.wait([ref], { num: 1 } as never),
        "Cannot use wait option 'num': the options are fetchLocal, numReturns, timeoutMs",
      ],
      [() => shoal.cancel(ref, { forc: true } as never), "Cannot use cancel option 'forc': the options are force, recursive"],
      [() => shoal.kill(actor, { restart: true } as never), "Cannot use kill option 'restart': the options are noRestart"],
      [() => shoal.getActor("a", { scope: "b" } as never), "Cannot use getActor option 'scope': the options are namespace"],
      [
        async () => shoal.nodeAffinity(node!.nodeId, { hard: true } as never),
        "Cannot use node affinity option 'hard': the options are soft",
      ],
      [() => shoal.cancel(ref, { force: "yes" } as never), "Cannot use 'yes' as option 'force': expected true or false"],
      [() => shoal.get(ref, { signal: 5 } as never), "Cannot use number 5 as option 'signal': expected an AbortSignal"],
      [() => shoal.getActor("a", { namespace: 5 } as never), "Cannot use 5 as option 'namespace': expected a non-empty string"],
      [() => shoal.getPlacementGroup(5 as never), "Cannot use 5 as option 'name': expected a non-empty string"],
    ];
    for (const [call, message] of calls) {
      const error = await rejection(call());
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toBe(message);
    }
    expect(await shoal.get(ref)).toBe(4);
  });
});
