/** Functions captured in programs as users run them, by node and tsx, in modules, CommonJS, the command line and the REPL. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bundleRoundTrip } from "./testing/bundle.ts";

let bundle: string;

beforeAll(async () => {
  bundle = await bundleRoundTrip();
});
afterAll(() => rmSync(bundle, { recursive: true }));

const esmPreamble = `
import { RoundTrip } from "../round-trip.mjs";
const there = new RoundTrip();
const show = async (fn, ...args) => console.log(JSON.stringify(await there.call(fn, ...args)));
const refuse = (fn) => { try { there.capture(fn); console.log("captured"); } catch (error) { console.log(error.message); } };
const stackOf = async (fn) => console.log((await there.outcome(fn)).stack);
`.replaceAll("\n", " ");

/** Runs a program and returns what it printed, by lines. */
async function run(files: Record<string, string>, args: string[], stdin?: (line: string, write: (text: string) => void) => void) {
  const directory = mkdtempSync(join(bundle, "program-"));
  for (const name of Object.keys(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), files[name]);
  }
  const child = spawn(process.execPath, args, {
    cwd: directory,
    env: { ...process.env, NODE_OPTIONS: "", NODE_REPL_HISTORY: "" },
  });
  let output = "";
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  child.stdout.on("data", (chunk) => {
    output += chunk;
    if (stdin !== undefined && output.endsWith("> ")) stdin(output, (text) => child.stdin.write(text));
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(errors, output).toBe("");
  expect(code).toBe(0);
  return output.trimEnd().split("\n");
}

const tsx = ["--import", import.meta.resolve("tsx")];
const end = "\nthere.close();\n";

describe("an ES module run by node", () => {
  test("functions of local modules travel by value, packages and built-in modules by reference", async () => {
    const main = `${esmPreamble}
import { readFileSync as read } from "node:fs";
import EventEmitter, * as events from "node:events";
import { pack } from "msgpackr";
import * as acorn from "acorn";
import typescript from "acorn/package.json" with { type: "json" };
import { half, settings, Tool } from "./lib/helpers.mjs";
import * as helpers from "./lib/helpers.mjs";
await show(() => [typeof read, events.EventEmitter === EventEmitter, pack(1).length, acorn.parse("1", { ecmaVersion: 6 }).type, typescript.name]);
await show((x) => [half(x), settings.unit, new Tool().use(), helpers.half(2)], 10);
await show(() => helpers.count() + helpers.count());
await show(helpers.half, 3);
console.log(there.module(half).includes("helpers.mjs\\""));
${end}`;
    const helpers = `
import { join } from "node:path";
const two = 2;
let calls = 0;
export const half = (x) => x / two;
export const settings = { unit: "cm" };
export class Tool { use() { return join("tool", settings.unit); } }
export function count() { return ++calls; }
export const socket = process.stdout;
`;
    expect(await run({ "main.mjs": main, "lib/helpers.mjs": helpers }, ["main.mjs"])).toEqual([
      '["function",true,1,"Program","acorn"]',
      '[5,"cm","tool/cm",1]',
      "3",
      "1.5",
      "false",
    ]);
  });

  test("what a local module exports and cannot travel is imported again there", async () => {
    const main = `${esmPreamble}
import { pool, ask } from "./pool.mjs";
import { own } from "./own.mjs";
await show(() => [pool.get({}), ask({}), own()]);
${end}`;
    const pool = `
const cache = new WeakMap();
export const pool = { get: () => "pooled", cache };
export function ask(key) { return cache.has(key); }
`;
    const own = `const limit = new WeakMap(); export const own = () => typeof limit.get;`;
    expect(await run({ "main.mjs": main, "pool.mjs": pool, "own.mjs": own }, ["main.mjs"])).toEqual([
      '["pooled",false,"function"]',
    ]);
  });

  test("but never the program itself, which would run again", async () => {
    const main = `${esmPreamble}
import { useMain } from "./other.mjs";
export const cache = new WeakMap();
refuse(() => cache.get({}));
const error = (() => { try { there.capture(useMain); } catch (error) { return error; } })();
console.log(error.message);
${end}`;
    const other = `import { cache } from "./main.mjs"; export const useMain = () => cache.get({});`;
    expect(await run({ "main.mjs": main, "other.mjs": other }, ["main.mjs"])).toEqual([
      "Cannot send function 'anonymous' as its variable 'cache' cannot travel: a WeakMap cannot be listed",
      "Cannot send function 'useMain' as its variable 'cache' cannot travel: a WeakMap cannot be listed",
    ]);
  });

  test("a variable that is declared further down is named; after that it travels", async () => {
    const main = `${esmPreamble}
const early = () => [later, Klass.name, unset];
refuse(early);
let unset;
const later = 5;
refuse(early);
class Klass {}
await show(early);
${end}`;
    expect(await run({ "main.mjs": main }, ["main.mjs"])).toEqual([
      "Cannot send function 'early' as its variable 'later' has no value yet: it is declared further down than the call that sends it",
      "Cannot send function 'early' as its variable 'Klass' has no value yet: it is declared further down than the call that sends it",
      '[5,"Klass",null]',
    ]);
  });

  test("import(), import.meta and createRequire mean the user's file", async () => {
    const main = `${esmPreamble}
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
const require = createRequire(import.meta.url);
await show(async () => [
  (await import("./lib/answer.mjs")).answer,
  (await import("acorn")).parse.name,
  require("./lib/answer.cjs").answer,
  fileURLToPath(import.meta.resolve("./lib/answer.mjs")) === import.meta.dirname + "/lib/answer.mjs",
  import.meta.filename.endsWith("main.mjs"),
]);
${end}`;
    const files = { "main.mjs": main, "lib/answer.mjs": "export const answer = 42;", "lib/answer.cjs": "exports.answer = 43;" };
    expect(await run(files, ["main.mjs"])).toEqual(['[42,"parse",43,true,true]']);
  });

  test("stacks show the user's own lines", async () => {
    const main = `${esmPreamble}
const helper = (x) => {
  throw new RangeError("too large" + x);
};
class Machine {
  run() {
    return helper(1);
  }
}
await stackOf(function work() {
  const machine = new Machine();
  return machine.run();
});
${end}`;
    const [message, ...frames] = await run({ "main.mjs": main }, ["main.mjs"]);
    expect(message).toBe("RangeError: too large1");
    expect(frames.map((frame) => frame.replace(/\(?\/\S*\/(main\.mjs)/, "($1"))).toEqual([
      "    at helper (main.mjs:3:9)",
      "    at Machine.run (main.mjs:7:12)",
      "    at work (main.mjs:12:18)",
    ]);
  });
});

describe("CommonJS", () => {
  test("require in all its forms, __dirname, module-level this and exports", async () => {
    const main = `
const { join } = require("node:path"), os = require("os");
const acorn = require("acorn");
const { pack } = require("msgpackr");
const { helper } = require("./helper.cjs");
const local = require("./helper.cjs");
const data = require("./data.json");
const topThis = () => typeof this;
import("../round-trip.mjs").then(async ({ RoundTrip }) => {
  const there = new RoundTrip();
  const show = async (fn, ...args) => console.log(JSON.stringify(await there.call(fn, ...args)));
  await show(() => [join("a", "b"), typeof os.cpus, acorn.parse.name, pack(1).length, helper(2), local.helper(3), data.n, topThis()]);
  await show(() => [require("node:path").basename(__filename), require("./helper.cjs").secret, __dirname === require("node:path").dirname(__filename)]);
  await show(function sloppy() { return typeof this; });
  there.close();
});
`;
    const helper = "const factor = 10; exports.secret = 7; exports.helper = (x) => x * factor; exports.open = process.stdout;";
    expect(await run({ "main.cjs": main, "helper.cjs": helper, "data.json": '{"n":6}' }, ["main.cjs"])).toEqual([
      '["a/b","function","parse",1,20,30,6,"undefined"]',
      '["main.cjs",7,true]',
      '"undefined"',
    ]);
  });
});

describe("TypeScript under tsx", () => {
  const main = `
import { RoundTrip } from "../round-trip.mjs";
import { tool, Kind, NS, Animal, type Size } from "./lib/tool.ts";
import * as lib from "./lib/tool.ts";
import { parse } from "acorn";
import { EventEmitter } from "node:events";

interface Removed { a: number; b: string }

class Dog extends Animal {
  #n = 1;
  static legs: number = 4;
  constructor(public name: string) { super(); }
  speak(): string { return super.speak() + this.name + this.#n; }
}
class Emits extends EventEmitter { fire(): number { return this.listenerCount("a"); } }
${"enum"} Local { One = 1, Two }
async function main(): Promise<void> {
  const there = new RoundTrip();
  const show = async (fn: (...args: any[]) => unknown, ...args: unknown[]) => console.log(JSON.stringify(await there.call(fn, ...args)));
  await show((x: number, size: Size = "s"): unknown => [tool(x) + Kind.B + NS.q, size, Local.Two, Local[1]], 1);
  await show(() => [new Dog("rex").speak(), lib.tool(2), typeof parse, new Emits().fire(), Dog.name, Dog.legs]);
  await show(async () => typeof (await import("node:os")).cpus);
  const fail = (x: number): void => {
    if (x > 0)
      throw new Error("bad");
  };
  const outcome: any = await there.outcome(function named() {
    const removed: Removed | undefined = undefined;
    fail(removed ?? 1);
  });
  console.log(outcome.stack);
  there.close();
}
main();
`;
  const tool = `
export type Size = "s" | "m";
export ${"enum"} Kind { A, B }
export namespace NS { export const q = 0.5; }
let calls = 0;
export function tool(x: number): number { calls++; return x * 2 + calls; }
export class Animal { speak(): string { return "animal "; } }
export const stream: unknown = process.stdout;
`;
  const expected = [
    '[4.5,"s",2,"One"]',
    '["animal rex1",5,"function",0,"Dog",4]',
    '"function"',
    "Error: bad",
    "    at fail (main.ts:26:13)",
    "    at named (main.ts:30:5)",
  ];

  test("as ES modules", async () => {
    const files = { "main.ts": main, "lib/tool.ts": tool, "package.json": '{"type":"module"}' };
    expect(stripped(await run(files, [...tsx, "main.ts"]))).toEqual(expected);
  });

  test("as CommonJS", async () => {
    const dynamic = main
      .replace(/import \{ RoundTrip \}.*\n/, "\n")
      .replace("new RoundTrip()", 'new (await import("../round-trip.mjs")).RoundTrip()');
    const files = { "main.ts": dynamic, "lib/tool.ts": tool, "package.json": '{"type":"commonjs"}' };
    expect(stripped(await run(files, [...tsx, "main.ts"]))).toEqual(expected);
  });
});

describe("a local variable with the name of an import is itself", () => {
  /** Each shows what a variable of its own holds: an object, then a function. */
  const shadows = `
{
  const path = { x: 1 };
  const join = () => "block";
  await show(() => [path.x, join()]);
}
await Promise.resolve().then(async () => {
  const path = { x: 2 };
  function join() { return "callback"; }
  await show(() => [path.x, join()]);
});
await (async (path, { join }) => {
  await show(() => [path.x, join()]);
})({ x: 3 }, { join: () => "parameters" });
await (async () => {
  if (typeof path === "undefined") {
    var path = { x: 4 };
    var join = () => "var";
  }
  await show(() => [path.x, join()]);
})();
for (const path of [{ x: 5 }]) {
  try {
    throw { join: () => "catch" };
  } catch ({ join }) {
    await show(() => [path.x, join()]);
  }
}
switch (1) {
  case 1:
    class path { static x = 6; }
    const [join] = [() => "switch"];
    await show(() => [path.x, join()]);
}
await show(() => [typeof path.sep, join("a", "b")]);
`;
  const shown = [
    '[1,"block"]',
    '[2,"callback"]',
    '[3,"parameters"]',
    '[4,"var"]',
    '[5,"catch"]',
    '[6,"switch"]',
    '["string","a/b"]',
  ];
  const imports = 'import path, { join } from "node:path";';
  const typed = "// @ts-nocheck\n";

  test("in an ES module", async () => {
    const main = `${esmPreamble}${imports}${shadows}${end}`;
    expect(await run({ "main.mjs": main }, ["main.mjs"])).toEqual(shown);
  });

  /** `const path = ...` at the top, and everything else in a function, as in most programs in CommonJS. */
  const asCommonJs = (requires: string) => `${requires}
(async () => {
  const { RoundTrip } = await import("../round-trip.mjs");
  const there = new RoundTrip();
  const show = async (fn, ...args) => console.log(JSON.stringify(await there.call(fn, ...args)));
  ${shadows}
  there.close();
})();
`;

  test("in CommonJS", async () => {
    const main = asCommonJs('const path = require("node:path"); const { join } = require("node:path");');
    expect(await run({ "main.cjs": main }, ["main.cjs"])).toEqual(shown);
  });

  test("in CommonJS, in the function that is the whole program", async () => {
    const main = `
const path = require("node:path");
let os = require("node:os");
os = { cpus: 1 };
(async () => {
  const { RoundTrip } = await import("../round-trip.mjs");
  const { parse } = await import("acorn");
  const there = new RoundTrip();
  const show = async (fn, ...args) => console.log(JSON.stringify(await there.call(fn, ...args)));
  const path = { x: 1 };
  await show(() => [path.x, os.cpus, parse.name]);
  there.close();
})();
`;
    expect(await run({ "main.cjs": main }, ["main.cjs"])).toEqual(['[1,1,"parse"]']);
  });

  test("in TypeScript under tsx, as an ES module and as CommonJS", async () => {
    const esm = { "main.ts": `${typed}${esmPreamble}${imports}${shadows}${end}`, "package.json": '{"type":"module"}' };
    expect(await run(esm, [...tsx, "main.ts"])).toEqual(shown);
    const cjs = { "main.ts": typed + asCommonJs(imports), "package.json": '{"type":"commonjs"}' };
    expect(await run(cjs, [...tsx, "main.ts"])).toEqual(shown);
  });
});

const stripped = (lines: string[]) => lines.map((line) => line.replace(/\(\/\S*\//, "("));

describe("the command line", () => {
  const body = `
const k = 5;
function helper(x) { return x + k; }
class C { m() { return helper(1); } }
await there.call((x) => helper(x), 1).then((value) => console.log(value));
console.log(await there.call(async () => [new C().m(), fs.existsSync("/"), (await import("acorn")).parse.name]));
there.close();
`;
  test("node -e, as a module", async () => {
    const lines = await run({}, ["--input-type=module", "-e", `import fs from "node:fs";${esmPreamble}${body}`]);
    expect(lines).toEqual(["6", "[ 6, true, 'parse' ]"]);
  });

  test("node -e, as a script, where variables are global", async () => {
    const script = body.replace("const k", "var k");
    const [declarations, rest] = [script.slice(0, script.indexOf("await")), script.slice(script.indexOf("await"))];
    const text = `${declarations} import("../round-trip.mjs").then(async ({ RoundTrip }) => { const there = new RoundTrip(); ${rest} });`;
    expect(await run({}, ["-e", text])).toEqual(["6", "[ 6, true, 'parse' ]"]);
  });

  test("the REPL, with redefinition", async () => {
    const lines = [
      'const { RoundTrip } = await import("../round-trip.mjs")',
      "const there = new RoundTrip()",
      "let factor = 2",
      "function helper(x) { return x * factor }",
      "const show = (fn) => there.call(fn).then((value) => JSON.stringify({ value }))",
      "await show(() => [helper(21), fs.existsSync('/')])",
      "function helper(x) { return x + 100 }",
      "await show(() => helper(1))",
      "class Counter { n = factor; add() { return ++this.n } }",
      "await there.method(Counter, 'add')",
      "there.close()",
      ".exit",
    ];
    const output = await run({}, ["-i"], (_line, write) => write(`${lines.shift() ?? ".exit"}\n`));
    const text = output.join("\n");
    expect(text).toContain('{"value":[42,true]}');
    expect(text).toContain('{"value":101}');
    expect(text).toMatch(/^> 3$/m);
  });
});
