/** Functions captured on one node and called on another that has none of its files: by node programs in directories that are gone when the other side runs. */
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { bundleRoundTrip } from "./testing/bundle.ts";
import type { Outcome } from "./testing/round-trip.ts";

let bundle: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  bundle = await bundleRoundTrip();
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
afterAll(() => rmSync(bundle, { recursive: true }));

function write(directory: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
}

interface Place {
  readonly program: string;
  readonly code: string;
  /** What the program printed: keys, or the error. */
  readonly printed: string[];
}

/** Runs a program that captures functions for other nodes; `keys(...fns)` prints their keys. */
function captureIn(files: Readonly<Record<string, string>>, setUp: (program: string) => void = () => {}): Place {
  const program = mkdtempSync(join(bundle, "program-"));
  const code = mkdtempSync(join(bundle, "code-"));
  write(program, files);
  setUp(program);
  const main = `
    import { capture, contextIn } from "../round-trip.mjs";
    const context = contextIn(${JSON.stringify(code)}, true);
    const keys = (...fns) => { for (const fn of fns) try { console.log(capture(fn, context).key); } catch (error) { console.log(error.message); } };
    ${files["main.mjs"]}`;
  writeFileSync(join(program, "main.mjs"), main);
  const printed = execFileSync(process.execPath, ["main.mjs"], { cwd: program, encoding: "utf8" }).trim().split("\n");
  return { program, code, printed };
}

/** A process of another node: it sees the code that was fetched, and not the program's directory. */
function elsewhere({ program, code }: Place, files: Readonly<Record<string, string>> = {}) {
  renameSync(program, `${program}-gone`);
  const cwd = mkdtempSync(join(bundle, "cwd-"));
  write(cwd, files);
  const child = fork(join(bundle, "round-trip-child.mjs"), [code, "ships"], {
    serialization: "advanced",
    execArgv: [],
    cwd,
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  children.push(child);
  return async (key: string, ...args: unknown[]): Promise<unknown> => {
    const outcome = await new Promise<Outcome>((resolve) => {
      child.once("message", resolve);
      child.send({ key, args });
    });
    return "error" in outcome ? outcome.error : outcome.value;
  };
}

/** A module that cannot travel by value, as it holds a socket. */
const pool = `
  import { scale } from "./scale.mjs";
  import settings from "./settings.json" with { type: "json" };
  const socket = process.stdout;
  let calls = 0;
  export const load = (x) => [socket === process.stdout, scale(x) + settings.offset, ++calls];
`;
const poolFiles = {
  "lib/pool.mjs": pool,
  "lib/scale.mjs": `import { pack } from "packer"; export const scale = (x) => x * 10 + pack();`,
  "lib/settings.json": `{ "offset": 1 }`,
  "node_modules/packer/package.json": `{ "name": "packer", "type": "module", "exports": "./index.js" }`,
  "node_modules/packer/index.js": "export const pack = () => 100;",
};

describe("the user's own files that travel by reference", () => {
  test("come along with what they import, once, where the node does not have them", async () => {
    const place = captureIn({
      ...poolFiles,
      "main.mjs": `import { load } from "./lib/pool.mjs"; keys((x) => load(x), (x) => load(x + 1));`,
    });
    const call = elsewhere(place, {
      "node_modules/packer/package.json": `{ "name": "packer", "type": "module", "exports": "./index.js" }`,
      "node_modules/packer/index.js": "export const pack = () => 200;",
    });
    expect(await call(place.printed[0], 1)).toEqual([true, 211, 1]);
    expect(await call(place.printed[1], 1)).toEqual([true, 221, 2]);
    expect(readdirSync(join(place.code, "files"))).toHaveLength(1);
  });

  test("are used where they are when they are the same there", async () => {
    const place = captureIn({ ...poolFiles, "main.mjs": `import { load } from "./lib/pool.mjs"; keys((x) => load(x));` });
    const call = elsewhere(place);
    renameSync(`${place.program}-gone`, place.program);
    expect(await call(place.printed[0], 1)).toEqual([true, 111, 1]);
    expect(readdirSync(place.code)).not.toContain("files");
  });

  test("are not taken from a file of the same name that differs", async () => {
    const place = captureIn({ ...poolFiles, "main.mjs": `import { load } from "./lib/pool.mjs"; keys((x) => load(x));` });
    const call = elsewhere(place);
    write(place.program, { ...poolFiles, "lib/settings.json": `{ "offset": 7 }`, "main.mjs": "" });
    expect(await call(place.printed[0], 1)).toEqual([true, 111, 1]);
  });

  test("come along for import(), require, createRequire's and new URL in the function itself", async () => {
    const place = captureIn({
      "lib/answer.mjs": `import { half } from "./half.cjs"; export const answer = half(84);`,
      "lib/half.cjs": "exports.half = (x) => x / 2;",
      "data/text.txt": "beside",
      "main.mjs": `
        import { readFileSync } from "node:fs";
        import { createRequire } from "node:module";
        const require = createRequire(import.meta.url);
        keys(
          async () => (await import("./lib/answer.mjs")).answer,
          () => require("./lib/half.cjs").half(10),
          () => readFileSync(new URL("./data/text.txt", import.meta.url), "utf8"),
        );`,
    });
    const call = elsewhere(place);
    expect(await call(place.printed[0])).toBe(42);
    expect(await call(place.printed[1])).toBe(5);
    expect(await call(place.printed[2])).toBe("beside");
  });

  test("come along from packages of a workspace, which are links", async () => {
    const place = captureIn(
      {
        "packages/tools/package.json": `{ "name": "@me/tools", "type": "module", "exports": "./main.js" }`,
        "packages/tools/main.js": "export const socket = process.stdout; export const tool = () => [socket === process.stdout];",
        "lib.mjs": `import { tool, socket } from "@me/tools"; export const use = () => [...tool(), typeof socket];`,
        "main.mjs": `import { use } from "./lib.mjs"; import * as tools from "@me/tools"; keys(async () => (await import("./lib.mjs")).use(), () => tools.tool());`,
      },
      (program) => {
        mkdirSync(join(program, "node_modules", "@me"), { recursive: true });
        symlinkSync("../../packages/tools", join(program, "node_modules", "@me", "tools"));
      },
    );
    const call = elsewhere(place);
    expect(await call(place.printed[0])).toEqual([true, "object"]);
    expect(await call(place.printed[1])).toEqual([true]);
  });

  test("travel on from there", async () => {
    const place = captureIn({ ...poolFiles, "main.mjs": `import { load } from "./lib/pool.mjs"; keys(() => () => load(1));` });
    const call = elsewhere(place, {
      "node_modules/packer/package.json": `{ "name": "packer", "type": "module", "exports": "./index.js" }`,
      "node_modules/packer/index.js": "export const pack = () => 0;",
    });
    const { key } = (await call(place.printed[0])) as { key: string };
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    const next = elsewhere(
      { ...place, program: mkdtempSync(join(bundle, "other-")) },
      {
        "node_modules/packer/package.json": `{ "name": "packer", "type": "module", "exports": "./index.js" }`,
        "node_modules/packer/index.js": "export const pack = () => 5;",
      },
    );
    expect(await next(key)).toEqual([true, 16, 1]);
  });

  test("that are too large are an error that names the largest", () => {
    const place = captureIn(
      {
        "lib/pool.mjs": `import big from "./big.json" with { type: "json" }; export const socket = process.stdout; export const load = () => [socket, big];`,
        "lib/big.json": "[]",
        "main.mjs": `keys(() => import("./lib/pool.mjs"));`,
      },
      (program) => writeFileSync(join(program, "lib/big.json"), Buffer.alloc(65 * 1024 * 1024, " ")),
    );
    expect(place.printed[0]).toMatch(/^Cannot send function 'anonymous' .*big\.json of 68157440 bytes/);
  });
});

describe("packages on another node", () => {
  test("are taken from the node's own", async () => {
    const files = (value: number) => ({
      "node_modules/packer/package.json": `{ "name": "packer", "type": "module", "exports": "./index.js" }`,
      "node_modules/packer/index.js": `export const pack = () => ${value}; export const socket = process.stdout;`,
    });
    const place = captureIn({
      ...files(1),
      "main.mjs": `import * as packer from "packer"; keys(() => packer.pack(), async () => (await import("packer")).pack());`,
    });
    const call = elsewhere(place, files(2));
    expect(await call(place.printed[0])).toBe(2);
    expect(await call(place.printed[1])).toBe(2);
  });

  test("that are not there are named, with what to do", async () => {
    const place = captureIn({
      "node_modules/packer/package.json": `{ "name": "packer", "type": "module", "exports": "./index.js" }`,
      "node_modules/packer/index.js": "export const pack = () => 1;",
      "main.mjs": `import * as packer from "packer"; keys(() => packer.pack());`,
    });
    expect(await elsewhere(place)(place.printed[0])).toMatch(/package 'packer' is not on this node: name it in runtimeEnv.npm/);
  });
});
