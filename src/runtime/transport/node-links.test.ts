import { createHash } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { afterEach, expect, test, vi } from "vitest";
import { newActorId, newNodeId, nodeKeyOf } from "../../base/ids.ts";
import { NodeKind, type NodeMessage } from "../../wire/node-messages.ts";
import { connectedNodes, NodeUnderTest } from "./testing/node-under-test.ts";

let nodes: NodeUnderTest[] = [];
afterEach(async () => {
  await Promise.all(nodes.map(({ links }) => links.close()));
  nodes = [];
});

const warning = (text: string): NodeMessage => [NodeKind.Warn, null, text];
const textsOf = (node: NodeUnderTest): unknown[] => node.messages.map(({ message }) => message[2]);

test("messages arrive both ways in order, those sent before there was a connection first", async () => {
  nodes = await connectedNodes(2);
  const [a, b] = nodes;
  for (let i = 0; i < 3000; i++) a.links.send(b.nodeId, warning(`a${i}`));
  await b.until(() => b.messages.length === 3000);
  for (let i = 0; i < 3000; i++) b.links.send(a.nodeId, warning(`b${i}`));
  await a.until(() => a.messages.length === 3000);
  expect(textsOf(b)).toEqual(Array.from({ length: 3000 }, (_, i) => `a${i}`));
  expect(textsOf(a)).toEqual(Array.from({ length: 3000 }, (_, i) => `b${i}`));
  expect([a.opened, b.opened]).toEqual([[b.nodeId], [a.nodeId]]);
  expect([...a.log, ...b.log]).toEqual([]);
});

test("two nodes that dial each other at once keep one connection and lose nothing", async () => {
  for (let round = 0; round < 40; round++) {
    const pair = await connectedNodes(2);
    nodes.push(...pair);
    const [a, b] = pair;
    for (let i = 0; i < 100; i++) {
      a.links.send(b.nodeId, warning(`a${i}`));
      b.links.send(a.nodeId, warning(`b${i}`));
    }
    await Promise.all([a.until(() => a.messages.length === 100), b.until(() => b.messages.length === 100)]);
    expect(textsOf(a)).toEqual(Array.from({ length: 100 }, (_, i) => `b${i}`));
    expect(textsOf(b)).toEqual(Array.from({ length: 100 }, (_, i) => `a${i}`));
    expect([a.opened, b.opened, a.closed, b.closed, a.log, b.log]).toEqual([[b.nodeId], [a.nodeId], [], [], [], []]);
  }
});

test("`dial()` finds out who is there, also when that node dials at the same time", async () => {
  for (let round = 0; round < 20; round++) {
    const [a, b] = [await new NodeUnderTest({ clusterId: () => null }).listen(), await new NodeUnderTest().listen()];
    nodes.push(a, b);
    b.links.learn([a.place]);
    const dialling = a.links.dial("127.0.0.1", b.port, 5_000);
    b.links.send(a.nodeId, warning("from b"));
    expect(await dialling).toBe(b.nodeId);
    expect(a.links.isOpen(b.nodeId)).toBe(true);
    a.links.send(b.nodeId, warning("from a"));
    await Promise.all([a.until(() => a.messages.length === 1), b.until(() => b.messages.length === 1)]);
    expect([a.opened, b.opened, a.closed, b.closed, a.log, b.log]).toEqual([[b.nodeId], [a.nodeId], [], [], [], []]);
  }
});

test("a connection that one side lost is made anew, whoever had dialled it", async () => {
  for (const whoDials of [0, 1]) {
    for (const whoLoses of [0, 1]) {
      const pair = await connectedNodes(2);
      nodes.push(...pair);
      const [dialler, other] = whoDials === 0 ? pair : [pair[1], pair[0]];
      dialler.links.send(other.nodeId, warning("first"));
      await other.until(() => other.messages.length === 1);
      const loser = pair[whoLoses];
      const keeper = pair[1 - whoLoses];
      // The keeper still believes in the connection when the loser dials.
      (loser.links as any).peers.get(keeper.nodeId).link.closeWithout("lost in a test");
      loser.links.send(keeper.nodeId, warning("again"));
      await keeper.until(() => textsOf(keeper).includes("again"));
      expect(keeper.closed).toHaveLength(1);
      expect(keeper.links.isOpen(loser.nodeId)).toBe(true);
    }
  }
});

test("`request()` brings answers, refusals of public classes, and gives up in time", async () => {
  nodes = await connectedNodes(2, {
    onRequest: async (from, method, params) => {
      if (method === "echo") return { from, params };
      if (method === "wait") return new Promise(() => {});
      const { ActorNotFoundError } = await import("../../base/errors.ts");
      throw new ActorNotFoundError("Cannot find actor x", { actorName: "x" });
    },
  });
  const [a, b] = nodes;
  expect(await a.links.request(b.nodeId, "echo", { bytes: Buffer.from("abc") }, 5_000)).toEqual({
    from: a.nodeId,
    params: { bytes: Buffer.from("abc") },
  });
  await expect(a.links.request(b.nodeId, "findActor", null, 5_000)).rejects.toMatchObject({
    code: "ACTOR_NOT_FOUND",
    actorName: "x",
  });
  await expect(a.links.request(b.nodeId, "wait", null, 20)).rejects.toThrow("it did not answer within 20 ms");
  const lost = expect(a.links.request(b.nodeId, "wait", null, 60_000)).rejects.toThrow("it says: tested enough");
  b.links.drop(a.nodeId, "tested enough");
  await lost;
  await a.until(() => a.closed.length === 1);
  expect(b.closed).toHaveLength(1);
  await expect(a.links.request(newNodeId(), "echo", null, 5_000)).rejects.toThrow("its address is not known");
});

test("a message that cannot be encoded harms no other, and who waits for it is told", async () => {
  nodes = await connectedNodes(2, { onRequest: (_from, method) => (method === "symbol" ? Symbol("s") : method) });
  const [a, b] = nodes;
  a.links.send(b.nodeId, warning("before"));
  a.links.send(b.nodeId, [NodeKind.Progress, "job" as any, Symbol("s")]);
  const asked = a.links.request(b.nodeId, "echo", { bad: Symbol("s") }, 5_000);
  const answered = a.links.request(b.nodeId, "symbol", null, 5_000);
  a.links.send(b.nodeId, warning("after"));
  await expect(asked).rejects.toThrow(/Cannot send it to another node: /);
  await expect(answered).rejects.toThrow(/Cannot send it to another node: /);
  await b.until(() => b.messages.length === 2);
  expect(textsOf(b)).toEqual(["before", "after"]);
  expect(a.log).toEqual([expect.stringMatching(/^dropped a message of kind 153 to node /)]);
  expect(b.log).toEqual([]);
});

test("a node that cannot be reached: what was sent is lost and reported, and `dial()` says what it tried", async () => {
  const a = await new NodeUnderTest().listen();
  const gone = await new NodeUnderTest().listen();
  nodes = [a];
  await gone.links.close();
  a.links.learn([gone.place]);
  a.links.send(gone.nodeId, warning("hello?"));
  const stream = a.links.openStream(nodeKeyOf(gone.nodeId), "daemon");
  const [error] = await once(stream, "error").catch((thrown) => [thrown]);
  expect(error.message).toContain("nothing listens there");
  expect(a.closed).toMatchObject([{ node: gone.nodeId, reason: expect.stringContaining(`127.0.0.1:${gone.port}`) }]);
  await expect(a.links.dial("127.0.0.1", gone.port, 1_000)).rejects.toMatchObject({
    code: "CLUSTER_CONNECTION",
    message: expect.stringMatching(/Cannot connect to the node at 127\.0\.0\.1:\d+: nothing listens there/),
  });
});

test("100 MB go through a stream unchanged while another stream's reader stalls", async () => {
  nodes = await connectedNodes(2);
  const [a, b] = nodes;
  const stalled = a.links.openStream(nodeKeyOf(b.nodeId), "daemon");
  const block = Buffer.alloc(64 * 1024, 7);
  const feeding = setInterval(() => {
    while (!stalled.writableNeedDrain) stalled.write(block);
  }, 1);

  const total = 100 * 1024 * 1024;
  const sent = createHash("sha256");
  const source = Readable.from(
    (function* () {
      for (let at = 0; at < total; at += 1024 * 1024) {
        const chunk = Buffer.alloc(1024 * 1024, at >> 20);
        chunk.writeUInt32LE(at, 0);
        sent.update(chunk);
        yield chunk;
      }
    })(),
    { objectMode: false },
  );
  const stream = a.links.openStream(nodeKeyOf(b.nodeId), "0123456789abcdef");
  source.pipe(stream);
  await b.until(() => b.streams.length === 2);
  const received = createHash("sha256");
  let bytes = 0;
  const other = b.streams[1];
  expect(other).toMatchObject({ from: a.nodeId, target: "0123456789abcdef" });
  for await (const chunk of other.stream) {
    bytes += chunk.length;
    received.update(chunk);
  }
  clearInterval(feeding);
  expect(bytes).toBe(total);
  expect(received.digest("hex")).toBe(sent.digest("hex"));
  // The stalled stream holds its window and no more; once read, it goes on.
  const held = b.streams[0].stream as Readable;
  expect(held.readableLength).toBe(256 * 1024);
  a.links.send(b.nodeId, warning("not held up"));
  await b.until(() => b.messages.length === 1);
  const finished = once(stalled, "finish");
  stalled.end();
  held.resume();
  await finished;
});

test("many streams at once, each with its own bytes, both ways", async () => {
  nodes = await connectedNodes(2, {
    onStream: (_from, target, stream) => {
      stream.write(`${target}:`);
      stream.pipe(stream);
    },
  });
  const [a, b] = nodes;
  const one = async (node: NodeUnderTest, to: NodeUnderTest, i: number): Promise<string> => {
    const stream = node.links.openStream(nodeKeyOf(to.nodeId), `t${i}`);
    stream.end(`${node.nodeId} ${i} `.repeat(2000));
    let text = "";
    for await (const chunk of stream) text += chunk;
    return text;
  };
  const numbers = Array.from({ length: 150 }, (_, i) => i);
  const texts = await Promise.all(numbers.flatMap((i) => [one(a, b, i), one(b, a, i)]));
  for (const i of numbers) {
    expect(texts[2 * i]).toBe(`t${i}:${`${a.nodeId} ${i} `.repeat(2000)}`);
    expect(texts[2 * i + 1]).toBe(`t${i}:${`${b.nodeId} ${i} `.repeat(2000)}`);
  }
  const links = nodes.map(({ links }, i) => (links as any).peers.get(nodes[1 - i].nodeId).link);
  await vi.waitFor(() => expect(links.map(({ streamCount }) => streamCount)).toEqual([0, 0]));
});

test("a destroyed stream destroys its other end and no other; a node that goes takes all its streams", async () => {
  nodes = await connectedNodes(2);
  const [a, b] = nodes;
  const first = a.links.openStream(nodeKeyOf(b.nodeId), "daemon");
  const second = a.links.openStream(nodeKeyOf(b.nodeId), "daemon");
  first.write("x");
  second.write("y");
  await b.until(() => b.streams.length === 2);
  const theirs = b.streams.map(({ stream }) => stream);
  const closing = once(theirs[0], "close").catch((error) => [error]);
  first.destroy(new Error("tested"));
  await closing;
  expect((theirs[0] as any).errored?.message).toBe("tested");
  expect(theirs[1].destroyed).toBe(false);
  const ending = once(second, "close").catch((error) => [error]);
  await b.links.close();
  await ending;
  expect((second as any).errored?.message).toMatch(/Cannot reach node .*: it says: the node is shutting down/);
});

test("`dialBulk()` hands over a connection of its own, with what was sent first", async () => {
  nodes = await connectedNodes(2);
  const [a, b] = nodes;
  const socket = await a.links.dialBulk(b.nodeId, { object: newActorId(), offset: 7 });
  socket.write("body");
  await b.until(() => b.bulks.length === 1);
  const { from, socket: theirs, first } = b.bulks[0];
  expect(from).toBe(a.nodeId);
  expect(first).toMatchObject({ offset: 7 });
  const [chunk] = (await Promise.all([once(theirs, "data"), theirs.resume()]))[0];
  expect(chunk.toString()).toBe("body");
  theirs.end("answer");
  const [answer] = (await Promise.all([once(socket, "data"), socket.resume()]))[0];
  expect(answer.toString()).toBe("answer");
  socket.destroy();
  expect(a.links.isOpen(b.nodeId)).toBe(false);
});
