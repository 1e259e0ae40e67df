/** Streaming tasks at their owner: items as they arrive, and the consumer's pace told to the producer. */
import { assert } from "../../base/assert.ts";
import type { WorkerId } from "../../base/ids.ts";
import { step } from "../../core/ownership.ts";
import type { StreamRecord } from "../../core/stream-record.ts";
import type { LeaseRecord } from "../../core/submitter.ts";
import type { TaskRecord } from "../../core/task-record.ts";
import { Kind } from "../../wire/index.ts";
import type { PeerMessage } from "../../wire/messages.ts";
import type { Link } from "../transport/link.ts";
import { ObjectRef } from "./object-ref.ts";
import type { Runtime } from "./runtime.ts";

type Step = IteratorResult<ObjectRef<any>>;

interface Taker {
  resolve(step: Step): void;
  onEnd(): void;
}

export class Streams {
  private readonly runtime: Runtime;
  /** Consumers that wait for an item, in order. */
  private readonly takers = new Map<TaskRecord, Taker[]>();
  /** Streams whose error has been handed out as the last ref. */
  private readonly errorGiven = new WeakSet<TaskRecord>();

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  itemArrived(from: WorkerId, message: PeerMessage & { 0: typeof Kind.StreamItem }, link: Link): void {
    const [, index, attempt, item, wire, refs] = message;
    const task = this.runtime.ownership.tasks.get(index);
    if (task === undefined || task.stream === null) return;
    const value = this.runtime.tasks.received(from, wire, refs);
    if (refs !== null) this.runtime.tasks.acknowledge(from, link, index, attempt, item);
    step(this.runtime.ownership, { kind: "item", task, attempt, item, value });
  }

  /** The next item's ref; when the task failed, once a ref that throws its error; then the end. */
  next(task: TaskRecord): Promise<Step> {
    const now = this.take(task);
    if (now !== null) return Promise.resolve(now);
    const onEnd = this.runtime.waitStarted();
    return new Promise((resolve) => {
      let waiting = this.takers.get(task);
      if (waiting === undefined) {
        waiting = [];
        this.takers.set(task, waiting);
      }
      waiting.push({ resolve, onEnd });
    });
  }

  private take(task: TaskRecord): Step | null {
    const stream = task.stream as StreamRecord;
    const { runtime } = this;
    if (stream.ready.length > 0) {
      const record = stream.ready[0];
      step(runtime.ownership, { kind: "takeItem", task });
      runtime.drain();
      return { done: false, value: new ObjectRef(record, runtime) };
    }
    if (!stream.done) return null;
    const completion = task.returns[0];
    if (completion.state === "failed" && !this.errorGiven.has(task)) {
      this.errorGiven.add(task);
      step(runtime.ownership, { kind: "hold", record: completion });
      return { done: false, value: new ObjectRef(completion, runtime) };
    }
    return { done: true, value: undefined };
  }

  ready(task: TaskRecord): void {
    const waiting = this.takers.get(task);
    if (waiting === undefined) return;
    while (waiting.length > 0) {
      const item = this.take(task);
      if (item === null) return;
      const taker = waiting.shift();
      assert(taker !== undefined, "a taker is there");
      taker.onEnd();
      taker.resolve(item);
    }
    this.takers.delete(task);
  }

  abandon(task: TaskRecord): void {
    if (this.runtime.ended !== null) return;
    step(this.runtime.ownership, { kind: "abandon", task });
    this.runtime.drain();
  }

  tellProducer(task: TaskRecord, items: number, done: boolean): void {
    const worker = task.actorId === null ? (task.runner as LeaseRecord | null)?.workerId : this.runtime.actors.workerOf(task);
    if (worker !== undefined)
      this.runtime.peers.existing(worker)?.send([Kind.StreamConsumed, task.index, task.attempt, items, done]);
  }
}
