/** Asks processes of this node what they have stored on a node that leaves, and waits for their answers for a bounded time. */
import type { NodeKey, WorkerId } from "../../base/ids.ts";
import { Kind } from "../../wire/index.ts";
import type { FromDaemon, HeldObject } from "../../wire/messages.ts";

/** A process whose event loop is blocked does not answer; it is asked again. */
const answerMs = 1_000;

export interface HeldOf {
  readonly owner: WorkerId;
  /** Null: it did not answer in time. */
  readonly objects: readonly HeldObject[] | null;
}

interface Round {
  readonly missing: Set<WorkerId>;
  readonly answers: HeldOf[];
  done(): void;
}

export class HeldQuery {
  /** False when there is no process of that id. */
  private readonly send: (to: WorkerId, message: FromDaemon) => boolean;
  private readonly rounds = new Map<number, Round>();
  private next = 1;

  constructor(send: (to: WorkerId, message: FromDaemon) => boolean) {
    this.send = send;
  }

  /** An answer for each owner. One that is gone needs nothing any more. */
  ask(owners: readonly WorkerId[], node: NodeKey, leaving: readonly NodeKey[]): Promise<HeldOf[]> {
    const id = this.next++;
    const answers: HeldOf[] = [];
    const missing = new Set<WorkerId>();
    for (const owner of new Set(owners)) {
      if (this.send(owner, [Kind.TellHeld, id, node, leaving])) missing.add(owner);
      else answers.push({ owner, objects: [] });
    }
    if (missing.size === 0) return Promise.resolve(answers);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.finish(id), answerMs);
      const done = (): void => {
        clearTimeout(timer);
        resolve([...answers, ...[...missing].map((owner) => ({ owner, objects: null }))]);
      };
      this.rounds.set(id, { missing, answers, done });
    });
  }

  answered(from: WorkerId, id: number, objects: readonly HeldObject[]): void {
    const round = this.rounds.get(id);
    if (round?.missing.delete(from) !== true) return;
    round.answers.push({ owner: from, objects });
    if (round.missing.size === 0) this.finish(id);
  }

  private finish(id: number): void {
    const round = this.rounds.get(id);
    this.rounds.delete(id);
    round?.done();
  }
}
