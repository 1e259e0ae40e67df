/** `memory`, `timeline`, `health-check`, `drain-node`, `kill-actor` and `get-auth-token`. */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { traceEvent } from "../api/trace-event.ts";
import type { NodeMemoryView } from "../runtime/daemon/methods.ts";
import { findToken, makeToken, tokenPath } from "../runtime/driver/token.ts";
import type { ActorView, NodeView } from "../wire/messages.ts";
import { type ClusterFlags, withCluster } from "./cluster-client.ts";
import { Failure, UsageError } from "./failure.ts";
import { storeLines } from "./listings.ts";
import { bytesText, say, sayJson, table, warn } from "./output.ts";

export const memory = (flags: ClusterFlags): Promise<number> =>
  withCluster(flags, async (cluster) => {
    const views = await cluster.request("memory", {});
    if (flags.json) sayJson(views);
    else for (const view of views) sayMemory(view);
    return 0;
  });

function sayMemory({ nodeId, hostname, usedBytes, totalBytes, store, workers }: NodeMemoryView): void {
  say(`Node ${nodeId} on ${hostname}: ${bytesText(usedBytes)} of ${bytesText(totalBytes)} in use`);
  for (const line of storeLines(store)) say(line);
  const rows = workers.map((worker) => [
    worker.workerId,
    worker.pid,
    worker.state,
    worker.residentBytes === null ? null : bytesText(worker.residentBytes),
  ]);
  say(table(["WORKER", "PID", "STATE", "RESIDENT"], rows));
}

export const timeline = (flags: ClusterFlags & { output?: string }): Promise<number> =>
  withCluster(flags, async (cluster) => {
    await cluster.request("drainEvents", {});
    const trace = (await cluster.request("timeline", {})).map(traceEvent);
    const file = resolve(flags.output || `shoal-timeline-${new Date().toISOString().replaceAll(/[:.]/g, "-")}.json`);
    try {
      writeFileSync(file, JSON.stringify(trace));
    } catch (error) {
      throw new Failure(`Cannot write the timeline to ${file}: ${(error as Error).message}`);
    }
    say(`${trace.length} events in ${file}; open it at ui.perfetto.dev or chrome://tracing`);
    return 0;
  });

/** Exit code 0 when the cluster answers for its head. */
export async function healthCheck(flags: ClusterFlags): Promise<number> {
  try {
    return await withCluster(flags, async (cluster) => {
      const nodes = await cluster.request("nodes", {});
      const head = nodes.find((node: NodeView) => node.isHead && node.alive);
      if (head === undefined) throw new Failure("Cannot find a living head among the nodes");
      if (flags.json) sayJson({ healthy: true, nodes: nodes.filter((node: NodeView) => node.alive).length });
      else say(`Healthy: ${nodes.filter((node: NodeView) => node.alive).length} nodes`);
      return 0;
    });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (flags.json) sayJson({ healthy: false, reason: (error as Error).message });
    else warn((error as Error).message);
    return 1;
  }
}

export const drainNode = (flags: ClusterFlags & { nodeId?: string; reason?: string }): Promise<number> => {
  if (!flags.nodeId) throw new UsageError("Cannot drain a node without --node-id ID");
  const wanted = flags.nodeId;
  return withCluster(flags, async (cluster) => {
    const found = (await cluster.request("nodes", {})).filter((node: NodeView) => node.alive && node.nodeId.startsWith(wanted));
    if (found.length !== 1)
      throw new Failure(
        `Cannot drain node '${wanted}': ${found.length === 0 ? "no living node has that id" : "several ids begin so"}`,
      );
    const { nodeId } = found[0];
    await cluster.request("drainNode", { nodeId, reason: flags.reason || "drain-node" });
    say(`Node ${nodeId} gets no further work and leaves when it is through with what it has.`);
    return 0;
  });
};

export const killActor = (
  target: string | undefined,
  flags: ClusterFlags & { name?: string; namespace?: string; restart?: boolean },
): Promise<number> => {
  if (!target && !flags.name) throw new UsageError("Cannot kill an actor without its id or --name");
  return withCluster(flags, async (cluster) => {
    const namespace = flags.namespace || "default";
    const matches = (actor: ActorView): boolean =>
      target ? actor.actorId.startsWith(target) : actor.name === flags.name && actor.namespace === namespace;
    const found = (await cluster.request("listActors", {})).filter(matches);
    const what = target ? `actor '${target}'` : `actor '${flags.name}' in namespace '${namespace}'`;
    if (found.length === 0) throw new Failure(`Cannot kill ${what} as none such lives`);
    if (found.length > 1) throw new Failure(`Cannot kill ${what} as several ids begin so`);
    await cluster.request("killActor", { actorId: found[0].actorId, noRestart: flags.restart !== true });
    say(`Killed actor ${found[0].actorId} (${found[0].className})`);
    return 0;
  });
};

export function getAuthToken(flags: { generate?: boolean; tokenFile?: string }): number {
  const token = flags.generate ? makeToken(flags.tokenFile) : findToken(flags.tokenFile);
  if (token === null)
    throw new Failure(`Cannot find a token: SHOAL_AUTH_TOKEN is not set and there is no ${tokenPath()}; --generate makes one`);
  say(token);
  return 0;
}
