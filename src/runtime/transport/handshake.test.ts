import { once } from "node:events";
import type { Server } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { newNodeId } from "../../base/ids.ts";
import { encodeHello, nonceBytes } from "../../wire/handshake.ts";
import { protocolVersion, strangersMax } from "../../wire/limits.ts";
import { encodeFrame, FrameKind, nodeHeaderBytes } from "../../wire/node-frame.ts";
import { NodeKind } from "../../wire/node-messages.ts";
import type { NodeLinksOptions } from "./node-links.ts";
import { NodeListener } from "./node-listener.ts";
import { RefusalLog } from "./refusal-log.ts";
import { NodeUnderTest } from "./testing/node-under-test.ts";
import { nextChunk, rawConnection, rawServer, readAll, recordingProxy, say } from "./testing/raw-peer.ts";

let server: NodeUnderTest;
let nodes: NodeUnderTest[] = [];
let servers: Server[] = [];

beforeEach(async () => {
  server = await new NodeUnderTest().listen();
});

afterEach(async () => {
  await Promise.all([server, ...nodes].map(({ links }) => links.close()));
  for (const one of servers) one.close();
  nodes = [];
  servers = [];
});

function node(options: Partial<NodeLinksOptions> = {}): NodeUnderTest {
  const made = new NodeUnderTest(options);
  nodes.push(made);
  return made;
}

/** The refused connection is one line, and the next honest node is served. */
async function expectOneLine(line: RegExp): Promise<void> {
  await server.until(() => server.log.length > 0, `a line like ${line}`);
  const honest = node();
  expect(await honest.links.dial("127.0.0.1", server.port, 5_000)).toBe(server.nodeId);
  honest.links.send(server.nodeId, [NodeKind.Warn, null, "served"]);
  await server.until(() => server.messages.length === 1, "a message of an honest node");
  expect(server.log).toEqual([expect.stringMatching(line)]);
  expect(server.opened).toEqual([honest.nodeId]);
}

const helloFrame = (version = protocolVersion, nodeId = newNodeId()): Buffer =>
  encodeFrame(
    FrameKind.Hello,
    0,
    encodeHello({ version, purpose: "mux", nodeId, clusterId: null, nonce: Buffer.alloc(nonceBytes, 5) }),
  );

test("a node with another token is refused and told what to do", async () => {
  const stranger = node({ token: "another" });
  await expect(stranger.links.dial("127.0.0.1", server.port, 5_000)).rejects.toMatchObject({
    code: "AUTHENTICATION",
    message: expect.stringMatching(/it has another token.*SHOAL_AUTH_TOKEN or by --token-file/),
  });
  await expectOneLine(/^refused a connection from 127\.0\.0\.1:\d+: it does not know the cluster's token$/);
});

test("a bulk connection needs the token, too", async () => {
  const stranger = node({ token: "another" });
  stranger.links.learn([server.place]);
  await expect(stranger.links.dialBulk(server.nodeId, "give me")).rejects.toMatchObject({ code: "AUTHENTICATION" });
  await expectOneLine(/it does not know the cluster's token$/);
  expect(server.bulks).toEqual([]);
});

test("garbage is refused at its first bytes", async () => {
  expect((await say(server.port, Buffer.alloc(300, 0xab))).length).toBe(0);
  await expectOneLine(/it does not speak the protocol of Shoal's nodes$/);
});

test("an HTTP request is refused as one", async () => {
  await say(server.port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await expectOneLine(/it speaks HTTP$/);
});

test("TLS is refused where it is not switched on", async () => {
  await say(server.port, Buffer.from("16030100f8010000f40303", "hex"));
  await expectOneLine(/it speaks TLS, which is not switched on here$/);
});

test("a connection that closes without a word is no refusal", async () => {
  const socket = await rawConnection(server.port);
  socket.end();
  await readAll(socket);
  await say(server.port, Buffer.alloc(20, 0xff));
  await expectOneLine(/does not speak/);
});

test("messages before the handshake are refused", async () => {
  await say(server.port, encodeFrame(FrameKind.Messages, 0, Buffer.from([0x90])));
  await expectOneLine(/refused/);
});

test("the bytes of an honest handshake do nothing when they are played again", async () => {
  const proxy = await recordingProxy(server.port);
  servers.push(proxy.server);
  const honest = node();
  await honest.links.dial("127.0.0.1", proxy.port, 5_000);
  honest.links.send(server.nodeId, [NodeKind.Warn, null, "once"]);
  await server.until(() => server.messages.length === 1);
  server.messages.length = 0;
  server.opened.length = 0;
  honest.links.drop(server.nodeId, "recorded");
  await server.until(() => server.closed.length === 1);
  await say(server.port, proxy.recorded[0]);
  await expectOneLine(/it does not know the cluster's token$/);
});

test("a node's own proof, sent back to it, is not taken for its peer's", async () => {
  const mirror = await rawServer(async (socket) => {
    await nextChunk(socket);
    socket.write(helloFrame());
    const proof = await nextChunk(socket);
    socket.write(encodeFrame(FrameKind.Accepted, 0, proof.subarray(nodeHeaderBytes, nodeHeaderBytes + 32)));
  });
  servers.push(mirror.server);
  const honest = node();
  await expect(honest.links.dial("127.0.0.1", mirror.port, 5_000)).rejects.toMatchObject({ code: "AUTHENTICATION" });
  expect(honest.opened).toEqual([]);
});

test("a node's own hello and proof, sent back to its port, are refused", async () => {
  // The node dials the attacker, who passes every word on to that same node's port.
  const attacker = await rawServer(async (socket) => {
    const back = await rawConnection(server.port);
    socket.pipe(back).pipe(socket);
  });
  servers.push(attacker.server);
  await expect(server.links.dial("127.0.0.1", attacker.port, 5_000)).rejects.toThrow(/it says: it says it is this node itself/);
  await expectOneLine(/it says it is this node itself/);
});

test("another version is refused on both sides with both named", async () => {
  const old = node({ version: 0 });
  await expect(old.links.dial("127.0.0.1", server.port, 5_000)).rejects.toThrow(
    `it speaks protocol ${protocolVersion}, this node 0`,
  );
  await expectOneLine(new RegExp(`it speaks protocol 0, this node ${protocolVersion}$`));
});

test("a later version with a hello of another form is refused by its number", async () => {
  const body = Buffer.concat([helloFrame(77).subarray(nodeHeaderBytes), Buffer.alloc(50, 1)]);
  const answer = await say(server.port, encodeFrame(FrameKind.Hello, 0, body));
  expect(answer.toString("latin1")).toContain(`it speaks protocol ${protocolVersion}, this node 77`);
  await expectOneLine(/it speaks protocol 77/);
});

test("a member of another cluster is refused with both named", async () => {
  const other = node({ clusterId: () => "cluster-2" });
  await expect(other.links.dial("127.0.0.1", server.port, 5_000)).rejects.toThrow(
    "it is in cluster cluster-1, this node in cluster-2",
  );
  await expectOneLine(/it is in cluster cluster-2, this node in cluster-1$/);
});

test("a node found at another's address is refused by the one that dials", async () => {
  const honest = node();
  const expected = newNodeId();
  honest.links.learn([{ ...server.place, nodeId: expected }]);
  await expect(honest.links.request(expected, "echo", null, 5_000)).rejects.toThrow(
    `node ${server.nodeId} answers there, not ${expected}`,
  );
  expect(honest.closed).toHaveLength(1);
});

test("a stranger that says nothing more is refused when its time is up", async () => {
  const log: string[] = [];
  const refusals = new RefusalLog((line) => log.push(line));
  const identity = { nodeId: newNodeId(), token: "t", clusterId: () => null };
  const listener = new NodeListener(identity, null, { decide: () => "accept", onAccepted: () => {} }, refusals, 50);
  const port = await listener.listen("127.0.0.1", 0);
  await say(port, helloFrame().subarray(0, 30));
  expect(log).toEqual([expect.stringMatching(/it did not finish the handshake within 50 ms$/)]);
  await listener.close();
});

test("in a flood of strangers the oldest go, honest nodes are served, and the log stays short", async () => {
  const flood = await Promise.all(Array.from({ length: strangersMax + 100 }, () => rawConnection(server.port)));
  const honest = node();
  expect(await honest.links.dial("127.0.0.1", server.port, 5_000)).toBe(server.nodeId);
  await server.until(() => server.log.length >= 20, "20 lines");
  for (const socket of flood) socket.write("garbage that is no hello");
  await Promise.all(flood.map((socket) => (socket.closed ? null : once(socket, "close"))));
  expect(server.log).toHaveLength(20);
  expect(server.log[0]).toMatch(/more than 256 others are waiting$/);
  await server.links.close();
  expect(server.log).toHaveLength(21);
  // Every one of them was counted: twenty lines, and one that stands for the rest.
  expect(server.log[20]).toMatch(new RegExp(`and ${strangersMax + 100 - 21} more in 10 s$`));
});

test("an empty token is no token", () => {
  expect(() => node({ token: "" })).toThrow("Cannot connect nodes without a token");
});
