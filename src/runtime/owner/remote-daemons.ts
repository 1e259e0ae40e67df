/**
 * Connections of this process to the daemons of other nodes, which lease it workers there. Each is made through the own daemon's relay when
 * the own daemon first names the node (`Spill`), and speaks the same protocol as the one to the own daemon.
 *
 * A connection that is lost may mean a dead node or a broken link. Until the head knows which, what was asked there is kept back for a
 * moment instead of being asked at home, which would name the same node again.
 */
import { clearTimeout, setTimeout } from "../../base/clock.ts";
import { type NodeId, nodeKeyOf } from "../../base/ids.ts";
import { protocolVersion } from "../../wire/index.ts";
import type { FromDaemon, RemoteJob, ToDaemon } from "../../wire/messages.ts";
import { connectThroughRelay, daemonTarget } from "../transport/relay.ts";
import { DaemonLink } from "./daemon-link.ts";
import type { Runtime } from "./runtime.ts";

/** After a lost connection a node is asked again after this long, doubled each time up to the maximum. */
const againMs = 100;
const againMsMax = 5_000;

export interface RemoteDaemonHandlers {
  onMessage(from: NodeId, message: FromDaemon): void;
  onLost(node: NodeId, reason: string): void;
  /** The node may be asked again. */
  onAgain(node: NodeId): void;
}

interface RemoteDaemon {
  readonly link: DaemonLink;
  /** Scheduling classes it knows. */
  readonly classes: Set<number>;
}

export class RemoteDaemons {
  private readonly runtime: Runtime;
  private readonly handlers: RemoteDaemonHandlers;
  private readonly daemons = new Map<NodeId, RemoteDaemon>();
  /** Connections lost in a row, by node; removed when one is welcomed, or with the node. */
  private readonly failures = new Map<NodeId, number>();
  private readonly timers = new Map<NodeId, NodeJS.Timeout>();

  constructor(runtime: Runtime, handlers: RemoteDaemonHandlers) {
    this.runtime = runtime;
    this.handlers = handlers;
  }

  /** The node's daemon, connected to when it is not yet. */
  send(node: NodeId, message: ToDaemon): void {
    this.to(node).link.send(message);
  }

  /** True once for each class: the daemon must be told of it first. */
  isNewTo(node: NodeId, classId: number): boolean {
    const { classes } = this.to(node);
    if (classes.has(classId)) return false;
    classes.add(classId);
    return true;
  }

  /** Sends if there is a connection; without one the daemon has nothing left to be told. */
  sendIfConnected(node: NodeId, message: ToDaemon): void {
    this.daemons.get(node)?.link.send(message);
  }

  request(node: NodeId, method: string, params: unknown): Promise<unknown> {
    return this.to(node).link.request(method, params);
  }

  /** The node is dead: its connection ends without a word, and nothing is tried again. */
  drop(node: NodeId): void {
    this.failures.delete(node);
    clearTimeout(this.timers.get(node));
    this.timers.delete(node);
    const daemon = this.daemons.get(node);
    this.daemons.delete(node);
    daemon?.link.close();
  }

  close(): void {
    for (const timer of this.timers.values()) clearTimeout(timer);
    for (const { link } of this.daemons.values()) link.close();
    this.daemons.clear();
  }

  private to(node: NodeId): RemoteDaemon {
    const known = this.daemons.get(node);
    if (known !== undefined) return known;
    const { runtime } = this;
    const link = new DaemonLink({
      onMessage: (message) => this.handlers.onMessage(node, message),
      onLost: (reason) => this.lost(node, link, reason),
    });
    const daemon = { link, classes: new Set<number>() };
    this.daemons.set(node, daemon);
    link
      .connect(connectThroughRelay(runtime.paths.sessionDir, daemonTarget(nodeKeyOf(node))), {
        version: protocolVersion,
        role: runtime.role,
        id: runtime.selfId,
        pid: process.pid,
        jobId: runtime.jobId,
        namespace: runtime.namespace,
        address: "",
        runtimeEnv: null,
        logToDriver: false,
        remote: true,
        job: this.job(),
      })
      .then(
        () => this.failures.delete(node),
        () => {}, // onLost says it
      );
    link.keepAlive(false);
    return daemon;
  }

  /** As the own daemon has it; a driver that was told nothing is its job itself. */
  private job(): RemoteJob {
    const { welcome, config, namespace } = this.runtime;
    return (
      welcome?.job ?? {
        namespace,
        runtimeEnv: config.runtimeEnv,
        driverCwd: process.cwd(),
        driverNode: welcome?.nodeId as NodeId,
      }
    );
  }

  private lost(node: NodeId, link: DaemonLink, reason: string): void {
    if (this.daemons.get(node)?.link !== link) return;
    this.daemons.delete(node);
    const failures = this.failures.get(node) ?? 0;
    this.failures.set(node, failures + 1);
    const timer = setTimeout(
      () => {
        this.timers.delete(node);
        this.handlers.onAgain(node);
      },
      Math.min(againMsMax, againMs * 2 ** Math.min(failures, 10)),
    );
    timer.unref();
    clearTimeout(this.timers.get(node));
    this.timers.set(node, timer);
    this.handlers.onLost(node, reason);
  }
}
