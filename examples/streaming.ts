/** A task that yields: its items are there while it still runs, and it pauses when nobody takes them. Run it with `npx tsx examples/streaming.ts`. */
import { setTimeout as delay } from "node:timers/promises";
import * as shoal from "shoal";

/** Frames of a film that takes its time. */
async function* frames(count: number): AsyncGenerator<{ index: number; pixels: Uint8Array }> {
  for (let index = 0; index < count; index++) {
    await delay(100);
    yield { index, pixels: new Uint8Array(1920 * 1080).fill(index) };
  }
}

const readFrames = shoal.remote(frames, { generatorBackpressure: 3 });
const brightness = shoal.remote((frame: { index: number; pixels: Uint8Array }) => {
  let sum = 0;
  for (const pixel of frame.pixels) sum += pixel;
  return sum / frame.pixels.length;
});

await using _ = await shoal.init();

const startMs = performance.now();
for await (const frame of readFrames.remote(10)) {
  // The frame goes from one task to the other; this process never holds it.
  const mean = await shoal.get(brightness.remote(frame));
  console.log(`${((performance.now() - startMs) / 1000).toFixed(1)} s: mean brightness ${mean}`);
}
