// Runs the blocks named in its arguments, one after the other in this process, and reports each on a line of its own. Blocks share a session,
// which costs nothing but the first start; one that calls init() or shutdown() gets the stage for itself.
import { readFileSync } from "node:fs";
import { formatWithOptions } from "node:util";
import * as shoal from "shoal";

const blockMs = 30_000;
let printed = [];
let failBlock = () => {};

const write = process.stdout.write.bind(process.stdout);
console.log = (...args) => {
  printed.push(...formatWithOptions({ colors: false }, ...args).split("\n"));
};
process.on("unhandledRejection", (reason) => failBlock(reason));

for (const file of process.argv.slice(2)) {
  const ownSession = /\b(init|shutdown)\(/.test(readFileSync(file, "utf8"));
  if (ownSession) await shoal.shutdown();
  printed = [];
  const error = await run(file);
  if (ownSession) await shoal.shutdown();
  write(`\n@@${JSON.stringify({ file, printed, error })}\n`);
}
await shoal.shutdown();
process.exit(0); // a block that hangs must not hang the test

function run(file) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(`it did not end within ${blockMs} ms`), blockMs);
    const end = (error) => {
      clearTimeout(timer);
      resolve(error);
    };
    failBlock = (error) => end(String(error?.stack ?? error));
    import(`./${file}`).then(() => end(null), failBlock);
  });
}
