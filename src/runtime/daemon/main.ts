/**
 * The node daemon's process: starts, tells the driver on descriptor 3 how that went, and cleans up at the end however the end comes.
 */
import { renameSync, writeFileSync, writeSync } from "node:fs";
import { rm, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { AuthenticationError } from "../../base/errors.ts";
import { useNativeStringsSoon } from "../../wire/native-strings.ts";
import { type DaemonConfig, driverConnectMs, driverPollMs, type NodeFile, readDaemonConfig, type StartReport } from "./config.ts";
import { Daemon } from "./daemon.ts";
import { openDashboard } from "./dashboard.ts";

/** Milliseconds within which a second signal to end is the first one, arriving by another way. */
const sameRequestMs = 1_000;
let ending: Promise<void> | null = null;

void main();

async function main(): Promise<void> {
  let config: DaemonConfig;
  try {
    config = readDaemonConfig(process.env);
  } catch (error) {
    report({ ok: false, error: (error as Error).message });
    process.exitCode = 1;
    return;
  }
  const workerEntry = config.workerEntry ?? fileURLToPath(new URL("./worker.js", import.meta.url));
  const daemon = new Daemon(config, workerEntry, (reason, orderly) => {
    // Whoever started this node should know why it is gone: its log goes with its session.
    const lost = daemon.cluster !== null && !orderly;
    if (lost && ending === null) process.stderr.write(`${reason}\n`);
    end(daemon, reason, orderly, lost ? 1 : 0);
  });
  let askedAtMs: number | null = null;
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const)
    process.on(signal, () => {
      // A node of a cluster leaves in good order; asked once more, or for a local session, at once. A batch system signals each process of a
      // step, and the command that started this one passes it on: that is asked once.
      const isAgain = askedAtMs !== null && Date.now() - askedAtMs > sameRequestMs;
      if (daemon.cluster === null || signal === "SIGHUP" || isAgain)
        return end(daemon, `the daemon was sent ${signal}`, false, 0);
      if (askedAtMs !== null) return;
      askedAtMs = Date.now();
      daemon.leave(`the daemon was sent ${signal}`);
    });
  // What batch systems send some time before they end a job (Slurm's --signal=USR1@60); without a listener Node.js would open its inspector.
  process.on("SIGUSR1", () => {
    if (daemon.cluster !== null && askedAtMs === null) daemon.leave("the daemon was sent SIGUSR1", true);
  });
  process.on("uncaughtException", (error) => failed(daemon, error));
  process.on("unhandledRejection", (error) => failed(daemon, error));
  try {
    if (config.cluster?.endsWithInput === true)
      process.stdin.on("end", () => end(daemon, "whoever started it has ended", false, 0)).resume();
    // Whoever stands between this node and the others must know the port before the node can join.
    if (config.cluster?.announce != null) daemon.listening = (port) => report({ ok: true, listening: port });
    const listening = daemon.start();
    listening.catch(() => {}); // awaited below: it may fail before that
    // The workers are on their way now; what follows is done while they start.
    const { openStore } = await import("./open-store.ts");
    daemon.attachStore(openStore(daemon));
    await listening;
    await openDashboard(daemon);
    if (config.driverPid !== null) watchForDriver(daemon, config, config.driverPid);
    else writeNodeFile(daemon);
    report({ ok: true, ...whereabouts(daemon) });
    useNativeStringsSoon();
  } catch (error) {
    const isRefused = error instanceof AuthenticationError || (error as Error).cause instanceof AuthenticationError;
    report({ ok: false, error: (error as Error).message, isRefused });
    end(daemon, `Cannot start: ${(error as Error).message}`, false, 1);
  }
}

/** One line to the driver that waits for it; a driver that is gone does not. */
function report(outcome: StartReport): void {
  try {
    writeSync(3, `${JSON.stringify(outcome)}\n`);
  } catch {
    // Nobody listens; the driver's absence is noticed elsewhere.
  }
}

function whereabouts({ nodeId, cluster, dashboard }: Daemon): Omit<StartReport, "ok"> {
  const seenAt = dashboard === null ? {} : { dashboardUrl: dashboard.url };
  return cluster === null ? { nodeId, ...seenAt } : { nodeId, clusterId: cluster.id, ...cluster.announced, ...seenAt };
}

/** Tells `init()` and the command line that a node runs here, and which. */
function writeNodeFile({ nodeId, cluster, config }: Daemon): void {
  if (cluster === null) return;
  const { host, port } = cluster.headAddress;
  const file: NodeFile = {
    pid: process.pid,
    nodeId,
    clusterId: cluster.id,
    isHead: cluster.config.role === "head",
    ...cluster.announced,
    headHost: host,
    headPort: port,
    startedMs: Date.now(),
    ...(cluster.config.unlisted === true ? { unlisted: true } : {}),
  };
  const path = join(config.sessionDir, "node.json");
  writeFileSync(`${path}.new`, JSON.stringify(file), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Until the driver has connected its end cannot be seen on a connection. */
function watchForDriver(daemon: Daemon, config: DaemonConfig, driverPid: number): void {
  const until = Date.now() + driverConnectMs + (config.cluster?.joinTimeoutMs ?? 0);
  const timer = setInterval(() => {
    if ([...daemon.clients.values()].some((client) => client.role === "driver" && !client.remote)) return clearInterval(timer);
    if (!isAlive(driverPid)) end(daemon, "its driver ended before it connected", false, 0);
    else if (Date.now() > until) end(daemon, `its driver did not connect within ${driverConnectMs} ms`, false, 0);
  }, driverPollMs);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Our own bug. The session cannot go on without its daemon; leave nothing behind. */
function failed(daemon: Daemon, error: unknown): void {
  daemon.log.line(`fatal: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  end(daemon, `the daemon failed: ${error instanceof Error ? error.message : String(error)}`, false, 1);
}

function end(daemon: Daemon, reason: string, orderly: boolean, exitCode: number): void {
  if (ending === null) ending = cleanUp(daemon, reason, orderly).finally(() => process.exit(exitCode));
}

/** Processes first, so that nobody writes into the directories while they are removed. */
async function cleanUp(daemon: Daemon, reason: string, orderly: boolean): Promise<void> {
  await daemon.close(reason, !orderly);
  daemon.store?.remove();
  const { sessionDir, shmDir } = daemon.config;
  const gone = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 };
  await Promise.allSettled([rm(sessionDir, gone), rm(shmDir, gone)]);
  // The directories of all this user's sessions, when this was the last; nothing that somebody else chose as a parent.
  const parents = [dirname(sessionDir), dirname(shmDir)].filter((dir) => /^shoal-\d+/.test(basename(dir)));
  await Promise.allSettled(parents.map((dir) => rmdir(dir)));
  daemon.disconnect();
}
