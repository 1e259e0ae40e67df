/** Checks the tree against the rules of style that need no judgement; run as a test (test/tidy.test.ts). */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Folders from the bottom up; a file imports from its own layer and those below. Siblings of one row may use each other's types and hooks. */
const layers: readonly (readonly string[])[] = [
  ["src/base"],
  ["src/wire"],
  ["src/core", "src/values", "src/functions", "src/objects"],
  ["src/runtime"],
  ["src/api"],
  ["src/index.ts"],
  ["src/util", "src/testing", "src/cli", "src/dashboard"],
];

/** Types of the public API that the runtime takes as its input, and the location type that messages carry: types only, erased at build time. */
const typesAllowed = /^src\/(api\/(types|init-options)|objects\/types)\.ts$/;

export function layerOf(path: string): number {
  return layers.findIndex((folders) => folders.some((folder) => path === folder || path.startsWith(`${folder}/`)));
}

/** Lines after which a file is wrong, whatever the reason. */
const linesMax = 800;

const coreBans: readonly (readonly [RegExp, string])[] = [
  [/from "node:/, "imports a node: module"],
  [/\bDate\.now\(|\bperformance\.now\(/, "reads a clock"],
  [/\bMath\.random\(/, "draws a random number"],
  [/\bsetTimeout\(|\bsetInterval\(|\bsetImmediate\(/, "sets a timer"],
  [/\basync |\bawait |\bnew Promise\b/, "is asynchronous"],
];

/** What runs in the user's processes, where a test may have put fake timers in the place of Node's. */
const ownTimers = /^src\/(api|objects|runtime\/(driver|owner|transport|worker)|util\/(?!waiting-line)|values|wire)\b/;

/** Every problem, one line each; of the files given, else of all tracked sources. */
export function findProblems(files: readonly SourceFile[] = trackedFiles()): string[] {
  return files.flatMap((file) => problemsOf(file).map((problem) => `${file.path}: ${problem}`));
}

function trackedFiles(): SourceFile[] {
  const paths = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts"], {
    cwd: root,
    encoding: "utf8",
  })
    .trim()
    .split("\n");
  return paths
    .filter(
      (path) =>
        /^(src|test|sim|chaos|bench|examples|tools)\//.test(path) && path !== "tools/tidy.ts" && path !== "test/tidy.test.ts",
    )
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

function problemsOf(file: SourceFile): string[] {
  const problems: string[] = [];
  const lines = file.text.split("\n");
  if (lines.length > linesMax) problems.push(`has ${lines.length} lines`);
  if (/\/(utils|helpers|common)\.ts$/.test(file.path)) problems.push("is named for nothing");
  if (/\b(FIXME|TODO|XXX)\b/.test(file.text)) problems.push("holds a note to do something later");
  if (/^export \* from/m.test(file.text)) problems.push("exports everything of another module");
  if (/^(export )?(const )?enum /m.test(file.text)) problems.push("declares an enum");
  if (/\.(only|skip)\(/.test(file.text) && file.path.endsWith(".test.ts")) problems.push("leaves tests out");
  if (/^test\//.test(file.path) && lines.some(sleeps)) problems.push("sleeps");
  if (file.path.startsWith("src/")) problems.push(...importProblems(file));
  if (ownTimers.test(file.path) && !/\.test\.ts$|\/testing\//.test(file.path)) problems.push(...timerProblems(lines));
  if (file.path.startsWith("src/core/") && !file.path.endsWith(".test.ts")) problems.push(...purityProblems(lines));
  return problems;
}

/** A task under test may be slow on purpose; the test itself waits for events. */
function sleeps(line: string): boolean {
  return /setTimeout\(\s*(resolve|done|r)\s*,\s*[1-9]\d{2,}/.test(line) && !line.includes("shoal.remote(");
}

function importProblems(file: SourceFile): string[] {
  if (file.path.endsWith(".test.ts")) return [];
  const problems: string[] = [];
  const own = layerOf(file.path);
  for (const match of file.text.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from "(\.[^"]+)";/gms)) {
    const target = normalize(join(dirname(file.path), match[2])).replaceAll("\\", "/");
    const typeOnly = match[1] !== undefined;
    if (layerOf(target) > own && !(typeOnly && typesAllowed.test(target)) && !allowedUp(file.path, target))
      problems.push(`imports upward: ${target}`);
  }
  return problems;
}

/** The package's own face, which function capture must recognise. */
function allowedUp(from: string, target: string): boolean {
  return from === "src/api/self.ts" && target === "src/index.ts";
}

function timerProblems(lines: readonly string[]): string[] {
  const code = lines.filter((line) => !isComment(line)).join("\n");
  const imported = /^import \{([^}]*)\} from "[./]+\/base\/clock\.ts";/m.exec(code)?.[1] ?? "";
  const used =
    code.match(/(?<![\w.`])((set|clear)(Timeout|Immediate|Interval)(?=\()|queueMicrotask(?=\()|performance(?=\.now\())/g) ?? [];
  return [...new Set(used)]
    .filter((name) => !new RegExp(`\\b${name}\\b`).test(imported))
    .map((name) => `uses ${name} of the global object, not of base/clock.ts`);
}

function isComment(line: string): boolean {
  return /^\s*(\*|\/\/|\/\*)/.test(line);
}

function purityProblems(lines: readonly string[]): string[] {
  const problems: string[] = [];
  for (const [pattern, what] of coreBans) {
    const at = lines.findIndex((line) => pattern.test(line) && !isComment(line));
    if (at >= 0) problems.push(`line ${at + 1} ${what}`);
  }
  return problems;
}
