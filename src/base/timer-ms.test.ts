import { expect, test } from "vitest";
import { timerMs } from "./timer-ms.ts";

test("a delay that Node would turn into 1 ms is the longest there is", () => {
  expect([0, 5.5, 2 ** 31 - 1, 2 ** 31, Number.MAX_SAFE_INTEGER].map(timerMs)).toEqual([
    0,
    5.5,
    2 ** 31 - 1,
    2 ** 31 - 1,
    2 ** 31 - 1,
  ]);
});
