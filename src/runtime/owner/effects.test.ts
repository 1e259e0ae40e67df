import { expect, test } from "vitest";
import { carryOutAll } from "./effects.ts";

test("effects that come while others are carried out are carried out, too", () => {
  const effects = [1, 2];
  const seen: number[] = [];
  carryOutAll(effects, (effect) => {
    seen.push(effect);
    if (effect === 1) effects.push(3);
  });
  expect([seen, effects]).toEqual([[1, 2, 3], []]);
});

test("after one that throws the next time begins behind it", () => {
  const effects = [1, 2, 3];
  const seen: number[] = [];
  const carryOut = (effect: number): void => {
    seen.push(effect);
    if (effect === 2) throw new Error("no");
  };
  expect(() => carryOutAll(effects, carryOut)).toThrow("no");
  carryOutAll(effects, carryOut);
  expect([seen, effects]).toEqual([[1, 2, 3], []]);
});
