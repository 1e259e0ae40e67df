/**
 * Frames that no honest node sends, before and after authentication. SHOAL_FUZZ_FRAMES sets how many (the full run: 1000000);
 * SHOAL_FUZZ_SEED plays a run again.
 */
import type { Socket } from "node:net";
import { type Duplex, duplexPair } from "node:stream";
import { afterAll, expect, test } from "vitest";
import { newNodeId } from "../../base/ids.ts";
import { protocolVersion } from "../../wire/limits.ts";
import { NodeKind } from "../../wire/node-messages.ts";
import { collectGarbage } from "../owner/collect-garbage.ts";
import { acceptHandshake } from "./handshake.ts";
import { Refusal } from "./handshake-reader.ts";
import { handshakeFrame, linkFrame, mutate, Random } from "./testing/mutations.ts";
import { NodeUnderTest } from "./testing/node-under-test.ts";
import { rawConnection } from "./testing/raw-peer.ts";

const frames = Number(process.env.SHOAL_FUZZ_FRAMES ?? 20_000);
const seed = Number(process.env.SHOAL_FUZZ_SEED ?? 20_261_124);
const timeout = 60_000 + frames * 2;
const heldBytesMax = 32 * 1024 * 1024;
const settled = () => new Promise((resolve) => setImmediate(resolve));

const server = new NodeUnderTest(
  {},
  {
    onRequest: (_from, method) => method,
    onStream: (_from, _target, stream) => void (Math.trunc(server.messages.length) % 2 === 0 && stream.resume()),
  },
);
afterAll(() => server.links.close());

/** Bytes that the process holds once garbage is gone. */
async function heldBytes(): Promise<number> {
  await settled();
  collectGarbage();
  await settled();
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Runs `one` for all frames; what is held after a tenth of them must be about what is held after all. */
async function manyFrames(count: number, one: (random: Random) => Promise<number>): Promise<void> {
  const random = new Random(seed);
  let sent = 0;
  let early: number | null = null;
  while (sent < count) {
    sent += await one(random);
    if (early === null && sent >= count / 10) early = await heldBytes();
  }
  const grown = (await heldBytes()) - (early as number);
  if (process.env.SHOAL_FUZZ_FRAMES !== undefined)
    console.log(`${sent} frames, seed ${seed}: ${(grown / 1024).toFixed(0)} KiB more held`);
  expect(grown).toBeLessThan(heldBytesMax);
}

test(
  "mutated handshakes are refused, each once, and leave nothing",
  async () => {
    const identity = { nodeId: newNodeId(), token: "t", clusterId: () => "cluster-1" };
    let refused = 0;
    let connections = 0;
    await manyFrames(frames / 4, async (random) => {
      const [near, far] = duplexPair();
      far.on("error", () => {});
      far.resume();
      connections++;
      const accepting = acceptHandshake(near, identity, { decide: () => "accept", onAccepted: () => expect.unreachable() }).catch(
        (error) => {
          expect(error).toBeInstanceOf(Refusal);
          refused++;
        },
      );
      const count = 1 + random.int(3);
      for (let i = 0; i < count && far.writable; i++) {
        const frame = handshakeFrame(random);
        far.write(i === 0 && random.int(2) === 0 ? frame : mutate(frame, random));
      }
      far.end();
      await accepting;
      near.destroy();
      return count;
    });
    expect(refused).toBe(connections);
  },
  timeout,
);

/** What a `Socket` has beyond a duplex stream, for a connection within the process. */
function asSocket(duplex: Duplex): Socket {
  return Object.assign(duplex, { setNoDelay: () => duplex, setKeepAlive: () => duplex }) as unknown as Socket;
}

test(
  "mutated frames of an authenticated node close its connection at most, and leave nothing",
  async () => {
    const peer = newNodeId();
    let closes = 0;
    await manyFrames((frames * 3) / 4, async (random) => {
      const [near, far] = duplexPair();
      far.on("error", () => {});
      far.resume();
      const facts = { peer, purpose: "mux", connectionId: random.bytes(32), rest: Buffer.alloc(0) };
      (server.links as any).accepted(asSocket(near), facts);
      const count = 1 + random.int(30);
      for (let i = 0; i < count && far.writable; i++) {
        const frame = linkFrame(random);
        const sent = random.int(3) === 0 ? mutate(frame, random) : frame;
        const cut = random.int(sent.length + 1);
        far.write(sent.subarray(0, cut));
        far.write(sent.subarray(cut));
        if (random.int(4) === 0) await settled();
      }
      far.end();
      await server.until(() => server.closed.length > 0, "the end of a connection");
      closes += server.closed.length;
      expect(server.links.isOpen(peer)).toBe(false);
      for (const list of [server.log, server.messages, server.opened, server.closed, server.streams]) list.length = 0;
      far.destroy();
      near.destroy();
      return count;
    });
    expect(closes).toBeGreaterThan(frames / 100);
  },
  timeout,
);

test("a node that took mutated frames from real sockets still serves", async () => {
  const random = new Random(seed);
  await server.listen();
  for (let round = 0; round < 20; round++) {
    const sockets = await Promise.all(Array.from({ length: 10 }, () => rawConnection(server.port)));
    for (const socket of sockets) {
      socket.write(mutate(handshakeFrame(random), random));
      socket.end();
      socket.resume();
    }
    await Promise.all(
      sockets.map((socket) => new Promise((resolve) => (socket.closed ? resolve(null) : socket.once("close", resolve)))),
    );
  }
  const honest = new NodeUnderTest();
  expect(await honest.links.dial("127.0.0.1", server.port, 5_000)).toBe(server.nodeId);
  expect(await honest.links.request(server.nodeId, `version ${protocolVersion}`, null, 5_000)).toBe(`version ${protocolVersion}`);
  honest.links.send(server.nodeId, [NodeKind.Leaving, "tested"]);
  await server.until(() => server.messages.length === 1);
  await honest.links.close();
});
