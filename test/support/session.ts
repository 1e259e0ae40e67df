/** One session for all tests of a file, with the ledger at its end. */
import type { ClusterContext, InitOptions } from "shoal";
import * as shoal from "shoal";
import { afterAll, beforeAll } from "vitest";
import { type Ledger, openLedger } from "./ledger.ts";

/** Starts a local session before the tests of the calling file (or `describe`) and ends it after them. Returns its context, once there is one. */
export function useSession(options: InitOptions = { numCpus: 2 }): () => ClusterContext {
  let context: ClusterContext | undefined;
  let ledger: Ledger;
  beforeAll(async () => {
    ledger = openLedger();
    context = await shoal.init({ address: "local", logToDriver: false, ...options });
    ledger.enter(context);
  });
  afterAll(async () => {
    await shoal.shutdown();
    await ledger.expectBalanced();
  });
  return () => {
    if (context === undefined) throw new Error("Cannot use the session before its beforeAll() has run");
    return context;
  };
}

/** Runs `body` in a session of its own, and checks the ledger after it, also when it fails. */
export async function inSession<T>(options: InitOptions, body: (context: ClusterContext) => Promise<T>): Promise<T> {
  const ledger = openLedger();
  let result: T;
  try {
    const context = await shoal.init({ address: "local", logToDriver: false, ...options });
    ledger.enter(context);
    result = await body(context);
  } finally {
    await shoal.shutdown();
  }
  await ledger.expectBalanced();
  return result;
}
