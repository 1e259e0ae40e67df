/** Connecting to another node, and what to tell people when that does not work. */

import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { AuthenticationError, ClusterConnectionError } from "../../base/errors.ts";
import { RefusalCode } from "../../wire/handshake.ts";
import { Refusal } from "./handshake-reader.ts";
import type { LoadedTls } from "./node-tls.ts";

/** A connection being made, with or without TLS. `connected` resolves when bytes can be sent; the socket may be destroyed at any time. */
export interface Connecting {
  readonly socket: Socket;
  readonly connected: Promise<void>;
}

/** `from`: the address of this machine that the connection comes from; undefined: whichever the system takes. */
export function connectTo(
  host: string,
  port: number,
  tls: LoadedTls | null,
  timeoutMs: number,
  from: string | undefined,
): Connecting {
  // Certificates are checked against the authority; names are not (node-tls.ts).
  const plain = connect({ host, port, localAddress: from });
  const socket =
    tls === null ? plain : connectTls({ socket: plain, ...tls, rejectUnauthorized: true, checkServerIdentity: () => undefined });
  const connected = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error(`nothing answered within ${timeoutMs} ms`)), timeoutMs);
    const settled = (): void => {
      clearTimeout(timer);
      socket.off("error", failed);
      socket.off("close", closed);
    };
    const failed = (error: Error): void => {
      settled();
      reject(error);
    };
    const closed = (): void => failed(new Error("the connection was closed"));
    socket.once(tls === null ? "connect" : "secureConnect", () => {
      settled();
      resolve();
    });
    socket.on("error", failed);
    socket.on("close", closed);
  });
  // An error between here and the handshake's own listeners must not end the process.
  socket.on("error", () => {});
  return { socket, connected };
}

/** The error of the side that dialled. */
export function dialError(place: string, cause: unknown): Error {
  const start = `Cannot connect to the node at ${place}`;
  if (cause instanceof Refusal) {
    if (cause.code === RefusalCode.Authentication)
      return new AuthenticationError(
        `${start} as the tokens differ (${cause.message}): give this node the token of that cluster, in SHOAL_AUTH_TOKEN or by --token-file`,
        { cause },
      );
    return new ClusterConnectionError(`${start}: ${cause.message}`, { address: place, cause });
  }
  return new ClusterConnectionError(`${start}: ${reasonOf(cause)}`, { address: place, cause });
}

/** A name with several addresses fails once for each. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return cause.errors.map((error) => reasonOf(error)).join("; ");
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === "ECONNREFUSED") return `nothing listens there (${message})`;
  if (/wrong version number/i.test(message)) return `it does not speak TLS, which this node requires (${message})`;
  return message;
}
