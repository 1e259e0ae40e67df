/** The puller's end against a sender that the test plays: bytes that come fast, slowly, and fast and then slowly. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { NodeKey, WorkerId } from "../../../base/ids.ts";
import { segmentName } from "../../../objects/index.ts";
import { BulkConnection, type Fetched } from "./bulk-connection.ts";
import { encodeAnswer } from "./bulk-messages.ts";
import { fastReadBytes, wakeBytes } from "./limits.ts";

const bytes = 4 * wakeBytes + 12_345;
const object = Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 31) % 251));
const location = {
  name: segmentName("aaaaaa0000000001" as WorkerId, 1 as never, 0, "aaaaaa0000000001" as WorkerId),
  offset: 0,
  bytes,
};

let server: Server;
let sender: Socket;
let connection: BulkConnection;

beforeEach(async () => {
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  [sender] = (await accepted) as [Socket];
  sender.setNoDelay(true);
  connection = new BulkConnection(socket);
});

afterEach(() => {
  connection.close("the test is over");
  sender.destroy();
  server.close();
});

/** Asks for the object; `heard` is what has come so far. */
function fetch(): { done: Promise<Fetched>; heard: () => number; received: Buffer } {
  const received = Buffer.alloc(bytes);
  let at = 0;
  const sink = {
    others: (_holders: readonly NodeKey[]) => {},
    write: (chunk: Buffer) => {
      at += chunk.copy(received, at);
    },
  };
  return { done: connection.fetch({ location, from: 0 }, sink), heard: () => at, received };
}

/** Writes the next bytes in pieces, each when the last has been heard. */
async function send(heard: () => number, from: number, to: number, piece: number): Promise<void> {
  for (let at = from; at < to; at += piece) {
    sender.write(object.subarray(at, Math.min(at + piece, to)));
    await expect.poll(heard, { interval: 1, timeout: 20_000 }).toBe(Math.min(at + piece, to));
  }
}

describe("BulkConnection", () => {
  test("brings all bytes that come at once", async () => {
    const { done, received } = fetch();
    sender.write(encodeAnswer({ kind: "bytes", others: [] }));
    sender.write(object);
    expect(await done).toEqual({ kind: "whole" });
    expect(received.equals(object)).toBe(true);
  });

  test("hands on what comes slowly as it comes", async () => {
    const { done, heard, received } = fetch();
    sender.write(encodeAnswer({ kind: "bytes", others: [] }));
    await send(heard, 0, 10 * 1_000, 1_000);
    sender.write(object.subarray(10_000));
    expect(await done).toEqual({ kind: "whole" });
    expect(received.equals(object)).toBe(true);
  });

  test("hears the last few bytes, an answer and another object after bytes that came fast", async () => {
    for (let round = 0; round < 2; round++) {
      const { done, heard, received } = fetch();
      sender.write(encodeAnswer({ kind: "bytes", others: [] }));
      sender.write(object.subarray(0, bytes - 3));
      await expect.poll(heard, { timeout: 20_000 }).toBeGreaterThan(fastReadBytes);
      sender.write(object.subarray(bytes - 3));
      expect(await done).toEqual({ kind: "whole" });
      expect(received.equals(object)).toBe(true);
      const { done: refused } = fetch();
      sender.write(encodeAnswer({ kind: "gone", reason: "freed" }));
      expect(await refused).toEqual({ kind: "gone", reason: "freed" });
    }
  });

  test("hears of the other side's end in the middle of bytes that came fast", async () => {
    const { done, heard } = fetch();
    sender.write(encodeAnswer({ kind: "bytes", others: [] }));
    sender.write(object.subarray(0, 2 * wakeBytes + 10));
    await expect.poll(heard, { timeout: 20_000 }).toBeGreaterThan(fastReadBytes);
    sender.destroy();
    expect(await done).toMatchObject({ kind: "broken" });
  });
});
