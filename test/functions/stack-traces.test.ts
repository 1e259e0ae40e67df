import { expect, test } from "vitest";
import { runProgram } from "../support/run-program.ts";

/** Line of the first occurrence of `mark` in a program, counted from 1. */
const lineOf = (text: string, mark: string): number => text.split("\n").findIndex((line) => line.includes(mark)) + 1;

const program = (typed: boolean) => `import * as shoal from "shoal";

const helper = (x${typed ? ": number" : ""})${typed ? ": number" : ""} => {
  if (x > 1) {
    throw new RangeError("too large"); // mark: throw
  }
  return x;
};

// A comment, and an interface that tsx removes, so that lines shift when it is done wrong.
${typed ? "interface Removed {\n  a: number;\n  b: string;\n}\n" : ""}
class Machine {
  run(x${typed ? ": number" : ""}) {
    return helper(x); // mark: method
  }
}

const work = shoal.remote(function work(x${typed ? ": number" : ""}) {
  const machine = new Machine();
  return machine.run(x); // mark: function
});

const error${typed ? ": any" : ""} = await shoal.get(work.remote(2)).catch((reason) => reason);
console.log(JSON.stringify({ remote: error.remoteStack, message: error.message, cause: error.cause.stack }));
await shoal.shutdown();
`;

test.each([
  ["an ES module", "main.mjs", false],
  ["TypeScript under tsx", "main.ts", true],
])("the frames of a remote error are the user's own lines: %s", async (_name, file, tsx) => {
  const text = program(tsx);
  const { stdout, stderr, code } = await runProgram({
    files: { [file]: text, "package.json": '{"type":"module"}' },
    args: [file],
    tsx,
  });
  expect(code, stderr).toBe(0);
  const { remote, message, cause } = JSON.parse(stdout) as { remote: string; message: string; cause: string };
  for (const stack of [remote, cause]) {
    expect(stack).toContain(`${file}:${lineOf(text, "mark: throw")}`);
    expect(stack).toContain(`${file}:${lineOf(text, "mark: method")}`);
    expect(stack).toContain(`${file}:${lineOf(text, "mark: function")}`);
  }
  expect(message).toContain(`${file}:${lineOf(text, "mark: throw")}`);
  expect(remote).not.toContain("/code/");
});

test("and in CommonJS", async () => {
  const text = `const shoal = require("shoal");
const helper = () => {
  null.x; // mark: throw
};
const work = shoal.remote(() => helper());
shoal.get(work.remote()).catch((error) => console.log(error.remoteStack));
`;
  const { stdout, stderr } = await runProgram({ files: { "main.cjs": text }, args: ["main.cjs"] });
  expect(stdout, stderr).toContain(`main.cjs:${lineOf(text, "mark: throw")}`);
});
