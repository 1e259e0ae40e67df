/**
 * TLS between nodes, when it is configured: both sides show a certificate signed by the configured authority. Host names are not
 * compared, since nodes are found by address and the token decides who belongs to the cluster.
 */
import { readFileSync } from "node:fs";
import type { TLSSocket, TlsOptions } from "node:tls";

/** Each a path of a PEM file, or the PEM text itself. */
export interface NodeTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface LoadedTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export function loadTls(tls: NodeTls): LoadedTls {
  const pem = (name: "cert" | "key" | "ca"): string => {
    if (tls[name].includes("-----BEGIN ")) return tls[name];
    try {
      return readFileSync(tls[name], "utf8");
    } catch (cause) {
      throw new Error(`Cannot use TLS between nodes as its ${name} cannot be read: ${(cause as Error).message}`, { cause });
    }
  };
  return { cert: pem("cert"), key: pem("key"), ca: pem("ca") };
}

/** Certificates are asked for here and judged by `certificateTrouble`, so that a refusal has a line and an answer: TLS itself would just close. */
export const serverTls = (tls: LoadedTls): TlsOptions => ({
  ...tls,
  requestCert: true,
  rejectUnauthorized: false,
  minVersion: "TLSv1.2",
});

/** Why the other side's certificate will not do; null when it is signed by the authority. */
export function certificateTrouble(socket: TLSSocket): string | null {
  if (socket.authorized === true) return null;
  if (Object.keys(socket.getPeerCertificate() ?? {}).length === 0) return "it showed no certificate";
  return `its certificate is not one of this cluster's authority (${socket.authorizationError})`;
}
