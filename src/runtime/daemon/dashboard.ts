/** The head's dashboard, if one is wanted. Its code is loaded here and nowhere else, so that a session without one does not pay for it. */
import { randomBytes } from "node:crypto";
import { newWorkerId } from "../../base/ids.ts";
import type { Client } from "./client.ts";
import type { Daemon } from "./daemon.ts";
import type { MethodName } from "./methods.ts";

/** Listens, or says in the log why not. Rejects when it cannot listen where it was told to; only the default may fail in silence, as Ray's may. */
export async function openDashboard(daemon: Daemon): Promise<void> {
  const { dashboard: wish, cluster } = daemon.config;
  if (wish == null || daemon.head === null) return;
  const startedMs = Date.now();
  try {
    const { startDashboard } = await import("../../dashboard/index.ts");
    daemon.dashboard = await startDashboard({
      host: wish.host,
      port: wish.port,
      token: cluster?.token ?? randomBytes(32).toString("hex"),
      ask: asLooker(daemon),
      identity: () => ({ clusterId: daemon.cluster?.id ?? daemon.config.clusterId, address: daemon.address, startedMs }),
      log: (line) => daemon.log.line(line),
    });
  } catch (error) {
    if (wish.required) throw error;
    daemon.log.line(`no dashboard: ${(error as Error).message}`);
  }
}

/** Requests as of a process that is part of no job: all nodes are meant. */
function asLooker(daemon: Daemon) {
  const { nodeId, config } = daemon;
  // Handlers of what the dashboard asks read nothing else of who asks.
  const looker = { id: newWorkerId(nodeId), role: "tool", jobId: config.jobId } as Client;
  return async (method: MethodName, params: unknown): Promise<any> =>
    (daemon.methods[method] as (params: unknown, caller: Client) => unknown)(params, looker);
}
