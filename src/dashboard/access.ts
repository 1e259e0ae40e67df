/**
 * Who may see the dashboard: those who know its key, asked from a page that is the dashboard itself.
 *
 * The cluster's token lets its holder run code in the cluster, so addresses, which end in terminals, logs and browser histories, do not carry it.
 * They carry a key derived from it, good for reading the dashboard alone; the same for every head with that token, so that an open page goes on
 * when the head is back. Whoever has the token itself may use that.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { hostname } from "node:os";

export const dashboardKey = (token: string): string => createHmac("sha256", token).update("shoal dashboard").digest("hex");

/** Compares digests, so that neither content nor length shows in the time it takes. */
export function sameSecret(given: string, expected: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/**
 * False for a name that somebody else may have pointed at this machine (DNS rebinding): such a page would be of the same origin as ours. An
 * IP address cannot be pointed anywhere. The port is free: tunnels change it.
 */
export function isOwnHost(header: string | undefined, boundHost: string): boolean {
  const name = /^(\[[^\]]+\]|[^:]+)(:\d{1,5})?$/.exec(header ?? "")?.[1].toLowerCase();
  if (name === undefined) return false;
  const bare = name.replace(/^\[|\]$/g, "");
  return isIP(bare) !== 0 || [boundHost.toLowerCase(), "localhost", hostname().toLowerCase()].includes(bare);
}

/** The value of one cookie of a request. */
export function cookieOf(header: string | undefined, name: string): string | null {
  for (const part of (header ?? "").split(";")) {
    const at = part.indexOf("=");
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return null;
}
