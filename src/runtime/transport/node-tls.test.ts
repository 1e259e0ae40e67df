import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { nodeKeyOf } from "../../base/ids.ts";
import { NodeKind } from "../../wire/node-messages.ts";
import type { NodeTls } from "./node-tls.ts";
import { CertificateAuthority, missingOpenssl } from "./testing/certificates.ts";
import { NodeUnderTest } from "./testing/node-under-test.ts";
import { readAll, say } from "./testing/raw-peer.ts";

/** Why there can be no certificates on this machine: the tests that need them are then left out, with this in their names. */
const missing = await missingOpenssl();
const tlsTest = test.skipIf(missing !== null);
const why = missing === null ? "" : ` (not run: ${missing})`;
const authorities: CertificateAuthority[] = [];
let ours: { a: NodeTls; b: NodeTls };
let theirs: NodeTls;
let nodes: NodeUnderTest[] = [];

beforeAll(async () => {
  if (missing !== null) return;
  const authority = await new CertificateAuthority().create();
  const other = await new CertificateAuthority().create();
  authorities.push(authority, other);
  ours = { a: await authority.issue("a"), b: await authority.issue("b") };
  theirs = await other.issue("stranger");
});

afterAll(() => {
  for (const { dir } of authorities) rmSync(dir, { recursive: true });
});

afterEach(async () => {
  await Promise.all(nodes.map(({ links }) => links.close()));
  nodes = [];
});

async function node(tls: NodeTls | null, token = "the token"): Promise<NodeUnderTest> {
  const made = await new NodeUnderTest({ tls, token }).listen();
  nodes.push(made);
  return made;
}

/** The refused connection is one line, and the next honest node is served. */
async function expectOneLine(server: NodeUnderTest, line: RegExp): Promise<void> {
  await server.until(() => server.log.length > 0, `a line like ${line}`);
  const honest = await node(ours.b);
  expect(await honest.links.dial("127.0.0.1", server.port, 5_000)).toBe(server.nodeId);
  expect(server.log).toEqual([expect.stringMatching(line)]);
}

tlsTest(`nodes with certificates of one authority talk: messages, streams, bulk${why}`, async () => {
  const [a, b] = [await node(ours.a), await node(ours.b)];
  a.links.learn([b.place]);
  b.links.learn([a.place]);
  a.links.send(b.nodeId, [NodeKind.Leaving, "from a"]);
  b.links.send(a.nodeId, [NodeKind.Leaving, "from b"]);
  await Promise.all([a.until(() => a.messages.length === 1), b.until(() => b.messages.length === 1)]);
  const stream = a.links.openStream(nodeKeyOf(b.nodeId), "daemon");
  await b.until(() => b.streams.length === 1);
  b.streams[0].stream.pipe(b.streams[0].stream);
  const text = "there and back ".repeat(100_000);
  stream.end(text);
  let back = "";
  for await (const chunk of stream) back += chunk;
  expect(back === text).toBe(true);
  const socket = await b.links.dialBulk(a.nodeId, "first");
  socket.write("body");
  await a.until(() => a.bulks.length === 1);
  const [chunk] = (await Promise.all([once(a.bulks[0].socket, "data"), a.bulks[0].socket.resume()]))[0];
  expect([a.bulks[0].first, chunk.toString()]).toEqual(["first", "body"]);
  socket.destroy();
  expect([a.log, b.log]).toEqual([[], []]);
});

tlsTest(`certificates may be given as text${why}`, async () => {
  const text = (path: string) => readFileSync(path, "utf8");
  const a = await node({ cert: text(ours.a.cert), key: text(ours.a.key), ca: text(ours.a.ca) });
  const b = await node(ours.b);
  expect(await b.links.dial("127.0.0.1", a.port, 5_000)).toBe(a.nodeId);
});

test("a file that cannot be read is named", () => {
  expect(() => new NodeUnderTest({ tls: { cert: "/not/there.pem", key: "x", ca: "y" } })).toThrow(
    /Cannot use TLS between nodes as its cert cannot be read: .*\/not\/there\.pem/,
  );
});

tlsTest(`a node without TLS is refused where it is required${why}`, async () => {
  const server = await node(ours.a);
  const plain = await node(null);
  await expect(plain.links.dial("127.0.0.1", server.port, 5_000)).rejects.toThrow(/TLS|closed the connection/);
  await expectOneLine(server, /it does not speak TLS, which this node requires/);
});

tlsTest(`an HTTP request to a port with TLS is one line${why}`, async () => {
  const server = await node(ours.a);
  await say(server.port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await expectOneLine(server, /it does not speak TLS, which this node requires/);
});

tlsTest(`a node with TLS says so when the other has none${why}`, async () => {
  const server = await node(null);
  const secure = await node(ours.a);
  await expect(secure.links.dial("127.0.0.1", server.port, 5_000)).rejects.toMatchObject({ code: "CLUSTER_CONNECTION" });
  await server.until(() => server.log.length > 0, "a line");
  expect(server.log).toEqual([expect.stringMatching(/it speaks TLS, which is not switched on here$/)]);
});

tlsTest(`a certificate of another authority is refused${why}`, async () => {
  const server = await node(ours.a);
  const stranger = await node({ ...theirs, ca: ours.a.ca });
  await expect(stranger.links.dial("127.0.0.1", server.port, 5_000)).rejects.toThrow(
    /it says: its certificate is not one of this cluster's authority/,
  );
  await expectOneLine(server, /its certificate is not one of this cluster's authority/);
});

tlsTest(`a server with a certificate of another authority is not talked to${why}`, async () => {
  const server = await node({ ...theirs, ca: ours.a.ca });
  const honest = await node(ours.b);
  await expect(honest.links.dial("127.0.0.1", server.port, 5_000)).rejects.toThrow(/certificate/);
  expect(server.opened).toEqual([]);
});

tlsTest(`a client without a certificate is refused${why}`, async () => {
  const server = await node(ours.a);
  const socket = connectTls({
    port: server.port,
    host: "127.0.0.1",
    ca: readFileSync(ours.a.ca),
    checkServerIdentity: () => undefined,
  });
  socket.on("error", () => {});
  await readAll(socket);
  await expectOneLine(server, /it showed no certificate$/);
});

tlsTest(`a certificate does not stand for the token${why}`, async () => {
  const server = await node(ours.a);
  const stranger = await node(ours.b, "another");
  await expect(stranger.links.dial("127.0.0.1", server.port, 5_000)).rejects.toMatchObject({ code: "AUTHENTICATION" });
  await expectOneLine(server, /it does not know the cluster's token$/);
});

tlsTest(`connections are let go, however they end${why}`, async () => {
  const server = await node(ours.a);
  for (let i = 0; i < 5; i++) await say(server.port, "no TLS at all, but long enough to be seen as none");
  await expect((await node(ours.b, "another")).links.dial("127.0.0.1", server.port, 5_000)).rejects.toThrow("token");
  const listener = (server.links as any).listener as { strangerCount: number };
  await server.until(() => server.log.length === 6, "six lines");
  await expect.poll(() => listener.strangerCount).toBe(0);
});
