/**
 * The documents are true: every code block is type-checked, runs, and prints what its comments say.
 *
 * A block that cannot run in a test has ```ts no-run REASON as its fence; it is still type-checked.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { runProgram } from "../support/run-program.ts";
import { type DocBlock, docBlocks } from "./doc-blocks.ts";

interface Outcome {
  readonly file: string;
  readonly printed: readonly string[];
  readonly error: string | null;
}

const here = dirname(fileURLToPath(import.meta.url));
const repository = join(here, "..", "..");
const blocks = docBlocks(repository);
const runnable = blocks.filter((block) => block.notRunBecause === null);
/** Packages that blocks may import beside shoal. */
const packages = ["apache-arrow"];

/** All blocks in two processes, started by the first test that asks. */
let outcomes: Promise<Map<string, Outcome>> | null = null;

describe("documents", () => {
  test.each(runnable.map((block) => [block.name, block] as const))(
    "%s runs and prints what it says",
    { timeout: 120_000 },
    async (_name, block) => {
      outcomes ??= runAll(runnable);
      const outcome = (await outcomes).get(block.fileName);
      expect(outcome, "the block's outcome was reported").toBeDefined();
      expect(outcome?.error).toBeNull();
      expect(linesAmong(outcome?.printed ?? [], block.prints)).toEqual(block.prints);
    },
  );

  test("every block that is not run says why", () => {
    expect(blocks.filter((block) => block.notRunBecause === "").map(({ name }) => name)).toEqual([]);
  });

  test("every TypeScript block passes the type check", async () => {
    expect(await typeErrors(blocks.filter(({ language }) => language === "ts"))).toEqual([]);
  });

  test("links between the documents lead to a page and heading that exist", () => {
    expect(brokenLinks(["README.md", ...new Set(blocks.map(({ name }) => name.split(":")[0] as string))])).toEqual([]);
  });
});

async function runAll(all: readonly DocBlock[]): Promise<Map<string, Outcome>> {
  const halves = [all.filter((_, i) => i % 2 === 0), all.filter((_, i) => i % 2 === 1)];
  const results = await Promise.all(halves.filter((half) => half.length > 0).map(runSome));
  return new Map(results.flat().map((outcome) => [outcome.file, outcome]));
}

async function runSome(some: readonly DocBlock[]): Promise<Outcome[]> {
  const files = Object.fromEntries(some.map(({ fileName, code }) => [fileName, code]));
  const result = await runProgram({
    files: {
      ...files,
      "package.json": '{ "type": "module" }',
      "run-blocks.mjs": readFileSync(join(here, "run-blocks.mjs"), "utf8"),
    },
    args: ["run-blocks.mjs", ...Object.keys(files)],
    packages,
    tsx: true,
    timeoutMs: 110_000,
  });
  const reports = result.stdout.split("\n").filter((line) => line.startsWith("@@"));
  if (reports.length < some.length) throw new Error(`Only ${reports.length} of ${some.length} blocks reported\n${result.stderr}`);
  return reports.map((line) => JSON.parse(line.slice(2)) as Outcome);
}

/** Those of `wanted` that are among the lines, in the same order. */
function linesAmong(lines: readonly string[], wanted: readonly string[]): string[] {
  let from = 0;
  return wanted.filter((text) => {
    const at = lines.indexOf(text, from);
    if (at !== -1) from = at + 1;
    return at !== -1;
  });
}

/** The compiler's complaints, at lines of the documents. */
async function typeErrors(some: readonly DocBlock[]): Promise<string[]> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "shoal-docs-")));
  try {
    for (const { fileName, code } of some) writeFileSync(join(dir, fileName), `${code}\nexport {};\n`);
    mkdirSync(join(dir, "node_modules"));
    for (const name of ["@types", ...packages])
      symlinkSync(join(repository, "node_modules", name), join(dir, "node_modules", name));
    const paths = { shoal: [join(repository, "src/index.ts")], "shoal/util": [join(repository, "src/util/index.ts")] };
    const compilerOptions = {
      noEmit: true,
      rootDir: "/",
      rewriteRelativeImportExtensions: false,
      noUnusedLocals: false,
      declaration: false,
      paths,
    };
    writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
    writeFileSync(
      join(dir, "tsconfig.json"),
      JSON.stringify({ extends: join(repository, "tsconfig.json"), compilerOptions, include: ["*.ts"] }),
    );
    const output = await run(
      process.execPath,
      [join(repository, "node_modules", "typescript", "bin", "tsc"), "-p", dir, "--pretty", "false"],
      dir,
    );
    return output.split("\n").flatMap((line) => atDocument(line, some) ?? []);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function atDocument(line: string, some: readonly DocBlock[]): string | undefined {
  const [, file, row, message] = /^([\w.-]+)\((\d+),\d+\): (.*)$/.exec(line) ?? [];
  const block = some.find(({ fileName }) => fileName === file);
  if (block === undefined) return undefined;
  const [page, first] = block.name.split(":");
  return `${page}:${Number(first) + Number(row) - 1}: ${message}`;
}

function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd, maxBuffer: 2 ** 24 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(new Error(`${error.message}\n${stderr}`));
      else resolve(stdout);
    });
  });
}

function brokenLinks(pages: readonly string[]): string[] {
  const read = (page: string): string | null => {
    try {
      return readFileSync(join(repository, page), "utf8");
    } catch {
      return null;
    }
  };
  return pages.flatMap((page) => {
    const links = [...(read(page) ?? "").matchAll(/\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)/g)];
    return links.flatMap(([, path, anchor]) => {
      const target = path === "" ? page : join(dirname(page), path as string);
      const text = read(target);
      if (text === null) return target.endsWith("/") || !target.includes(".") ? [] : [`${page}: ${target}`];
      return anchor === undefined || anchorsOf(text).has(anchor) ? [] : [`${page}: ${target}#${anchor}`];
    });
  });
}

/** As GitHub makes them of headings. */
function anchorsOf(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      (title as string)
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replace(/ /g, "-"),
    ),
  );
}
