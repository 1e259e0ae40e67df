// Six tasks and an actor on a cluster. A task pins "task-I-HOST-ATTEMPT" to the board, waits for the note "go", and returns its host; the actor
// does so for each of its lives. COUNT, ACTOR_ON (a host for its first life) and ADDRESS steer it;
// DEAD names a host whose death it waits for at the end.
import { existsSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import * as shoal from "shoal";

const board = process.env.BOARD;
const count = Number(process.env.COUNT ?? 6);

const pin = (name, text = "") => writeFileSync(join(board, name), text);
const pinned = async (name) => {
  while (!existsSync(join(board, name))) await new Promise((resolve) => setTimeout(resolve, 50));
};

const hold = shoal.remote(
  async (i) => {
    const { attempt } = shoal.getRuntimeContext();
    pin(`task-${i}-${hostname()}-${attempt}`, String(process.pid));
    await pinned("go");
    return hostname();
  },
  { schedulingStrategy: "SPREAD", maxRetries: 3 },
);

const Place = shoal.remote(
  class {
    constructor() {
      pin(`actor-${hostname()}-${process.pid}`);
    }
    host() {
      return hostname();
    }
  },
  { maxRestarts: 3, maxTaskRetries: 3, numCpus: 0 },
);

try {
  await shoal.init({ address: process.env.ADDRESS });
  const nodes = await shoal.nodes();
  console.log(`members ${nodes.filter(({ alive }) => alive).length}`);
  let place = null;
  if (process.env.ACTOR_ON) {
    const node = nodes.find((node) => node.hostname === process.env.ACTOR_ON);
    place = Place.options({ schedulingStrategy: shoal.nodeAffinity(node.nodeId, { soft: true }) }).remote();
    console.log(`actor on ${await shoal.get(place.host.remote())}`);
  }
  const refs = Array.from({ length: count }, (_, i) => hold.remote(i));
  console.log(`hosts ${(await shoal.get(refs)).sort().join(" ")}`);
  if (place) console.log(`actor on ${await shoal.get(place.host.remote())} at last`);
  // The head may give a node up later than the node itself does.
  const isDead = async () => (await shoal.nodes()).some(({ hostname, alive }) => hostname === process.env.DEAD && !alive);
  if (process.env.DEAD) while (!(await isDead())) await new Promise((resolve) => setTimeout(resolve, 50));
  for (const node of await shoal.nodes()) if (!node.alive) console.log(`dead ${node.hostname}: ${node.deathReason}`);
  await shoal.shutdown();
  console.log("driver done");
} catch (error) {
  console.log(`failed ${error.name}: ${error.message}`);
  process.exitCode = 3;
}
