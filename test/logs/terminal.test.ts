/** What workers print, as it reaches the driver's terminal. */
import { describe, expect, test } from "vitest";
import { runProgram } from "../support/run-program.ts";

async function run(body: string, env: Record<string, string> = {}) {
  const result = await runProgram({ files: { "main.mjs": `import * as shoal from "shoal";\n${body}` }, args: ["main.mjs"], env });
  expect(result.code, result.stderr).toBe(0);
  return { ...result, lines: (result.stdout + result.stderr).split("\n") };
}

describe("What a task prints", () => {
  test("comes as whole lines with its name and pid, from console and streams, out and err", async () => {
    const { lines } = await run(`
function square(x) {
  console.log("computing", x);
  console.error("worrying about", x);
  process.stdout.write("in ");
  process.stdout.write("pieces\\nand two\\nlines\\n");
  return { value: x * x, pid: process.pid };
}
await shoal.init({ numCpus: 1 });
const { pid } = await shoal.get(shoal.remote(square).remote(3));
console.log("pid", pid);
await shoal.shutdown();
`);
    const pid = lines.find((line) => line.startsWith("pid "))!.slice(4);
    for (const text of ["computing 3", "worrying about 3", "in pieces", "and two", "lines"]) {
      expect(lines).toContain(`(square pid=${pid}) ${text}`);
    }
  });

  test("is there when the driver has ended without shutdown(), also the last line without an end", async () => {
    const { lines } = await run(`
await shoal.init({ numCpus: 1 });
await shoal.get(shoal.remote(function last() { process.stdout.write("no end of line"); }).remote());
`);
    expect(lines.some((line) => /^\(last pid=\d+\) no end of line$/.test(line))).toBe(true);
  });

  test("has the name that options gave, and an actor's class or name", async () => {
    const { lines } = await run(`
class Talker { say(text) { console.log(text); } }
await shoal.init({ numCpus: 1 });
await shoal.get(shoal.remote(() => console.log("as named"), { name: "renamed" }).remote());
await shoal.get(shoal.remote(Talker).remote().say.remote("as class"));
await shoal.shutdown();
`);
    expect(lines.some((line) => /^\(renamed pid=\d+\) as named$/.test(line))).toBe(true);
    expect(lines.some((line) => /^\(Talker(\.say)? pid=\d+\) as class$/.test(line))).toBe(true);
  });

  test("is not mixed up when several print at once, and keeps every character", async () => {
    const { lines } = await run(`
const shout = shoal.remote(async function shout(letter) {
  for (let i = 0; i < 50; i++) {
    process.stdout.write(letter.repeat(500));
    await new Promise((resolve) => setImmediate(resolve));
    process.stdout.write(letter.repeat(500) + i + "\\n");
  }
});
await shoal.init({ numCpus: 2 });
await shoal.get([shout.remote("ä"), shout.remote("鲸")]);
await shoal.shutdown();
`);
    for (const letter of ["ä", "鲸"]) {
      const whole = new RegExp(`^\\(shout pid=\\d+\\) ${letter}{1000}(\\d+)$`);
      const seen = lines.map((line) => line.match(whole)?.[1]).filter((i) => i !== undefined);
      expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => String(i)));
    }
  });

  test("is told before its worker died, so that the last words are seen", async () => {
    const { lines } = await run(`
await shoal.init({ numCpus: 1 });
const die = shoal.remote(function die() { console.log("last words"); process.exit(3); }, { maxRetries: 0 });
await shoal.get(die.remote()).catch((error) => console.log(error.code));
await shoal.shutdown();
`);
    expect(lines.some((line) => /^\(die pid=\d+\) last words$/.test(line))).toBe(true);
    expect(lines).toContain("WORKER_CRASHED");
  });

  test("includes what its child processes print", async () => {
    const { lines } = await run(`
import { execFileSync } from "node:child_process";
await shoal.init({ numCpus: 1 });
await shoal.get(shoal.remote(function parent() { execFileSync("echo", ["from a child"], { stdio: "inherit" }); }).remote());
await shoal.shutdown();
`);
    expect(lines.some((line) => /^\(\w+ pid=\d+\) from a child$/.test(line))).toBe(true);
  });

  test("is folded when several workers print the same line, and not when one does so twice", async () => {
    const { lines } = await run(`
class Warner { ping() {} warn(i) { console.log("the same warning"); console.log("only from", i); } }
await shoal.init({ numCpus: 2 });
const Warn = shoal.remote(Warner, { numCpus: 0 });
const warners = Array.from({ length: 6 }, () => Warn.remote());
await shoal.get(warners.map((warner) => warner.ping.remote()));
for (const [i, warner] of warners.entries()) await shoal.get(warner.warn.remote(i));
await shoal.get(warners[0].warn.remote(6));
await shoal.shutdown();
`);
    const warnings = lines.filter((line) => line.includes("the same warning"));
    expect(warnings.filter((line) => /\) the same warning$/.test(line)).length).toBe(2);
    expect(warnings.filter((line) => /\) the same warning \[repeated 5x/.test(line)).length).toBe(1);
    expect(warnings.length).toBe(3);
    expect(lines.filter((line) => line.includes("only from")).length).toBe(7);
  });

  test("is shown in full with SHOAL_DEDUP_LOGS=0", async () => {
    const { lines } = await run(
      `
class Warner { warn() { console.log("the same warning"); } }
await shoal.init({ numCpus: 2 });
const warners = Array.from({ length: 3 }, () => shoal.remote(Warner, { numCpus: 0 }).remote());
await shoal.get(warners.map((warner) => warner.warn.remote()));
await shoal.shutdown();
`,
      { SHOAL_DEDUP_LOGS: "0" },
    );
    expect(lines.filter((line) => /\) the same warning$/.test(line)).length).toBe(3);
  });

  test("is not shown with logToDriver: false", async () => {
    const { stdout, stderr } = await run(`
await shoal.init({ numCpus: 1, logToDriver: false });
console.log(await shoal.get(shoal.remote(() => { console.log("quiet, please"); return 1; }).remote()));
await shoal.shutdown();
`);
    expect([stdout, stderr]).toEqual(["1\n", ""]);
  });

  test("in great amounts arrives complete and in order", async () => {
    const { lines } = await run(`
await shoal.init({ numCpus: 1 });
await shoal.get(shoal.remote(function flood() { for (let i = 0; i < 20000; i++) console.log("line " + i); }).remote());
await shoal.shutdown();
`);
    const seen = lines.map((line) => line.match(/^\(flood pid=\d+\) line (\d+)$/)?.[1]).filter((i) => i !== undefined);
    expect(seen.length).toBe(20_000);
    expect(seen.every((text, i) => Number(text) === i)).toBe(true);
  });
});
