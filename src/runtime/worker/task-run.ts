/** One run of a task or call in this worker: its context for the user's code, and where its answer goes. */
import { TaskCancelledError } from "../../base/errors.ts";
import type { ActorId, ObjectIndex, WorkerId } from "../../base/ids.ts";
import type { StrategySpec, WireArg } from "../../wire/messages.ts";
import type { TaskContext } from "../owner/task-context.ts";
import type { Link } from "../transport/link.ts";
import type { Lane } from "./lane.ts";
import type { LoadedDefinition } from "./loaded-definition.ts";

export class TaskRun implements TaskContext {
  readonly owner: WorkerId;
  readonly link: Link;
  readonly loaded: LoadedDefinition;
  readonly index: ObjectIndex;
  readonly attempt: number;
  readonly args: readonly WireArg[];
  readonly lane: Lane | null;
  readonly actorId: ActorId | null;
  /** Its caller gave it up: what it returns is thrown away. */
  cancelled = false;
  startMs = 0;
  /** Streaming: items the consumer has taken; -1 when it is gone. */
  consumed = 0;
  onConsumed: (() => void) | null = null;
  private controller: AbortController | null = null;
  /** Waits under way. */
  private waits = 0;
  private isOver = false;

  constructor(
    owner: WorkerId,
    link: Link,
    loaded: LoadedDefinition,
    index: ObjectIndex,
    attempt: number,
    args: readonly WireArg[],
    lane: Lane | null,
    actorId: ActorId | null,
  ) {
    this.owner = owner;
    this.link = link;
    this.loaded = loaded;
    this.index = index;
    this.attempt = attempt;
    this.args = args;
    this.lane = lane;
    this.actorId = actorId;
  }

  get definition() {
    return this.loaded.wire;
  }

  get key(): string {
    return `${this.owner}:${this.index}`;
  }

  get taskId(): string {
    return `${this.owner}${this.index.toString(16).padStart(8, "0")}`;
  }

  get gpuIds(): readonly number[] {
    return this.lane?.gpuIds ?? [];
  }

  /** Made when first asked for: most tasks never look at it. */
  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.cancelled) this.controller.abort(this.cancelReason());
    }
    return this.controller.signal;
  }

  get childStrategy(): StrategySpec | null {
    const group = this.loaded.wire.group;
    return group?.captureChildTasks ? { kind: "group", groupId: group.groupId, bundleIndex: -1, captureChildTasks: true } : null;
  }

  abort(): void {
    this.cancelled = true;
    this.controller?.abort(this.cancelReason());
    this.onConsumed?.();
  }

  /** What the signal's listeners, and whoever rejects with its reason, get. */
  cancelReason(): TaskCancelledError {
    const taskName = this.loaded.wire.name;
    return new TaskCancelledError(`'${taskName}' was cancelled`, { taskName });
  }

  waitStarted(): void {
    if (this.isOver) return;
    this.waits++;
    this.lane?.waitStarted();
  }

  waitEnded(): void {
    if (this.isOver) return;
    this.waits--;
    this.lane?.waitEnded();
  }

  /** It has answered. What it still waits for is its own affair: the lane is the next task's. */
  end(): void {
    this.isOver = true;
    for (; this.waits > 0; this.waits--) this.lane?.waitEnded();
  }
}
