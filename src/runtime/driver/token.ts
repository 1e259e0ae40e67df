/** The cluster's token: what proves to a node that another belongs to it. */
import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { AuthenticationError } from "../../base/errors.ts";

/** In the user's home, so that the nodes of a job that share it need nothing else. */
export const tokenPath = (): string => join(homedir(), ".shoal", "auth_token");

/** The token of `file`, else of SHOAL_AUTH_TOKEN, else of the user's home; null when there is none of these. Throws when the file named cannot be used. */
export function findToken(file?: string): string | null {
  if (file !== undefined) return readToken(file);
  const given = process.env.SHOAL_AUTH_TOKEN?.trim();
  if (given) return given;
  try {
    return readToken(tokenPath());
  } catch (error) {
    if ((error as { cause?: NodeJS.ErrnoException }).cause?.code === "ENOENT") return null;
    throw error;
  }
}

/** As `findToken`; throws an error that says where a token was looked for. */
export function needToken(file?: string): string {
  const token = findToken(file);
  if (token !== null) return token;
  throw new AuthenticationError(`Cannot join a cluster without its token: ${noToken()}`);
}

/** Where a token was looked for, and what to do. */
export const noToken = (): string =>
  `SHOAL_AUTH_TOKEN is not set and there is no ${tokenPath()}; the head makes that file in its home: where nodes do not share it, copy it from there`;

/** The token there is, or a new one in the user's home. Several who do this at once get the same one. */
export function makeToken(file?: string): string {
  const found = findToken(file);
  if (found !== null) return found;
  const path = tokenPath();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const own = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    writeFileSync(own, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
    linkSync(own, path); // never seen half written, and only the first one takes the name
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(own, { force: true });
  }
  return readToken(path);
}

function readToken(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw Object.assign(new AuthenticationError(`Cannot read the cluster's token in ${file}: ${(cause as Error).message}`), {
      cause,
    });
  }
  if (text === "") throw new AuthenticationError(`Cannot use the cluster's token in ${file} as the file is empty`);
  if ((statSync(file).mode & 0o077) !== 0)
    throw new AuthenticationError(`Cannot use the cluster's token in ${file} as others may read it: run chmod 600 ${file}`);
  return text;
}
