/**
 * The daemon's use of the object store: asks processes to collect garbage before memory is short, spills when they report pressure, cleans
 * up after the dead, and looks after leftovers once a second.
 */
import { join } from "node:path";
import type { NodeKey, WorkerId } from "../../base/ids.ts";
import { StoreManager, type StoreStats, spillTargetFraction } from "../../objects/index.ts";
import { collectFraction, collectIntervalMs } from "./config.ts";

/** Milliseconds between sweeps. */
const sweepMs = 1_000;
/** Milliseconds to the next try when spilling did not make enough room. A collection takes tens of milliseconds, and is asked for once a second. */
const spillAgainMs = [100, 200, 400, 800, 1_600];

export interface StoreKeeperHandlers {
  /** Every process should run its garbage collector. */
  collect(): void;
  failed(text: string): void;
}

export class StoreKeeper {
  readonly manager: StoreManager;
  private readonly handlers: StoreKeeperHandlers;
  private readonly timer: NodeJS.Timeout;
  private collectedAtMs = Number.NEGATIVE_INFINITY;
  /** How often spilling was tried again since the last pressure, and the next time. */
  private again = 0;
  private againTimer: NodeJS.Timeout | null = null;
  private removed = false;

  constructor(shmDir: string, sessionDir: string, bytesMax: number | undefined, handlers: StoreKeeperHandlers) {
    this.manager = new StoreManager({ shmDir, spillDir: join(sessionDir, "spill"), bytesMax });
    this.handlers = handlers;
    this.timer = setInterval(() => this.look(), sweepMs);
  }

  get bytesMax(): number {
    return this.manager.bytesMax;
  }

  get bytesUsed(): number {
    return this.removed ? 0 : this.manager.bytesUsed;
  }

  /** A process found the store nearly full. */
  pressure(): void {
    if (this.removed) return;
    this.again = 0;
    if (this.againTimer === null) this.relieve();
  }

  /**
   * What is mapped cannot be spilled, and most of what is mapped is garbage that only a collection lets go, some time after it was asked for.
   * So it is tried again, later and later, and given up until the next pressure.
   */
  private relieve(): void {
    this.againTimer = null;
    if (this.removed) return;
    this.collectIfFull();
    this.manager.spillDown().then(
      ({ diskFull }) => {
        if (diskFull || this.removed || this.againTimer !== null || this.again >= spillAgainMs.length) return;
        if (this.manager.bytesUsed <= this.manager.bytesMax * spillTargetFraction) return;
        this.againTimer = setTimeout(() => this.relieve(), spillAgainMs[this.again++]);
        this.againTimer.unref();
      },
      (error: Error) => this.handlers.failed(`Cannot spill objects: ${error.message}`),
    );
  }

  /** Both what the process owned and what it was in the middle of. */
  processDied(id: WorkerId): void {
    if (this.removed) return;
    this.manager.onProcessDied(id);
    this.manager.onOwnerDied(id);
  }

  /** A process of another node is gone: what it owned here goes, whoever wrote it. */
  onOwnerDied(id: WorkerId): void {
    if (!this.removed) this.manager.onOwnerDied(id);
  }

  /** As `onOwnerDied`, of every process of a node. */
  onNodeDied(node: NodeKey): void {
    if (!this.removed) this.manager.onNodeDied(node);
  }

  stats(): Promise<StoreStats> {
    return this.manager.stats();
  }

  /** Removes the store with all objects. Idempotent. */
  remove(): void {
    clearInterval(this.timer);
    if (this.againTimer !== null) clearTimeout(this.againTimer);
    this.removed = true;
    this.manager.removeAll();
  }

  private look(): void {
    this.manager.sweep();
    this.collectIfFull();
  }

  /** What is kept warm for reuse does not count: the garbage collector cannot free it, the store itself takes it back. */
  private collectIfFull(): void {
    if (this.manager.bytesUsed <= this.manager.bytesMax * collectFraction) return;
    this.manager.stats().then(
      ({ bytesUsed, bytesWarm, bytesMax }) => {
        if (!this.removed && bytesUsed - bytesWarm > bytesMax * collectFraction) this.collect();
      },
      () => {}, // the directories are going away
    );
  }

  private collect(): void {
    const now = performance.now();
    if (now - this.collectedAtMs < collectIntervalMs) return;
    this.collectedAtMs = now;
    this.handlers.collect();
  }
}
