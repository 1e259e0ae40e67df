/** Counting words in files. */
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";

/** Paths of the files below `root` that have one of the extensions. Links are not followed: `readdir`'s own recursion does that in some versions of Node. */
export function textFilesBelow(root: string, extensions: readonly string[]): string[] {
  return readdirSync(root, { withFileTypes: true }).flatMap((entry) => {
    const path = join(root, entry.name);
    if (entry.isDirectory()) return textFilesBelow(path, extensions);
    return entry.isFile() && extensions.includes(extname(entry.name)) ? [path] : [];
  });
}

/** How often each word of a file occurs, whatever its case. A word is a run of letters. */
export async function countWords(path: string): Promise<Map<string, number>> {
  const text = await readFile(path, "utf8");
  const counts = new Map<string, number>();
  for (const [word] of text.toLowerCase().matchAll(/\p{L}+/gu)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** Sums up the counts of many files. */
export class WordTotals {
  readonly #totals = new Map<string, number>();
  readonly #files = new Set<string>();

  /** Returns how many words the file has. A task whose machine dies may run again after it has called this: each file counts once. */
  add(file: string, counts: ReadonlyMap<string, number>): number {
    const isNew = !this.#files.has(file);
    this.#files.add(file);
    let words = 0;
    for (const [word, count] of counts) {
      if (isNew) this.#totals.set(word, (this.#totals.get(word) ?? 0) + count);
      words += count;
    }
    return words;
  }

  top(count: number): [word: string, count: number][] {
    return [...this.#totals].sort(([, a], [, b]) => b - a).slice(0, count);
  }
}
