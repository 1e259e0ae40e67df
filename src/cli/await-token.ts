/** The token of a node that may start before its head. */
import { AuthenticationError } from "../base/errors.ts";
import { type ClusterAddress, formatAddress } from "../runtime/driver/cluster-address.ts";
import { findToken, noToken, tokenPath } from "../runtime/driver/token.ts";
import { warn } from "./output.ts";
import { until } from "./wait-until.ts";

/** Between two looks, at a file system that may be on the network. */
const lookMs = 250;

/** In a fresh home that nodes share, the first head makes the token: until then its nodes wait, at most `withinMs`. */
export async function awaitToken(head: ClusterAddress, withinMs: number, file?: string): Promise<string> {
  let token = findToken(file);
  if (token !== null) return token;
  warn(`Waiting for the cluster's token in ${tokenPath()}, which the head at ${formatAddress(head)} makes`);
  const found = (): boolean => {
    token = findToken(file);
    return token !== null;
  };
  await until(found, withinMs, lookMs);
  if (token !== null) return token;
  throw new AuthenticationError(
    `Cannot join the cluster at ${formatAddress(head)} as its token did not come within ${withinMs / 1000} s: ${noToken()}`,
  );
}
