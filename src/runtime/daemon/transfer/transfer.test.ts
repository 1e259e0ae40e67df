import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeKeyOf, type ObjectIndex, type WorkerId } from "../../../base/ids.ts";
import { segmentsIn } from "../../../objects/testing/store-dirs.ts";
import type { Location } from "../../../objects/types.ts";
import { encodeBatch, Kind } from "../../../wire/index.ts";
import { Network, type NodeUnderTest, patternBytes, sameBytes } from "./testing/node-under-test.ts";

const mib = 1024 ** 2;

let network: Network;
let a: NodeUnderTest;
let b: NodeUnderTest;

beforeEach(async () => {
  network = new Network();
  a = await network.add();
  b = await network.add();
});
afterEach(() => network.remove());

const copyFrom = async (node: NodeUnderTest, object: { location: Location; owner: WorkerId; index: ObjectIndex }) => {
  const result = await node.transfer.pull(object);
  if ("gone" in result) throw new Error(result.gone);
  return result.copy;
};

/** Settles when `condition` holds, looking once a turn. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe("Object transfer", () => {
  for (const bytes of [0, 1, 4095, 4096, 100_000, mib, mib + 1, 7 * mib + 13, 50 * mib]) {
    it(`brings ${bytes} bytes as they are`, async () => {
      const content = patternBytes(bytes);
      const object = a.put(content);
      const copy = await copyFrom(b, object);
      expect(copy).toEqual(b.copyOf(object.location));
      expect(sameBytes(b.store.read(copy), content)).toBe(true);
      expect(b.transfer.stats()).toMatchObject({ pulled: 1, bytesPulled: bytes, pullsFailed: 0, pulling: 0 });
      expect(a.transfer.stats()).toMatchObject({ served: 1, bytesServed: bytes, serving: 0 });
      expect(a.toOwner).toEqual([]);
      await until(() => a.toOwner.length === 1);
      expect(a.toOwner).toEqual([[Kind.CopyMade, object.index, copy]]);
    });
  }

  it("takes each object out of a slab by itself", async () => {
    const objects = [1, 2, 3].map((seed) => ({ object: a.put(patternBytes(150_000, seed)), seed }));
    expect(new Set(objects.map(({ object }) => object.location.name)).size).toBe(1);
    const copies = await Promise.all(objects.map(({ object }) => copyFrom(b, object)));
    for (const [i, { seed }] of objects.entries())
      expect(sameBytes(b.store.read(copies[i]), patternBytes(150_000, seed))).toBe(true);
    b.transfer.free([copies[1]]);
    expect(b.store.has(copies[1])).toBe(false);
    expect(b.store.has(copies[0])).toBe(true);
  });

  it("brings what is spilled", async () => {
    const content = patternBytes(9 * mib);
    const object = a.put(content);
    await a.manager.spillDown(0);
    expect(readdirSync(a.dirs.spillDir)).toEqual([object.location.name]);
    expect(sameBytes(b.store.read(await copyFrom(b, object)), content)).toBe(true);
  });

  it("pulls once, however many ask", async () => {
    const object = a.put(patternBytes(5 * mib));
    const copies = await Promise.all(Array.from({ length: 20 }, () => copyFrom(b, object)));
    expect(new Set(copies.map((copy) => copy.name)).size).toBe(1);
    await copyFrom(b, object);
    expect(b.transfer.stats()).toMatchObject({ pulled: 1, bytesPulled: 5 * mib });
  });

  it("pulls from a copy as from the original", async () => {
    const c = await network.add();
    const content = patternBytes(3 * mib);
    const object = a.put(content);
    const location = await copyFrom(b, object);
    a.store.free(object.location);
    const copy = await copyFrom(c, { ...object, location });
    expect(copy).toEqual(c.copyOf(object.location));
    expect(sameBytes(c.store.read(copy), content)).toBe(true);
  });

  it("says so when the holder has it no more", async () => {
    const object = a.put(patternBytes(2 * mib));
    a.store.free(object.location);
    const result = await b.transfer.pull(object);
    expect(result).toMatchObject({ gone: expect.stringContaining("neither in shared memory nor on disk") });
    expect(segmentsIn(b.dirs.shmDir)).toEqual([]);
    expect(b.transfer.stats()).toMatchObject({ pulled: 0, pullsFailed: 1 });
  });

  it("goes to disk when the store is full", async () => {
    const small = await network.add(4 * mib);
    const content = patternBytes(12 * mib);
    const copy = await copyFrom(small, a.put(content));
    expect(readdirSync(small.dirs.spillDir)).toEqual([copy.name]);
    expect(sameBytes(small.store.read(copy), content)).toBe(true);
  });

  it("waits for room, one after the other, rather than go to disk", async () => {
    const small = await network.add(24 * mib);
    const objects = [1, 2, 3, 4, 5, 6].map((seed) => a.put(patternBytes(3 * mib, seed)));
    const copies = await Promise.all(objects.map((object) => copyFrom(small, object)));
    expect(readdirSync(small.dirs.spillDir)).toEqual([]);
    for (const [i, copy] of copies.entries()) expect(sameBytes(small.store.read(copy), patternBytes(3 * mib, i + 1))).toBe(true);
  });

  it("uses one connection for many objects in a row", async () => {
    let accepted = 0;
    a.onAccept = () => {
      accepted += 1;
      return false;
    };
    for (let seed = 0; seed < 20; seed++) await copyFrom(b, a.put(patternBytes(200_000, seed)));
    expect(accepted).toBe(1);
  });
});

describe("Object transfer when holders fail", () => {
  it("goes on from the byte reached when the connection breaks", async () => {
    const content = patternBytes(48 * mib);
    const object = a.put(content);
    const pulled = copyFrom(b, object);
    await until(() => b.transfer.stats().bytesPulled > 8 * mib);
    for (const socket of a.accepted) socket.destroy();
    expect(sameBytes(b.store.read(await pulled), content)).toBe(true);
    expect(b.transfer.stats().bytesPulled).toBe(48 * mib);
  });

  it("goes on with another holder when the first dies", async () => {
    const [c, ownerNode] = [await network.add(), await network.add()];
    const content = patternBytes(48 * mib);
    const object = a.put(content, ownerNode.owner);
    await copyFrom(c, object);
    const pulled = copyFrom(b, object);
    await until(() => b.transfer.stats().bytesPulled > 8 * mib);
    a.die();
    network.declareDead(a);
    expect(sameBytes(b.store.read(await pulled), content)).toBe(true);
    expect(b.transfer.stats()).toMatchObject({ pulled: 1, bytesPulled: 48 * mib, resumed: 1 });
  });

  it("removes what processes of a dead node owned", async () => {
    const object = a.put(patternBytes(2 * mib));
    const copy = await copyFrom(b, object);
    network.declareDead(a);
    expect(b.store.has(copy)).toBe(false);
  });

  it("gives up when the only holder dies", async () => {
    const object = a.put(patternBytes(48 * mib));
    const pulled = b.transfer.pull(object);
    await until(() => b.transfer.stats().bytesPulled > 8 * mib);
    a.die();
    network.declareDead(a);
    expect(await pulled).toMatchObject({ gone: expect.stringContaining("its node died") });
    expect(segmentsIn(b.dirs.shmDir).filter((name) => !name.startsWith("warm."))).toEqual([]);
  });

  it("reports a node that nobody knows as gone", async () => {
    const object = a.put(patternBytes(2 * mib));
    network.forget(a);
    expect(await b.transfer.pull(object)).toMatchObject({ gone: expect.stringContaining("no member of the cluster") });
  });

  it("outlives what is no request at all", async () => {
    const object = a.put(patternBytes(2 * mib));
    const garbage = [
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      Buffer.alloc(100_000, 0xff),
      encodeBatch([[1, "../../etc/passwd", 0, 100, 0]]),
      encodeBatch([[1, object.location.name, -4096, 100, 0]]),
      encodeBatch([[1, object.location.name, 0, 2 ** 60, 0]]),
      encodeBatch([[1, object.location.name, 0, 100, 101]]),
      encodeBatch([[7]]),
      encodeBatch([]),
    ];
    for (const bytes of garbage) {
      const closed = new Promise<number>((resolve) => {
        let received = 0;
        const socket = connect(a.port, "127.0.0.1", () => socket.write(Buffer.concat([Buffer.from(b.nodeId), bytes])));
        socket.on("data", (chunk) => {
          received += chunk.length;
        });
        socket.on("error", () => {});
        socket.on("close", () => resolve(received));
      });
      expect(await closed).toBe(0);
    }
    expect(a.reports).toHaveLength(garbage.length);
    expect((await copyFrom(b, object)).bytes).toBe(2 * mib);
  });

  it("tells a requester that wants more than there is that it is gone", async () => {
    const object = a.put(patternBytes(2 * mib));
    const location = { ...object.location, bytes: 3 * mib };
    expect(await b.transfer.pull({ ...object, location })).toMatchObject({ gone: expect.stringContaining("it ends at byte") });
  });

  for (const [what, answer] of [
    ["garbage", Buffer.alloc(1000, 0xff)],
    ["bytes nobody asked for", encodeBatch([[2, ["../x"]]])],
    ["an unknown kind", encodeBatch([[9]])],
  ] as const) {
    it(`gives up a holder that answers ${what}`, async () => {
      const object = a.put(patternBytes(2 * mib));
      a.onAccept = (socket) => {
        socket.end(answer);
        return true;
      };
      expect(await b.transfer.pull(object)).toMatchObject({ gone: expect.stringContaining("from any node") });
      expect(segmentsIn(b.dirs.shmDir).filter((name) => !name.startsWith("warm."))).toEqual([]);
    });
  }
});

describe("Broadcast", () => {
  it("sends an object to many nodes by way of each other", async () => {
    const others = await Promise.all(Array.from({ length: 7 }, () => network.add()));
    const content = patternBytes(20 * mib);
    const object = a.put(content);
    const copies = await Promise.all([b, ...others].map((node) => copyFrom(node, object)));
    for (const [i, node] of [b, ...others].entries()) {
      expect(sameBytes(node.store.read(copies[i]), content)).toBe(true);
      expect(node.transfer.stats()).toMatchObject({ pulled: 1, bytesPulled: 20 * mib });
    }
    expect(a.transfer.stats().served).toBeLessThanOrEqual(4);
    expect(a.transfer.stats().sentOn).toBeGreaterThan(0);
    await until(() => a.toOwner.length === 8);
  });
});

describe("Copies", () => {
  it("go when their owner frees them, wherever they are", async () => {
    const c = await network.add();
    const object = a.put(patternBytes(3 * mib));
    const copies = await Promise.all([copyFrom(b, object), copyFrom(c, object)]);
    a.transfer.free(copies);
    await until(() => !b.store.has(copies[0]) && !c.store.has(copies[1]));
  });

  it("go with their owner", async () => {
    const object = a.put(patternBytes(3 * mib));
    const copy = await copyFrom(b, object);
    a.transfer.ownerDied(object.owner);
    await until(() => !b.store.has(copy));
  });

  it("go at once when their owner is gone already", async () => {
    const { location, index } = a.put(patternBytes(3 * mib));
    const owner = `${a.key}0000000000` as WorkerId;
    expect(nodeKeyOf(owner)).toBe(a.key);
    const copy = await copyFrom(b, { location, owner, index });
    await until(() => !b.store.has(copy));
  });

  it("are not taken on the word of another node", async () => {
    const c = await network.add();
    const object = a.put(patternBytes(3 * mib));
    const copy = await copyFrom(b, object);
    await until(() => a.toOwner.length === 1);
    network.send(c, a.nodeId, [151, object.owner, object.index, copy, c.key]);
    network.send(c, b.nodeId, [154, object.owner]);
    await until(() => a.reports.length === 1 && b.reports.length === 1);
    expect(a.toOwner).toHaveLength(1);
    expect(b.store.has(copy)).toBe(true);
  });
});
