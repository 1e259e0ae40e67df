/** Keeping CPUs busy until told otherwise, so that what is submitted meanwhile stays queued. */
import * as shoal from "shoal";
import { newTally, type Tally } from "./board.ts";
import { waitFor } from "./wait-for.ts";

/** Waits in plain JavaScript, not in `get`, which would give the CPU back. */
const hold = shoal.remote(
  async (tally: Tally) => {
    const { signal } = shoal.getRuntimeContext();
    tally.add.remote("holding");
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  },
  { name: "hold", maxRetries: 0 },
);

/** Occupies `count` CPUs; resolves when it does. The result lets go of them. */
export async function holdCpus(count: number): Promise<() => Promise<void>> {
  const tally = newTally();
  const held = Array.from({ length: count }, () => hold.remote(tally));
  await waitFor(`${count} CPUs to be held`, async () => (await shoal.get(tally.count.remote("holding"))) === count);
  return async () => {
    await Promise.all(held.map((ref) => shoal.cancel(ref)));
    await Promise.allSettled(held.map((ref) => shoal.get(ref)));
  };
}
