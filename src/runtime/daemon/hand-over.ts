/**
 * What a node that leaves does with the objects that only it has: other nodes pull them before it goes, so that no task has to run again.
 *
 * In rounds: look which files there are, ask their owners, which alone know what is still wanted and where else it is, choose who takes what
 * (core/hand-over-plan.ts), and have it pulled. Results may come while tasks still run, so rounds are repeated until one that began after the last
 * task finds nothing more to do. Objects whose owner lives here are left out: they end with it.
 */
import { type NodeId, type NodeKey, nodeKeyOf, type WorkerId } from "../../base/ids.ts";
import { planHandOver } from "../../core/hand-over-plan.ts";
import { pressureFraction, type StoreStats, segmentParts } from "../../objects/index.ts";
import { heldObjectsMax } from "../../wire/limits.ts";
import type { HeldObject } from "../../wire/messages.ts";
import type { ClusterSide } from "./cluster-side.ts";
import type { Daemon } from "./daemon.ts";
import type { HeldOf } from "./held-query.ts";
import type { PullResult } from "./transfer/index.ts";

/** Milliseconds for a question to another node. Owners are asked for a second there. */
const askMs = 3_000;
/** Milliseconds for which a file that its owner does not know is waited for: the word that it was made may be on its way. */
const unknownMs = 2_000;
/** Nodes asked how much room they have. At it: those with less room, by what was last said, are left out. */
const takersMax = 32;
/** Objects that one node is asked to take at once; it pulls as many as it sees fit. */
const takenAtOnce = 4;
/** Times an object is offered. */
const triesMax = 2;

interface Held extends HeldObject {
  readonly owner: WorkerId;
  readonly bytes: number;
}

/** An object that only this node has. */
interface Open {
  readonly bytes: number;
  readonly replaceable: boolean;
  tries: number;
}

export class HandOver {
  private readonly daemon: Daemon;
  private readonly cluster: ClusterSide;
  private readonly self: NodeKey;
  private readonly untilMs: number;
  /** Files that need nothing more: handed over, or somebody else has them. By name. */
  private readonly settled = new Set<string>();
  /** What only this node has, as its owner said; removed when another has it, or when it was freed. By name. */
  private readonly open = new Map<string, Open>();
  /** When a file was first seen that its owner does not know. */
  private readonly unknownSinceMs = new Map<string, number>();
  /** Owners that did not answer in the last round. */
  private silent: ReadonlySet<WorkerId> = new Set();
  private objects = 0;
  private bytes = 0;

  /** What is not handed over by `untilMs` is left. */
  constructor(daemon: Daemon, cluster: ClusterSide, untilMs: number) {
    this.daemon = daemon;
    this.cluster = cluster;
    this.self = nodeKeyOf(daemon.nodeId);
    this.untilMs = untilMs;
  }

  /** True when there is nothing more to do, as far as can be seen now. Never rejects. */
  async round(): Promise<boolean> {
    try {
      return await this.doRound();
    } catch (error) {
      this.daemon.log.line(`Cannot hand objects over: ${(error as Error).message}`);
      return false;
    }
  }

  /** What was handed over and what not, for the log. Empty when there was nothing. */
  async summary(): Promise<string> {
    const names = await this.names().catch(() => new Set<string>());
    const open = [...this.open].flatMap(([name, object]) => (names.has(name) ? [object] : []));
    const parts: string[] = [];
    const say = (verb: string, objects: number, bytes: number, where = ""): void => {
      if (objects > 0) parts.push(`${verb} ${sizeText(objects, bytes)}${where}`);
    };
    const bytesOf = (all: readonly Open[]): number => all.reduce((sum, { bytes }) => sum + bytes, 0);
    const left = open.filter(({ replaceable }) => replaceable);
    const lost = open.filter(({ replaceable }) => !replaceable);
    say("handed over", this.objects, this.bytes);
    say("left", left.length, bytesOf(left), " to lineage");
    say("lost", lost.length, bytesOf(lost), " that no task can make again");
    const unknown = [...names].filter((name) => this.isOfSilent(name)).length;
    if (unknown > 0) parts.push(`left ${unknown} ${unknown === 1 ? "file" : "files"} whose owners did not answer`);
    return parts.join(", ");
  }

  private async doRound(): Promise<boolean> {
    const names = await this.names();
    for (const name of this.open.keys()) if (!names.has(name)) this.open.delete(name);
    const unsettled = [...names].filter((name) => !this.settled.has(name) && this.isForOthers(name));
    if (unsettled.length === 0) return true;
    const { held, silent, full } = await this.askOwners(unsettled);
    this.silent = silent;
    const known = new Set(held.map(({ location }) => location.name));
    const isWaited = unsettled.some((name) => !known.has(name) && this.isOnItsWay(name));
    const before = this.objects;
    const offered = await this.offer(held);
    const isMore = full && this.objects > before;
    return offered && silent.size === 0 && !isWaited && !isMore;
  }

  private names(): Promise<Set<string>> {
    return this.daemon.store?.manager.segmentNames() ?? Promise.resolve(new Set());
  }

  /** Its owner lives on another node. */
  private isForOthers(name: string): boolean {
    const owner = segmentParts(name)?.owner;
    return (
      owner !== undefined && nodeKeyOf(owner as WorkerId) !== this.self && this.cluster.isAlive(nodeKeyOf(owner as WorkerId))
    );
  }

  private isOfSilent(name: string): boolean {
    return this.silent.has(segmentParts(name)?.owner as WorkerId) && !this.settled.has(name) && !this.open.has(name);
  }

  /** Whether the owner of a file it does not know may still hear of it. A copy was made of what it knew: that has been freed. */
  private isOnItsWay(name: string): boolean {
    if (segmentParts(name)?.writer === this.self) return false;
    const sinceMs = this.unknownSinceMs.get(name);
    if (sinceMs === undefined) this.unknownSinceMs.set(name, performance.now());
    return sinceMs === undefined || performance.now() - sinceMs < unknownMs;
  }

  /** What the owners of these files have here. `silent`: those that have not answered. `full`: one may have more. */
  private async askOwners(names: readonly string[]): Promise<{ held: Held[]; silent: Set<WorkerId>; full: boolean }> {
    const byNode = new Map<NodeId, Set<WorkerId>>();
    for (const name of names) {
      const owner = segmentParts(name)?.owner as WorkerId;
      const nodeId = this.cluster.nodeOf(nodeKeyOf(owner));
      if (nodeId === null) continue;
      const owners = byNode.get(nodeId) ?? new Set();
      byNode.set(nodeId, owners.add(owner));
    }
    const leaving = [...this.cluster.nodes.values()]
      .filter(({ alive, draining, driverOnly }) => alive && (draining || driverOnly))
      .map(({ nodeId }) => nodeKeyOf(nodeId));
    const answers = await Promise.allSettled(
      [...byNode].map(([nodeId, owners]) =>
        this.request<HeldOf[]>(nodeId, "heldObjects", { owners: [...owners], node: this.self, leaving }, askMs),
      ),
    );
    const held: Held[] = [];
    const silent = new Set([...byNode.values()].flatMap((owners) => [...owners]));
    let full = false;
    for (const answer of answers) {
      for (const { owner, objects } of answer.status === "fulfilled" ? answer.value : []) {
        if (objects !== null) silent.delete(owner);
        if ((objects?.length ?? 0) >= heldObjectsMax) full = true;
        for (const object of objects ?? []) held.push({ ...object, owner, bytes: object.location.bytes });
      }
    }
    return { held, silent, full };
  }

  /** Has other nodes take what only this one has. True when nothing is left that could be tried again. */
  private async offer(held: readonly Held[]): Promise<boolean> {
    const wanted: Held[] = [];
    for (const object of held) {
      const { name } = object.location;
      if (this.settled.has(name)) continue;
      if (!object.only) {
        this.settled.add(name);
        this.open.delete(name);
        continue;
      }
      const open = this.open.get(name) ?? { bytes: object.bytes, replaceable: object.replaceable, tries: 0 };
      this.open.set(name, open);
      if (open.tries < triesMax) wanted.push(object);
    }
    if (wanted.length === 0) return true;
    const { moves } = planHandOver(wanted, await this.takers());
    const lines = new Map<NodeId, Held[]>();
    for (const { object, to } of moves) {
      const line = lines.get(to);
      if (line === undefined) lines.set(to, [object]);
      else line.push(object);
    }
    const moved = await Promise.all(
      [...lines].flatMap(([to, line]) => Array.from({ length: takenAtOnce }, () => this.giveAll(to, line))),
    );
    return moved.every(Boolean);
  }

  /** Gives the node what is in the line, which others take from, too. False when something may be tried again. */
  private async giveAll(to: NodeId, line: Held[]): Promise<boolean> {
    let done = true;
    for (let next = line.shift(); next !== undefined; next = line.shift()) if (!(await this.give(to, next))) done = false;
    return done;
  }

  private async give(to: NodeId, { location, owner, index, bytes }: Held): Promise<boolean> {
    const open = this.open.get(location.name);
    if (open === undefined) return true; // freed meanwhile
    open.tries++;
    const leftMs = this.untilMs - Date.now();
    if (leftMs <= 0) return false;
    try {
      const result = await this.request<PullResult>(to, "takeOver", { location, owner, index }, leftMs);
      if (!("copy" in result)) return false;
    } catch (error) {
      this.daemon.log.line(`Node ${to} cannot take object '${location.name}': ${(error as Error).message}`);
      return false;
    }
    this.settled.add(location.name);
    this.open.delete(location.name);
    this.objects++;
    this.bytes += bytes;
    return true;
  }

  /** Nodes that stay, and what is free in their stores. When all leave, as at the end of a batch job, the head's leaves last. */
  private async takers(): Promise<{ nodeId: NodeId; freeBytes: number }[]> {
    const others = [...this.cluster.nodes.values()].filter(
      ({ nodeId, alive, driverOnly }) => alive && !driverOnly && nodeId !== this.daemon.nodeId,
    );
    const staying = others.filter(({ draining }) => !draining);
    const asked = (staying.length > 0 ? staying : others.filter(({ isHead }) => isHead))
      .sort((a, b) => (b.available.object_store_memory ?? 0) - (a.available.object_store_memory ?? 0))
      .slice(0, takersMax);
    const answers = await Promise.allSettled(
      asked.map(async ({ nodeId }) => ({ nodeId, store: await this.request<StoreStats>(nodeId, "storeStats", {}, askMs) })),
    );
    return answers.flatMap((answer) =>
      answer.status === "fulfilled" ? [{ nodeId: answer.value.nodeId, freeBytes: freeOf(answer.value.store) }] : [],
    );
  }

  private request<T>(to: NodeId, method: string, params: unknown, timeoutMs: number): Promise<T> {
    const leftMs = Math.max(1, this.untilMs - Date.now());
    return this.cluster.links.request(to, method, params, Math.min(timeoutMs, leftMs));
  }
}

/** Bytes that a node can take without spilling. */
const freeOf = ({ bytesMax, bytesUsed, bytesWarm }: StoreStats): number =>
  Math.floor(bytesMax * pressureFraction) - bytesUsed + bytesWarm;

const sizeText = (objects: number, bytes: number): string =>
  `${objects} ${objects === 1 ? "object" : "objects"} (${(bytes / 1e6).toFixed(1)} MB)`;
