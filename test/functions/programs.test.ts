import { describe, expect, test } from "vitest";
import { type Program, type ProgramResult, runProgram, startProgram } from "../support/run-program.ts";
import { waitFor } from "../support/wait-for.ts";

async function output(program: Program): Promise<string> {
  const { stdout, stderr, code, signal }: ProgramResult = await runProgram(program);
  expect({ code, signal }, `${stdout}\n${stderr}`).toEqual({ code: 0, signal: null });
  return stdout;
}

const run = (name: string, text: string, more: Partial<Program> = {}) =>
  output({ files: { [name]: text }, args: [name], ...more });

describe("a program runs as its user wrote it, ends by itself and leaves nothing", () => {
  test("the ten-line program, function before init", async () => {
    const program = `
      import * as shoal from "shoal";
      const square = shoal.remote((x) => x * x);
      await shoal.init();
      console.log(await shoal.get([0, 1, 2, 3].map((i) => square.remote(i)))); // [ 0, 1, 4, 9 ]
    `;
    expect(await run("main.mjs", program)).toBe("[ 0, 1, 4, 9 ]\n");
  });

  test("function after init, in a function, with closures; shutdown at the end", async () => {
    const program = `
      import { get, init, remote, shutdown } from "shoal";
      await init({ numCpus: 2 });
      const helper = (x) => x + offset;
      const offset = 10;
      async function work(factor) {
        const scaled = remote((x) => helper(x) * factor);
        return get([1, 2, 3].map((x) => scaled.remote(x)));
      }
      console.log((await work(2)).join(), (await work(3)).join());
      await shutdown();
      console.log("end");
    `;
    expect(await run("main.mjs", program)).toBe("22,24,26 33,36,39\nend\n");
  });

  test("without init: the first call starts a session", async () => {
    const program = `
      import * as shoal from "shoal";
      const ref = shoal.remote(() => "auto").remote();
      console.log(await shoal.get(ref), shoal.isInitialized());
    `;
    expect(await run("main.mjs", program)).toBe("auto true\n");
  });

  test("several sessions, one after the other, in one program", async () => {
    const program = `
      import * as shoal from "shoal";
      const square = shoal.remote((x) => x * x);
      for (let i = 1; i <= 3; i++) {
        await using context = await shoal.init({ numCpus: 1 });
        console.log(await shoal.get(square.remote(i)), shoal.isInitialized(), context.address.length > 0);
      }
      console.log(shoal.isInitialized());
      await shoal.shutdown();
      await shoal.shutdown();
    `
      .replace("await using context", "const context")
      .replace("context.address.length > 0);", "context.address.length > 0); await context[Symbol.asyncDispose]();");
    expect(await run("main.mjs", program)).toBe("1 true true\n4 true true\n9 true true\nfalse\n");
  });

  test("in CommonJS, by import()", async () => {
    const program = `
      const os = require("node:os");
      const { helper } = require("./lib.cjs");
      async function main() {
        const shoal = await import("shoal");
        const work = shoal.remote((x) => helper(x) + typeof os.cpus);
        console.log(await shoal.get(work.remote(2)));
      }
      main();
    `;
    const lib = `const secret = 40; exports.helper = (x) => x + secret;`;
    expect(await output({ files: { "main.cjs": program, "lib.cjs": lib }, args: ["main.cjs"] })).toBe("42function\n");
  });

  test("in CommonJS, by require()", async () => {
    const program = `
      const shoal = require("shoal");
      const k = 3;
      const work = shoal.remote(function work(x) { return require("node:path").join("a", String(x * k)); });
      shoal.get(work.remote(2)).then((value) => console.log(value));
    `;
    expect(await run("main.cjs", program)).toBe("a/6\n");
  });

  test("in TypeScript under tsx, with modules of its own", async () => {
    const main = `
      import * as shoal from "shoal";
      import { Account, type Money, rate } from "./bank.ts";
      interface Order { readonly price: Money; count: number }
      enum Size { Small = 1, Large = 5 }
      const total = shoal.remote((orders: Order[], size: Size): number => orders.reduce((sum, o) => sum + o.price.cents * o.count, 0) * rate * (size === Size.Large ? 2 : 1));
      class Shop {
        private readonly account: Account = new Account();
        sell(order: Order): number { return this.account.add(order.price.cents * order.count); }
      }
      const shop = shoal.remote(Shop).remote();
      shop.sell.remote({ price: { cents: 5 }, count: 2 });
      console.log(await shoal.get(total.remote([{ price: { cents: 100 }, count: 2 }], Size.Large)), await shoal.get(shop.sell.remote({ price: { cents: 1 }, count: 1 })));
      await shoal.shutdown();
    `;
    const bank = `
      export interface Money { cents: number }
      export const rate: number = 3;
      export class Account { #sum = 0; add(cents: number): number { this.#sum += cents; return this.#sum; } }
    `;
    const files = { "main.ts": main, "bank.ts": bank, "package.json": '{"type":"module"}' };
    expect(await output({ files, args: ["main.ts"], tsx: true })).toBe("1200 11\n");
  });

  test("by node -e, as a module and as a script", async () => {
    const module = `import * as shoal from "shoal"; console.log(await shoal.get(shoal.remote((x) => x + 1).remote(1)));`;
    expect(await output({ args: ["--input-type=module", "-e", module] })).toBe("2\n");
    const script = `import("shoal").then(async (shoal) => { const k = 5; console.log(await shoal.get(shoal.remote((x) => x + k).remote(1))); });`;
    expect(await output({ args: ["-e", script] })).toBe("6\n");
  });

  test("in the REPL, line by line, with redefinition", async () => {
    const lines = [
      'const shoal = await import("shoal");',
      'await shoal.init({ numCpus: 2 }).then(() => "started");',
      "let factor = 2;",
      "const scale = shoal.remote((x) => x * factor);",
      "await shoal.get(scale.remote(21));",
      "function helper(x) { return x + 100; }",
      "var work = shoal.remote((x) => helper(x));",
      "await shoal.get(work.remote(1));",
      "function helper(x) { return x + 200; }",
      "var work = shoal.remote((x) => helper(x));",
      "await shoal.get(work.remote(1));",
      "class Counter { n = 0; add() { return ++this.n; } }",
      "const counter = shoal.remote(Counter).remote();",
      "await shoal.get([counter.add.remote(), counter.add.remote()]);",
    ];
    const repl = startProgram({ args: ["-i"], env: { NODE_REPL_HISTORY: "" } });
    for (const [i, line] of lines.entries()) {
      await waitFor("the prompt", () => repl.stdout().split("> ").length > i + 1); // once more than lines entered
      repl.child.stdin!.write(`${line}\n`);
    }
    await repl.printed("[ 1, 2 ]");
    repl.child.stdin!.end();
    const { stdout, code } = await repl.exited.then(() => repl.finish());
    expect(code).toBe(0);
    expect(stdout).toMatch(/'started'[\s\S]*\b42\b[\s\S]*\b101\b[\s\S]*\b201\b[\s\S]*\[ 1, 2 \]/);
  });

  test("with functions and classes of other modules of the user", async () => {
    const files = {
      "main.mjs": `
        import * as shoal from "shoal";
        import { square, Counter, plain } from "./tasks/lib.mjs";
        const both = shoal.remote(async (x) => plain(x) + (await shoal.get(square.remote(x))));
        const counter = shoal.remote(Counter).remote(5);
        console.log(await shoal.get([square.remote(3), both.remote(3), counter.add.remote(1)]));
      `,
      "tasks/lib.mjs": `
        import * as shoal from "shoal";
        import { readFileSync } from "node:fs";
        const text = "data";
        export const square = shoal.remote((x) => x * x);
        export const plain = (x) => x + text.length;
        export class Counter { constructor(n) { this.n = n; } add(x) { return (this.n += x); } }
      `,
    };
    expect(await output({ files, args: ["main.mjs"] })).toBe("[ 9, 16, 6 ]\n");
  });

  test("import.meta, relative import() and files beside the module are the user's", async () => {
    const files = {
      "main.mjs": `
        import * as shoal from "shoal";
        import { readFileSync } from "node:fs";
        const look = shoal.remote(async () => {
          const { answer } = await import("./lib/answer.mjs");
          return [answer, readFileSync(new URL("./data.txt", import.meta.url), "utf8"), import.meta.url.endsWith("/main.mjs")];
        });
        console.log(JSON.stringify(await shoal.get(look.remote())));
      `,
      "lib/answer.mjs": "export const answer = 42;",
      "data.txt": "beside",
    };
    expect(await output({ files, args: ["main.mjs"] })).toBe('[42,"beside",true]\n');
  });
});

describe("how a program ends", () => {
  test("process.exit in the middle keeps its code, and nothing is left", async () => {
    const program = `
      import * as shoal from "shoal";
      await shoal.init({ numCpus: 1 });
      shoal.put(new Uint8Array(10_000_000));
      console.log(await shoal.get(shoal.remote(() => "ran").remote()));
      process.exit(3);
    `;
    const { stdout, code } = await runProgram({ files: { "main.mjs": program }, args: ["main.mjs"] });
    expect({ stdout, code }).toEqual({ stdout: "ran\n", code: 3 });
  });

  test("an error that nobody catches ends it with code 1, shows the remote error, and nothing is left", async () => {
    const program = `
      import * as shoal from "shoal";
      const fails = shoal.remote(function fails() { throw new RangeError("nobody catches this"); });
      await shoal.get(fails.remote());
    `;
    const { stderr, code } = await runProgram({ files: { "main.mjs": program }, args: ["main.mjs"] });
    expect(code).toBe(1);
    expect(stderr).toContain("nobody catches this");
    expect(stderr).toContain("fails");
    expect(stderr).toContain("main.mjs:3");
  });

  test("importing it starts nothing and keeps nothing alive", async () => {
    expect(
      await run("main.mjs", `import * as shoal from "shoal"; shoal.remote(() => 1); console.log(shoal.isInitialized());`),
    ).toBe("false\n");
  });

  test("a second init rejects, unless told to ignore it", async () => {
    const program = `
      import * as shoal from "shoal";
      const first = await shoal.init({ numCpus: 1 });
      console.log(await shoal.init({ numCpus: 1 }).then(() => "started", (error) => error instanceof Error));
      const again = await shoal.init({ numCpus: 1, ignoreReinitError: true });
      console.log(first.nodeId === again.nodeId);
    `;
    expect(await run("main.mjs", program)).toBe("true\ntrue\n");
  });
});
