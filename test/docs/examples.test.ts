/** The examples run, and print what they promise. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type ProgramResult, runProgram } from "../support/run-program.ts";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** In a directory with its own `node_modules`, whose text is known. */
async function runExample(name: string, ...args: string[]): Promise<ProgramResult> {
  const examples = readdirSync(join(repository, "examples"), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const files = Object.fromEntries(
    examples.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [relative(repository, path), readFileSync(path, "utf8")];
    }),
  );
  const text = {
    "node_modules/text/README.md": "Fish fish fish. Blue fish!",
    "node_modules/text/lib/a.js": "let blue = 1;",
    "node_modules/text/skip.txt": "fish",
  };
  const result = await runProgram({
    files: { ...files, ...text, "package.json": '{ "type": "module" }' },
    args: [`examples/${name}`, ...args],
    tsx: name.endsWith(".ts"),
  });
  expect(result.code, result.stderr).toBe(0);
  return result;
}

describe("examples", () => {
  test("notes.ts does what the notes on Ray do", async () => {
    const { stdout } = await runExample("notes.ts", "--small");
    expect(stdout).toContain("[ 0, 1, 4, 9 ]");
    const tasks = [...stdout.matchAll(/task \d: mean (-?[\d.]+), standard deviation ([\d.]+)/g)];
    expect(tasks).toHaveLength(8);
    for (const [, mean, sd] of tasks) {
      expect(Math.abs(Number(mean))).toBeLessThan(0.005);
      expect(Number(sd)).toBeCloseTo(1, 2);
    }
    expect(stdout).toMatch(/the 2 \.md and \.js files/);
    expect(stdout).toMatch(/7 words[^\n]*\n +4 {2}fish\n +2 {2}blue\n +1 {2}let/);
  });

  test.runIf(process.platform === "linux")(
    "notes.ts measures one copy in shared memory, and no more in the readers",
    async () => {
      const { stdout } = await runExample("notes.ts", "--small");
      const row = (when: string): number[] => {
        const line = stdout.split("\n").find((text) => text.trim().startsWith(when)) ?? "";
        return [...line.matchAll(/([\d.]+) MB/g)].map(([, megabytes]) => Number(megabytes));
      };
      const [before, put, running] = [row("before"), row("after put"), row("while 8 tasks run")];
      expect(before[0]).toBeLessThan(1);
      for (const [shared] of [put, running]) {
        expect(shared).toBeGreaterThanOrEqual(8);
        expect(shared).toBeLessThan(10);
      }
    },
  );

  test("ten-lines.mjs prints four squares", async () => {
    expect((await runExample("ten-lines.mjs")).stdout).toBe("[ 0, 1, 4, 9 ]\n");
  });

  test("pi.ts comes near to pi", async () => {
    const { stdout } = await runExample("pi.ts");
    expect(stdout.trim().split("\n")).toHaveLength(4);
    expect(stdout).toMatch(/pi is about 3\.14\d+\n$/);
  });

  test("parameter-server.ts finds the line", async () => {
    expect((await runExample("parameter-server.ts")).stdout).toMatch(/^y = (2\.9|3\.0)\d x \+ (1\.9|2\.0)\d\n$/);
  });

  test("streaming.ts prints each frame's brightness", async () => {
    const { stdout } = await runExample("streaming.ts");
    expect([...stdout.matchAll(/mean brightness (\d+)/g)].map(([, mean]) => Number(mean))).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
  });
});
