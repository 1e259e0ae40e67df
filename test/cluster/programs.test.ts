/** Sessions of whole programs: started by the first verb, beside one another, in the directory they were told. */
import { describe, expect, test } from "vitest";
import { runProgram, startProgram } from "../support/run-program.ts";

const header = `import * as shoal from "shoal";\nconst square = shoal.remote((x) => x * x);\n`;

describe("A program", () => {
  test("needs neither init() nor shutdown()", async () => {
    const { stdout, stderr, code } = await runProgram({
      files: { "main.mjs": `${header}console.log(await shoal.get([0, 1, 2, 3].map((i) => square.remote(i))));` },
      args: ["main.mjs"],
    });
    expect({ stdout, stderr, code }).toEqual({ stdout: "[ 0, 1, 4, 9 ]\n", stderr: "", code: 0 });
  });

  test("that only imports shoal starts nothing", async () => {
    const { stdout, code } = await runProgram({
      files: {
        "main.mjs": `${header}import { readdirSync } from "node:fs";
console.log(shoal.isInitialized(), process.getActiveResourcesInfo().filter((kind) => !/TTY|Pipe|FSReq|CloseReq/.test(kind)), readdirSync(process.env.SHOAL_TMPDIR));`,
      },
      args: ["main.mjs"],
    });
    expect([stdout, code]).toEqual(["false [] []\n", 0]);
  });

  test("shares the machine with others, whose sessions it does not meet", async () => {
    const body = (name: string) => `${header}
await shoal.init({ numCpus: 1 });
const actor = shoal.remote(class { who() { return ${JSON.stringify(name)}; } }, { name: "shared-name" }).remote();
await shoal.get(actor.who.remote());
console.log("ready");
for await (const _ of process.stdin);
console.log(await shoal.get((await shoal.getActor("shared-name")).who.remote()), (await shoal.nodes()).length);
await shoal.get(actor.who.remote()); // the handle was in use until here
await shoal.shutdown();
`;
    const programs = ["first", "second"].map((name) => startProgram({ files: { "main.mjs": body(name) }, args: ["main.mjs"] }));
    await Promise.all(programs.map((program) => program.printed("ready")));
    for (const program of programs) program.child.stdin!.end();
    await Promise.all(programs.map((program) => program.exited));
    const results = await Promise.all(programs.map((program) => program.finish()));
    expect(results.map(({ stdout }) => stdout)).toEqual(["ready\nfirst 1\n", "ready\nsecond 1\n"]);
  });

  test("ends when it has nothing more to do, although a placement group it has asked for cannot be had", async () => {
    const { stdout, code } = await runProgram({
      files: {
        "main.mjs": `${header}
await shoal.init({ numCpus: 1 });
const group = shoal.placementGroup([{ cake: 1 }]);
group.ready();
console.log(await group.wait({ timeoutMs: 10 }));`,
      },
      args: ["main.mjs"],
    });
    expect([stdout, code]).toEqual(["false\n", 0]);
  });

  test("that is given a directory that cannot be used says so", async () => {
    const { stderr, code } = await runProgram({
      files: { "main.mjs": `${header}await shoal.init();`, "a-file": "" },
      args: ["main.mjs"],
      env: { SHOAL_TMPDIR: "/dev/null/nowhere" },
    });
    expect(code).not.toBe(0);
    expect(stderr).toContain("/dev/null/nowhere");
  });

  test("may use a directory with a long name, although sockets want short ones", async () => {
    const { stdout, code, stderr } = await runProgram({
      files: {
        "main.mjs": `import { mkdirSync } from "node:fs"; import { join } from "node:path";
const dir = join(process.env.SHOAL_TMPDIR, "d".repeat(120)); mkdirSync(dir, { recursive: true }); process.env.SHOAL_TMPDIR = dir;
const shoal = await import("shoal");
console.log(await shoal.get(shoal.remote((x) => x * x).remote(3)));
await shoal.shutdown();
const { rmSync } = await import("node:fs"); rmSync(dir, { recursive: true });`,
      },
      args: ["main.mjs"],
    });
    expect({ stdout, code, stderr }).toMatchObject({ stdout: "9\n", code: 0 });
  });

  test("is told after some seconds when it asks for an actor that no node can hold", async () => {
    const program = startProgram({
      files: {
        "main.mjs": `${header}await shoal.init({ numCpus: 1 });
const actor = shoal.remote(class Huge { use() {} }, { resources: { unobtainium: 3 } }).remote();
const job = shoal.remote(function job() {}, { resources: { unobtainium: 4 } });
const far = shoal.remote(class Far { use() {} }, { labelSelector: { zone: "mars" } }).remote();
for (const ref of [actor.use.remote(), far.use.remote(), job.remote()]) console.log(await shoal.get(ref, { timeoutMs: 100 }).catch((error) => error.message));
console.log("asked");
await shoal.get(actor.use.remote());`,
      },
      args: ["main.mjs"],
    });
    await program.printed("asked");
    expect(program.stdout()).toMatch(
      /waiting for 'Huge.use' \(waiting for actor Huge \(\w+\) to be started on a node with \{CPU: 1, unobtainium: 3\}\)/,
    );
    expect(program.stdout()).toMatch(
      /waiting for actor Far \(\w+\) to be started on a node with \{CPU: 1\} and labels \{"zone":"mars"\}/,
    );
    expect(program.stdout()).toMatch(/waiting for 'job' \(waiting for a worker with \{CPU: 1, unobtainium: 4\}\)/);
    const { waitFor } = await import("../support/wait-for.ts");
    await waitFor("the warning", () => /Huge.*unobtainium/.test(program.stderr()), 12_000);
    await program.finish();
  });
});
