/** Code between nodes that see nothing of each other's files: put by a process of one, fetched by a process of another. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Cluster, type TestNode } from "shoal/testing";
import { afterEach, expect, test } from "vitest";
import type { DaemonConfig } from "../../src/runtime/daemon/config.ts";
import { TestPeer } from "../../src/runtime/daemon/testing/daemon-under-test.ts";

let cluster: Cluster;
const peers: TestPeer[] = [];

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.close();
  await cluster.close();
});

function processOf(node: TestNode): TestPeer {
  const peer = new TestPeer({ nodeId: node.nodeId, sessionDir: node.sessionDir } as DaemonConfig, { jobId: "" });
  peers.push(peer);
  return peer;
}

const key = "0123456789abcdef0123456789abcdef";
const other = "fedcba9876543210fedcba9876543210";

test("code put on one node is brought to each other that asks, also when it is asked for first (3 nodes)", async () => {
  cluster = new Cluster();
  const [head, one, two] = [await cluster.addNode(), await cluster.addNode(), await cluster.addNode()];
  const early = processOf(two).ask("fetchCode", { key });
  const values = new Uint8Array(1_000_000).fill(7);
  await processOf(one).ask("putCode", { key, files: { ".mjs": "export default 1;", ".env": values } });
  await early;
  await processOf(head).ask("fetchCode", { key });
  for (const node of [two, head]) {
    expect(readFileSync(join(node.sessionDir, "code", `${key}.mjs`), "utf8")).toBe("export default 1;");
    expect(readFileSync(join(node.sessionDir, "code", `${key}.env`)).equals(values)).toBe(true);
  }
});

test("code stays when the node it comes from is gone (2 nodes)", async () => {
  cluster = new Cluster();
  const [head, one] = [await cluster.addNode(), await cluster.addNode()];
  await processOf(one).ask("putCode", { key, files: { ".mjs": "export default 2;" } });
  await cluster.killNode(one);
  await processOf(head).ask("fetchCode", { key });
  expect(readFileSync(join(head.sessionDir, "code", `${key}.mjs`), "utf8")).toBe("export default 2;");
});

test("what is no code is refused, and names no file outside (1 node)", async () => {
  cluster = new Cluster();
  const peer = processOf(await cluster.addNode());
  for (const params of [
    { key: "../../escape", files: { ".mjs": "" } },
    { key: other, files: { "/../../escape": "" } },
    { key: other, files: {} },
    { key: other, files: { ".mjs": 1 } },
  ])
    await expect(peer.ask("putCode", params as never), JSON.stringify(params)).rejects.toThrow("Cannot read the parameters");
});
