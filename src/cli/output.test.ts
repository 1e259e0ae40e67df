import { expect, test } from "vitest";
import { bytesText, resourcesText, table } from "./output.ts";

test("table pads columns, puts numbers to the right, and shows what is missing", () => {
  expect(
    table(
      ["NAME", "COUNT"],
      [
        ["a", 5],
        ["longer", 12],
      ],
    ),
  ).toBe("NAME    COUNT\na           5\nlonger     12");
  expect(table(["A", "B"], [[null, undefined]])).toBe("A  B\n-  -");
  expect(table(["A", "B"], [])).toBe("A  B");
});

test("amounts are written as people read them", () => {
  expect([0, 1023, 1536, 5 * 2 ** 30].map(bytesText)).toEqual(["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
  expect(resourcesText({ CPU: 0.30000000000000004, memory: 2 ** 30, "node:abc": 1 })).toBe("CPU 0.3, memory 1.0 GiB");
});
