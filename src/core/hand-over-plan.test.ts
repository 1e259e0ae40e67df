import { describe, expect, it } from "vitest";
import type { NodeId } from "../base/ids.ts";
import { planHandOver } from "./hand-over-plan.ts";

const a = "a" as NodeId;
const b = "b" as NodeId;
const object = (name: string, bytes: number, replaceable = true) => ({ name, bytes, replaceable });

describe("planHandOver", () => {
  it("gives each object to the node that has the most free by then", () => {
    const plan = planHandOver(
      [object("x", 10), object("y", 20), object("z", 30)],
      [
        { nodeId: a, freeBytes: 60 },
        { nodeId: b, freeBytes: 55 },
      ],
    );
    expect(plan.moves.map(({ object, to }) => [object.name, to])).toEqual([
      ["x", a],
      ["y", b],
      ["z", a],
    ]);
    expect(plan.left).toEqual([]);
  });

  it("takes first what no task can make again, then the small", () => {
    const plan = planHandOver(
      [object("large", 60), object("small", 10), object("precious", 80, false)],
      [{ nodeId: a, freeBytes: 100 }],
    );
    expect(plan.moves.map((move) => move.object.name)).toEqual(["precious", "small"]);
    expect(plan.left.map(({ name }) => name)).toEqual(["large"]);
  });

  it("leaves everything when nobody stays", () => {
    expect(planHandOver([object("x", 0)], [])).toMatchObject({ moves: [], left: [{ name: "x" }] });
  });

  it("never plans more for a node than it has free, and leaves nothing that would still fit somewhere", () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      const objects = Array.from({ length: random(20) }, (_, i) => object(String(i), random(50), random(2) === 0));
      const takers = Array.from({ length: random(4) }, (_, i) => ({ nodeId: String(i) as NodeId, freeBytes: random(200) - 20 }));
      const { moves, left } = planHandOver(objects, takers);
      expect(moves.length + left.length).toBe(objects.length);
      const free = takers.map(({ nodeId, freeBytes }) => {
        const planned = moves.filter(({ to }) => to === nodeId).reduce((sum, move) => sum + move.object.bytes, 0);
        expect(planned === 0 || planned <= freeBytes).toBe(true);
        return freeBytes - planned;
      });
      for (const { bytes } of left) expect(free.every((bytesFree) => bytesFree < bytes)).toBe(true);
    }
  });
});
