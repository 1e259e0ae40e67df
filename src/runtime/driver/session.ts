/** A driver's session: its runtime, the daemon it started or joined, and the end of what is its own. */

import type { ChildProcess } from "node:child_process";
import type { InitOptions } from "../../api/init-options.ts";
import { clearTimeout, setImmediate, setTimeout } from "../../base/clock.ts";
import { ClusterConnectionError } from "../../base/errors.ts";
import { newJobId, newWorkerId } from "../../base/ids.ts";
import { warmUp } from "../../functions/index.ts";
import { sweepStaleSessions } from "../../objects/index.ts";
import type { RuntimeEnvSpec } from "../../wire/messages.ts";
import { useNativeStringsSoon } from "../../wire/native-strings.ts";
import { Runtime } from "../owner/runtime.ts";
import { daemonSocket, sessionsRoot, shmRoot } from "../owner/session-paths.ts";
import { adoptRuntime } from "../owner/the-runtime.ts";
import { type ClusterChoice, findCluster } from "./find-cluster.ts";
import { type LocalSession, makeSession, removeSession, startDaemon, startJoiningDaemon } from "./local-daemon.ts";
import { nodesHere } from "./nodes-here.ts";
import { Notices } from "./notices.ts";
import { isThisMachine } from "./own-address.ts";

export interface DriverSession {
  readonly runtime: Runtime;
  readonly ready: Promise<void>;
  /** Resolves when everything is gone. */
  readonly closed: Promise<void>;
  /** Started by a verb, not by `init`. */
  implicit: boolean;
  close(): Promise<void>;
}

/** Milliseconds the daemon has for an orderly end before it is ended by force. */
const shutdownMs = 5_000;

/** Opens a session at once; `ready` settles when the daemon has answered. Until then what is asked of the runtime waits. */
export function openSession(options: InitOptions): DriverSession {
  const choice = findCluster(options.address, {
    environment: process.env.SHOAL_ADDRESS,
    nodes: nodesHere,
    isThisMachine,
  });
  if (choice.kind !== "new") refuseNodeOptions(options);
  // A session that somebody else has started is not ours to end or to remove.
  const own = choice.kind !== "here";
  const session: LocalSession = choice.kind === "here" ? { ...choice.node, jobId: newJobId() } : makeSession();
  const runtime = new Runtime({
    role: "driver",
    selfId: newWorkerId(session.nodeId),
    paths: session.paths,
    namespace: options.namespace ?? "default",
    runtimeEnv: (options.runtimeEnv ?? null) as RuntimeEnvSpec | null,
    logToDriver: options.logToDriver ?? true,
    jobId: session.jobId,
    cluster: choice.kind !== "new",
  });
  adoptRuntime(runtime);
  const notices = new Notices(runtime);
  let daemon: ChildProcess | null = null;
  let markClosed: () => void = () => {};
  const closed = new Promise<void>((resolve) => {
    markClosed = resolve;
  });
  let closing: Promise<void> | null = null;

  const start = async (): Promise<void> => {
    try {
      const starting = startFor(choice, session, options);
      setImmediate(warmUp);
      daemon = await starting;
      await runtime.connect(daemonSocket(session.paths.sessionDir), session.jobId);
      useNativeStringsSoon();
      setImmediate(() => sweepStaleSessions(sessionsRoot(), shmRoot()));
    } catch (error) {
      runtime.daemon.abort(error as Error);
      runtime.end(error as Error);
      finish();
      throw error;
    }
  };

  /** The last steps, whatever went before: nothing of the session stays. */
  const finish = (): void => {
    process.removeListener("beforeExit", onBeforeExit);
    notices.close();
    if (own) removeSession(session.paths);
    if ((globalThis as any)[Symbol.for("shoal.runtime")] === runtime) adoptRuntime(null);
    markClosed();
  };

  const close = (): Promise<void> => {
    closing ??= (async () => {
      await ready.catch(() => {});
      if (runtime.ended === null) await (own ? endOrderly(runtime, daemon) : leave(runtime));
      finish();
    })();
    return closing;
  };

  const onBeforeExit = (): void => {
    if (closing === null) close();
  };
  process.on("beforeExit", onBeforeExit);
  // Its daemon is gone: workers end by themselves, the files are ours to remove. The runtime stays, to tell every caller why.
  runtime.onDaemonLost = () => {
    notices.close();
    if (own) removeSession(session.paths);
  };

  const ready = start();
  return { runtime, ready, closed, implicit: false, close };
}

/** The daemon that this program starts for itself, if it needs one. */
function startFor(choice: ClusterChoice, session: LocalSession, options: InitOptions): Promise<ChildProcess | null> {
  if (choice.kind === "new") return startDaemon(session, options);
  return choice.kind === "elsewhere" ? startJoiningDaemon(session, options, choice.address) : Promise.resolve(null);
}

/** What is said of a node that others have started would be ignored; Ray refuses it, too. */
function refuseNodeOptions(options: InitOptions): void {
  for (const name of ["numCpus", "numGpus", "resources", "labels", "objectStoreMemory"] as const) {
    if (options[name] !== undefined)
      throw new TypeError(
        `Cannot use init option '${name}' in a cluster that runs already: give it to \`shoal start\`, or pass address: "local"`,
      );
  }
  if (options.dashboard)
    throw new TypeError(
      "Cannot use init option 'dashboard' in a cluster that runs already: its head has one, or was started with --no-dashboard",
    );
}

/** Ends this program's part in a session that goes on. */
async function leave(runtime: Runtime): Promise<void> {
  runtime.daemon.keepAlive(true);
  try {
    await runtime.daemon.request("flushLogs", {});
  } catch {
    // The daemon is gone: there is nothing to leave.
  }
  runtime.end(new ClusterConnectionError("Cannot use a session that has been shut down", {}));
}

async function endOrderly(runtime: Runtime, daemon: ChildProcess | null): Promise<void> {
  runtime.daemon.keepAlive(true);
  const timer = setTimeout(() => daemon?.kill("SIGKILL"), shutdownMs);
  const gone = new Promise<void>((resolve) => {
    if (daemon === null || daemon.exitCode !== null || daemon.signalCode !== null) resolve();
    else {
      daemon.ref();
      daemon.once("exit", () => resolve());
    }
  });
  try {
    await runtime.daemon.request("flushLogs", {});
    await runtime.daemon.request("shutdown", { reason: "shutdown" });
  } catch {
    // The daemon is gone already; what it left is removed next.
  }
  runtime.end(new ClusterConnectionError("Cannot use a session that has been shut down", {}));
  await gone;
  clearTimeout(timer);
}
