/** Code blocks of the documents: where they are, and what they say they print. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface DocBlock {
  /** `docs/tasks.md:12`, the line of the block's first line of code. */
  readonly name: string;
  /** Of the file it is written to. */
  readonly fileName: string;
  readonly language: "ts" | "js";
  readonly code: string;
  /** What stands behind `no-run` in the fence: why the block is not run. Null for a block that is. */
  readonly notRunBecause: string | null;
  /** Comments behind `console.log(...)`, in their order: what it prints. */
  readonly prints: readonly string[];
}

/** All ```ts and ```js blocks of README.md and of the pages in docs/. */
export function docBlocks(repository: string): DocBlock[] {
  const pages = existsSync(join(repository, "docs"))
    ? readdirSync(join(repository, "docs")).filter((name) => name.endsWith(".md"))
    : [];
  return ["README.md", ...pages.sort().map((name) => `docs/${name}`)]
    .filter((page) => existsSync(join(repository, page)))
    .flatMap((page) => blocksOf(page, readFileSync(join(repository, page), "utf8")));
}

function blocksOf(page: string, text: string): DocBlock[] {
  const blocks: DocBlock[] = [];
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(ts|js|typescript|javascript)\b *(.*)$/.exec(lines[i] as string);
    if (fence === null) continue;
    const end = lines.indexOf("```", i + 1);
    if (end === -1) throw new Error(`Cannot read ${page}: the block in line ${i + 1} has no end`);
    const code = lines.slice(i + 1, end);
    const language = fence[1]?.startsWith("t") ? "ts" : "js";
    const stem = page.replace(/\W+/g, "-").toLowerCase();
    blocks.push({
      name: `${page}:${i + 2}`,
      fileName: `${stem}-${i + 2}.${language === "ts" ? "ts" : "mjs"}`,
      language,
      code: code.join("\n"),
      notRunBecause: fence[2]?.startsWith("no-run") ? fence[2].slice("no-run".length).trim() : null,
      prints: code.flatMap((line) => /console\.log\(.*\);? *\/\/ (.+)$/.exec(line)?.[1] ?? []),
    });
    i = end;
  }
  return blocks;
}
