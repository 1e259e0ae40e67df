/**
 * What nodes cost the head while nothing happens: a head of its own, and nodes that exist only as members. Each of them is a real connection with the
 * protocol's own heartbeats (`NodeLinks`, `HeadWatch`); what is missing is the machine behind it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type NodeId, newNodeId, nodeKeyOf } from "../../src/base/ids.ts";
import { HeadWatch } from "../../src/runtime/daemon/head-watch.ts";
import { NodeLinks } from "../../src/runtime/transport/node-links.ts";
import { type JoinInfo, NodeKind } from "../../src/wire/node-messages.ts";
import type { Measurement, Scale } from "../measurement.ts";
import { cpuSecondsOf, memoryOfProcess } from "../memory.ts";
import { withHead } from "./node-processes.ts";
import type { Case } from "./session.ts";

interface HeadUse {
  /** Share of one processor. */
  readonly cpuPercent: number;
  readonly megabytes: number;
  readonly joinMs: number;
}

const joinTimeoutMs = 60_000;
const settleMs = 5_000;
const watchedMs = 20_000;

/** By number of nodes. Within one process, as at the small size, processor and memory are two rows of one measurement; at the large each row has a process of its own. */
const measured = new Map<number, Promise<readonly [alone: HeadUse, crowded: HeadUse]>>();

export const idleNodeCases: Readonly<Record<string, Case>> = Object.fromEntries(
  [250, 1000].flatMap((count) => [
    [`cluster: head's processor, ${count} idle nodes`, (scale: Scale) => processor(scale, count)],
    [`cluster: head's memory, ${count} idle nodes`, (scale: Scale) => memory(scale, count)],
  ]),
);

async function processor(scale: Scale, count: number): Promise<Measurement> {
  const [alone, crowded] = await measureHead(scale, count);
  return {
    value: crowded.cpuPercent,
    runs: [],
    note: `${alone.cpuPercent.toFixed(2)} % without them; all had joined after ${crowded.joinMs.toFixed(0)} ms`,
  };
}

async function memory(scale: Scale, count: number): Promise<Measurement> {
  const [alone, crowded] = await measureHead(scale, count);
  return { value: crowded.megabytes, runs: [], note: `PSS of the head's daemon; ${alone.megabytes.toFixed(1)} MB without them` };
}

function measureHead(scale: Scale, count: number): Promise<readonly [HeadUse, HeadUse]> {
  const nodes = scale.small ? Math.min(5, count) : count;
  let use = measured.get(nodes);
  if (use === undefined) {
    use = withHead(async (head) => {
      const alone = await watch(head.pid, scale, 0);
      const since = performance.now();
      const idle = nodeIds(nodes).map((nodeId) => new IdleNode(nodeId, head.host, head.port, head.token));
      try {
        await Promise.all(idle.map((node) => node.join()));
        return [alone, await watch(head.pid, scale, performance.now() - since)] as const;
      } finally {
        await Promise.all(idle.map((node) => node.leave()));
      }
    });
    measured.set(nodes, use);
  }
  return use;
}

async function watch(pid: number, scale: Scale, joinMs: number): Promise<HeadUse> {
  await sleep(scale.small ? 0 : settleMs);
  const ms = scale.small ? 100 : watchedMs;
  const before = cpuSecondsOf(pid);
  const since = performance.now();
  await sleep(ms);
  const seconds = (performance.now() - since) / 1000;
  return { cpuPercent: (100 * (cpuSecondsOf(pid) - before)) / seconds, megabytes: memoryOfProcess(pid).pssBytes / 1e6, joinMs };
}

/** Ids that differ in what the ids of their processes begin with: of a thousand at random two are alike now and then, and the head refuses one. */
function nodeIds(count: number): NodeId[] {
  const byKey = new Map<string, NodeId>();
  while (byKey.size < count) {
    const nodeId = newNodeId();
    byKey.set(nodeKeyOf(nodeId), nodeId);
  }
  return [...byKey.values()];
}

class IdleNode {
  private readonly nodeId: NodeId;
  private readonly links: NodeLinks;
  private readonly watch: HeadWatch;
  private port = 0;
  private clusterId: string | null = null;

  constructor(nodeId: NodeId, host: string, port: number, token: string) {
    this.nodeId = nodeId;
    const ignore = (): void => {};
    this.links = new NodeLinks(
      { nodeId, token, clusterId: () => this.clusterId, log: ignore },
      {
        onMessage: (from) => {
          if (from === this.watch.headNodeId) this.watch.heard();
        },
        onRequest: () => Promise.reject(new Error("Cannot answer as this node is idle")),
        onOpen: ignore,
        onClosed: (nodeId, reason) => this.watch.disconnected(nodeId, reason),
        onStream: (_from, _target, stream) => stream.destroy(),
        onBulk: (_from, socket) => socket.destroy(),
      },
    );
    this.watch = new HeadWatch(this.links, host, port, {
      joinInfo: () => this.joinInfo(),
      heartbeat: (sequence) => [NodeKind.Heartbeat, sequence, this.joinInfo().available, [], 0],
      joined: ({ clusterId }) => {
        this.clusterId = clusterId;
      },
      interrupted: ignore,
      lost: (reason) => process.stderr.write(`An idle node was lost: ${reason}\n`),
    });
  }

  async join(): Promise<void> {
    this.port = await this.links.listen("127.0.0.1", 0);
    await this.watch.join(joinTimeoutMs);
  }

  async leave(): Promise<void> {
    this.watch.close();
    await this.links.close();
  }

  private joinInfo(): JoinInfo {
    const resources = { CPU: 16, memory: 64e9, [`node:${this.nodeId}`]: 1, object_store_memory: 20e9 };
    return {
      nodeId: this.nodeId,
      hostname: `idle-${this.nodeId.slice(0, 6)}`,
      host: "127.0.0.1",
      port: this.port,
      resources,
      available: resources,
      labels: { "ray.io/node-id": this.nodeId },
      objectStoreMemory: 20e9,
      driverOnly: false,
      here: null,
    };
  }
}
