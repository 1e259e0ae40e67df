/**
 * Progress bars that any process may advance.
 *
 * The idea: the process that makes a bar draws it. The complication: tasks that get the bar run elsewhere, and must not wait for the drawing.
 * The answer: a bar that travels becomes a remote bar, which sends counts to an actor (started with the first bar that travels, ended with
 * the last one open); the drawing process asks the actor while there is such a bar, without being kept alive by it.
 */

import { setTimeout as delay } from "node:timers/promises";
import { performance, queueMicrotask, setTimeout } from "../base/clock.ts";
import { type ActorHandle, get, kill, registerSerializer, remote } from "../index.ts";
import { type BarState, ProgressDisplay } from "./progress-display.ts";
import { ProgressHub } from "./progress-hub.ts";

export interface ProgressBar {
  /** Adds to what is done. Cheap; may be called for every item. */
  update(count?: number): void;
  /** Draws the last state and takes the bar off. Later updates are ignored. */
  close(): Promise<void>;
}

export interface ProgressOptions {
  /** Stands in front of the bar. */
  label?: string;
}

const askEveryMs = 100;
const stragglersMs = 300;
const pollStragglersMs = 20;

/**
 * Makes a bar for `total` steps (`undefined`: not known), drawn on the standard error of this process: in place on a terminal, else
 * as a line every few seconds. Pass it to tasks and actors: their updates count too.
 *
 * @example
 * const bar = progress(8, { label: "steps" });
 * const step = shoal.remote((bar: ProgressBar) => bar.update());
 * await shoal.get(Array.from({ length: 8 }, () => step.remote(bar)));
 * await bar.close();
 */
export function progress(total: number | undefined, options: ProgressOptions = {}): ProgressBar {
  if (total !== undefined && !(total >= 0))
    throw new RangeError(`Cannot use ${String(total)} as the total of a progress bar: expected a number from 0`);
  return new LocalBar(home, home.display.add(options.label ?? "progress", total));
}

/** What this process draws. */
class ProgressHome {
  readonly display = new ProgressDisplay(process.stderr);
  private hub: ActorHandle<ProgressHub> | null = null;
  private readonly travelled = new Map<number, { readonly bar: LocalBar; remoteDone: number }>();
  private lastId = 0;
  private timer: NodeJS.Timeout | null = null;

  /** Where other processes advance a bar of this one. */
  share(bar: LocalBar): BarAddress {
    this.hub ??= remote(ProgressHub, { numCpus: 0 }).remote();
    let id = bar.sharedId;
    if (id === null) {
      id = ++this.lastId;
      bar.sharedId = id;
      this.travelled.set(id, { bar, remoteDone: 0 });
    }
    this.askSoon();
    return [this.hub, id];
  }

  /** Fetches what remote processes did for the bar so far, and forgets it. */
  async finish(bar: LocalBar): Promise<void> {
    if (bar.sharedId === null) return;
    await this.awaitStragglers(bar);
    this.travelled.delete(bar.sharedId);
    if (this.travelled.size > 0 || this.hub === null) return;
    const hub = this.hub;
    this.hub = null;
    await kill(hub).catch(() => undefined);
  }

  /**
   * A task's last update and its result take different ways, so that the program may close the bar before the update is at the hub. Unless the bar is
   * full, it is closed when nothing more has come for a while.
   */
  private async awaitStragglers(bar: LocalBar): Promise<void> {
    let quietSinceMs = performance.now();
    while (this.hub !== null) {
      const before = bar.state.done;
      await this.ask();
      if (bar.state.done !== before) quietSinceMs = performance.now();
      if (bar.isFull || performance.now() - quietSinceMs >= stragglersMs) return;
      await delay(pollStragglersMs);
    }
  }

  private askSoon(): void {
    if (this.timer !== null || this.travelled.size === 0) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.ask().then(() => this.askSoon());
    }, askEveryMs);
    // A bar that nobody closes does not keep the program up.
    this.timer.unref();
  }

  private async ask(): Promise<void> {
    if (this.hub === null) return;
    try {
      for (const [id, done, closed] of await get(this.hub.read.remote())) this.apply(id, done, closed);
    } catch {
      // The session, or the actor with it, is gone: nothing will come from elsewhere any more.
      this.hub = null;
      this.travelled.clear();
    }
  }

  private apply(id: number, done: number, closed: boolean): void {
    const entry = this.travelled.get(id);
    if (entry === undefined) return;
    entry.bar.update(done - entry.remoteDone);
    entry.remoteDone = done;
    if (closed) void entry.bar.close();
  }
}

/** A bar on its way to other processes: whichever kind it was, it arrives as a remote bar. */
export abstract class TravellingBar implements ProgressBar {
  abstract update(count?: number): void;
  abstract close(): Promise<void>;
  /** The hub, and the bar's name there. */
  abstract share(): BarAddress;
}

type BarAddress = readonly [hub: ActorHandle<ProgressHub>, id: number];

class LocalBar extends TravellingBar {
  readonly home: ProgressHome;
  readonly state: BarState;
  /** Its name at the hub, once it has travelled. */
  sharedId: number | null = null;
  private closing: Promise<void> | null = null;

  constructor(home: ProgressHome, state: BarState) {
    super();
    this.home = home;
    this.state = state;
  }

  update(count = 1): void {
    if (this.state.closed || count === 0) return;
    this.state.done += count;
    this.home.display.changed();
  }

  close(): Promise<void> {
    this.closing ??= this.home.finish(this).then(() => this.home.display.close(this.state));
    return this.closing;
  }

  get isFull(): boolean {
    return this.state.total !== undefined && this.state.done >= this.state.total;
  }

  share(): BarAddress {
    return this.home.share(this);
  }
}

const sendEveryMs = 50;

/** A bar in a process that does not draw it. */
export class RemoteBar extends TravellingBar {
  readonly hub: ActorHandle<ProgressHub>;
  readonly id: number;
  private unsent = 0;
  private sentMs = Number.NEGATIVE_INFINITY;
  private scheduled = false;

  constructor(hub: ActorHandle<ProgressHub>, id: number) {
    super();
    this.hub = hub;
    this.id = id;
  }

  update(count = 1): void {
    this.unsent += count;
    if (this.scheduled) return;
    this.scheduled = true;
    const waitMs = this.sentMs + sendEveryMs - performance.now();
    if (waitMs <= 0) queueMicrotask(() => this.send());
    else setTimeout(() => this.send(), waitMs);
  }

  async close(): Promise<void> {
    this.send();
    this.hub.close.options({ numReturns: 0 }).remote(this.id);
  }

  share(): BarAddress {
    return [this.hub, this.id];
  }

  private send(): void {
    this.scheduled = false;
    if (this.unsent === 0) return;
    this.sentMs = performance.now();
    this.hub.advance.options({ numReturns: 0 }).remote(this.id, this.unsent);
    this.unsent = 0;
  }
}

const home = new ProgressHome();

registerSerializer(TravellingBar, {
  serialize: (bar) => bar.share(),
  deserialize: ([hub, id]: BarAddress) => new RemoteBar(hub, id),
});
