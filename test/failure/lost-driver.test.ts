/** The driver ends, in whatever way: all it started is gone within two seconds, and its exit is what its user expects. */
import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { isRunning } from "../support/processes.ts";
import { type RunningProgram, runProgram, startProgram } from "../support/run-program.ts";
import { underTerminal } from "../support/terminal.ts";
import { waitFor } from "../support/wait-for.ts";

const goneMs = 2_000;

/** A session with workers, an actor, a child of a worker, objects, and work under way. */
const busy = `
import * as shoal from "shoal";
import { spawn } from "node:child_process";
class Counter { n = 0; add() { return ++this.n; } pid() { return process.pid; } }
const context = await shoal.init({ numCpus: 2 });
const counter = shoal.remote(Counter, { lifetime: "detached", name: "counter" }).remote();
const pid = await shoal.get(counter.pid.remote());
const child = await shoal.get(shoal.remote(() => spawn("sleep", ["1000"], { stdio: "ignore" }).pid).remote());
const large = shoal.put(new Float64Array(1_000_000));
const forever = shoal.remote(() => new Promise(() => setInterval(() => {}, 1000)));
const spinning = shoal.remote(() => { for (;;); });
const pending = [spinning.remote(), forever.remote(), forever.remote()];
await shoal.wait(pending, { timeoutMs: 100 });
`;

const waitForEver = `
console.log("ready", pid, child, context.sessionDir);
await shoal.get(pending);
`;

async function ready(program: RunningProgram): Promise<number[]> {
  const [, actor, child] = await program.printed(/ready (\d+) (\d+)/);
  return [Number(actor), Number(child)];
}

async function expectGone(program: RunningProgram, pids: number[]): Promise<void> {
  const left = () => [...program.left(), ...pids.filter(isRunning).map((pid) => `process ${pid}`)];
  await waitFor("all of the program to be gone", () => left().length === 0, goneMs).catch(() => undefined);
  expect(left()).toEqual([]);
}

describe("A driver that is killed", () => {
  for (const signal of ["SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"] as const) {
    test(`by ${signal} ends by that signal, and all it started is gone in two seconds`, async () => {
      const program = startProgram({ files: { "main.mjs": busy + waitForEver }, args: ["main.mjs"] });
      const pids = await ready(program);
      program.child.kill(signal);
      const { code, signal: by } = await program.exited;
      expect([code, by]).toEqual([null, signal]);
      await expectGone(program, pids);
      await program.finish();
    });
  }

  test("by Ctrl-C, which every process of its group gets, is gone at once with all it started", async () => {
    const program = startProgram({ files: { "main.mjs": busy + waitForEver }, args: ["main.mjs"], ownGroup: true });
    const pids = await ready(program);
    process.kill(-program.child.pid!, "SIGINT");
    const { code, signal } = await program.exited;
    expect([code, signal]).toEqual([null, "SIGINT"]);
    await expectGone(program, pids);
    await program.finish();
  });

  describe.skipIf(underTerminal === null)("under a terminal (needs script of util-linux, or python3)", () => {
    test("by Ctrl-C while it waits in get() ends within two seconds, with all it started", async () => {
      const program = startProgram({
        files: { "main.mjs": busy + waitForEver },
        args: ["main.mjs"],
        terminal: true,
        env: { NO_COLOR: "1" },
      });
      const pids = await ready(program);
      const typedMs = performance.now();
      program.child.stdin?.write("\x03");
      const { code } = await program.exited;
      expect(performance.now() - typedMs).toBeLessThan(goneMs);
      expect(code).toBe(128 + constants.signals.SIGINT);
      await expectGone(program, pids);
      expect(program.stdout()).not.toMatch(/Error/);
      await program.finish();
    });

    test("by Ctrl-C while a task prints all the time ends too", async () => {
      const printing = `const chatter = shoal.remote(() => { for (;;) console.log("chatter"); }, { numCpus: 0 }).remote();\n`;
      const program = startProgram({
        files: { "main.mjs": busy + printing + waitForEver },
        args: ["main.mjs"],
        terminal: true,
        env: { NO_COLOR: "1" },
      });
      const pids = await ready(program);
      await program.printed("chatter");
      program.child.stdin?.write("\x03");
      await program.exited;
      await expectGone(program, pids);
      await program.finish();
    });

    test("that is closed is gone with all it started", async () => {
      const program = startProgram({
        files: { "main.mjs": busy + waitForEver },
        args: ["main.mjs"],
        terminal: true,
        env: { NO_COLOR: "1" },
      });
      const pids = await ready(program);
      program.child.kill("SIGKILL");
      await program.exited;
      await expectGone(program, pids);
      await program.finish();
    });
  });

  test("while init() is under way leaves no process, and no file that the next session does not remove", async () => {
    const { stdout, code } = await runProgram({
      files: {
        "victim.mjs": `import * as shoal from "shoal"; const started = shoal.init(); console.log("starting"); await started; setInterval(() => {}, 1000);`,
        "main.mjs": `
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, utimesSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as shoal from "shoal";
const victim = spawn(process.execPath, ["victim.mjs"]);
await once(victim.stdout, "data");
victim.kill("SIGKILL");
await once(victim, "exit");
const roots = [process.env.SHOAL_TMPDIR, "/dev/shm"].map((dir) => join(dir, "shoal-" + process.getuid()));
const left = existsSync(roots[0]) ? readdirSync(roots[0]) : [];
// A session that was made a moment ago may be about to start; these are made to look old.
for (const name of left) for (const root of roots) try { utimesSync(join(root, name), 0, 0); } catch {}
const { sessionDir } = await shoal.init();
const others = () => readdirSync(dirname(sessionDir)).filter((name) => name !== basename(sessionDir));
const end = Date.now() + 15_000;
while (others().length > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
console.log(others());
await shoal.shutdown();
`,
      },
      args: ["main.mjs"],
    });
    expect([stdout, code]).toEqual(["[]\n", 0]);
  });

  test("by Ctrl-C but handles it can use the cluster in its handler, and ends as it likes", async () => {
    const handler = `
process.on("SIGINT", async () => {
  const counted = await shoal.get(counter.add.remote());
  const squared = await shoal.get(shoal.remote((x) => x * x, { numCpus: 0 }).remote(7));
  console.log("handled", counted, squared);
  await shoal.shutdown();
  process.exit(5);
});
`;
    const program = startProgram({
      files: {
        "main.mjs": busy + handler + waitForEver.replace("await shoal.get(pending)", "await shoal.get(pending).catch(() => {})"),
      },
      args: ["main.mjs"],
      ownGroup: true,
    });
    const pids = await ready(program);
    process.kill(-program.child.pid!, "SIGINT");
    await program.printed("handled 1 49");
    expect((await program.exited).code).toBe(5);
    await expectGone(program, pids);
    await program.finish();
  });
});

describe("A driver that ends by itself", () => {
  const run = (body: string) =>
    runProgram({ files: { "main.mjs": `import * as shoal from "shoal";\n${body}` }, args: ["main.mjs"] });

  test("without shutdown() ends with code 0 when its main is over", async () => {
    const { stdout, stderr, code, signal } = await run(`
await shoal.init({ numCpus: 2 });
console.log(await shoal.get(shoal.remote((x) => x + 1).remote(1)));
const counter = shoal.remote(class { add() { return 1; } }).remote();
console.log(await shoal.get(counter.add.remote()));
`);
    expect({ stdout, stderr, code, signal }).toEqual({ stdout: "2\n1\n", stderr: "", code: 0, signal: null });
  });

  test("is kept alive by a pending get, wait or stream, awaited or not", async () => {
    const { stdout, code } = await run(`
const slow = shoal.remote(async (text) => { await new Promise((resolve) => setTimeout(resolve, 700)); return text; });
const stream = shoal.remote(async function* () { for (let i = 0; i < 3; i++) { await new Promise((resolve) => setTimeout(resolve, 200)); yield i; } });
await shoal.init({ numCpus: 4 });
shoal.get(slow.remote("got")).then(console.log);
shoal.wait([slow.remote("waited")]).then(([[ref]]) => shoal.get(ref)).then(console.log);
(async () => { let sum = 0; for await (const ref of stream.remote()) sum += await shoal.get(ref); console.log("streamed", sum); })();
`);
    expect(stdout.trim().split("\n").toSorted()).toEqual(["got", "streamed 3", "waited"]);
    expect(code).toBe(0);
  });

  test("is not kept alive by a task nobody waits for, nor by an actor", async () => {
    const started = performance.now();
    const { code, stdout } = await run(`
await shoal.init({ numCpus: 2 });
const ref = shoal.remote(() => new Promise(() => setInterval(() => {}, 1000))).remote();
const actor = shoal.remote(class { async hold() { await new Promise(() => setInterval(() => {}, 1000)); } }).remote();
const call = actor.hold.remote();
console.log("over");
`);
    expect([stdout, code]).toEqual(["over\n", 0]);
    expect(performance.now() - started).toBeLessThan(15_000);
  });

  test("by an uncaught exception says it, has Node's exit code, and is cleaned up after", async () => {
    const { stderr, code } = await run(`
await shoal.init({ numCpus: 2 });
await shoal.get(shoal.remote(() => 1).remote());
setTimeout(() => { throw new RangeError("driver is broken"); }, 1);
await shoal.get(shoal.remote(() => new Promise(() => setInterval(() => {}, 1000))).remote());
`);
    expect(code).toBe(1);
    expect(stderr).toContain("RangeError: driver is broken");
  });

  test("by a failed get that nobody handles shows the task's error and where it was thrown", async () => {
    const { stderr, code } = await run(`
function explode() { throw new RangeError("task is broken"); }
await shoal.get(shoal.remote(explode).remote());
`);
    expect(code).toBe(1);
    expect(stderr).toContain("task is broken");
    expect(stderr).toContain("explode");
    expect(stderr).toMatch(/main\.mjs:3/);
  });

  test("by process.exit has that code", async () => {
    const { code } = await run(`
await shoal.init({ numCpus: 2 });
await shoal.get(shoal.remote(() => 1).remote());
process.exit(9);
`);
    expect(code).toBe(9);
  });

  test("is not ended by a failed task whose ref nobody gets", async () => {
    const { stdout, code } = await run(`
await shoal.init({ numCpus: 2 });
const failed = shoal.remote(() => { throw new Error("nobody cares"); }).remote();
await shoal.wait([failed]);
await new Promise((resolve) => setTimeout(resolve, 50));
console.log("alive");
`);
    expect([stdout, code]).toEqual(["alive\n", 0]);
  });

  test("blocks its event loop for long and finds its cluster alive", async () => {
    const { stdout, code } = await run(`
await shoal.init({ numCpus: 2 });
const counter = shoal.remote(class { n = 0; add() { return ++this.n; } }).remote();
await shoal.get(counter.add.remote());
const pending = shoal.remote(() => "while blocked").remote();
const end = Date.now() + 4000; while (Date.now() < end);
console.log(await shoal.get(counter.add.remote()), await shoal.get(pending));
await shoal.shutdown();
`);
    expect([stdout, code]).toEqual(["2 while blocked\n", 0]);
  });
});
