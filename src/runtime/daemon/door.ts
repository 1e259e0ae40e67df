/** The daemon's door: processes connect, say who they are, and are welcomed or refused. */
import type { Socket } from "node:net";
import { type JobId, type NodeId, newJobId, nodeKeyOf } from "../../base/ids.ts";
import { Kind, protocolVersion } from "../../wire/index.ts";
import type { HelloInfo, ToDaemon } from "../../wire/messages.ts";
import { Link } from "../transport/link.ts";
import type { Client } from "./client.ts";
import { receive } from "./client-messages.ts";
import type { Daemon } from "./daemon.ts";
import { isHello } from "./decode-message.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** A process has connected to the daemon's socket. */
export function accept(daemon: Daemon, socket: Socket): void {
  let client: Client | null = null;
  new Link(socket, {
    onMessages: (messages, link) => {
      for (const message of messages as unknown as readonly ToDaemon[]) {
        if (!link.isOpen || daemon.isClosing) return;
        if (client !== null) receive(daemon, client, message);
        else client = introduce(daemon, message, link);
        if (client === null) return;
      }
    },
    onClose: (_link, reason) => {
      if (client !== null) daemon.disconnected(client, reason);
    },
  });
}

function introduce(daemon: Daemon, message: ToDaemon, link: Link): Client | null {
  const hello = message[0] === Kind.Hello ? message[1] : null;
  const refusal = hello === null ? "Cannot talk to a process that does not say hello first" : refusalOf(daemon, hello);
  if (hello === null || refusal !== null) {
    daemon.log.line(`refused a connection: ${refusal}`);
    link.send([Kind.Refused, refusal as string]);
    link.end();
    return null;
  }
  const remote = hello.remote === true;
  const worker = hello.role === "worker" && !remote ? (daemon.pool.get(hello.id) as WorkerProcess) : null;
  const jobId = worker?.jobId ?? (hello.jobId === "" ? jobForDriver(daemon, hello) : hello.jobId);
  const namespace = hello.namespace === "" ? daemon.config.namespace : hello.namespace;
  const client: Client = {
    id: hello.id,
    role: hello.role,
    pid: hello.pid,
    jobId,
    namespace,
    link,
    remote,
    worker,
    actorId: null,
  };
  link.peer = hello.id;
  daemon.clients.set(client.id, client);
  if (remote) remoteConnected(daemon, client, hello);
  else if (hello.role === "driver") driverConnected(daemon, client, hello);
  welcome(daemon, client);
  if (worker !== null) workerConnected(daemon, worker, hello, link);
  return client;
}

function welcome(daemon: Daemon, { jobId, namespace, link }: Client): void {
  link.send([
    Kind.Welcome,
    {
      nodeId: daemon.nodeId,
      headNodeId: daemon.cluster?.headNodeId ?? daemon.nodeId,
      clusterId: daemon.cluster?.id ?? daemon.config.clusterId,
      jobId,
      sessionDir: daemon.config.sessionDir,
      shmDir: daemon.config.shmDir,
      address: daemon.address,
      pid: process.pid,
      namespace,
      dashboardUrl: daemon.dashboard?.url ?? null,
      cluster: daemon.cluster !== null,
      job: daemon.cluster === null ? undefined : (daemon.jobInfo(jobId) ?? undefined),
    },
  ]);
}

function refusalOf(daemon: Daemon, hello: HelloInfo): string | null {
  if (Number.isSafeInteger(hello?.version) && hello.version !== protocolVersion) return versionsDiffer(hello.version);
  if (!isHello(hello)) return "Cannot read a hello without its fields";
  if (daemon.clients.has(hello.id)) return `Cannot connect as ${hello.id}: that process is connected already`;
  if (hello.remote === true) return refusalOfRemote(hello, daemon.nodeId);
  if (hello.role === "worker" && daemon.pool.get(hello.id)?.introduced !== false)
    return `Cannot connect as worker ${hello.id}: this daemon has not started it`;
  return null;
}

/** The driver that started this daemon gets the job its workers were started for; any other one of its own. */
function jobForDriver(daemon: Daemon, hello: HelloInfo): JobId {
  return hello.role === "tool" || hello.pid === daemon.config.driverPid ? daemon.config.jobId : newJobId();
}

function driverConnected(daemon: Daemon, client: Client, hello: HelloInfo): void {
  daemon.log.line(`driver ${client.pid} connected for job ${client.jobId}`);
  const { jobId, namespace, pid } = client;
  if (!daemon.jobs.has(jobId)) {
    const driverCwd = typeof hello.cwd === "string" ? hello.cwd : daemon.config.driverCwd;
    daemon.startJob({ jobId, namespace, runtimeEnv: hello.runtimeEnv, driverCwd, driverNode: daemon.nodeId }, pid, 0);
  }
  if (hello.logToDriver && daemon.config.logToDriver !== false) daemon.logs.addDriver(client.jobId, client.link);
  else daemon.logs.endJob(client.jobId);
}

/** An owner of another node; this may be the first that is heard of its job. */
function remoteConnected(daemon: Daemon, { jobId }: Client, { job }: HelloInfo): void {
  if (job !== undefined) daemon.learnJob({ jobId, ...job });
}

function workerConnected(daemon: Daemon, worker: WorkerProcess, hello: HelloInfo, link: Link): void {
  worker.introduced = true;
  worker.link = link;
  worker.address = hello.address;
  daemon.pool.connected(worker);
  daemon.scheduling.dispatch({ kind: "workerReady", token: worker.token, workerId: worker.workerId });
}

function versionsDiffer(theirs: number): string {
  return `Cannot connect to node daemon as it speaks protocol ${protocolVersion} and this process speaks ${theirs}`;
}

/** A process of another node comes for leases and names its job. */
function refusalOfRemote(hello: HelloInfo, self: NodeId): string | null {
  if (nodeKeyOf(hello.id) === nodeKeyOf(self))
    return `Cannot connect as ${hello.id} of another node: that is a process of this one`;
  if (hello.job == null || hello.jobId === "") return `Cannot connect as ${hello.id} of another node without a job`;
  return null;
}
