/** A driver's session: its runtime, the daemon it started, and the end of both. */
import type { ChildProcess } from "node:child_process";
import type { InitOptions } from "../../api/init-options.ts";
import { ClusterConnectionError } from "../../base/errors.ts";
import { newWorkerId } from "../../base/ids.ts";
import { warmUp } from "../../functions/index.ts";
import { sweepStaleSessions } from "../../objects/index.ts";
import type { RuntimeEnvSpec } from "../../wire/messages.ts";
import { useNativeStringsSoon } from "../../wire/native-strings.ts";
import { Runtime } from "../owner/runtime.ts";
import { daemonSocket, sessionsRoot, shmRoot } from "../owner/session-paths.ts";
import { adoptRuntime } from "../owner/the-runtime.ts";
import { makeSession, removeSession, startDaemon } from "./local-daemon.ts";
import { Notices } from "./notices.ts";

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
  refuseRemote(options);
  const local = makeSession();
  const runtime = new Runtime({
    role: "driver",
    selfId: newWorkerId(local.nodeId),
    paths: local.paths,
    namespace: options.namespace ?? "default",
    runtimeEnv: (options.runtimeEnv ?? null) as RuntimeEnvSpec | null,
    logToDriver: options.logToDriver ?? true,
    jobId: local.jobId,
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
      const starting = startDaemon(local, options);
      setImmediate(warmUp);
      daemon = await starting;
      await runtime.connect(daemonSocket(local.paths.sessionDir), local.jobId);
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
    removeSession(local.paths);
    if ((globalThis as any)[Symbol.for("shoal.runtime")] === runtime) adoptRuntime(null);
    markClosed();
  };

  const close = (): Promise<void> => {
    closing ??= (async () => {
      await ready.catch(() => {});
      if (runtime.ended === null) await endOrderly(runtime, daemon);
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
    removeSession(local.paths);
  };

  const ready = start();
  return { runtime, ready, closed, implicit: false, close };
}

function refuseRemote(options: InitOptions): void {
  const address = options.address ?? process.env.SHOAL_ADDRESS;
  if (address === undefined || address === "local") return;
  throw new ClusterConnectionError(
    address === "auto"
      ? "Cannot join a cluster: none runs on this machine"
      : `Cannot join the cluster at ${address}: this version runs clusters of one machine only; use address "local"`,
    { address },
  );
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
