/** The style checks that a program can make: layers, sizes, purity, words that must not stay. The rules are in tools/tidy.ts. */
import { expect, test } from "vitest";
import { findProblems, layerOf } from "../tools/tidy.ts";

test("the tree keeps its own rules", () => {
  expect(findProblems()).toEqual([]);
});

test("the check sees what breaks a rule", () => {
  expect(layerOf("src/wire/frame.ts")).toBeLessThan(layerOf("src/core/ownership.ts"));
  expect(
    findProblems([{ path: "src/core/bad.ts", text: 'import { readFileSync } from "node:fs";\nconst now = Date.now();\n' }]),
  ).toHaveLength(2);
  expect(findProblems([{ path: "src/wire/bad.ts", text: 'import { init } from "../api/init.ts";\n' }])).toHaveLength(1);
  expect(
    findProblems([{ path: "test/bad.test.ts", text: `await new Promise((resolve) => setTimeout(${"resolve"}, 500));\n` }]),
  ).toHaveLength(1);
  const timer = "setTimeout(() => this.close(), 10);\n";
  expect(findProblems([{ path: "src/runtime/owner/bad.ts", text: timer }])).toHaveLength(1);
  const fromClock = `import { setTimeout } from "../../base/clock.ts";\n${timer}`;
  expect(findProblems([{ path: "src/runtime/owner/good.ts", text: fromClock }])).toEqual([]);
});
