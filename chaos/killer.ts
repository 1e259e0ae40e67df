/** What goes wrong during a run, one fault every few seconds, chosen by the seed; and what replaces the nodes that are gone. */
import { setTimeout as delay } from "node:timers/promises";
import * as shoal from "shoal";
import type { Cluster, TestNode } from "shoal/testing";
import type { Random } from "../sim/random.ts";
import { allProcesses, isRunning } from "../test/support/processes.ts";
import type { Book } from "./book.ts";

/** Kinds of faults, as often as they are listed. */
const faults = [
  "worker",
  "worker",
  "worker",
  "crash",
  "silent removal",
  "leave",
  "short cut",
  "long cut",
  "stall",
  "stall",
  "busy driver",
] as const;

/** Milliseconds that a node may need to start or to end. */
const settleMs = 90_000;

export interface KillerOptions {
  readonly periodMs: number;
  /** Nodes that may die, whose number is kept. */
  readonly nodes: number;
  readonly nodeTimeoutMs: number;
  /** Of each node that is added. */
  readonly numCpus: number;
  readonly objectStoreMemory: number;
}

export class Killer {
  /** Of every node there ever was. */
  readonly everyNode: TestNode[] = [];
  private readonly cluster: Cluster;
  private readonly random: Random;
  private readonly book: Book;
  private readonly options: KillerOptions;
  /** Nodes that a fault is about to end, and those that are cut off. */
  private readonly doomed = new Set<TestNode>();
  private readonly underWay = new Set<Promise<void>>();
  private adding = 0;

  constructor(cluster: Cluster, random: Random, book: Book, options: KillerOptions) {
    this.cluster = cluster;
    this.random = random;
    this.book = book;
    this.options = options;
  }

  async addNode(): Promise<TestNode> {
    const { numCpus, objectStoreMemory } = this.options;
    const node = await this.cluster.addNode({ numCpus, objectStoreMemory });
    this.everyNode.push(node);
    return node;
  }

  /** Until `over` fires; resolves when the cluster has all its nodes again. */
  async run(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await delay(this.options.periodMs, null, { signal: over }).catch(() => {});
      if (over.aborted) break;
      await this.lookForLosses();
      this.strike();
      this.replenish();
    }
    await this.settle();
    await this.lookForLosses();
    this.replenish();
    await this.settle();
  }

  /** Waits, not for ever, for the nodes that come and go. */
  private async settle(): Promise<void> {
    const bound = new AbortController();
    const late = delay(settleMs, "late", { signal: bound.signal }).catch(() => "in time");
    if ((await Promise.race([Promise.all(this.underWay), late])) === "late")
      this.book.violation("the cluster", `hang: a node has not come or gone in ${settleMs} ms`);
    bound.abort();
  }

  private targets(): TestNode[] {
    return this.cluster.nodes.filter((node) => !node.isHead && !this.doomed.has(node) && isRunning(node.pid));
  }

  private strike(): void {
    const fault = this.random.pick(faults);
    const choice = this.random.next();
    const stretch = this.random.next();
    if (fault === "worker") return this.killWorker(choice);
    const stallMs = this.options.nodeTimeoutMs * 0.6 * stretch;
    if (fault === "stall") return this.stall(choice, stallMs);
    if (fault === "busy driver") return this.beBusy(stallMs);
    const targets = this.targets();
    if (targets.length === 0) return this.book.fault("none", "no node is left to be hit");
    const node = targets[Math.floor(choice * targets.length)];
    this.book.fault(fault, `node ${node.nodeId}`);
    this.doomed.add(node);
    switch (fault) {
      case "crash":
        return this.track(() => this.cluster.killNode(node));
      case "silent removal":
        return this.track(() => this.cluster.removeNode(node));
      case "leave":
        return this.track(() => this.cluster.removeNode(node, { graceful: true }));
      case "short cut":
        return this.track(() => this.cut(node, this.options.nodeTimeoutMs * 0.6 * stretch));
      case "long cut":
        return this.track(() => this.cut(node, this.options.nodeTimeoutMs * (1 + 2 * stretch)));
    }
  }

  /** Of any node, also of the head's. */
  private workers(): number[] {
    const daemons = new Set(this.cluster.nodes.map(({ pid }) => pid));
    return allProcesses()
      .filter(({ parent, command, state }) => daemons.has(parent) && command.startsWith("shoal worker") && state !== "Z")
      .map(({ pid }) => pid);
  }

  /** A process, as likely a daemon as a worker, stands still for a while; everything that was sent to it comes at once then. */
  private stall(choice: number, ms: number): void {
    const daemons = this.cluster.nodes.filter(({ pid }) => isRunning(pid)).map(({ pid }) => pid);
    const kind = choice < 0.5 ? daemons : this.workers();
    if (kind.length === 0) return this.book.fault("none", "no process is there to be stalled");
    const pid = kind[Math.floor(((choice * 2) % 1) * kind.length)];
    this.book.fault("stall", `process ${pid} for ${ms.toFixed(0)} ms`);
    this.track(async () => {
      signal(pid, "SIGSTOP");
      await delay(ms);
      signal(pid, "SIGCONT");
    });
  }

  /** The driver, this process, does nothing else for a while. */
  private beBusy(ms: number): void {
    this.book.fault("busy driver", `for ${ms.toFixed(0)} ms`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  }

  private killWorker(choice: number): void {
    const workers = this.workers();
    if (workers.length === 0) return this.book.fault("none", "no worker is there to be hit");
    const pid = workers[Math.floor(choice * workers.length)];
    this.book.fault("worker", `process ${pid}`);
    signal(pid, "SIGKILL");
  }

  private async cut(node: TestNode, ms: number): Promise<void> {
    this.cluster.cutOff(node);
    await delay(ms);
    if (!this.cluster.nodes.includes(node)) return;
    this.cluster.heal(node);
    this.doomed.delete(node);
    this.book.tell(`node ${node.nodeId} is connected again after ${ms.toFixed(0)} ms`);
  }

  /** Nodes that have ended by themselves: the head has given them up, which is right only after silence. */
  private async lookForLosses(): Promise<void> {
    const ended = this.cluster.nodes.filter((node) => !this.doomed.has(node) && !isRunning(node.pid));
    if (ended.length === 0) return;
    const known = await Promise.race([shoal.nodes(), delay(5_000, [])]);
    for (const node of ended) {
      const reason = known.find(({ nodeId }) => nodeId === node.nodeId)?.deathReason ?? null;
      if (node.isHead) this.book.violation("the head", "its process has ended");
      this.book.fault("given up", `node ${node.nodeId}: ${reason}`);
      this.doomed.add(node);
      this.track(() => this.cluster.removeNode(node));
    }
  }

  private replenish(): void {
    const missing =
      this.options.nodes - this.adding - this.cluster.nodes.filter((node) => !node.isHead && isRunning(node.pid)).length;
    for (let i = 0; i < missing; i++) {
      this.adding++;
      this.track(async () => {
        try {
          const node = await this.addNode();
          this.book.tell(`node ${node.nodeId} has joined`);
        } finally {
          this.adding--;
        }
      });
    }
  }

  private track(action: () => Promise<void>): void {
    const done = action()
      .catch((error: Error) => this.book.violation("the cluster", error.stack ?? String(error)))
      .finally(() => this.underWay.delete(done));
    this.underWay.add(done);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has just ended by itself.
  }
}
