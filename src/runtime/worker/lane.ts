/**
 * A lane: the tasks pushed under one lease, run one after the other. A worker has one lane, or several when tasks of it wait for others and its
 * process serves further leases meanwhile.
 */
import type { LeaseId, WorkerId } from "../../base/ids.ts";
import { Fifo } from "../../core/fifo.ts";
import type { TaskRun } from "./task-run.ts";

export interface LaneHooks {
  /** The lane's task waits for something remote / goes on. */
  blocked(lane: Lane): void;
  unblocked(lane: Lane): void;
}

export class Lane {
  readonly id: LeaseId;
  readonly owner: WorkerId;
  readonly queue = new Fifo<TaskRun>();
  running: TaskRun | null = null;
  readonly gpuIds: readonly number[];
  private waits = 0;
  private readonly hooks: LaneHooks;

  constructor(id: LeaseId, owner: WorkerId, gpuIds: readonly number[], hooks: LaneHooks) {
    this.id = id;
    this.owner = owner;
    this.gpuIds = gpuIds;
    this.hooks = hooks;
  }

  get isWaiting(): boolean {
    return this.waits > 0;
  }

  waitStarted(): void {
    if (this.waits++ === 0) this.hooks.blocked(this);
  }

  waitEnded(): void {
    if (--this.waits === 0) this.hooks.unblocked(this);
  }
}
