/**
 * Signals and tallies for tests, many on one actor: starting an actor starts a process, and a suite that starts hundreds of them spends its
 * time on that. The first call in a session makes the actor.
 */
import * as shoal from "shoal";

class Board {
  readonly sent = new Set<string>();
  readonly waiting = new Map<string, (() => void)[]>();
  readonly counts = new Map<string, number>();
  readonly noted = new Map<string, unknown[]>();

  /** Resolves when `name` has been sent; at once if it was sent before. */
  async wait(name: string): Promise<void> {
    if (this.sent.has(name)) return;
    const releases = this.waiting.get(name) ?? [];
    this.waiting.set(name, releases);
    await new Promise<void>((resolve) => releases.push(resolve));
  }

  /** Releases everything that waits for `name`, now and later. */
  async send(name: string): Promise<void> {
    this.sent.add(name);
    for (const release of this.waiting.get(name) ?? []) release();
    this.waiting.delete(name);
  }

  async waiters(name: string): Promise<number> {
    return this.waiting.get(name)?.length ?? 0;
  }

  /** Adds one; returns the count with it. */
  async add(name: string): Promise<number> {
    const count = (this.counts.get(name) ?? 0) + 1;
    this.counts.set(name, count);
    return count;
  }

  async count(name: string): Promise<number> {
    return this.counts.get(name) ?? 0;
  }

  async note(name: string, value: unknown): Promise<void> {
    this.noted.set(name, [...(this.noted.get(name) ?? []), value]);
  }

  async notes(name: string): Promise<unknown[]> {
    return this.noted.get(name) ?? [];
  }
}

const BoardActor = shoal.remote(Board, { numCpus: 0, maxConcurrency: 100_000 });
type BoardHandle = shoal.ActorHandle<Board>;

/** What tests park tasks on. Travels to tasks and actors; looks like the handle of an actor with these methods. */
export class Signal {
  readonly board: BoardHandle;
  readonly name: string;
  constructor(board: BoardHandle, name: string) {
    this.board = board;
    this.name = name;
  }
  get wait() {
    return { remote: () => this.board.wait.remote(this.name) };
  }
  get send() {
    return { remote: () => this.board.send.remote(this.name) };
  }
  get waiters() {
    return { remote: () => this.board.waiters.remote(this.name) };
  }
}

/** Counts what happened in other processes, by key, and keeps notes of it in order. */
export class Tally {
  readonly board: BoardHandle;
  readonly name: string;
  constructor(board: BoardHandle, name: string) {
    this.board = board;
    this.name = name;
  }
  get add() {
    return { remote: (key: string) => this.board.add.remote(`${this.name} ${key}`) };
  }
  get count() {
    return { remote: (key: string) => this.board.count.remote(`${this.name} ${key}`) };
  }
  get note() {
    return { remote: (value: unknown) => this.board.note.remote(this.name, value) };
  }
  get notes() {
    return { remote: () => this.board.notes.remote(this.name) };
  }
}

let current: { session: string; handle: BoardHandle } | undefined;
let made = 0;

function board(): BoardHandle {
  const { jobId, workerId } = shoal.getRuntimeContext();
  const session = `${jobId} ${workerId}`;
  if (current?.session !== session) current = { session, handle: BoardActor.remote() };
  return current.handle;
}

export function newSignal(): Signal {
  return new Signal(board(), `signal ${made++}`);
}

export function newTally(): Tally {
  return new Tally(board(), `tally ${made++}`);
}
