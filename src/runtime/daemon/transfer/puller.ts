/**
 * Brings objects of other nodes here: one pull per object however many ask, from whichever node has it.
 *
 * The complication is that a holder may be busy, dead or without the object at any moment. The answer is that bytes are bytes wherever they come
 * from: a pull goes from holder to holder, each time from the byte it has reached, until it is whole or nobody is left. Only then is the object lost,
 * which is the owner's business.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { NodeKey, ObjectIndex, WorkerId } from "../../../base/ids.ts";
import { copyLocation, holderOf, type ObjectStore, type ObjectWriter } from "../../../objects/index.ts";
import type { Location } from "../../../objects/types.ts";
import type { BulkConnections } from "./bulk-connections.ts";
import { breaksMax, deadNodesMax, pullBytesMax, pullsMax, retryFirstMs, retryLastMs, unknownNodeMs } from "./limits.ts";

export interface PullRequest {
  readonly location: Location;
  /** Whose object it is. */
  readonly owner: WorkerId;
  readonly index: ObjectIndex;
}

/** Nobody has the object's bytes any more, or nobody who does can be reached. */
export class PullFailed extends Error {
  override readonly name = "PullFailed";
}

export interface PullerHandlers {
  /** This node has a copy now; its owner should hear of it. */
  copied(request: PullRequest, copy: Location): void;
}

export interface PullStats {
  /** Objects brought here, whole. */
  readonly pulled: number;
  readonly bytesPulled: number;
  readonly pullsFailed: number;
  /** Times a pull went on with another holder in the middle. */
  readonly resumed: number;
  readonly pulling: number;
}

/** A pull under way: where it stands and whom it may ask. */
interface Pull {
  readonly request: PullRequest;
  readonly copy: Location;
  readonly promise: Promise<Location>;
  writer: ObjectWriter | null;
  reached: number;
  /** Who last sent bytes. */
  sender: NodeKey | null;
  /** The node of the location asked for. */
  readonly home: NodeKey;
  /** Where a busy holder sent us; asked first, in order. */
  readonly sentTo: NodeKey[];
  /** Known to have all of it. */
  readonly whole: Set<NodeKey>;
  /** Not to be asked again. */
  readonly excluded: Set<NodeKey>;
  /** Connections broken in a row, by node. */
  readonly breaks: Map<NodeKey, number>;
  retryMs: number;
  lastReason: string;
}

export class Puller {
  private readonly self: NodeKey;
  private readonly store: ObjectStore;
  private readonly connections: BulkConnections;
  private readonly handlers: PullerHandlers;
  /** By the copy's name. Added when asked for, removed when settled. */
  private readonly pulls = new Map<string, Pull>();
  private readonly dead = new Set<NodeKey>();
  private readonly line: { bytes: number; start: () => void }[] = [];
  private running = 0;
  private bytesRunning = 0;
  private pulled = 0;
  private bytesPulled = 0;
  private pullsFailed = 0;
  private resumed = 0;
  private readonly closed = new AbortController();

  constructor(self: NodeKey, store: ObjectStore, connections: BulkConnections, handlers: PullerHandlers) {
    this.self = self;
    this.store = store;
    this.connections = connections;
    this.handlers = handlers;
  }

  stats(): PullStats {
    const { pulled, bytesPulled, pullsFailed, resumed } = this;
    return { pulled, bytesPulled, pullsFailed, resumed, pulling: this.pulls.size };
  }

  /** Where the copy is, once it is whole. Rejects with PullFailed, or OutOfDiskError when there is no room for it. */
  pull(request: PullRequest): Promise<Location> {
    const copy = copyLocation(request.location, this.self);
    const known = this.pulls.get(copy.name);
    if (known !== undefined) return known.promise;
    if (this.store.has(copy)) return Promise.resolve(copy);
    const home = holderOf(request.location);
    if (home === undefined || home === this.self)
      return Promise.reject(new PullFailed(`Cannot pull object '${request.location.name}' as it is not another node's`));
    const pull: Pull = {
      request,
      copy,
      promise: Promise.resolve().then(() => this.run(pull)),
      writer: null,
      reached: 0,
      sender: null,
      home,
      sentTo: [],
      whole: new Set([home]),
      excluded: new Set([this.self]),
      breaks: new Map(),
      retryMs: retryFirstMs,
      lastReason: "",
    };
    this.pulls.set(copy.name, pull);
    return pull.promise;
  }

  /** Settles, never rejecting, when the pull of `copy` is over; `undefined` when none is under way or it has not begun. */
  pulling(copy: Location): Promise<unknown> | undefined {
    const pull = this.pulls.get(copy.name);
    if (pull === undefined || pull.writer === null) return undefined;
    return pull.promise.then(
      () => {},
      () => {},
    );
  }

  isDead(node: NodeKey): boolean {
    return this.dead.has(node);
  }

  /** Pulls from the node go on with others. */
  nodeDied(node: NodeKey): void {
    this.dead.add(node);
    if (this.dead.size > deadNodesMax) this.dead.delete(this.dead.values().next().value as NodeKey);
    this.connections.nodeDied(node);
  }

  close(): void {
    this.closed.abort();
    for (const { start } of this.line.splice(0)) start();
  }

  private async run(pull: Pull): Promise<Location> {
    const { bytes } = pull.copy;
    await this.admitted(bytes);
    try {
      await this.fetch(pull);
      (pull.writer as ObjectWriter).seal();
      this.pulled += 1;
      this.handlers.copied(pull.request, pull.copy);
      return pull.copy;
    } catch (error) {
      pull.writer?.abort();
      this.pullsFailed += 1;
      throw error;
    } finally {
      this.pulls.delete(pull.copy.name);
      this.running -= 1;
      this.bytesRunning -= bytes;
      this.admitNext();
    }
  }

  // -------------------------------------------------------------- admission

  /** Resolves when there is room: as much at once as the store has free, but always one. */
  private admitted(bytes: number): Promise<void> {
    return new Promise((resolve) => {
      this.line.push({ bytes, start: resolve });
      this.admitNext();
    });
  }

  private admitNext(): void {
    for (let next = this.line[0]; next !== undefined && this.fits(next.bytes); next = this.line[0]) {
      this.line.shift();
      this.running += 1;
      this.bytesRunning += next.bytes;
      next.start();
    }
  }

  private fits(bytes: number): boolean {
    if (this.running === 0) return true;
    const { bytesMax, bytesUsed, bytesWarm } = this.store.stats();
    return (
      this.running < pullsMax &&
      this.bytesRunning + bytes <= pullBytesMax &&
      // What runs has its room reserved already.
      bytes <= bytesMax - bytesUsed + bytesWarm
    );
  }

  // -------------------------------------------------------------- from holder to holder

  /** Returns when `pull.writer` has every byte. */
  private async fetch(pull: Pull): Promise<void> {
    pull.writer = this.store.createCopy(pull.copy, false);
    for (;;) {
      if (this.closed.signal.aborted) throw new PullFailed("Cannot pull objects as this node is ending");
      const holder = nextHolder(pull);
      if (holder === undefined)
        throw new PullFailed(`Cannot pull object '${pull.request.location.name}' from any node: ${pull.lastReason}`);
      if (await this.fetchFrom(pull, holder)) return;
    }
  }

  /** One try at one node: true when the object is whole. */
  private async fetchFrom(pull: Pull, holder: NodeKey): Promise<boolean> {
    const connection = this.dead.has(holder) ? undefined : await this.connect(holder);
    if (connection === undefined) {
      this.exclude(pull, holder, this.dead.has(holder) ? "its node died" : `node ${holder} is no member of the cluster`);
      return false;
    }
    if (typeof connection === "string") return this.broke(pull, holder, connection);
    const before = pull.reached;
    const location = holder === pull.home ? pull.request.location : copyLocation(pull.copy, holder);
    try {
      const fetched = await connection.fetch({ location, from: pull.reached }, this.sinkOf(pull, holder));
      if (pull.reached > before) {
        pull.breaks.clear();
        pull.retryMs = retryFirstMs;
      }
      switch (fetched.kind) {
        case "whole":
          this.connections.giveBack(holder, connection);
          return true;
        case "gone":
          this.connections.giveBack(holder, connection);
          this.exclude(pull, holder, fetched.reason);
          return false;
        case "busy":
          this.connections.giveBack(holder, connection);
          await this.sendOn(pull, fetched.ask);
          return false;
        case "broken":
          return this.broke(pull, holder, fetched.reason);
      }
    } catch (error) {
      this.writeFailed(pull, error);
      return false;
    }
  }

  private sinkOf(pull: Pull, holder: NodeKey) {
    return {
      others: (holders: readonly NodeKey[]): void => {
        for (const other of holders) if (other !== this.self) pull.whole.add(other);
        if (pull.reached > 0 && pull.sender !== holder) this.resumed += 1;
        pull.sender = holder;
      },
      write: (chunk: Buffer): void => {
        (pull.writer as ObjectWriter).write(pull.reached, chunk);
        pull.reached += chunk.length;
        this.bytesPulled += chunk.length;
      },
    };
  }

  /** A connection, a text when there is none to be had now, `undefined` when the node is no member, even after a while. */
  private async connect(holder: NodeKey) {
    const until = performance.now() + unknownNodeMs;
    for (let waitMs = retryFirstMs; ; waitMs *= 2) {
      const connection = await this.connections.take(holder);
      if (connection !== undefined) return connection;
      if (performance.now() + waitMs > until || this.dead.has(holder) || this.closed.signal.aborted) return undefined;
      await this.pause(waitMs);
    }
  }

  /** The holder did not answer to the end: tried again a few times, then given up. */
  private async broke(pull: Pull, holder: NodeKey, reason: string): Promise<false> {
    const breaks = (pull.breaks.get(holder) ?? 0) + 1;
    pull.breaks.set(holder, breaks);
    if (this.dead.has(holder)) this.exclude(pull, holder, "its node died");
    else if (breaks >= breaksMax) this.exclude(pull, holder, reason);
    else if (breaks > 1) await this.backOff(pull); // the first may have been an idle connection that was about to be closed
    return false;
  }

  private exclude(pull: Pull, holder: NodeKey, reason: string): void {
    pull.excluded.add(holder);
    pull.whole.delete(holder);
    pull.lastReason = reason;
  }

  /** Asks those the holder named; when it names nobody new, after a pause. */
  private async sendOn(pull: Pull, ask: readonly NodeKey[]): Promise<void> {
    const others = ask.filter((node) => !pull.excluded.has(node) && !pull.sentTo.includes(node));
    pull.sentTo.push(...others);
    // Alternately those named and the home again: after a round without success there is a pause.
    if (others.length === 0 || pull.retryMs > retryFirstMs) await this.backOff(pull);
    else pull.retryMs *= 2;
  }

  private async backOff(pull: Pull): Promise<void> {
    await this.pause(pull.retryMs);
    pull.retryMs = Math.min(pull.retryMs * 2, retryLastMs);
  }

  private pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: this.closed.signal, ref: false }).catch(() => {});
  }

  /** Memory turned out to be full: begins anew on disk. Throws what is another matter. */
  private writeFailed(pull: Pull, error: unknown): void {
    const writer = pull.writer as ObjectWriter;
    const { code } = error as NodeJS.ErrnoException;
    writer.abort();
    pull.writer = null;
    if (writer.place === "disk" || (code !== "ENOSPC" && code !== "EDQUOT")) throw this.store.diskError(pull.copy.bytes, error);
    pull.writer = this.store.createCopy(pull.copy, true);
    pull.reached = 0;
  }
}

/** Whom to ask now: first those a busy holder named, then the object's home, then others that have it. */
function nextHolder(pull: Pull): NodeKey | undefined {
  for (let named = pull.sentTo.shift(); named !== undefined; named = pull.sentTo.shift())
    if (!pull.excluded.has(named)) return named;
  if (!pull.excluded.has(pull.home)) return pull.home;
  for (const node of pull.whole) if (!pull.excluded.has(node)) return node;
  return undefined;
}
