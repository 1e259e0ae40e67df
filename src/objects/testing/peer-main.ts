/** A process with an object store of its own that does what its parent says, one order at a time. Tests only. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { ObjectStore } from "../object-store.ts";
import type { Location } from "../types.ts";
import type { Order } from "./peer.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const [shmDir, spillDir, selfId] = process.argv.slice(2);
let pressed = 0;
const store = new ObjectStore({ shmDir, spillDir, selfId, onPressure: () => pressed++ });
const views = new Map<string, Uint8Array>();
const unsealed: unknown[] = [];

const filled = (bytes: number, fill: number) => new Uint8Array(bytes).fill(fill);

function put(owner: string, index: number, bytes: number, fill: number): Location {
  const value = filled(bytes, fill);
  return store.put(owner, index, 0, {
    bytes,
    writeTo: (target) => target.set(value),
    parts: () => [{ offset: 0, bytes: value }],
  });
}

async function obey(order: Order): Promise<unknown> {
  switch (order.op) {
    case "put":
      return put(order.owner ?? selfId, order.index, order.bytes, order.fill);
    case "open": {
      const writer = store.create(selfId, order.index, 0, order.bytes);
      writer.target.fill(1);
      unsealed.push(writer);
      return undefined;
    }
    case "view":
      views.set(order.key, store.read(order.location));
      return undefined;
    case "bytes": {
      const view = views.get(order.key)!;
      return {
        first: view[0],
        last: view[view.length - 1],
        same: Buffer.compare(view, Buffer.alloc(view.length, view[0])) === 0,
      };
    }
    case "write":
      views.get(order.key)!.fill(order.fill);
      return undefined;
    case "drop":
      views.delete(order.key);
      while (store.stats().views > views.size) {
        collect();
        await new Promise((resolve) => setImmediate(resolve));
      }
      return undefined;
    case "free":
      store.free(order.location);
      return undefined;
    case "stats":
      return { ...store.stats(), pressed };
    case "churn":
      return churn(order.rounds);
  }
}

/** Puts, reads and frees objects of several sizes for ever, telling the parent of every round. */
function churn(rounds: number): void {
  const sizes = [150_000, 300_000, 1_200_000, 1_300_000, 2_500_000];
  const kept: Location[] = [];
  for (let round = 0; round < rounds; round++) {
    const location = put(round % 3 === 0 ? "other" : selfId, 1_000_000 + round, sizes[round % sizes.length], round % 251);
    if (store.read(location)[0] !== round % 251) throw new Error(`round ${round} read another's bytes`);
    kept.push(location);
    if (kept.length > 6) store.free(kept.splice(round % kept.length, 1)[0]);
    process.send!({ round });
  }
}

process.on("message", ({ id, order }: { id: number; order: Order }) => {
  obey(order).then(
    (result) => process.send!({ id, result }),
    (error: Error) =>
      process.send!({ id, error: { name: error.name, message: error.message, code: (error as { code?: string }).code } }),
  );
});
process.send!({ ready: true });
