/** Entry of a worker process: joins its daemon and runs what it is given. */
import { setImmediate } from "../../base/clock.ts";
import type { JobId, WorkerId } from "../../base/ids.ts";
import { preferPackagesIn } from "../../functions/index.ts";
import type { RuntimeEnvSpec } from "../../wire/messages.ts";
import { useNativeStringsSoon } from "../../wire/native-strings.ts";
import { provideRuntime } from "../owner/remote-function.ts";
import { Runtime } from "../owner/runtime.ts";
import { currentTask } from "../owner/task-context.ts";
import { adoptRuntime } from "../owner/the-runtime.ts";
import { Executor } from "./executor.ts";
import { hideHugePagesEnv } from "./huge-pages.ts";
import { blockOutput, nameOutput } from "./output-names.ts";
import { diesWithParent } from "./parent-death.ts";
import { textOf } from "./task-error.ts";

interface WorkerConfig {
  readonly sessionDir: string;
  readonly shmDir: string;
  readonly daemonSocket: string;
  readonly workerId: WorkerId;
  readonly jobId: JobId;
  readonly namespace: string;
  readonly runtimeEnv: RuntimeEnvSpec | null;
  readonly cluster: boolean;
  readonly npmDir: string | null;
}

const config = JSON.parse(process.env.SHOAL_WORKER_CONFIG ?? "null") as WorkerConfig | null;
if (config === null) {
  process.stderr.write("Cannot start a worker: SHOAL_WORKER_CONFIG is not set; workers are started by a node daemon\n");
  process.exit(2);
}
delete process.env.SHOAL_WORKER_CONFIG;
hideHugePagesEnv();
process.title = "shoal worker";

const runtime = new Runtime({
  role: "worker",
  selfId: config.workerId,
  paths: { sessionDir: config.sessionDir, shmDir: config.shmDir },
  namespace: config.namespace,
  runtimeEnv: config.runtimeEnv,
  cluster: config.cluster,
  logToDriver: false,
  jobId: config.jobId,
});
const executor = new Executor(runtime);
adoptRuntime(runtime);
provideRuntime(() => runtime);
if (config.npmDir !== null) preferPackagesIn(config.npmDir);
blockOutput();
nameOutput(() => executor.actor.spec?.className ?? currentTask()?.definition.name ?? null);

// Without its daemon a worker has no purpose, and nobody would end it.
runtime.onDaemonLost = () => process.exit(1);

process.on("unhandledRejection", (reason) => {
  const name = currentTask()?.definition.name;
  process.stderr.write(
    `Unhandled rejection${name === undefined ? "" : ` in '${name}'`} (the worker goes on): ${textOf(reason)}\n`,
  );
});

// A batch system that announces the end of a job signals every process of it. It is the node's to act on; Node.js would open its inspector.
if (process.env.SLURM_JOB_ID !== undefined) process.on("SIGUSR1", () => {});

/**
 * The exception came out of a callback: what waits for that callback would wait for ever. The only run there is gets it; then the process takes nothing new and
 * ends, as Node's does.
 */
process.on("uncaughtException", (error) => {
  process.stderr.write(`${textOf(error)}\n`);
  const runs = executor.runsUnderWay();
  if (runs.length !== 1 || runs[0].actorId !== null) process.exit(1);
  executor.retire(runs[0].lane);
  executor.fail(runs[0], error);
  executor.untrack(runs[0]); // it is not waited for: what it waits for may never come
});

// What has been answered is sent, also when the user's code ends the process at once.
process.on("exit", () => runtime.peers.flushAll());

runtime.connect(config.daemonSocket, config.jobId).then(
  () => {
    // A worker waits for work all its life. A wait that never ends, so that the end of another cannot let the process go.
    runtime.waitStarted();
    // A worker in the middle of a long synchronous task cannot see its daemon go; the kernel can.
    setImmediate(() => diesWithParent());
    useNativeStringsSoon();
  },
  (error) => {
    process.stderr.write(`Cannot join the daemon at ${config.daemonSocket}: ${error.message}\n`);
    process.exit(1);
  },
);
