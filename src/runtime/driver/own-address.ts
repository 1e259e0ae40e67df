/** Which address of this machine other machines reach it at. */

import { isIPv6 } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { isLoopback } from "./cluster-address.ts";

/** An address on no machine's own network, to ask the routes with. Nothing is sent there. */
const elsewhere = "192.0.2.1";
/** Milliseconds for the name of a host to be resolved. */
const routeMs = 5_000;

/** The address from which this machine would talk to `host` (to the world without). Connecting a datagram socket asks the routes and sends nothing. */
export async function ownAddress(host: string = elsewhere): Promise<string> {
  return (await sourceAddress(host)) ?? firstOutward() ?? "127.0.0.1";
}

async function sourceAddress(host: string): Promise<string | null> {
  const { createSocket } = await import("node:dgram"); // few programs need it
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    const done = (address: string | null): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.close();
      resolve(address);
    };
    const timer = setTimeout(() => done(null), routeMs);
    socket.once("error", () => done(null));
    socket.connect(9, host, () => done(socket.address().address));
  });
}

function firstOutward(): string | null {
  for (const addresses of Object.values(networkInterfaces()))
    for (const { address, family, internal } of addresses ?? []) if (family === "IPv4" && !internal) return address;
  return null;
}

/** Whether `host`, a name or an address, is this machine by what it says of itself; no name server is asked. */
export function isThisMachine(host: string): boolean {
  if (isLoopback(host) || host === hostname() || host === hostname().split(".")[0]) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host));
}
