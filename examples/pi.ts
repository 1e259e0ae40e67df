/** Pi by throwing darts: many independent tasks, results used as they come. Run it with `npx tsx examples/pi.ts`. */
import * as shoal from "shoal";
import { asCompleted } from "shoal/util";

const dartsEach = 2_000_000;
const taskCount = 40;

const throwDarts = shoal.remote((count: number): number => {
  let inside = 0;
  for (let i = 0; i < count; i++) {
    const x = Math.random();
    const y = Math.random();
    if (x * x + y * y < 1) inside++;
  }
  return inside;
});

await using _ = await shoal.init();

let inside = 0;
let done = 0;
for await (const hits of asCompleted(Array.from({ length: taskCount }, () => throwDarts.remote(dartsEach)))) {
  inside += hits;
  done++;
  if (done % 10 === 0)
    console.log(`after ${done * dartsEach} darts: pi is about ${((4 * inside) / (done * dartsEach)).toFixed(5)}`);
}
