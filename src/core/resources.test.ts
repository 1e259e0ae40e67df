import { describe, expect, it } from "vitest";
import {
  allocate,
  couldEverFit,
  createBundlePool,
  createNodePool,
  dissolve,
  fits,
  formatResources,
  lend,
  release,
  shrink,
  takeBackLent,
  toDemand,
  toResources,
  weightOf,
} from "./resources.ts";

describe("resources", () => {
  it("fractions taken many times and given back leave nothing over", () => {
    const pool = createNodePool({ CPU: 1, "my thing": 0.7 }, 4);
    const held = [];
    for (let i = 0; i < 7; i++) held.push(allocate(pool, toDemand({ CPU: 0.1, "my thing": 0.1 })));
    expect(held.every((allocation) => allocation !== null)).toBe(true);
    expect(fits(pool, toDemand({ "my thing": 0.0001 }))).toBe(false);
    expect(fits(pool, toDemand({ CPU: 0.3 }))).toBe(true);
    for (const allocation of held) if (allocation !== null) release(allocation);
    expect(toResources(pool.available)).toEqual({ CPU: 1, "my thing": 0.7 });
  });

  it("memory is counted in bytes, beyond what ten-thousandths could count exactly", () => {
    const pool = createNodePool({ memory: 4 * 2 ** 40 + 1 }, 4);
    const held = allocate(pool, toDemand({ memory: 4 * 2 ** 40 }));
    expect(toResources(pool.available)).toEqual({ memory: 1 });
    if (held !== null) release(held);
    expect(toResources(pool.available)).toEqual({ memory: 4 * 2 ** 40 + 1 });
  });

  it("a request below one shares a GPU with others, a whole one has its own", () => {
    const pool = createNodePool({ GPU: 2 }, 4);
    const a = allocate(pool, toDemand({ GPU: 0.5 }));
    const b = allocate(pool, toDemand({ GPU: 0.25 }));
    expect(a?.gpuIds).toEqual(b?.gpuIds);
    const c = allocate(pool, toDemand({ GPU: 1 }));
    expect(c?.gpuIds).not.toEqual(a?.gpuIds);
    expect(fits(pool, toDemand({ GPU: 0.5 }))).toBe(false);
    expect(allocate(pool, toDemand({ GPU: 0.25 }))?.gpuIds).toEqual(a?.gpuIds);
  });

  it("a whole GPU is not made of two halves", () => {
    const pool = createNodePool({ GPU: 2 }, 4);
    const held = [0.6, 0.6].map((GPU) => allocate(pool, toDemand({ GPU })));
    expect(held.map((allocation) => allocation?.gpuIds[0])).toEqual([0, 1]);
    expect(fits(pool, toDemand({ GPU: 0.8 }))).toBe(false);
    expect(couldEverFit(pool, toDemand({ GPU: 0.8 }))).toBe(true);
    expect(couldEverFit(createNodePool({ GPU: 1.5 }, 4), toDemand({ GPU: 0.75 }))).toBe(true);
    expect(couldEverFit(createNodePool({ CPU: 1.5 }, 4), toDemand({ GPU: 1 }))).toBe(false);
  });

  it("a blocked task lends its CPU and nothing else, and takes it back even when it is in use", () => {
    const pool = createNodePool({ CPU: 1, GPU: 1 }, 4);
    const held = allocate(pool, toDemand({ CPU: 1, GPU: 1 }));
    if (held === null) throw new Error("it fits");
    lend(held);
    lend(held);
    expect(toResources(pool.available)).toEqual({ CPU: 1, GPU: 0 });
    const other = allocate(pool, toDemand({ CPU: 1 }));
    takeBackLent(held);
    expect(toResources(pool.available)).toEqual({ CPU: -1, GPU: 0 });
    expect(fits(pool, toDemand({}))).toBe(true);
    release(held);
    expect(() => release(held)).toThrow("released twice");
    if (other !== null) release(other);
    expect(toResources(pool.available)).toEqual({ CPU: 1, GPU: 1 });
  });

  it("a task without CPU takes a slot, of which there are a few", () => {
    const pool = createNodePool({ CPU: 0 }, 2);
    const demand = toDemand({ CPU: 0 }, true);
    expect([allocate(pool, demand), allocate(pool, demand), allocate(pool, demand)].map((held) => held !== null)).toEqual([
      true,
      true,
      false,
    ]);
    expect(toResources(pool.total)).toEqual({});
  });

  it("an actor that has started keeps only what it needs while it lives", () => {
    const pool = createNodePool({ CPU: 2, GPU: 2 }, 4);
    const held = allocate(pool, toDemand({ CPU: 1, GPU: 1 }));
    if (held === null) throw new Error("it fits");
    shrink(held, toDemand({ GPU: 1 }));
    expect(held.gpuIds).toEqual([0]);
    expect(toResources(pool.available)).toEqual({ CPU: 2, GPU: 1 });
  });

  it("a bundle that ends gives back what is free, and the rest when its holders end", () => {
    const pool = createNodePool({ CPU: 4, GPU: 1 }, 4);
    const reserved = allocate(pool, toDemand({ CPU: 2, GPU: 1 }));
    if (reserved === null) throw new Error("it fits");
    const bundle = createBundlePool(reserved, 4);
    const held = allocate(bundle, toDemand({ CPU: 1, GPU: 0.5 }));
    if (held === null) throw new Error("it fits");
    dissolve(bundle, reserved, [held]);
    expect(toResources(pool.available)).toEqual({ CPU: 3, GPU: 0.5 });
    release(held);
    expect(toResources(pool.available)).toEqual({ CPU: 4, GPU: 1 });
    expect(pool.gpuFree.get(0)).toBe(pool.gpuTotal.get(0));
  });

  it("the weight of a request is its share of the scarcest resource", () => {
    const pool = createNodePool({ CPU: 4, GPU: 1 }, 4);
    expect(weightOf(pool, toDemand({ CPU: 1, GPU: 0.5 }))).toBe(500_000);
    expect(weightOf(pool, toDemand({ CPU: 1 }))).toBe(250_000);
  });

  it("amounts are written for people", () => {
    expect(formatResources({ CPU: 0.5, memory: 3 * 2 ** 30, GPU: 0 })).toBe("{CPU: 0.5, memory: 3 GiB}");
  });
});
