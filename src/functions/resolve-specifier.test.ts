import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { resolveImport, resolveRequire } from "./resolve-specifier.ts";

let root: string;
let base: string;
const url = (path: string) => pathToFileURL(join(root, path)).href;

beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "shoal-resolve-")));
  const write = (path: string, text: unknown = "") => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), typeof text === "string" ? text : JSON.stringify(text));
  };
  write("package.json", {
    name: "self",
    exports: { "./in": "./src/in.js" },
    imports: { "#lib/*": "./src/lib/*.js", "#os": "node:os" },
  });
  write("src/main.js");
  write("src/in.js");
  write("src/lib/a.js");
  write("src/typed.ts");
  write("src/dir/index.js");
  write("node_modules/plain/package.json", { name: "plain", main: "./lib/entry" });
  write("node_modules/plain/lib/entry.js");
  write("node_modules/plain/other.cjs");
  write("node_modules/bare/index.js");
  write("node_modules/@scope/dual/package.json", {
    exports: {
      ".": { import: { types: "./d.ts", default: "./m.mjs" }, require: "./c.cjs" },
      "./feature/*": { node: "./features/*.mjs" },
      "./feature/special": "./special.mjs",
      "./hidden/*": null,
    },
  });
  for (const file of ["m.mjs", "c.cjs", "features/x.mjs", "special.mjs"]) write(`node_modules/@scope/dual/${file}`);
  write("elsewhere/linked/index.mjs");
  write("elsewhere/linked/package.json", { exports: "./index.mjs" });
  symlinkSync(join(root, "elsewhere/linked"), join(root, "node_modules/linked"));
  base = url("src/main.js");
});
afterAll(() => rmSync(root, { recursive: true }));

test.each([
  ["fs", "node:fs"],
  ["node:fs/promises", "node:fs/promises"],
  ["./in.js", "src/in.js"],
  ["../src/typed.js", "src/typed.ts"],
  ["./dir", "src/dir/index.js"],
  ["/src/in.js", "src/in.js"],
  ["plain", "node_modules/plain/lib/entry.js"],
  ["plain/other.cjs", "node_modules/plain/other.cjs"],
  ["bare", "node_modules/bare/index.js"],
  ["@scope/dual", "node_modules/@scope/dual/m.mjs"],
  ["@scope/dual/feature/x", "node_modules/@scope/dual/features/x.mjs"],
  ["@scope/dual/feature/special", "node_modules/@scope/dual/special.mjs"],
  ["linked", "elsewhere/linked/index.mjs"],
  ["self/in", "src/in.js"],
  ["#lib/a", "src/lib/a.js"],
  ["#os", "node:os"],
])("import %s", (specifier, expected) => {
  expect(resolveImport(specifier, base)).toBe(expected.startsWith("node:") ? expected : url(expected));
});

test("what is not there is undefined", () => {
  for (const specifier of ["nothing", "./nothing.js", "@scope/dual/hidden/x", "@scope/dual/m.mjs", "#nothing"]) {
    expect(resolveImport(specifier, base), specifier).toBeUndefined();
  }
});

test("require goes by its own conditions", () => {
  expect(resolveRequire("@scope/dual", base)).toBe(url("node_modules/@scope/dual/c.cjs"));
  expect(resolveRequire("./dir", base)).toBe(url("src/dir/index.js"));
  expect(resolveRequire("os", base)).toBe("node:os");
});
