/**
 * Christopher Paciorek's notes on Ray, on Shoal: four squares, one large array read by eight tasks, and a word count.
 *
 *   npm start              100,000,000 numbers, 800 MB
 *   npm start -- --small   1,000,000 numbers, 8 MB
 */
import { availableParallelism } from "node:os";
import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as shoal from "shoal";
import { map } from "shoal/util";
import { type MemoryUse, measureMemory, memoryTable } from "./notes/memory.ts";
import { meanAndSd, standardNormals } from "./notes/normals.ts";
import { countWords, textFilesBelow, WordTotals } from "./notes/words.ts";

const taskCount = 8;
const seed = 42;
const numberCount = process.argv.includes("--small") ? 1_000_000 : 100_000_000;
const projectDir = dirname(dirname(fileURLToPath(import.meta.url)));

const startMs = performance.now();
await using cluster = await shoal.init();
await fourSquares();
await oneArrayManyReaders(cluster.sessionDir);
await mostFrequentWords();

/** Section 2 of the notes. */
async function fourSquares(): Promise<void> {
  heading("1. Four squares");
  const square = shoal.remote((x: number) => x * x);
  const squares = await shoal.get([0, 1, 2, 3].map((i) => square.remote(i)));
  console.log(squares);
  console.log(`   cluster started and squares computed in ${seconds(performance.now() - startMs)}`);
}

/** Section 4 of the notes: tasks that each work on the whole of an array, which is in memory once. */
async function oneArrayManyReaders(sessionDir: string): Promise<void> {
  heading(`2. ${numberCount.toLocaleString("en")} standard normals (${megabytes(numberCount * 8)}), read by ${taskCount} tasks`);
  const memory: MemoryUse[] = [await measureMemory("before", sessionDir)];

  const [numbers, generateMs] = await timed(() => standardNormals(numberCount, seed));
  memory.push(await measureMemory("after the driver made its array", sessionDir));
  const [numbersRef, putMs] = await timed(() => shoal.put(numbers));
  memory.push(await measureMemory("after put", sessionDir));
  console.log(`   generated in ${seconds(generateMs)} (seed ${seed}), put in ${seconds(putMs)}`);

  const calc = shoal.remote((_i: number, data: Float64Array) => meanAndSd(data));
  const tasksStartMs = performance.now();
  const results = Array.from({ length: taskCount }, (_, i) => calc.remote(i, numbersRef));
  await shoal.wait(results, { numReturns: 1 });
  memory.push(await measureMemory(`while ${taskCount} tasks run`, sessionDir));
  const answers = await shoal.get(results);
  const tasksMs = performance.now() - tasksStartMs;
  const [, aloneMs] = await timed(() => answers.map(() => meanAndSd(numbers)));

  answers.forEach(([mean, sd], i) => {
    console.log(`   task ${i}: mean ${mean.toFixed(6)}, standard deviation ${sd.toFixed(6)}`);
  });
  console.log(
    `   ${taskCount} tasks on ${availableParallelism()} CPUs: ${seconds(tasksMs)}; one process doing the same: ${seconds(aloneMs)}`,
  );
  console.log(memoryTable(memory));
}

/** Real text: a stream of files, counted by tasks, summed up by an actor. */
async function mostFrequentWords(): Promise<void> {
  const root = `${projectDir}/node_modules`;
  const files = textFilesBelow(root, [".md", ".js"]);
  heading(`3. Words of the ${files.length.toLocaleString("en")} .md and .js files below ${relative(process.cwd(), root)}`);

  const totals = shoal.remote(WordTotals).remote();
  const countFile = async (path: string): Promise<number> => {
    const words = await countWords(path);
    return shoal.get(totals.add.remote(path, words));
  };
  let wordCount = 0;
  // At most 8 files are under way at any time, however many there are.
  for await (const words of map(countFile, files, { maxInFlight: 8, ordered: false, progress: "   files" })) wordCount += words;

  console.log(`   ${wordCount.toLocaleString("en")} words; the 10 most frequent:`);
  for (const [word, count] of await shoal.get(totals.top.remote(10)))
    console.log(`   ${count.toLocaleString("en").padStart(9)}  ${word}`);
}

async function timed<T>(work: () => T | Promise<T>): Promise<[result: T, ms: number]> {
  const start = performance.now();
  return [await work(), performance.now() - start];
}

function heading(text: string): void {
  console.log(`\n${text}`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;
}
