/** Certificates for one test run, made by `openssl`. */
import { execFile } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { NodeTls } from "../node-tls.ts";

const run = promisify(execFile);

/** Null when the machine has `openssl`, else why there can be no certificates. */
export async function missingOpenssl(): Promise<string | null> {
  try {
    await run("openssl", ["version"]);
    return null;
  } catch (error) {
    return `openssl cannot be run: ${(error as Error).message}`;
  }
}

export class CertificateAuthority {
  readonly dir = mkdtempSync(join(tmpdir(), "certificates-"));

  async create(): Promise<this> {
    await run("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", "/CN=test authority", "-keyout", this.path("ca.key"), "-out", this.path("ca.pem")],
    ]);
    return this;
  }

  /** A node's certificate and key, as paths. */
  async issue(name: string): Promise<NodeTls> {
    const request = this.path(`${name}.csr`);
    await run("openssl", [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", `/CN=${name}`],
      ...["-keyout", this.path(`${name}.key`), "-out", request],
    ]);
    writeFileSync(this.path("serial"), "01\n");
    await run("openssl", [
      ...["x509", "-req", "-in", request, "-CA", this.path("ca.pem"), "-CAkey", this.path("ca.key")],
      ...["-CAserial", this.path("serial"), "-days", "2", "-out", this.path(`${name}.pem`)],
    ]);
    return { cert: this.path(`${name}.pem`), key: this.path(`${name}.key`), ca: this.path("ca.pem") };
  }

  private path(name: string): string {
    return join(this.dir, name);
  }
}
