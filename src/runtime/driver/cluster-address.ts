/** "host:port" as people and batch scripts write it. */
import { isIPv4, isIPv6 } from "node:net";

export interface ClusterAddress {
  readonly host: string;
  readonly port: number;
}

/** The head's port when nobody says another; Ray's. */
export const defaultHeadPort = 6379;

export const formatAddress = ({ host, port }: ClusterAddress): string => (isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`);

/**
 * Reads "host:port", "host" (then the port is 6379), "[v6]:port". `hostname --ip-address` may give several addresses with blanks between: the first IPv4
 * counts. Throws a TypeError that says what is wrong.
 */
export function parseAddress(text: string): ClusterAddress {
  const wrong = (why: string): TypeError => new TypeError(`Cannot use '${text}' as a cluster's address, HOST:PORT: ${why}`);
  if (text.includes("://")) throw wrong("it has a scheme; leave out what is before the host");
  const words = text.trim().split(/\s+/);
  // "a b:6379" is a list of hosts with one port behind.
  const port = /^(?:.*[^:]|.*\]):(\d+)$/.exec(words[words.length - 1])?.[1];
  const hosts = words.map((word, index) =>
    index === words.length - 1 && port !== undefined ? word.slice(0, -port.length - 1) : word,
  );
  const host = (hosts.find((name) => isIPv4(name)) ?? hosts[0]).replace(/^\[(.*)\]$/, "$1");
  if (host === "") throw wrong("it has no host");
  if (host.includes(":") && !isIPv6(host)) throw wrong("what follows the colon is no port number");
  const number = port === undefined ? defaultHeadPort : Number(port);
  if (number < 1 || number > 65_535) throw wrong("a port is a number from 1 to 65535");
  return { host, port: number };
}

/** One of several addresses with blanks between, as `hostname --ip-address` gives them: the first IPv4, else the first. */
export function firstAddress(text: string): string {
  const words = text.trim().split(/\s+/);
  return words.find((word) => isIPv4(word)) ?? words[0];
}

export const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127\./.test(host);
