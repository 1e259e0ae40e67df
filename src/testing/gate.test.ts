import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { Gate } from "./gate.ts";

test("a gate that is cut off closes although a connection through it ended at one side only", { timeout: 10_000 }, async () => {
  const gate = await Gate.open("127.61.200.1");
  const daemon = createServer().listen(0, gate.daemonHost);
  await once(daemon, "listening");
  gate.leadTo((daemon.address() as AddressInfo).port);
  const outside = connect(gate.port, gate.host);
  const [inside] = (await once(daemon, "connection")) as [Socket];
  outside.write("before");
  expect(String((await once(inside, "data"))[0])).toBe("before");
  gate.cut = "both";
  inside.resetAndDestroy(); // the daemon is killed: nobody outside hears of it
  await once(inside, "close");
  outside.write("to nobody");
  // The gate, in this process, hears of the end within a few turns.
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  const closed = once(outside, "close");
  await gate.close();
  await closed;
  daemon.close();
});
