/** A process that is connected to the daemon. */
import type { ActorId, JobId, WorkerId } from "../../base/ids.ts";
import type { HelloInfo } from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import type { WorkerProcess } from "./worker-process.ts";

export interface Client {
  readonly id: WorkerId;
  readonly role: HelloInfo["role"];
  readonly pid: number;
  readonly jobId: JobId;
  readonly namespace: string;
  readonly link: Link;
  /** It is a process of another node, here for leases. */
  readonly remote: boolean;
  /** The process the daemon started, for a worker; else null. */
  readonly worker: WorkerProcess | null;
  /** Set from StartActor on. */
  actorId: ActorId | null;
}
