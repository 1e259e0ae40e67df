/** Starting and ending a session. */

import { ClusterConnectionError } from "../base/errors.ts";
import { type DriverSession, openSession } from "../runtime/driver/session.ts";
import { provideRuntime } from "../runtime/owner/remote-function.ts";
import type { Runtime } from "../runtime/owner/runtime.ts";
import { theRuntimeIfAny } from "../runtime/owner/the-runtime.ts";
import { checkInitOptions } from "./init-check.ts";
import type { ClusterContext, InitOptions } from "./init-options.ts";
import { registerSelf } from "./self.ts";

let session: DriverSession | null = null;
/** The end of the last session that was ended, while it goes on; never rejects. */
let closing: Promise<void> | null = null;
/** Calls of `init` under way. A `shutdown` ends them. */
const opening = new Set<{ shutDown: boolean; readonly context: Promise<ClusterContext> }>();

/**
 * Starts a local one-node cluster, or joins one, and connects this program to it. Any other verb does the same by default when called first.
 * Rejects with ClusterConnectionError when `shutdown` is called before it is through.
 *
 * @example
 * await using cluster = await shoal.init({ numCpus: 4 });
 */
export function init(options: InitOptions = {}): Promise<ClusterContext> {
  const call = { shutDown: false };
  const context = open(options, call);
  const entry = Object.assign(call, { context });
  opening.add(entry);
  const over = (): boolean => opening.delete(entry);
  context.then(over, over);
  return context;
}

async function open(options: InitOptions, call: { readonly shutDown: boolean }): Promise<ClusterContext> {
  checkInitOptions(options);
  // Whatever is to end goes first. From the look at what runs to the opening nothing waits, so two calls at once open one session.
  while (closing !== null || (session !== null && session.runtime.ended !== null)) {
    await (closing ?? endSession());
    refuseIfShutDown(call);
  }
  const running = theRuntimeIfAny();
  if (running !== null && running.ended === null) {
    if (running.role === "worker") return contextOf(running);
    if (session !== null && (session.implicit || options.ignoreReinitError)) {
      const known = session;
      known.implicit = false;
      await known.ready;
      refuseIfShutDown(call);
      return contextOf(known.runtime);
    }
    throw new ClusterConnectionError(
      "Cannot init twice: a session is running; call shutdown() first, or pass ignoreReinitError",
      {},
    );
  }
  registerSelf();
  const opened = openSession(options);
  session = opened;
  try {
    await opened.ready;
  } catch (error) {
    if (session === opened) session = null;
    throw error;
  }
  refuseIfShutDown(call);
  return contextOf(opened.runtime);
}

function refuseIfShutDown({ shutDown }: { readonly shutDown: boolean }): void {
  if (shutDown) throw new ClusterConnectionError("Cannot init as shutdown() was called before the session was ready", {});
}

/**
 * Ends the session: its processes, sockets, temporary files and shared memory are gone when it resolves. Does nothing without a session.
 * An `init` under way is ended, too: it rejects.
 */
export function shutdown(): Promise<void> {
  for (const call of opening) {
    call.shutDown = true;
    call.context.catch(() => {}); // whoever asked for the end need not look at what became of the beginning
  }
  return endSession();
}

function endSession(): Promise<void> {
  const ending = session;
  session = null;
  if (ending === null) return closing ?? Promise.resolve();
  const end = ending.close().finally(() => {
    if (closing === end) closing = null;
  });
  closing = end;
  return end;
}

/** True from `init` until `shutdown`. */
export function isInitialized(): boolean {
  const runtime = theRuntimeIfAny();
  return runtime !== null && runtime.ended === null;
}

/** The session of this process; starts a default one when there is none. @internal */
export function runtimeNow(): Runtime {
  const running = theRuntimeIfAny();
  if (running !== null) return running;
  registerSelf();
  const opened = openSession({});
  opened.implicit = true;
  session = opened;
  opened.ready.catch(() => {}); // what was asked of it fails with the reason
  return opened.runtime;
}

provideRuntime(runtimeNow);

function contextOf(runtime: Runtime): ClusterContext {
  const welcome = runtime.welcome;
  if (welcome === null) throw new ClusterConnectionError("Cannot describe a session that has not started", {});
  return {
    address: welcome.address,
    nodeId: welcome.nodeId,
    jobId: welcome.jobId,
    namespace: welcome.namespace,
    sessionDir: welcome.sessionDir,
    ...(welcome.dashboardUrl === null ? {} : { dashboardUrl: welcome.dashboardUrl }),
    [Symbol.asyncDispose]: shutdown,
  };
}
