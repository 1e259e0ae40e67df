/** The other process of round-trip.ts: revives what it is told to and calls it. */
import { capture } from "../capture.ts";
import { revive } from "../revive.ts";
import { mapStack } from "../stack.ts";
import { contextIn, type Outcome } from "./round-trip.ts";

const context = contextIn(process.argv[2], process.argv[3] === "ships");

async function perform({ key, method, args }: { key: string; method?: string; args: unknown[] }): Promise<Outcome> {
  try {
    const fn = (await revive(key, context)) as any;
    let value = method === undefined ? await fn(...args) : await new fn()[method](...args);
    // A function that is given back travels on from here.
    if (typeof value === "function")
      value = { key: capture(value, context).key, again: await (await revive(capture(value, context).key, context))() };
    return { value };
  } catch (error) {
    return { error: String(error), stack: mapStack(String((error as Error)?.stack)) };
  }
}

process.on("message", async (request: { key: string; method?: string; args: unknown[] }) => {
  const outcome = await perform(request);
  process.send!(outcome);
});
